"""How good promises are: predicted against observed, what corrects predictions, and how far they may be off. PURE.

An account is what a generation promised of a query (a Promise) and what was seen of it (a Seen). The promised
percentile of latency is the model's, times a bias that the accounts before it had; the percentile that will be seen of
n items is taken as log-normal around it, with the square of its deviation

    spread^2 + sampling^2 / n

``spread``: of the model's residuals in the pipeline's accounts so far, drawn to a prior that stands for PRIOR_WEIGHT
accounts; ``sampling``: that of a percentile of n items that happen to come. Both are fixed when the promise is made, so
each account tests a prediction, never a fit. Service times are corrected by operator and device, whatever the
configuration: what they share is the machine and how it serves, not how long an item takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, hypot, log, sqrt
from statistics import median
from types import MappingProxyType

from scipy.special import ndtr, stdtrit

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.plan import Interval
from circinus.sketch import RELATIVE_ERROR, Sketch
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.revisions import ServicePlace

#: How often a predicted interval is to hold.
COVERAGE_RATIO = 0.90
#: Fewer items say nothing of a percentile.
LEAST_ITEMS = 40
#: Spread of a model that nothing is known of, and so many accounts it stands for.
PRIOR_SPREAD_RATIO = 0.09
PRIOR_WEIGHT = 6.0
#: A bias and a correction are drawn to none, as if so many accounts, and items, had had none.
PRIOR_BIAS_WEIGHT = 2.0
PRIOR_ITEMS = 120.0
#: One account says no more than so many items do: its conditions are the same for all of them.
MOST_ITEMS = 120.0
#: Older accounts say less: weights fall by this with each newer one.
AGEING_RATIO = 0.9
#: No correction beyond these: what is further off is not the same thing any more.
LEAST_FACTOR, MOST_FACTOR = 0.6, 1.0 / 0.6
#: Logarithms count up to so many deviations from their median, and a service time's up to this: an account of a bad
#: minute of the machine must not be in the way of the ones after it.
_CLIP_DEVIATIONS = 1.5
_SPREAD_CLIP_DEVIATIONS = 2.5
_SERVICE_CLIP_LOG = 0.15
#: A normal variable's deviation over the median of its distance from the median.
_MAD_RATIO = 1.4826
#: Borders of the bins of P(SLO).
BINS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A promise and what was seen."""

    promise: planner_pb2.Promise
    seen: planner_pb2.Seen

    @property
    def items(self) -> int:
        """Items that have a latency."""
        return self.seen.answered + self.seen.late

    @property
    def provisional(self) -> bool:
        """Whether the plan rested on beliefs, so that nothing was promised."""
        return bool(self.promise.plan.certainty == types_pb2.CERTAINTY_PROVISIONAL)

    @property
    def open(self) -> bool:
        """Whether it can't be judged: nothing was promised, or too little was seen."""
        few = self.items < LEAST_ITEMS or self.seen.duration_s <= 0.0
        return self.provisional or few or self.promise.latency_ms <= 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An account judged. Errors are relative to what was seen; ``residual`` is log(seen / the model's own figure)."""

    latency_ms: Interval
    latency_seen_ms: float
    latency_error_ratio: float
    residual: float
    throughput_seen_per_s: float
    throughput_error_ratio: float
    within: bool
    half_width_ratio: float
    slo_probability_ratio: float
    slo_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What the accounts of a pipeline say of its next promise: a factor on latency, and the spread around it."""

    bias_ratio: float = 1.0
    spread_ratio: float = PRIOR_SPREAD_RATIO
    freedom: float = PRIOR_WEIGHT


@dataclass(slots=True)
class _Ratios:
    """Logarithms of seen over profiled, with their weights."""

    logs: list[tuple[float, float]] = field(default_factory=list)
    items: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What the ledger found: factors on profiled service times, and the items and accounts that say so."""

    service_ratio: dict[ServicePlace, float] = field(default_factory=dict)
    items: dict[ServicePlace, int] = field(default_factory=dict)
    accounts: dict[ServicePlace, int] = field(default_factory=dict)


def percentile_ratio(promise: planner_pb2.Promise) -> float:
    """The percentile that the promise is of."""
    return promise.slo.percentile_ratio if promise.slo.HasField("percentile_ratio") else 0.95


def interval(promise: planner_pb2.Promise, items: int) -> Interval:
    """The 90% interval of the percentile that will be seen of so many items."""
    half = _deviation(promise, items) * float(stdtrit(max(2.0, promise.freedom), 0.5 + COVERAGE_RATIO / 2.0))
    return Interval(value=promise.latency_ms, low=promise.latency_ms * exp(-half), high=promise.latency_ms * exp(half))


def _deviation(promise: planner_pb2.Promise, items: int) -> float:
    return hypot(promise.spread_ratio, promise.sampling_ratio / sqrt(max(1, items)))


def slo_probability_ratio(promise: planner_pb2.Promise, items: int, scored: int) -> float:
    """The probability that so many items, so many of them scored, meet every bound; bounds as independent."""
    slo, found = promise.slo, 1.0
    if slo.HasField("latency_ms") and slo.latency_ms > 0.0 and promise.latency_ms > 0.0:
        found *= float(ndtr(log(slo.latency_ms / promise.latency_ms) / max(1e-9, _deviation(promise, items))))
    if slo.HasField("accuracy_ratio") and scored:
        value = min(1.0, max(0.0, promise.plan.accuracy_ratio.value))
        error = hypot(promise.accuracy_error_ratio, sqrt(max(value * (1.0 - value), 0.25 / scored) / scored))
        found *= float(ndtr((value - slo.accuracy_ratio + slo.accuracy_margin_ratio) / max(1e-9, error)))
    if slo.HasField("cost_per_h") and promise.plan.cost_per_h > slo.cost_per_h * (1.0 + 1e-9):
        return 0.0
    return found


def judge(account: Account) -> Judged:
    """Holds an account that is not open against its promise."""
    promise, seen = account.promise, account.seen
    seen_ms = latency_seen_ms(promise, seen)
    predicted = interval(promise, account.items)
    model_ms = promise.plan.latency_ms.value
    throughput = account.items / seen.duration_s
    return Judged(
        latency_ms=predicted,
        latency_seen_ms=seen_ms,
        latency_error_ratio=abs(predicted.value - seen_ms) / max(seen_ms, 1e-9),
        residual=log(max(seen_ms, 1e-9) / model_ms) if model_ms > 0.0 else 0.0,
        throughput_seen_per_s=throughput,
        throughput_error_ratio=abs(promise.rate_per_s - throughput) / max(throughput, 1e-9),
        within=predicted.low <= seen_ms <= predicted.high,
        half_width_ratio=(predicted.high - predicted.low) / 2.0 / predicted.value,
        slo_probability_ratio=slo_probability_ratio(promise, account.items, seen.scored),
        slo_met=_met(promise, seen, seen_ms),
    )


def latency_seen_ms(promise: planner_pb2.Promise, seen: planner_pb2.Seen) -> float:
    """The percentile of latency that was seen; what was dropped or failed counts as slower than all that came back."""
    latency_ms = Sketch.of(seen.latency_ms)
    if not latency_ms.count:
        return 0.0
    lost = seen.dropped + seen.failed
    share = percentile_ratio(promise) * (latency_ms.count + lost) / latency_ms.count
    if share <= 1.0 + 1e-9:
        return latency_ms.quantile(share)
    # Too many are lost for the percentile to be any latency: it is above the bound, by how much nobody knows.
    return max(latency_ms.max, promise.slo.latency_ms * (1.0 + 2.0 * RELATIVE_ERROR))


def _met(promise: planner_pb2.Promise, seen: planner_pb2.Seen, seen_ms: float) -> bool:
    slo = promise.slo
    in_time = not slo.HasField("latency_ms") or seen_ms <= slo.latency_ms
    bound = slo.accuracy_ratio - slo.accuracy_margin_ratio
    lost = seen.dropped + seen.failed
    right = not slo.HasField("accuracy_ratio") or not seen.scored or seen.score_sum >= bound * (seen.scored + lost)
    cheap = not slo.HasField("cost_per_h") or promise.plan.cost_per_h <= slo.cost_per_h * (1.0 + 1e-9)
    return in_time and right and cheap


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What one judged account says of the model: log(seen / said), and the variance of that which is of its items."""

    promise: planner_pb2.Promise
    residual: float
    sampling: float


def residuals(accounts: Iterable[Account]) -> tuple[Residual, ...]:
    """Those of the accounts that are not open, in their order."""
    return tuple(
        Residual(
            promise=account.promise,
            residual=judge(account).residual,
            sampling=account.promise.sampling_ratio**2 / account.items,
        )
        for account in accounts
        if not account.open
    )


def belief(
    known: Sequence[Residual], pipeline_id: str, service_ratio: Mapping[ServicePlace, float] = MappingProxyType({})
) -> Belief:
    """What these, oldest first, say of the next promise of a pipeline.

    A pipeline that has few is helped by the others': theirs count for a quarter. ``service_ratio``: the corrections
    that the next promise's service times have in them; what they mend is no bias any more.
    """
    weighed: list[tuple[float, float, float]] = []
    for age, one in enumerate(reversed(known)):
        weight = AGEING_RATIO**age * (1.0 if one.promise.pipeline_id == pipeline_id else 0.25)
        residual = one.residual - log(_mended_ratio(one.promise, service_ratio))
        weighed.append((weight, residual, one.sampling))
    total = sum(weight for weight, _, _ in weighed)
    middle = _median([(residual, weight) for weight, residual, _ in weighed])
    distance = _median([(abs(residual - middle), weight) for weight, residual, _ in weighed])
    scale = max(PRIOR_SPREAD_RATIO, _MAD_RATIO * distance)
    clipped = sum(weight * _within(residual, middle, _CLIP_DEVIATIONS * scale) for weight, residual, _ in weighed)
    bias = min(log(MOST_FACTOR), max(log(LEAST_FACTOR), clipped / (total + PRIOR_BIAS_WEIGHT)))
    # What the items that happened to come did is no fault of the model.
    most = (_SPREAD_CLIP_DEVIATIONS * scale) ** 2
    squares = sum(
        weight * min(most, max(0.0, (residual - bias) ** 2 - sampling)) for weight, residual, sampling in weighed
    )
    freedom = PRIOR_WEIGHT + total
    spread = sqrt((PRIOR_WEIGHT * PRIOR_SPREAD_RATIO**2 + squares) / freedom)
    return Belief(bias_ratio=exp(bias), spread_ratio=spread, freedom=freedom)


def _mended_ratio(promise: planner_pb2.Promise, service_ratio: Mapping[ServicePlace, float]) -> float:
    """What the model would say of the promise's latency with these corrections, over what it said."""
    service_ms = mended_ms = 0.0
    for one in promise.operators:
        place = (PipelineId(promise.pipeline_id), OperatorId(one.operator_id), DeviceId(one.device_id))
        mine_ms = one.service_ms.value * one.share_ratio
        service_ms += mine_ms
        mended_ms += mine_ms * service_ratio.get(place, 1.0) / (one.corrected_ratio or 1.0)
    if service_ms <= 0.0:
        return 1.0
    # The rest of a latency is transfers.
    part = min(1.0, service_ms / max(promise.plan.latency_p50_ms, 1e-9)) if promise.plan.latency_p50_ms > 0.0 else 1.0
    return 1.0 + part * (mended_ms / service_ms - 1.0)


def corrections(accounts: Iterable[Account]) -> Corrections:
    """Factors on profiled service times by operator and device, from accounts, oldest first."""
    found: dict[ServicePlace, _Ratios] = {}
    # What a provisional plan says of times is no profile of the device.
    for age, account in enumerate(one for one in reversed(list(accounts)) if not one.provisional):
        promised = {(one.operator_id, one.device_id): one for one in account.promise.operators}
        for one in account.seen.operators:
            said = promised.get((one.operator_id, one.device_id))
            mean_ms = one.service_ms.sum / one.items if one.items else 0.0
            if said is None or said.service_ms.value <= 0.0 or mean_ms <= 0.0:
                continue
            place = (PipelineId(account.promise.pipeline_id), OperatorId(one.operator_id), DeviceId(one.device_id))
            entry = found.setdefault(place, _Ratios())
            weight = AGEING_RATIO**age * min(float(one.items), MOST_ITEMS)
            # The promise was corrected already: what counts is how far off the profile is.
            entry.logs.append((log(mean_ms / said.service_ms.value * (said.corrected_ratio or 1.0)), weight))
            entry.items += one.items
    places = sorted(found)
    return Corrections(
        service_ratio={place: _factor(found[place].logs) for place in places},
        items={place: found[place].items for place in places},
        accounts={place: len(found[place].logs) for place in places},
    )


def _factor(logs: Sequence[tuple[float, float]]) -> float:
    """The correction that logarithms and their weights say, drawn to none."""
    middle = _median(logs)
    total = sum(weight for _, weight in logs)
    mean = sum(weight * _within(one, middle, _SERVICE_CLIP_LOG) for one, weight in logs) / (total + PRIOR_ITEMS)
    return min(MOST_FACTOR, max(LEAST_FACTOR, exp(mean)))


def _within(value: float, middle: float, most: float) -> float:
    return min(middle + most, max(middle - most, value))


def _median(weighed: Sequence[tuple[float, float]]) -> float:
    """The weighted median of values with their weights; between two in the middle, their mean; 0 of none."""
    half, seen = sum(weight for _, weight in weighed) / 2.0, 0.0
    ordered = sorted(weighed)
    for at, (value, weight) in enumerate(ordered):
        seen += weight
        if seen > half * (1.0 + 1e-9):
            return value
        if seen >= half * (1.0 - 1e-9):
            return (value + ordered[min(at + 1, len(ordered) - 1)][0]) / 2.0
    return 0.0


def calibration(accounts: Sequence[Account]) -> planner_pb2.Calibration:
    """How good the promises of these accounts, oldest first, were; accounts that are open don't count."""
    judged = [judge(account) for account in accounts if not account.open]
    operators = [one for account in accounts if not account.open for one in _operators(account)]
    found = planner_pb2.Calibration(accounts=len(judged), operator_accounts=len(operators))
    if judged:
        found.latency_error_median_ratio = median(one.latency_error_ratio for one in judged)
        found.throughput_error_median_ratio = median(one.throughput_error_ratio for one in judged)
        found.coverage_ratio = sum(one.within for one in judged) / len(judged)
        found.half_width_median_ratio = median(one.half_width_ratio for one in judged)
        found.brier = brier([(one.slo_probability_ratio, one.slo_met) for one in judged])
        found.reliability.extend(reliability([(one.slo_probability_ratio, one.slo_met) for one in judged]))
    if operators:
        found.service_error_median_ratio = median(error for error, _ in operators)
        found.service_coverage_ratio = sum(within for _, within in operators) / len(operators)
    told = corrections(accounts)
    for (pipeline_id, operator_id, device_id), ratio in told.service_ratio.items():
        found.corrections.add(
            pipeline_id=pipeline_id,
            operator_id=operator_id,
            device_id=device_id,
            ratio=ratio,
            items=told.items[pipeline_id, operator_id, device_id],
        )
    return found


def _operators(account: Account) -> list[tuple[float, bool]]:
    """Relative error of each operator's mean service time, and whether its interval held."""
    promised = {(one.operator_id, one.device_id): one for one in account.promise.operators}
    found = []
    for one in account.seen.operators:
        said = promised.get((one.operator_id, one.device_id))
        if said is not None and one.items >= LEAST_ITEMS:
            mean_ms = Sketch.of(one.service_ms).mean
            off = abs(said.service_ms.value - mean_ms) / max(mean_ms, 1e-9)
            found.append((off, said.service_ms.low <= mean_ms <= said.service_ms.high))
    return found


def brier(forecasts: Sequence[tuple[float, bool]]) -> float:
    """Mean squared distance of probabilities from what came (G. W. Brier, 1950); 0 is perfect."""
    return sum((probability - met) ** 2 for probability, met in forecasts) / len(forecasts)


def reliability(forecasts: Sequence[tuple[float, bool]]) -> list[planner_pb2.ReliabilityBin]:
    """Bins of P(SLO) that have any forecasts: the mean forecast beside how often it came."""
    found = []
    for low, high in pairwise(BINS):
        last = high == BINS[-1]
        inside = [(p, met) for p, met in forecasts if low <= p < high or (last and p >= high)]
        if inside:
            found.append(
                planner_pb2.ReliabilityBin(
                    low_ratio=low,
                    high_ratio=high,
                    count=len(inside),
                    probability_mean_ratio=sum(p for p, _ in inside) / len(inside),
                    met_ratio=sum(met for _, met in inside) / len(inside),
                )
            )
    return found
