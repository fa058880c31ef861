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
from cloud_planner.baselines.profiled_choice import ProvenChoice, profile
from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import SLACK, bound_of, cheapest_plan


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
        every = space.score([known.figures[index] for index in accurate])
        scored = (on_one_tier(space, one) for one in every)
        return cheapest_plan(zip(accurate.tolist(), scored, strict=True), task.slo)


def settings() -> tuple[Ipa, ...]:
    """From single operators on few samples to all of them together on the whole pool."""
    return tuple(
        Ipa(depth=depth, samples_ratio=ratio)
        for depth, ratio in ((0, 0.1), (0, 0.25), (0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0), (8, 0.5), (8, 1.0))
    )


def reinforced_settings() -> tuple[ProvenChoice, ...]:
    """Tiers in the program, solved again with what was learnt until one holds; from a rough profile to a fine one."""
    return tuple(
        ProvenChoice(name="ipa reinforced", depth=depth, samples_ratio=ratio, miss_level=miss, least_ratio=least)
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
