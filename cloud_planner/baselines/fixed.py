"""No choice of tier, or no choice of configuration: all on the edge, all in the cloud, the best in hindsight. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud_planner.baselines.plan_space import PlanSpace, Scored
from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.baselines.verdict import SLACK, accurate, bound_of, cheapest_plan
from cloud_planner.baselines.world import true_figures


def on_one_tier(space: PlanSpace, scored: Scored, tier: int | None = None) -> Scored:
    """The same plans, where those that use another tier (None: more than one) are not possible."""
    wanted = space.place[:, :1] if tier is None else np.full((1, 1), tier % len(space.tiers))
    stays = np.all(space.place == wanted, axis=1)
    return Scored(cost_per_h=scored.cost_per_h, latency_ms=np.where(stays, scored.latency_ms, np.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTier:
    """Every configuration on ``samples_ratio`` of the pool, and the cheapest that can stand on one tier.

    ``tier``: 0 is where the source is, -1 the last.
    """

    tier: int
    samples_ratio: float

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "all edge" if self.tier == 0 else "all cloud"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        book = task.book
        found = accurate(task, range(task.meter.count), self.samples_ratio)
        return cheapest_plan(
            ((index, on_one_tier(book.space, book.scored(index), self.tier)) for index in found), task.slo
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BestStatic:
    """One configuration for all queries, chosen in hindsight, so its times are known; nothing is profiled.

    It refuses where no plan of the configuration meets the bounds on latency and cost. Of accuracy it knows nothing.
    """

    configuration: int

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "best static"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        scored = task.book.space.score([true_figures(task.meter.table, self.configuration)])[0]
        plan = scored.best(task.slo)
        return REFUSED if plan is None else Found(configuration=self.configuration, plan=plan)


def best_static(tasks: Sequence[Task]) -> BestStatic:
    """The configuration that truly meets the SLOs of most tasks; of several the one that is cheapest on the whole."""
    count = tasks[0].meter.count
    meets, cost = np.zeros(count), np.zeros(count)
    for task in tasks:
        table = task.meter.table
        meets_bound = table.scores.mean(axis=0) >= bound_of(task) - SLACK
        scored = task.book.space.score([true_figures(table, index) for index in range(count)])
        for index, one in enumerate(scored):
            plan = one.best(task.slo)
            if plan is not None and meets_bound[index]:
                meets[index] += 1.0
                cost[index] += float(one.cost_per_h[plan])
    mean_cost = cost / np.maximum(meets, 1.0)
    return BestStatic(configuration=int(np.lexsort((np.arange(count), mean_cost, -meets))[0]))


def edge_settings() -> tuple[OneTier, ...]:
    """All on the first tier, from few samples to the whole pool."""
    return tuple(OneTier(tier=0, samples_ratio=ratio) for ratio in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0))


def cloud_settings() -> tuple[OneTier, ...]:
    """All on the last tier, from few samples to the whole pool."""
    return tuple(OneTier(tier=-1, samples_ratio=ratio) for ratio in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0))


def settings() -> tuple[OneTier, ...]:
    """Both tiers; the best static configuration comes from ``best_static``."""
    return edge_settings() + cloud_settings()
