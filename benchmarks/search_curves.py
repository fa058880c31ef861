"""Means over queries by seed, their intervals, and curves of seconds against regret with the ratio at equal regret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, nan
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student
from search_queries import CLOUD_PER_CORE_H, SLACK
from search_runs import FIGURES, Line

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Settings with more violations, or that refuse more of the feasible queries, are on no curve.
MOST_VIOLATIONS = 0.01
LEAST_RECALL = 0.95
#: Regret levels that two curves are compared at.
LEVELS = 16
#: Profile processes that run side by side, for response times.
PARALLEL = 2
RESAMPLES = 400


def figures_of(line: Line, chosen: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Means of one run over its queries, or over some of them; nan: of none.

    ``violations`` are of answers; ``recall``, ``late`` and ``dear`` of feasible queries; ``false_admits`` of others.
    """
    take = np.ones(len(line.rows), dtype=bool) if chosen is None else chosen
    if not take.any():
        return {}
    rows = np.array([[nan if value is None else value for value in row] for row in line.rows])[take]
    of = {name: rows[:, place] for place, name in enumerate(FIGURES)}
    feasible, exhaustive = np.array(line.feasible)[take], np.array(line.exhaustive_s)[take]
    answered = of["answered"] > 0
    response = of["cpu_s"] + of["seconds"] / PARALLEL
    short = of["test_gap"] < -SLACK
    return {
        "seconds": float(of["seconds"].mean()),
        "median_s": float(np.median(of["seconds"])),
        "uncached_s": float(of["uncached_s"].mean()),
        "money": float(of["seconds"].mean()) * CLOUD_PER_CORE_H / 3600.0,
        "executions": float(of["executions"].mean()),
        "median_executions": float(np.median(of["executions"])),
        "runs": float(of["runs"].mean()),
        "executions_ratio": float(of["executions"].sum()) / sum(np.array(line.full_executions)[take]),
        "exhaustive_s": float(exhaustive.mean()),
        "seconds_ratio": float(of["seconds"].sum() / exhaustive.sum()),
        "cpu_s": float(of["cpu_s"].mean()),
        "response_p50_s": float(np.quantile(response, 0.5)),
        "response_p99_s": float(np.quantile(response, 0.99)),
        "regret": _mean(of["regret"][feasible & np.isfinite(of["regret"])]),
        "violations": _mean(of["accuracy_gap"][answered] < -SLACK),
        "shortfalls": _mean(short[answered]),
        "shortfall_ratio": _mean(-of["test_gap"][answered & short]),
        "late": _mean(of["late"][answered & feasible]),
        "dear": _mean(of["dear"][answered & feasible]),
        "recall": _mean(answered[feasible]),
        "false_admits": _mean(answered[~feasible]),
        "feasible": float(feasible.mean()),
    }


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A mean over seeds with half the width of its 95% interval (nan: of one seed)."""

    mean: float
    half: float


def spread(values: Iterable[float]) -> Spread:
    """Of one value for each seed, by Student's t."""
    there = np.array([value for value in values if value == value], dtype=float)
    if not len(there):
        return Spread(mean=nan, half=nan)
    if len(there) < 2:
        return Spread(mean=float(there.mean()), half=nan)
    half = float(student.ppf(0.975, len(there) - 1)) * float(there.std(ddof=1)) / len(there) ** 0.5
    return Spread(mean=float(there.mean()), half=half)


def ratio_spread(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean of paired ratios with its 95% interval; what is zero has no ratio."""
    logs = spread(log(one / other) for one, other in zip(above, below, strict=True) if one > 0.0 and other > 0.0)
    return exp(logs.mean), exp(logs.mean - logs.half), exp(logs.mean + logs.half)


# Curves


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A setting: what it takes and what it gives."""

    setting: str
    seconds: float
    regret: float
    violations: float = 0.0
    recall: float = 1.0

    @property
    def sound(self) -> bool:
        """Whether it keeps what is asked of all."""
        return self.violations <= MOST_VIOLATIONS and self.recall >= LEAST_RECALL and self.regret == self.regret


def sound_points(points: Sequence[Point]) -> tuple[list[Point], str]:
    """The settings that a method is compared by, and what is to be said of them where none is sound."""
    sound = [point for point in points if point.sound]
    if sound:
        return sound, ""
    honest = [point for point in points if point.violations <= MOST_VIOLATIONS and point.regret == point.regret]
    if honest:
        best = max(honest, key=lambda point: (point.recall, -point.seconds))
        return [best], f"refuses {1 - best.recall:.0%} of feasible queries at its best"
    best = min(points, key=lambda point: (point.violations, point.seconds))
    return [best], f"violates {best.violations:.0%} at its best"


def hull(points: Sequence[Point]) -> list[Point]:
    """The lower left of the convex hull in regret and log seconds, by rising regret and falling seconds."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.regret, point.seconds)):
        if front and point.seconds >= front[-1].seconds:
            continue
        while len(front) >= 2 and _above(front[-2], front[-1], point):
            front.pop()
        front.append(point)
    return front


def _above(left: Point, middle: Point, right: Point) -> bool:
    """Whether the middle lies on or above the line between the others."""
    part = (middle.regret - left.regret) / (right.regret - left.regret)
    return _log(middle) >= _log(left) + part * (_log(right) - _log(left))


def _log(point: Point) -> float:
    return log(max(point.seconds, 1e-6))


def seconds_at(curve: Sequence[Point], regret: float) -> float:
    """Seconds that a hull needs for at most this regret; inf: it does not reach it."""
    if not curve or regret < curve[0].regret - SLACK:
        return inf
    return exp(float(np.interp(regret, [point.regret for point in curve], [_log(point) for point in curve])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A rival's seconds over ours at equal regret: the geometric mean over levels from ``low`` to ``high``."""

    ratio: float
    low: float
    high: float
    note: str


def compare(ours: Sequence[Point], rival: Sequence[Point]) -> Compared:
    """Over the regrets that lie on both hulls; where there are none, at those of the worse hull."""
    mine, of_ours = sound_points(ours)
    theirs, note = sound_points(rival)
    note = f"{note}; ours {of_ours}".removeprefix("; ") if of_ours else note
    one, other = hull(mine), hull(theirs)
    if not one or not other:
        return Compared(ratio=nan, low=nan, high=nan, note=note or "no regret to compare")
    low = max(one[0].regret, other[0].regret)
    high = min(one[-1].regret, other[-1].regret)
    if high < low:
        high = max(one[-1].regret, other[-1].regret)
        note = f"{note}; no common regret" if note else "no common regret"
    levels = np.linspace(low, high, LEVELS)
    logs = [log(seconds_at(other, level) / seconds_at(one, level)) for level in levels]
    return Compared(ratio=exp(float(np.mean(logs))), low=low, high=high, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A method's settings with their figures by seed: setting, figure, seeds."""

    method: str
    settings: Mapping[str, Mapping[str, Sequence[float]]]

    def points(self, seeds: Sequence[int] | None = None) -> list[Point]:
        """Means over seeds, or over a resample of them."""
        found = []
        for setting, figures in self.settings.items():
            of = {
                name: float(np.nanmean(np.array(figures[name])[seeds] if seeds is not None else figures[name]))
                if np.isfinite(figures[name]).any()
                else nan
                for name in ("seconds", "regret", "violations", "recall")
            }
            # Where nothing was answered there is nothing to violate.
            of["violations"] = 0.0 if of["violations"] != of["violations"] else of["violations"]
            found.append(Point(setting=setting, **of))
        return found


def equal_regret(
    ours: Mapping[str, Curve], rival: Mapping[str, Curve], seeds: int
) -> tuple[dict[str, Compared], float, float, float]:
    """By draw; the geometric mean over draws, and its 95% interval from resampled seeds."""
    by_draw = {draw: compare(ours[draw].points(), rival[draw].points()) for draw in ours if draw in rival}
    ratio = _geometric(one.ratio for one in by_draw.values())
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES if seeds > 1 else 0):
        sample = rng.integers(seeds, size=seeds).tolist()
        drawn.append(
            _geometric(compare(ours[draw].points(sample), rival[draw].points(sample)).ratio for draw in by_draw)
        )
    whole = [value for value in drawn if value == value]
    low, high = (float(value) for value in np.quantile(whole, (0.025, 0.975))) if whole else (nan, nan)
    return by_draw, ratio, low, high


def _geometric(values: Iterable[float]) -> float:
    logs = [log(value) for value in values if value == value and value > 0.0]
    return exp(sum(logs) / len(logs)) if logs else nan
