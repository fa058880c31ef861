"""IPA-like: an integer program over variants, shares and replicas, all operators on one tier. PURE.

S. Ghafouri et al., IPA: Inference Pipeline Adaptation to Achieve High Accuracy and Cost-Efficiency, 2023. A pipeline's
accuracy is the product of its variants' accuracies, each profiled beforehand; the program takes the cheapest variants,
batches (here: core shares) and replicas that hold the rate within the bounds on latency and accuracy. A configuration's
plans are few enough to be enumerated, which gives the very optimum of the program, so no solver is needed. Reinforced:
tiers in the program, and our beliefs, test and sharing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_planner.baselines.fixed import on_one_tier
from cloud_planner.baselines.profiled_choice import profile, proven_choice
from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.baselines.verdict import SLACK, bound_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipa:
    """``depth`` 0 is the product of the paper; more lets operators before each count (see operator_profile.py).

    ``samples_ratio``: of the pool, for each profiled configuration. ``offline``: the first query's profile is kept for
    all queries of the pipeline, in the task's memory.
    """

    samples_ratio: float
    depth: int = 0
    offline: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "ipa"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        known = profile(task, self.depth, self.samples_ratio, "ipa" if self.offline else None)
        accurate = np.flatnonzero(known.accuracies >= bound_of(task) - SLACK)
        space = task.book.space
        best, best_cost = REFUSED, np.inf
        for index, every in zip(accurate, space.score([known.figures[index] for index in accurate]), strict=True):
            scored = on_one_tier(space, every)
            plan = scored.best(task.slo)
            if plan is not None and scored.cost_per_h[plan] < best_cost:
                best, best_cost = Found(configuration=int(index), plan=plan), float(scored.cost_per_h[plan])
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcedIpa:
    """Tiers in the program; its choice is tested, and the program solved again with what was learnt, till one holds."""

    samples_ratio: float = 0.05
    depth: int = 0
    level: float = 0.05
    miss_level: float = 0.02
    least_ratio: float = 0.02

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "ipa reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        return proven_choice(
            task,
            depth=self.depth,
            samples_ratio=self.samples_ratio,
            level=self.level,
            miss_level=self.miss_level,
            least_ratio=self.least_ratio,
            key=self.name,
            beam=None,
        )


def settings() -> tuple[Ipa, ...]:
    """From single operators on few samples to all of them together on the whole pool."""
    return tuple(
        Ipa(depth=depth, samples_ratio=ratio)
        for depth, ratio in ((0, 0.1), (0, 0.25), (0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0), (8, 0.5), (8, 1.0))
    )


def reinforced_settings() -> tuple[ReinforcedIpa, ...]:
    """From a rough profile to a fine one."""
    return tuple(
        ReinforcedIpa(depth=depth, samples_ratio=ratio, miss_level=miss, least_ratio=least)
        for depth, ratio, miss, least in (
            (0, 0.02, 0.3, 0.1),
            (0, 0.02, 0.1, 0.05),
            (0, 0.05, 0.1, 0.02),
            (0, 0.1, 0.05, 0.02),
            (1, 0.1, 0.02, 0.02),
            (1, 0.25, 0.02, 0.01),
            (2, 0.5, 0.01, 0.01),
        )
    )
