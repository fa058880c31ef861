"""What a method knew at each time: its selection's figures and its bounds. PURE."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

#: Where curves are read.
TIMES_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """From this time on. ``bound_per_s``: the method's own; ``linear_per_s``: of the linear programme over all plans.

    Infinite bounds and a cost bound of 0: nothing is known yet.
    """

    elapsed_s: float
    goodput_per_s: float
    cost_per_h: float
    bound_per_s: float = inf
    linear_per_s: float = inf
    cost_bound_per_h: float = 0.0

    @property
    def gap_ratio(self) -> float:
        """Of goodput to the method's own bound."""
        return gap(self.goodput_per_s, self.bound_per_s)

    @property
    def linear_gap_ratio(self) -> float:
        """Of goodput to the plain linear bound."""
        return gap(self.goodput_per_s, self.linear_per_s)

    @property
    def cost_gap_ratio(self) -> float:
        """Of cost to its bound at this goodput; 1: no bound is known, or no selection."""
        if self.goodput_per_s <= 0.0:
            return 1.0
        return (self.cost_per_h - self.cost_bound_per_h) / self.cost_per_h if self.cost_per_h > 0.0 else 0.0


def gap(goodput_per_s: float, bound_per_s: float) -> float:
    """How far below a bound, in parts of it; 1: there is no bound."""
    if bound_per_s == inf:
        return 1.0
    return (bound_per_s - goodput_per_s) / bound_per_s if bound_per_s > 0.0 else 0.0


def at(points: Sequence[Point], elapsed_s: float) -> Point:
    """What was known then; before anything was: no goodput, no bound."""
    place = bisect_right([point.elapsed_s for point in points], elapsed_s)
    return points[place - 1] if place else Point(elapsed_s=0.0, goodput_per_s=0.0, cost_per_h=0.0)


def first(points: Sequence[Point], gap_ratio: float, of: Callable[[Point], float]) -> float:
    """Seconds until a gap is at most so much; infinite: it never was."""
    return next((point.elapsed_s for point in points if of(point) <= gap_ratio), inf)


def thinned(points: Sequence[Point], most: int = 120) -> tuple[Point, ...]:
    """The last point before each of many times, closer together at the beginning; where curves are read, exact."""
    if not points:
        return ()
    last_s = max(points[-1].elapsed_s, 0.02)
    times = np.unique(np.concatenate([np.geomspace(0.01, last_s, most), [one for one in TIMES_S if one < last_s]]))
    found: dict[float, Point] = {points[0].elapsed_s: points[0], points[-1].elapsed_s: points[-1]}
    for elapsed_s in times.tolist():
        point = at(points, elapsed_s)
        if point.elapsed_s > 0.0:
            found[point.elapsed_s] = point
    return tuple(found[key] for key in sorted(found))
