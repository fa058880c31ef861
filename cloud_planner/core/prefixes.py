"""Candidates as a tree of prefixes: those that begin with the same steps share what is worked out for these. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.core.estimate import Stay, items_ratio
from cloud_planner.core.frontier import frontier_of
from cloud_planner.core.moment import Array
from cloud_planner.core.problem import Candidate, QueryProblem, Step
from cloud_planner.core.steps import Choices, Skeleton
from cloud_planner.core.tails import Tails
from cloud_planner.core.worst import Worst, Worsts

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The choices of a step at a place, given how many items it gets for each of its input.
ChoicesOf = Callable[[Step, int, float], Choices]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """The choices of all variants of one place, one after the other. ``start``, ``count``: by variant."""

    each: tuple[Choices, ...]
    start: NDArray[np.int64]
    count: NDArray[np.int64]
    machine: NDArray[np.int64]
    stay: Stay
    cost_per_h: Array
    own_cost_per_h: Array
    use: Array

    @classmethod
    def of(cls, each: Sequence[Choices]) -> Variants:
        """Variants in this order."""
        count = np.array([len(choices.picks) for choices in each], dtype=np.int64)
        return cls(
            each=tuple(each),
            start=np.cumsum(count) - count,
            count=count,
            machine=np.concatenate([choices.machine for choices in each]),
            stay=Stay.joined([choices.stay for choices in each]),
            cost_per_h=np.concatenate([choices.cost_per_h for choices in each]),
            own_cost_per_h=np.concatenate([choices.own_cost_per_h for choices in each]),
            use=np.concatenate([choices.use for choices in each]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The prefixes that end at one place. Arrays are by prefix.

    ``item_bytes`` and ``items``: (prefixes, inputs), of what the step reads; ``at_site``: which of it may not leave its
    site. ``members``: the candidates that begin so.
    The rest is what those after the step take at least, of whatever candidate: own cost, cost, amounts; by earlier step
    that still matters what follows on its way on, (prefixes, weights, machines), and the cost of what is not on it; and
    the latency limit. ``worst``: what those after the step take at most; ``worst_limit_ms``: the least limit.
    """

    parent: NDArray[np.int64]
    variant: NDArray[np.int64]
    variants: Variants
    item_bytes: Array
    items: Array
    at_site: NDArray[np.bool_]
    correlation_ratio: Array
    members: tuple[tuple[int, ...], ...]
    tails: Mapping[int, Array]
    others_per_h: Mapping[int, Array]
    own_ahead_per_h: Array
    cost_ahead_per_h: Array
    use_ahead: Array
    limit_ms: Array
    worst: Worst
    worst_limit_ms: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is left of one candidate after each of its steps."""

    tails: tuple[Mapping[int, tuple[Array, float]], ...]
    own_per_h: Array
    cost_per_h: Array
    use: Array
    limit_ms: float
    worst: Worst


def ahead_of(
    tails: Tails,
    worsts: Worsts,
    candidate: Candidate,
    choices: Sequence[Choices],
    limit_ms: float,
    ends: Sequence[tuple[int, ...]],
) -> Ahead:
    """The least that follows each step of a candidate; ``ends``: by step, the steps so far that still matter."""
    own = np.array([each.least_own_cost_per_h for each in choices])
    cost = np.array([each.least_cost_per_h for each in choices])
    use = np.array([each.least_use for each in choices])
    return Ahead(
        tails=tuple(tails.of(candidate, choices, place, each) for place, each in enumerate(ends)),
        own_per_h=_after(own),
        cost_per_h=_after(cost),
        use=_after(use),
        limit_ms=limit_ms,
        worst=worsts.of(candidate, choices),
    )


def _after(figures: Array) -> Array:
    return np.concatenate([np.cumsum(figures[::-1], axis=0)[::-1][1:], np.zeros_like(figures[:1])])


def levels(
    query: QueryProblem,
    skeleton: Skeleton,
    limits_ms: Mapping[int, float],
    choices_of: ChoicesOf,
    tails: Tails,
    worsts: Worsts,
) -> tuple[int, tuple[Level, ...]]:
    """The number of roots (candidates whose prefixes differ before the first step) and the levels of a tree.

    Args:
        query: The query.
        skeleton: That all these candidates have.
        limits_ms: By candidate, in the order in which they are taken.
        choices_of: The choices of a step.
        tails: What follows at least.
        worsts: What follows at most.
    """
    ends = [frontier_of(skeleton, place).ends for place in range(len(skeleton.inputs))]
    every: dict[int, list[tuple[Step, float, Choices]]] = {}
    ahead: dict[int, Ahead] = {}
    at: dict[int, int] = {}
    roots: dict[tuple[float, float], int] = {}
    for index, limit_ms in limits_ms.items():
        candidate = query.candidates[index]
        root = (candidate.source_bytes, candidate.stage_correlation_ratio)
        at[index] = roots.setdefault(root, len(roots))
        ratios = [items_ratio(candidate, step) for step in candidate.steps]
        every[index] = [
            (step, ratio, choices_of(step, place, ratio))
            for place, (step, ratio) in enumerate(zip(candidate.steps, ratios, strict=True))
        ]
        ahead[index] = ahead_of(tails, worsts, candidate, [choices for _, _, choices in every[index]], limit_ms, ends)
    found = []
    for place in range(len(skeleton.inputs)):
        variants: dict[int, tuple[int, Choices]] = {}
        nodes: dict[tuple[int, int], list[int]] = {}
        for index in limits_ms:
            choices = every[index][place][2]
            variant, _ = variants.setdefault(id(choices), (len(variants), choices))
            nodes.setdefault((at[index], variant), []).append(index)
        # Rows of a table stand in order of its prefixes, and so do those of what grows from it.
        ordered = sorted(nodes)
        for number, node in enumerate(ordered):
            for index in nodes[node]:
                at[index] = number
        found.append(
            _level(query, skeleton, place, ordered, [nodes[node] for node in ordered], variants, ahead, ends[place])
        )
    return len(roots), tuple(found)


def _level(
    query: QueryProblem,
    skeleton: Skeleton,
    place: int,
    ordered: list[tuple[int, int]],
    members: list[list[int]],
    variants: Mapping[int, tuple[int, Choices]],
    ahead: Mapping[int, Ahead],
    ends: tuple[int, ...],
) -> Level:
    first = [query.candidates[each[0]] for each in members]
    reads = skeleton.inputs[place]
    return Level(
        parent=np.array([parent for parent, _ in ordered], dtype=np.int64),
        variant=np.array([variant for _, variant in ordered], dtype=np.int64),
        variants=Variants.of([choices for _, choices in variants.values()]),
        item_bytes=np.array([[c.source_bytes if p < 0 else c.steps[p].output_bytes for p in reads] for c in first]),
        items=np.array([[1.0 if p < 0 else c.steps[p].items_per_item for p in reads] for c in first]),
        at_site=np.array([[name in c.steps[place].site_inputs for name in c.steps[place].inputs] for c in first]),
        correlation_ratio=np.array([candidate.stage_correlation_ratio for candidate in first]),
        members=tuple(tuple(each) for each in members),
        tails={
            end: np.array([np.min([ahead[i].tails[place][end][0] for i in each], axis=0) for each in members])
            for end in ends
        },
        others_per_h={
            end: np.array([min(ahead[i].tails[place][end][1] for i in each) for each in members]) for end in ends
        },
        own_ahead_per_h=np.array([min(ahead[i].own_per_h[place] for i in each) for each in members]),
        cost_ahead_per_h=np.array([min(ahead[i].cost_per_h[place] for i in each) for each in members]),
        use_ahead=np.array([np.min([ahead[i].use[place] for i in each], axis=0) for each in members]),
        limit_ms=np.array([max(ahead[i].limit_ms for i in each) for each in members]),
        worst=Worst.over([[ahead[i].worst for i in each] for each in members]),
        worst_limit_ms=np.array([min(ahead[i].limit_ms for i in each) for each in members]),
    )
