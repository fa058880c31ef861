"""VideoStorm-like: hill climbs to a Pareto set of quality against demand, then increments of resources. PURE.

H. Zhang et al., Live Video Analytics at Scale with Approximation and Delay-Tolerance, NSDI 2017. The profiler climbs
from random configurations along single knobs, on quality less beta times demand, for several beta, and keeps the Pareto
set of what it saw. The scheduler gives the next increment of resources to the best marginal utility of quality and lag:
of a single query, to that query, until its goals are met. Reinforced: the dominant demand over tiers and links (C.-C.
Hung et al., VideoEdge, SEC 2018), a band about the Pareto set, and our test. Equal prefixes are merged by the meter.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from cloud_planner.baselines.knob_grid import KnobGrid
from cloud_planner.baselines.plan_space import CAP_RATIO, Figures, PlanSpace
from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.baselines.verdict import SLACK, Certifier, bound_of, mean_score, sample_count
from cloud_planner.core.estimate import Array


def dominant_demand(space: PlanSpace, figures: Figures) -> float:
    """The largest part that a configuration takes of any tier's cores or link's bandwidth, where it takes least.

    Of all plans' placements, the one is meant that minimises it; shares are no matter.
    """
    rate = space.rate_per_s
    places = np.unique(space.place, axis=0)
    most = np.zeros(len(places))
    speed = np.array([tier.speed_ratio for tier in space.tiers])
    cores = rate * figures.mean_ms / 1e3 / CAP_RATIO / speed[places]
    for number, tier in enumerate(space.tiers):
        most = np.maximum(most, np.sum(np.where(places == number, cores, 0.0), axis=1) / tier.cores)
        traffic = np.zeros(len(places))
        for at, inputs in enumerate(space.shape.inputs):
            for before in inputs:
                low = np.zeros(len(places), dtype=np.intp) if before < 0 else places[:, before]
                size = figures.source_bytes if before < 0 else float(figures.output_bytes[before])
                traffic += size * 8.0 * rate * ((low < number) & (places[:, at] >= number))
        most = np.maximum(most, traffic / (CAP_RATIO * tier.bandwidth_bit_per_s))
    return float(most.min())


class _Climber:
    """Profiles configurations as the climbs come to them."""

    def __init__(self, task: Task, count: int, *, over_tiers: bool) -> None:
        self.task, self.count, self.over_tiers = task, count, over_tiers
        self.grid = KnobGrid(task.meter.table.configurations)
        self.quality: dict[int, float] = {}
        self.demand: dict[int, float] = {}

    def profile(self, index: int) -> None:
        """Quality and demand of a configuration."""
        if index in self.quality:
            return
        self.quality[index] = mean_score(self.task, index, self.count)
        figures = self.task.meter.all_figures()[index]
        space = self.task.book.space
        self.demand[index] = dominant_demand(space, figures) if self.over_tiers else float(figures.mean_ms.sum())

    def climb(self, start: int, beta: float) -> None:
        """To a configuration that no single knob makes better."""
        self.profile(start)
        here, moved = start, True
        while moved:
            moved = False
            for other in self.task.rng.permutation(self.grid.neighbours(here)):
                self.profile(int(other))
                # Demand is in units of the largest that was seen.
                unit = max(max(self.demand.values()), 1e-12)
                gain = self.quality[int(other)] - self.quality[here]
                if gain - beta * (self.demand[int(other)] - self.demand[here]) / unit > SLACK:
                    here, moved = int(other), True
                    break

    def pareto(self, band_ratio: float) -> list[int]:
        """Those to which no other is better in quality and demand by more than a band."""
        seen = np.array(sorted(self.quality), dtype=np.intp)
        quality = np.array([self.quality[int(index)] for index in seen])
        demand = np.array([self.demand[int(index)] for index in seen])
        better = (quality[None, :] >= quality[:, None] + band_ratio) & (
            demand[None, :] <= demand[:, None] * (1.0 - band_ratio)
        )
        better &= (quality[None, :] > quality[:, None]) | (demand[None, :] < demand[:, None])
        return [int(index) for index in seen[~better.any(axis=1)]]


def allocate(task: Task, quality: dict[int, float], candidates: list[int], step_ratio: float) -> Found:
    """Increments of money until quality and lag meet their goals: the answer; refuses when nothing is left to give.

    The first increment pays for the cheapest plan, each further one is ``step_ratio`` of what there is. At each, the
    configuration and plan with the best utility are held: no shortfall of quality and lag, or the least.
    """
    slo = task.slo
    goal, lag_goal = slo.accuracy_ratio or 0.0, slo.latency_ms if slo.latency_ms is not None else inf
    figures = task.meter.all_figures()
    scored = task.book.space.score([figures[index] for index in candidates])
    cost = np.array([one.cost_per_h for one in scored])
    short = np.array([max(0.0, goal - quality[index] - SLACK) / max(goal, SLACK) for index in candidates])
    lag = np.array([one.latency_ms for one in scored])
    late = np.maximum(0.0, lag / lag_goal - 1.0 - SLACK) if lag_goal < inf else np.where(np.isfinite(lag), 0.0, inf)
    utility: Array = -(short[:, None] + late)
    most = min(float(cost.max()), slo.cost_per_h * (1.0 + SLACK) if slo.cost_per_h is not None else inf)
    given = float(cost.min())
    while utility[cost <= min(given, most)].max(initial=-inf) < 0.0:
        if given >= most:
            return REFUSED
        given = max(given * (1.0 + step_ratio), given + 1e-12)
    given = min(given, most)
    # Within the last increment it holds the cheapest plan of the best utility.
    row, plan = np.unravel_index(int(np.argmin(np.where((cost <= given) & (utility >= 0.0), cost, inf))), cost.shape)
    return Found(configuration=candidates[int(row)], plan=int(plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStorm:
    """``starts`` random configurations, from each a climb for each of ``betas``, on ``samples_ratio`` of the pool."""

    starts: int
    samples_ratio: float
    betas: tuple[float, ...] = (0.1, 0.5, 2.0)
    step_ratio: float = 0.05

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "videostorm"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        climber = _climbed(task, self.starts, self.samples_ratio, self.betas, over_tiers=False)
        return allocate(task, climber.quality, climber.pareto(0.0), self.step_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcedVideoStorm:
    """The same on VideoEdge's demand; what is about its Pareto set is tested from the cheapest on, till one holds.

    ``margin_ratio``: a configuration whose mean score is lower than the bound by more isn't tested.
    """

    starts: int
    samples_ratio: float
    betas: tuple[float, ...] = (0.1, 0.5, 2.0)
    band_ratio: float = 0.05
    margin_ratio: float = 0.05
    level: float = 0.05
    miss_level: float = 0.02

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "videostorm reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        climber = _climbed(task, self.starts, self.samples_ratio, self.betas, over_tiers=True)
        certifier = Certifier(task, level=self.level, miss_level=self.miss_level)
        least = bound_of(task) - self.margin_ratio
        band = [index for index in climber.pareto(self.band_ratio) if climber.quality[index] >= least]
        cost, _ = task.book.costs()
        return certifier.decide_all(sorted(band, key=lambda index: (cost[index], index)))


def _climbed(task: Task, starts: int, samples_ratio: float, betas: tuple[float, ...], *, over_tiers: bool) -> _Climber:
    climber = _Climber(task, sample_count(task.meter.pool, samples_ratio), over_tiers=over_tiers)
    for start in task.rng.permutation(task.meter.count)[:starts]:
        for beta in betas:
            climber.climb(int(start), beta)
    return climber


def settings() -> tuple[VideoStorm, ...]:
    """From one climb on few samples to many on the whole pool."""
    return tuple(
        VideoStorm(starts=starts, samples_ratio=ratio)
        for starts, ratio in ((1, 0.1), (2, 0.1), (2, 0.25), (3, 0.25), (3, 0.5), (5, 0.5), (5, 1.0), (12, 1.0))
    )


def reinforced_settings() -> tuple[ReinforcedVideoStorm, ...]:
    """From one climb on few samples to many."""
    return tuple(
        ReinforcedVideoStorm(starts=starts, samples_ratio=ratio, betas=betas)
        for starts, ratio, betas in (
            (1, 0.02, (0.5,)),
            (1, 0.04, (0.1, 1.0)),
            (2, 0.04, (0.1, 0.5, 2.0)),
            (2, 0.08, (0.1, 0.5, 2.0)),
            (3, 0.1, (0.1, 0.5, 2.0)),
            (5, 0.15, (0.1, 0.5, 2.0)),
            (12, 0.25, (0.1, 0.5, 2.0)),
        )
    )
