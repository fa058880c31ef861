"""Windows of telemetry -> what is no longer as stated: rates, service times, accuracies. PURE.

Each figure has a sequential test of its own, an e-detector (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric
framework for sequential change detection", 2023): with each window, R <- (R + 1) x L, where L is the likelihood ratio
of a changed figure against the worst one that counts as unchanged, averaged over several sizes of change. While nothing
has changed the expected time to a false alarm is at least the threshold, in windows, whenever one looks. A large step
passes it in two windows; a small one takes as long as its noise needs.

Constant load must never flap: what counts as unchanged has a width (``unchanged_ratio``), noise is measured from window
to window and over blocks of them (bursts), a figure rises in coarse steps, and it returns only after it was held for a
while, four times as long after each return. No figure falls below what was stated: a promise to carry a rate stands
when less comes, and a device that is faster than its profile harms nobody.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, exp, log
from typing import Any, Final

from circinus.model.query import QueryId
from cloud_planner.core.drift_terms import (
    AccuracySample,
    Finding,
    Kind,
    Limits,
    RateSample,
    Sample,
    Sensitivity,
    ServiceSample,
)
from cloud_planner.core.revisions import Revisions

#: Windows that are kept to tell the new level, and those of a block whose sums are compared for slow noise.
_RECENT: Final = 30
_BLOCK: Final = 8
#: How many windows the first guess of the noise is worth, and how fast old windows are forgotten.
_PRIOR: Final = 10.0
_FORGET: Final = 0.995
#: One window's surprise is worth so much at most as noise: a step is not noise.
_SURPRISE_MOST: Final = 9.0
_LOG_MOST: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What is known of one figure.

    ``stated`` and ``level`` are in its unit: a rate, a factor for service times, a shift for scores.

    ``rising`` and ``falling``: the logarithm of R for each size of change. ``recent``: (amount, weight) of the last
    windows. ``noise``: sum and weight of squared surprises from window to window, and from block to block.
    """

    stated: float
    level: float
    rising: tuple[float, ...]
    falling: tuple[float, ...]
    changed_s: float
    hold_s: float
    recent: tuple[tuple[float, float], ...] = ()
    times_s: tuple[float, ...] = ()
    noise: tuple[float, float] = (0.0, 0.0)
    slow_noise: tuple[float, float] = (0.0, 0.0)
    windows: int = 0


Key = tuple[Kind, Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """All figures that are watched."""

    tracks: Mapping[Key, Track] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftStep:
    """What a step came to: ``revisions`` are all that stand now."""

    state: DriftState
    findings: tuple[Finding, ...]
    revisions: Revisions


def step(state: DriftState, samples: Sequence[Sample], now_s: float, limits: Limits | None = None) -> DriftStep:
    """Takes in one window of each figure that there is one of. O(samples)."""
    bounds = limits if limits is not None else Limits()
    tracks = dict(state.tracks)
    findings: list[Finding] = []
    for sample in samples:
        key, stated = _key(sample)
        track = tracks.get(key)
        if track is None or track.stated != stated:
            track = _fresh(key[0], stated, now_s, bounds)
        tracks[key], finding = _fed(key, track, sample, now_s, bounds)
        if finding is not None:
            findings.append(finding)
    made = DriftState(tracks=tracks)
    return DriftStep(state=made, findings=tuple(findings), revisions=revisions_of(made))


def revisions_of(state: DriftState) -> Revisions:
    """What differs from what was stated."""
    moved = {key: track.level for key, track in state.tracks.items() if track.level != track.stated}
    return Revisions(
        rate_per_s={key[1]: level for key, level in moved.items() if key[0] is Kind.RATE},  # type: ignore[misc]  # the kind says which
        service_ratio={key[1]: level for key, level in moved.items() if key[0] is Kind.SERVICE_TIME},  # type: ignore[misc]
        accuracy_shift={key[1]: level for key, level in moved.items() if key[0] is Kind.ACCURACY},  # type: ignore[misc]
    )


def resumed(revisions: Revisions, stated_per_s: Mapping[QueryId, float], now_s: float) -> DriftState:
    """The state after a restart: the revisions stand, all evidence begins anew."""
    limits = Limits()
    tracks: dict[Key, Track] = {}
    for query_id, level in revisions.rate_per_s.items():
        if query_id in stated_per_s:
            fresh = _fresh(Kind.RATE, stated_per_s[query_id], now_s, limits)
            tracks[Kind.RATE, query_id] = replace(fresh, level=level)
    for place, ratio in revisions.service_ratio.items():
        tracks[Kind.SERVICE_TIME, place] = replace(_fresh(Kind.SERVICE_TIME, 1.0, now_s, limits), level=ratio)
    for where, shift in revisions.accuracy_shift.items():
        tracks[Kind.ACCURACY, where] = replace(_fresh(Kind.ACCURACY, 0.0, now_s, limits), level=shift)
    return DriftState(tracks=tracks)


def kept(state: DriftState, keys: Sequence[Key]) -> DriftState:
    """Only these figures: what is no longer served is no longer watched."""
    wanted = set(keys)
    return DriftState(tracks={key: track for key, track in state.tracks.items() if key in wanted})


def _key(sample: Sample) -> tuple[Key, float]:
    match sample:
        case RateSample():
            return (Kind.RATE, sample.query_id), sample.stated_per_s
        case ServiceSample():
            return (Kind.SERVICE_TIME, sample.place), 1.0
        case AccuracySample():
            return (Kind.ACCURACY, sample.place), 0.0


def _fresh(kind: Kind, stated: float, now_s: float, limits: Limits) -> Track:
    terms = limits.of(kind)
    nothing = (-_LOG_MOST,) * len(terms.sizes)
    return Track(
        stated=stated, level=stated, rising=nothing, falling=nothing, changed_s=-terms.hold_s, hold_s=terms.hold_s
    )


def _fed(key: Key, track: Track, sample: Sample, now_s: float, limits: Limits) -> tuple[Track, Finding | None]:
    """A track after one window, and what was found."""
    terms = limits.of(key[0])
    amount, weight = _amount(sample, track)
    if weight <= 0.0:
        return track, None
    recent = (*track.recent, (amount, weight))[-_RECENT:]
    noise, slow = _noise(key[0], track, recent)
    track = replace(
        track,
        recent=recent,
        times_s=(*track.times_s, now_s)[-_RECENT:],
        noise=noise,
        slow_noise=slow,
        windows=track.windows + 1,
    )
    spread = _spread(key[0], terms, track)
    up, down = _gains(sample, track, terms, spread)
    track = replace(track, rising=_grown(track.rising, up, terms), falling=_grown(track.falling, down, terms))
    threshold = log(limits.false_alarm_windows)
    in_force_s = now_s - track.changed_s
    if (odds := _mean(track.rising)) >= threshold and in_force_s >= terms.cool_down_s:
        return _moved(key, track, terms, now_s, odds, up=True)
    if (odds := _mean(track.falling)) >= threshold and track.level != track.stated and in_force_s >= track.hold_s:
        return _moved(key, track, terms, now_s, odds, up=False)
    return track, None


def _amount(sample: Sample, track: Track) -> tuple[float, float]:
    """A window as an amount and its weight: their quotient is the figure."""
    match sample:
        case RateSample():
            return float(sample.emitted), sample.duration_s
        case ServiceSample():
            if sample.items < 1 or sample.profiled_ms <= 0.0 or sample.mean_ms <= 0.0:
                return 0.0, 0.0
            return sample.mean_ms / sample.profiled_ms, 1.0
        case AccuracySample():
            return sample.score_sum - sample.scored * sample.measured_ratio, float(sample.scored)


def _noise(
    kind: Kind, track: Track, recent: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Squared surprises, from one window to the next, and from one block to the next."""
    noise, slow = track.noise, track.slow_noise
    if len(recent) >= 2:
        noise = _noted(noise, _surprise(kind, recent[-2:-1], recent[-1:]))
    if (track.windows + 1) % _BLOCK == 0 and len(recent) >= 2 * _BLOCK:
        slow = _noted(slow, _surprise(kind, recent[-2 * _BLOCK : -_BLOCK], recent[-_BLOCK:]))
    return noise, slow


def _noted(known: tuple[float, float], surprise: float) -> tuple[float, float]:
    return (known[0] * _FORGET + min(surprise, _SURPRISE_MOST), known[1] * _FORGET + 1.0)


def _surprise(kind: Kind, one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> float:
    """The squared difference of two stretches, over what it would be with unit noise."""
    first, second = sum(amount for amount, _ in one), sum(amount for amount, _ in other)
    if kind is Kind.RATE:
        return (first - second) ** 2 / max(first + second, 1.0)
    if kind is Kind.SERVICE_TIME:
        # Blocks as long as this one are averages: what is slow in them does not average out.
        return float(len(one)) * log(second / first) ** 2 / 2.0
    return 0.0


def _spread(kind: Kind, terms: Sensitivity, track: Track) -> float:
    """Dispersion of counts (variance over mean), or the variance of a window's logarithm."""
    power = 2 if kind is Kind.SERVICE_TIME else 1
    first, least = terms.noise_first**power, terms.noise_least**power
    quick = (_PRIOR * first + track.noise[0]) / (_PRIOR + track.noise[1])
    few = _PRIOR / _BLOCK
    slow = (few * quick + track.slow_noise[0]) / (few + track.slow_noise[1])
    return max(least, quick, slow)


def _gains(
    sample: Sample, track: Track, terms: Sensitivity, spread: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What a window says for each size of change, in nats: that the figure rose, that it fell."""
    edge = 1.0 + terms.unchanged_ratio
    match sample:
        case RateSample():
            expected = track.level * sample.duration_s
            count = float(sample.emitted)
            up = tuple((count * log(size / edge) - expected * (size - edge)) / spread for size in terms.sizes)
            down = tuple(
                (count * log(edge / size) - expected * (1.0 / size - 1.0 / edge)) / spread for size in terms.sizes
            )
            return up, down
        case ServiceSample():
            off = log(sample.mean_ms / sample.profiled_ms / track.level)
            return _normal(off, edge, terms, spread), _normal(-off, edge, terms, spread)
        case AccuracySample():
            # Rising means: worse. Hoeffding: exp(bet x sum - n bet^2 / 8) is an e-value for scores in 0..1.
            short = -(sample.score_sum - sample.scored * (sample.measured_ratio + track.level))
            margin = sample.scored * terms.unchanged_ratio
            bound = tuple(sample.scored * bet * bet / 8.0 for bet in terms.sizes)
            worse = tuple(bet * (short - margin) - least for bet, least in zip(terms.sizes, bound, strict=True))
            better = tuple(bet * (-short - margin) - least for bet, least in zip(terms.sizes, bound, strict=True))
            return worse, better


def _normal(off: float, edge: float, terms: Sensitivity, variance: float) -> tuple[float, ...]:
    low = log(edge)
    return tuple(((off - low) ** 2 - (off - log(size)) ** 2) / (2.0 * variance) for size in terms.sizes)


def _grown(known: tuple[float, ...], gains: tuple[float, ...], terms: Sensitivity) -> tuple[float, ...]:
    """log((R + 1) x L); capped, so that what ended long ago is soon forgotten."""
    return tuple(
        min(_LOG_MOST, max(-_LOG_MOST, _log_one_more(value) + min(gain, terms.window_most)))
        for value, gain in zip(known, gains, strict=True)
    )


def _log_one_more(value: float) -> float:
    high = max(value, 0.0)
    return high + log(exp(value - high) + exp(-high))


def _mean(values: tuple[float, ...]) -> float:
    high = max(values)
    return high + log(sum(exp(value - high) for value in values) / len(values))


def _moved(
    key: Key, track: Track, terms: Sensitivity, now_s: float, odds: float, *, up: bool
) -> tuple[Track, Finding | None]:
    """The figure at its new level."""
    found, length = _level(key[0], track, up=up)
    level = _on_grid(key[0], found, track.stated, terms)
    nothing = (-_LOG_MOST,) * len(terms.sizes)
    if level == track.level or (not up and _further(key[0], level, track.level)):
        return replace(track, rising=nothing, falling=nothing), None
    returned = level == track.stated
    hold_s = min(terms.hold_most_s, 4.0 * track.hold_s) if not up else track.hold_s
    finding = Finding(
        kind=key[0],
        place=key[1],
        subject=_subject(key),
        stated=track.stated,
        before=track.level,
        after=level,
        since_s=track.times_s[-length],
        at_s=now_s,
        evidence=odds,
        returned=returned,
    )
    moved = replace(track, level=level, rising=nothing, falling=nothing, changed_s=now_s, hold_s=hold_s)
    return moved, finding


def _further(kind: Kind, level: float, than: float) -> bool:
    """Whether a level is further from what was stated."""
    return level < than if kind is Kind.ACCURACY else level > than


def _level(kind: Kind, track: Track, *, up: bool) -> tuple[float, int]:
    """The figure since it changed, and how many windows ago that was: where a change is likeliest.

    For a return all windows that are kept count: it is in no haste.
    """
    if not up or kind is Kind.ACCURACY:
        return _quotient(track.recent), len(track.recent)
    best, best_score = 1, float("-inf")
    amount, weight = 0.0, 0.0
    for length, (more, by) in enumerate(reversed(track.recent), start=1):
        amount, weight = amount + more, weight + by
        ratio = amount / weight / track.level
        if ratio <= 1.0:
            continue
        score = amount * log(ratio) - (amount - weight * track.level) if kind is Kind.RATE else length * log(ratio) ** 2
        if score > best_score:
            best, best_score = length, score
    return _quotient(track.recent[-best:]), best


def _quotient(windows: Sequence[tuple[float, float]]) -> float:
    return sum(amount for amount, _ in windows) / sum(weight for _, weight in windows)


def _on_grid(kind: Kind, found: float, stated: float, terms: Sensitivity) -> float:
    """Up to the next step above what was stated; as stated where the difference does not count."""
    if kind is Kind.ACCURACY:
        if found > -terms.unchanged_ratio:
            return 0.0
        return round(-ceil(-found / terms.grid_ratio - 0.5) * terms.grid_ratio, 6)
    if found <= stated * (1.0 + terms.unchanged_ratio):
        return stated
    # A figure that stands on a step must not be lifted to the next one by rounding.
    return stated * terms.grid_ratio ** ceil(log(found / stated) / log(terms.grid_ratio) - 0.1)


def _subject(key: Key) -> str:
    place: Any = key[1]
    match key[0]:
        case Kind.RATE:
            return f"query {place}"
        case Kind.SERVICE_TIME:
            return f"operator {place[1]} of {place[0]} on {place[2]}"
        case Kind.ACCURACY:
            return f"{place[0]} on {place[1]}"
