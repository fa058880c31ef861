"""The cheapest plan that truly meets the SLO, from the whole table: a bound, and no competitor. PURE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_planner.baselines.plan_space import PlanSpace
from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import SLACK, bound_of, cheapest_plan
from cloud_planner.baselines.world import true_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Sees every score and every time; charges nothing."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "oracle"

    def __call__(self, task: Task) -> Found:
        """The best answer there is."""
        table, space = task.meter.table, task.book.space
        accurate = np.flatnonzero(table.scores.mean(axis=0) >= bound_of(task) - SLACK)
        scored = space.score([true_figures(table, int(index)) for index in accurate])
        return cheapest_plan(zip(accurate.tolist(), scored, strict=True), task.slo)


def true_standing(task: Task, space: PlanSpace, found: Found) -> tuple[float, float, float]:
    """What an answer truly is: cost per hour, latency in ms (inf: it can't hold the rate), accuracy.

    Raises:
        ValueError: If nothing was found.
    """
    if found.configuration is None or found.plan is None:
        raise ValueError("nothing was found: a refusal has no standing")
    scored = space.score([true_figures(task.meter.table, found.configuration)])[0]
    accuracy = float(task.meter.table.scores[:, found.configuration].mean())
    return float(scored.cost_per_h[found.plan]), float(scored.latency_ms[found.plan]), accuracy


def settings() -> tuple[Oracle, ...]:
    """There is but one."""
    return (Oracle(),)
