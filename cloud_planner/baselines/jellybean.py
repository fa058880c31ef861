"""JellyBean-like: a beam over variants that are accurate enough, then tiers, greedily, for the least money. PURE.

Y. Wu et al., Serving and Optimizing Machine Learning Workflows on Heterogeneous Infrastructures, VLDB 2022 (and its
published optimiser: best 10 partial assignments by cost, from the sink to the sources, each with what accuracy it
still asks of the operators before it; then operators are assigned in topological order, on the tier of their inputs or
a later one). There is no bound on latency. What an operator makes of its inputs' accuracy is measured in place, by end
scores: see operator_profile.py. Reinforced: only plans whose predicted p95 meets the bound; our beliefs, test, sharing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.baselines.operator_profile import Variants
from cloud_planner.baselines.plan_space import CAP_RATIO, Figures, PlanSpace, Scored
from cloud_planner.baselines.profiled_choice import ProvenChoice, profile, variants_of
from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.baselines.verdict import SLACK, bound_of, mean_score, sample_count
from cloud_planner.core.estimate import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def beam_search(variants: Variants, estimated: Array, compute_ms: Array, bound_ratio: float, width: int) -> list[int]:
    """The cheapest configurations by compute that are accurate enough, as far as a beam of some width finds them.

    Assigns from the last operator to the first; an assignment lives while some choice of the rest is accurate enough.

    Args:
        variants: Of each configuration.
        estimated: (configurations,) accuracy.
        compute_ms: (configurations, operators) time of each operator that has variants.
        bound_ratio: The accuracy that is asked for.
        width: How many assignments are kept after each operator.
    """
    accurate = np.flatnonzero(estimated >= bound_ratio - SLACK)
    partial: list[NDArray[np.intp]] = [accurate]
    for column in reversed(range(variants.of.shape[1])):
        grown: list[tuple[float, int, NDArray[np.intp]]] = []
        for members in partial:
            for variant in np.unique(variants.of[members, column]):
                kept = members[variants.of[members, column] == variant]
                # What is assigned costs alike whatever comes before it, but for times that depend on inputs.
                cost = float(compute_ms[kept, column:].sum(axis=1).min())
                grown.append((cost, int(kept[0]), kept))
        grown.sort(key=lambda one: one[:2])
        partial = [kept for _, _, kept in grown[:width]]
    return [int(members[0]) for members in partial if len(members)]


def greedy_tiers(space: PlanSpace, figures: Figures) -> tuple[int, ...] | None:
    """A tier for each operator, in topological order: the one that adds least for compute and network at the rate.

    None: no tier has the cores or the bandwidth.
    """
    rate, tiers = space.rate_per_s, space.tiers
    free = [tier.cores for tier in tiers]
    chosen: list[int] = []
    for at, inputs in enumerate(space.shape.inputs):
        sources = [0 if before < 0 else chosen[before] for before in inputs]
        sizes = [figures.source_bytes if before < 0 else float(figures.output_bytes[before]) for before in inputs]
        best, best_cost, best_cores = -1, inf, 0.0
        for number in range(max(sources, default=0), len(tiers)):
            tier = tiers[number]
            cores = rate * float(figures.mean_ms[at]) / tier.speed_ratio / 1e3 / CAP_RATIO
            whole = cores if not space.shape.stateful[at] or cores <= 1.0 else inf
            fits = bool(whole <= free[number])
            money = cores * tier.price_per_core_h
            for source, size in zip(sources, sizes, strict=True):
                for hop in tiers[source + 1 : number + 1]:
                    money += float(size * rate * 3600.0 * hop.price_per_gb * 1e-9)
                    fits = fits and bool(size * 8.0 * rate <= CAP_RATIO * hop.bandwidth_bit_per_s)
            if fits and money < best_cost:
                best, best_cost, best_cores = number, money, cores
        if best < 0:
            return None
        free[best] -= best_cores
        chosen.append(best)
    return tuple(chosen)


def plan_on(space: PlanSpace, scored: Scored, place: tuple[int, ...], *, whole_cores: bool) -> int | None:
    """The cheapest plan with this placement that holds the rate, whatever its latency."""
    possible = np.all(space.place == np.array(place), axis=1) & np.isfinite(scored.latency_ms)
    if whole_cores:
        possible &= np.all(space.share >= 1.0, axis=1)
    there = np.flatnonzero(possible)
    return int(there[np.argmin(scored.cost_per_h[there])]) if len(there) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JellyBean:
    """``depth``: how many operators before each its profile varies with it; ``samples_ratio``: of the pool, each.

    ``beam``: how many partial assignments live. ``checks``: what is left of the beam is measured end to end, as far as
    the published optimiser is given such a profile. ``whole_cores``: its workers run an operator at full speed.
    ``offline``: the first query's profile is kept for all queries of the pipeline, in the task's memory.
    """

    samples_ratio: float
    depth: int = 1
    beam: int = 10
    checks: bool = True
    whole_cores: bool = False
    offline: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "jellybean"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        known = profile(task, self.depth, self.samples_ratio, "jellybean" if self.offline else None)
        variants, figures, space = variants_of(task), known.figures, task.book.space
        compute_ms = np.array([one.mean_ms for one in figures])[:, list(variants.operators)]
        beam = beam_search(variants, known.accuracies, compute_ms, bound_of(task), self.beam)
        if self.checks:
            count, least = sample_count(task.meter.pool, self.samples_ratio), bound_of(task) - SLACK
            beam = [index for index in beam if mean_score(task, index, count) >= least]
        best, best_cost = REFUSED, inf
        for index, scored in zip(beam, space.score([figures[index] for index in beam]), strict=True):
            place = greedy_tiers(space, figures[index])
            plan = None if place is None else plan_on(space, scored, place, whole_cores=self.whole_cores)
            if plan is not None and scored.cost_per_h[plan] < best_cost:
                best, best_cost = Found(configuration=index, plan=plan), float(scored.cost_per_h[plan])
        return best


def settings() -> tuple[JellyBean, ...]:
    """From operators with those right before them on few samples to all of them together on the whole pool."""
    return tuple(
        JellyBean(depth=depth, samples_ratio=ratio)
        for depth, ratio in ((0, 0.1), (0, 0.25), (1, 0.1), (1, 0.25), (1, 0.5), (1, 1.0), (2, 1.0), (8, 0.5), (8, 1.0))
    )


def reinforced_settings() -> tuple[ProvenChoice, ...]:
    """All placements, filtered by predicted p95; from a rough profile to a fine one."""
    return tuple(
        ProvenChoice(
            name="jellybean reinforced", beam=10, depth=depth, samples_ratio=ratio, miss_level=miss, least_ratio=least
        )
        for depth, ratio, miss, least in (
            (0, 0.02, 0.3, 0.1),
            (1, 0.02, 0.1, 0.05),
            (1, 0.05, 0.1, 0.02),
            (1, 0.1, 0.05, 0.02),
            (1, 0.25, 0.02, 0.02),
            (2, 0.25, 0.02, 0.01),
            (2, 0.5, 0.01, 0.01),
        )
    )
