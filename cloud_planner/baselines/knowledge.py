"""What a planner knows of its query once its search has ended: every plan that it would accept, best first. PURE.

A search answers with one configuration and one plan, as if it were alone. On a full fleet the same planner scores its
placements again, from the times that it has measured already, and takes the best that still fits (admission.py). So
what it would accept is kept. Nothing is profiled here: what a planner did not measure, it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.query import Guarantee, Slo
from cloud_planner.baselines.compass_v import CompassV
from cloud_planner.baselines.exhaustive import Exhaustive
from cloud_planner.baselines.fixed import BestStatic, OneTier, on_one_tier
from cloud_planner.baselines.ipa import Ipa
from cloud_planner.baselines.jellybean import JellyBean, beam_search
from cloud_planner.baselines.ours import Ours
from cloud_planner.baselines.plan_space import CAP_RATIO, Figures, PlanSpace, Scored
from cloud_planner.baselines.profiled_choice import profile, variants_of
from cloud_planner.baselines.random_search import RandomSearch
from cloud_planner.baselines.task import Found, Planner, Task
from cloud_planner.baselines.verdict import SLACK, bound_of
from cloud_planner.baselines.videostorm import VideoStorm
from cloud_planner.baselines.vulcan import Vulcan
from cloud_planner.baselines.world import true_figures
from cloud_planner.core.estimate import SLACK_RATIO, Array
from cloud_planner.core.pareto import non_dominated
from cloud_planner.core.precision import Certification

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of our test, where a planner does not say.
_LEVEL = 0.05
#: JellyBean's workers: it knows no bound on latency.
_UNBOUNDED = Slo()


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """What plans take: ``replicas`` (plans, operators), ``cores`` (plans, tiers), ``bit_per_s`` (plans, tiers, tiers).

    Bits go from the lower tier, the first index, to the higher.
    """

    replicas: NDArray[np.intp]
    cores: Array
    bit_per_s: Array

    def rows(self, rows: NDArray[np.intp]) -> Takes:
        """The same for some of the plans."""
        return Takes(replicas=self.replicas[rows], cores=self.cores[rows], bit_per_s=self.bit_per_s[rows])

    @staticmethod
    def joined(parts: Sequence[Takes]) -> Takes:
        """Of one after the other."""
        return Takes(
            replicas=np.concatenate([one.replicas for one in parts]),
            cores=np.concatenate([one.cores for one in parts]),
            bit_per_s=np.concatenate([one.bit_per_s for one in parts]),
        )


def takes(space: PlanSpace, figures: Figures) -> Takes:
    """Of every plan of a configuration with these times and sizes."""
    tiers, rate, plans = len(space.tiers), space.rate_per_s, np.arange(len(space.place))
    speed = np.array([tier.speed_ratio for tier in space.tiers])[space.place] * space.share
    busy = rate * figures.mean_ms / speed / 1e3 / CAP_RATIO
    replicas = np.maximum(1.0, np.ceil(busy - SLACK_RATIO))
    used = replicas * space.share
    cores = np.stack([np.where(space.place == tier, used, 0.0).sum(axis=1) for tier in range(tiers)], axis=1)
    bits = np.zeros((len(plans), tiers, tiers))
    for at, inputs in enumerate(space.shape.inputs):
        high = space.place[:, at]
        for before in inputs:
            low = np.zeros(len(plans), dtype=np.intp) if before < 0 else space.place[:, before]
            size = float(figures.source_bytes if before < 0 else figures.output_bytes[before])
            bits[plans, low, high] += np.where(low == high, 0.0, size * 8.0 * rate)
    return Takes(replicas=replicas.astype(np.intp), cores=cores, bit_per_s=bits)


# What a planner takes to be accurate enough


def accepted(planner: Planner, task: Task, found: Found) -> list[int]:
    """The configurations that a planner takes to be accurate enough, after it has answered; none, if it refused.

    By what it measured or estimates; where it has our test, by what that proves.
    """
    if found.configuration is None:
        return []
    if isinstance(planner, BestStatic):
        return [planner.configuration]
    if isinstance(planner, OneTier | Exhaustive | RandomSearch | Vulcan | VideoStorm | CompassV):
        return _by_means(task)
    if isinstance(planner, Ipa):
        known = profile(task, planner.depth, planner.samples_ratio, None)
        return [int(index) for index in np.flatnonzero(known.accuracies >= bound_of(task) - SLACK)]
    if isinstance(planner, JellyBean):
        return _beam(planner, task)
    return _proven(planner, task, found.configuration)


def _by_means(task: Task) -> list[int]:
    """Those whose mean score, over what was seen of each, meets the bound."""
    seen, scores = task.meter.seen, task.meter.table.scores
    counts = seen.sum(axis=0)
    means = np.where(seen, scores, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return [int(index) for index in np.flatnonzero((counts > 0) & (means >= bound_of(task) - SLACK))]


def _beam(planner: JellyBean, task: Task) -> list[int]:
    known = profile(task, planner.depth, planner.samples_ratio, None)
    variants = variants_of(task)
    compute_ms = np.array([one.mean_ms for one in known.figures])[:, list(variants.operators)]
    beam = beam_search(variants, known.accuracies, compute_ms, bound_of(task), planner.beam)
    means = set(_by_means(task)) if planner.checks else set(beam)
    return sorted(index for index in beam if index in means)


def _proven(planner: Planner, task: Task, answer: int) -> list[int]:
    """The answer, and whatever else the scores that were seen prove along with it."""
    policy = planner.policy if isinstance(planner, Ours) else None
    test = Certification(
        bound_ratio=bound_of(task),
        pool=task.meter.pool,
        count=task.meter.count,
        level=policy.level if policy is not None else float(getattr(planner, "level", _LEVEL)),
        guarantee=policy.guarantee if policy is not None else Guarantee.POOL,
    )
    known = [task.meter.known_scores(index) for index in range(task.meter.count)]
    return [index for index, scores in enumerate(known) if index == answer or (len(scores) and test.proves(scores, ()))]


# Plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Plans that a planner would accept for one query, cheapest first; arrays of shape (rows, ...).

    Of a configuration's equals none is kept. ``greedy``: by configuration, where the placement follows from what is
    left at the time (jellybean.py).
    """

    space: PlanSpace
    configuration: NDArray[np.intp]
    plan: NDArray[np.intp]
    cost_per_h: Array
    takes: Takes
    greedy: Mapping[int, Figures] = field(default_factory=dict)

    @property
    def least_share_ratio(self) -> float:
        """The part that some plan takes of the tier of which it takes most, of all plans the least; inf: no plan."""
        there = np.array([max(tier.cores, SLACK) for tier in self.space.tiers])
        return float((self.takes.cores / there).max(axis=1).min(initial=inf))


def wanted(planner: Planner, task: Task, found: Found) -> Wanted:
    """What a planner would accept for its query, by what it knows at the end of its search."""
    space, chosen = task.book.space, accepted(planner, task, found)
    known = dict(enumerate(task.meter.all_figures()))
    if isinstance(planner, BestStatic):
        # Chosen in hindsight, times and all.
        known[planner.configuration] = true_figures(task.meter.table, planner.configuration)
    figures = {index: known[index] for index in chosen}
    if isinstance(planner, JellyBean):
        return listed(space, figures, _UNBOUNDED, greedy=True, whole_cores=planner.whole_cores)
    tier: int | None = planner.tier if isinstance(planner, OneTier) else None
    return listed(space, figures, task.slo, one_tier=isinstance(planner, Ipa | OneTier), tier=tier)


def listed(
    space: PlanSpace,
    figures: Mapping[int, Figures],
    slo: Slo,
    *,
    one_tier: bool = False,
    tier: int | None = None,
    greedy: bool = False,
    whole_cores: bool = False,
) -> Wanted:
    """The plans of these configurations that meet the bounds on latency and cost, as far as these figures say.

    ``one_tier``: only those that stay on one, on ``tier`` if that is given. ``whole_cores``: of each replica.
    """
    configurations, plans, costs, parts = [], [], [], []
    for (index, one), scored in zip(figures.items(), space.score(list(figures.values())), strict=True):
        meeting = np.flatnonzero(_meets(on_one_tier(space, scored, tier) if one_tier else scored, slo))
        if whole_cores:
            meeting = meeting[np.all(space.share[meeting] >= 1.0, axis=1)]
        taken = takes(space, one).rows(meeting)
        # Where the placement is given, only cheaper or smaller plans of the same placement beat one.
        place = space.place[meeting] if greedy else np.zeros((len(meeting), 0))
        flat = taken.bit_per_s.reshape(len(meeting), len(space.tiers) ** 2)
        rows = np.column_stack([scored.cost_per_h[meeting], taken.cores, flat, place, -place])
        kept = non_dominated(rows) if len(meeting) else np.zeros(0, dtype=np.intp)
        configurations.append(np.full(len(kept), index, dtype=np.intp))
        plans.append(meeting[kept])
        costs.append(scored.cost_per_h[meeting[kept]])
        parts.append(taken.rows(kept))
    if not parts:
        empty = np.zeros(0, dtype=np.intp)
        tiers = len(space.tiers)
        nothing = Takes(
            replicas=np.zeros((0, space.place.shape[1]), dtype=np.intp),
            cores=np.zeros((0, tiers)),
            bit_per_s=np.zeros((0, tiers, tiers)),
        )
        return Wanted(space=space, configuration=empty, plan=empty, cost_per_h=np.zeros(0), takes=nothing)
    cost = np.concatenate(costs)
    order = np.argsort(cost, kind="stable")
    return Wanted(
        space=space,
        configuration=np.concatenate(configurations)[order],
        plan=np.concatenate(plans)[order],
        cost_per_h=cost[order],
        takes=Takes.joined(parts).rows(order),
        greedy=figures if greedy else {},
    )


def _meets(scored: Scored, slo: Slo) -> NDArray[np.bool_]:
    meets = np.isfinite(scored.latency_ms)
    if slo.latency_ms is not None:
        meets &= scored.latency_ms <= slo.latency_ms * (1.0 + SLACK_RATIO)
    if slo.cost_per_h is not None:
        meets &= scored.cost_per_h <= slo.cost_per_h * (1.0 + SLACK_RATIO)
    return np.asarray(meets)
