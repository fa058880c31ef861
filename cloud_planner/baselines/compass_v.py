"""Compass-V-like: all configurations that are accurate enough, found along knobs, then the cheapest. PURE.

M. Gravara et al., Compass: Optimizing Compound AI Workflows for Dynamic Adaptation, CCGrid 2026 (another system than
ours of that name). A Latin hypercube of configurations to start with; from what is not accurate enough, finite
differences along knobs lead up to the boundary (hill climbing); from what is, all neighbours are looked at (lateral
expansion). A configuration is sampled until Wilson's interval leaves the bound outside. Reinforced: our test in place
of that interval, which may not be looked at again and again, and no look at what can't be cheaper than what is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import ndtri

from cloud_planner.baselines.knob_grid import KnobGrid
from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import SLACK, Certifier, bound_of, cheapest, sample_count


def wilson_interval(mean: float, count: int, confidence_ratio: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion (E. B. Wilson, JASA 1927), here also of means of scores in 0..1."""
    z = float(ndtri(0.5 + confidence_ratio / 2.0))
    weight = 1.0 + z * z / count
    centre = (mean + z * z / (2.0 * count)) / weight
    half = z / weight * sqrt(max(0.0, mean * (1.0 - mean) / count + z * z / (4.0 * count * count)))
    return centre - half, centre + half


class _Boundary:
    """The walk; ``evaluate`` gives a configuration's mean score and whether it is accurate enough."""

    def __init__(
        self,
        grid: KnobGrid,
        evaluate: Callable[[int], tuple[float, bool]],
        worthwhile: Callable[[int], bool],
        probes: int,
    ) -> None:
        self.grid, self.evaluate, self.worthwhile, self.left = grid, evaluate, worthwhile, probes
        self.mean: dict[int, float] = {}
        self.feasible: list[int] = []

    def look(self, index: int) -> None:
        """Evaluates a configuration, once, while there are probes left."""
        if index in self.mean or self.left <= 0 or not self.worthwhile(index):
            return
        self.left -= 1
        self.mean[index], accurate = self.evaluate(index)
        if accurate:
            self.feasible.append(index)

    def walk(self, starts: list[int]) -> None:
        """From all starts, up to the boundary and along it."""
        for start in starts:
            self.look(start)
        for start in starts:
            if start in self.mean and start not in self.feasible:
                self.climb(start)
        before = -1
        # What isn't worthwhile now may be later, so all are gone through until nothing new is looked at.
        while before != self.left:
            before = self.left
            for at in self.feasible:
                for other in self.grid.neighbours(at):
                    self.look(int(other))

    def climb(self, start: int) -> None:
        """Steps of one knob, those with the steepest expected rise first, until the bound is met or nothing rises."""
        here = start
        while self.left > 0 and here not in self.feasible:
            around = [int(index) for index in self.grid.neighbours(here)]
            known = [index for index in around if index in self.mean]
            unknown = sorted(
                (index for index in around if index not in self.mean and self.worthwhile(index)),
                key=lambda index: (-self.expected_rise(here, index), index),
            )
            better = max(known, key=lambda index: (self.mean[index], -index), default=here)
            for index in unknown:
                self.look(index)
                if index in self.mean and self.mean[index] > self.mean[better]:
                    better = index
                    break
            if better == here or self.mean[better] <= self.mean[here]:
                return
            here = better

    def expected_rise(self, here: int, other: int) -> float:
        """Finite differences of evaluated pairs along the same knob, the nearer the heavier; unknown: a little."""
        levels, knob = self.grid.levels, self.grid.knob_between(here, other)
        ordinal = bool(self.grid.ordinal[knob])
        step = int(levels[other, knob] - levels[here, knob])
        rise = weight = 0.0
        for one, mean in self.mean.items():
            for pair in self.grid.others(one):
                if int(pair) not in self.mean or self.grid.knob_between(one, int(pair)) != knob:
                    continue
                if ordinal:
                    across = int(levels[pair, knob] - levels[one, knob])
                    slope = (self.mean[int(pair)] - mean) / across * step
                elif levels[one, knob] == levels[here, knob] and levels[pair, knob] == levels[other, knob]:
                    slope = self.mean[int(pair)] - mean
                else:
                    continue
                near = 1.0 / (1.0 + float(self.grid.distance[here, one]))
                rise, weight = rise + near * slope, weight + near
        return rise / weight if weight else SLACK


@dataclass(frozen=True, slots=True, kw_only=True)
class CompassV:
    """``starts`` points of a hypercube, ``probes`` evaluations in all, each of at most ``samples_ratio`` of the pool.

    ``confidence_ratio``: of Wilson's interval, which is looked at after every ``batch`` samples.
    """

    probes: int
    samples_ratio: float
    starts: int = 6
    confidence_ratio: float = 0.95
    batch: int = 8

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "compass-v"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        bound, most = bound_of(task), sample_count(task.meter.pool, self.samples_ratio)

        def evaluate(index: int) -> tuple[float, bool]:
            count = 0
            while True:
                count = min(most, count + self.batch)
                mean = float(task.meter.run(index, np.arange(count)).mean())
                low, high = wilson_interval(mean, count, self.confidence_ratio)
                if low >= bound or high < bound or count >= most:
                    return mean, mean >= bound - SLACK

        grid = KnobGrid(task.meter.table.configurations)
        boundary = _Boundary(grid, evaluate, lambda _: True, self.probes)
        boundary.walk(grid.hypercube(self.starts, task.rng))
        return cheapest(task, boundary.feasible)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcedCompassV:
    """Our test decides each configuration, and none is looked at that would be dearer than what is proven."""

    probes: int
    starts: int = 6
    level: float = 0.05
    miss_level: float = 0.05

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "compass-v reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        certifier = Certifier(task, level=self.level, miss_level=self.miss_level)

        def evaluate(index: int) -> tuple[float, bool]:
            proven = certifier.decide(index)
            known = certifier.scores[index]
            return (float(known.mean()) if len(known) else 1.0), proven

        grid = KnobGrid(task.meter.table.configurations)
        cost, _ = task.book.costs()
        starts = sorted(grid.hypercube(self.starts, task.rng), key=lambda index: (cost[index], index))
        boundary = _Boundary(grid, evaluate, certifier.promising, self.probes)
        boundary.walk(starts)
        return certifier.answer()


def settings() -> tuple[CompassV, ...]:
    """From a few probes of few samples to all configurations on the whole pool."""
    return tuple(
        CompassV(probes=probes, starts=starts, samples_ratio=ratio, confidence_ratio=confidence)
        for probes, starts, ratio, confidence in (
            (8, 4, 0.1, 0.9),
            (12, 6, 0.25, 0.9),
            (20, 6, 0.25, 0.95),
            (20, 8, 0.5, 0.95),
            (40, 8, 0.5, 0.95),
            (40, 8, 1.0, 0.99),
            (200, 12, 1.0, 0.99),
            (200, 12, 1.0, 0.999),
        )
    )


def reinforced_settings() -> tuple[ReinforcedCompassV, ...]:
    """From a few probes to all configurations."""
    return tuple(
        ReinforcedCompassV(probes=probes, starts=starts)
        for probes, starts in ((4, 3), (6, 4), (10, 6), (15, 6), (25, 8), (40, 8), (200, 12))
    )
