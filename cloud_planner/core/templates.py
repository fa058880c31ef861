"""Templates: the non-dominated routes of a query over all of its candidates. PURE.

A route of a candidate takes one choice (option and replicas) for each step. Partial routes are grown step by step over
all candidates together (prefixes.py, growth.py). Complete routes are compared across candidates by cost and resources
only: with the SLO met, no more is asked for.

Candidates are taken in growing batches, those with the least to do first: what their routes beat, whatever follows, is
left out of the next. What is still too much is thinned on a grid, and said to be: no bound follows from it.

Complexity: rows x choices for each step, and the pruning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from circinus.model.query import Slo
from cloud_planner.core.estimate import SLACK_RATIO, items_ratio, latency_limit_ms, meets_accuracy, percentile_ms
from cloud_planner.core.growth import Grower, Growth, Prune
from cloud_planner.core.moment import Array
from cloud_planner.core.network import Network
from cloud_planner.core.pareto import non_dominated, unbeaten_in_groups
from cloud_planner.core.prefixes import levels
from cloud_planner.core.problem import Problem, QueryProblem, Step
from cloud_planner.core.resources import Resource
from cloud_planner.core.sharing import merges
from cloud_planner.core.steps import UNBOUNDED, Choices, Pick, Skeleton, Space
from cloud_planner.core.table import Table, answer_times, apart_by, best_of_each
from cloud_planner.core.tails import Tails, Weights
from cloud_planner.core.template_memo import TemplateMemo
from cloud_planner.core.worst import Worsts

#: Candidates that are grown together at most, where what some take is held against the others.
_BATCH_CANDIDATES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLimits:
    """The most rows that growth goes on with after a step, and that a template may have.

    Beyond, they are thinned, partial ones to an eighth.
    """

    partial_rows: int = 12_000
    routes: int = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A complete route with its estimate.

    ``cost_per_h`` is what it adds to the bill but for shared machines that are paid whole; ``own_cost_per_h`` counts
    shares of those too. ``amounts`` are of tight resources.
    """

    candidate: int
    picks: tuple[Pick, ...]
    mean_ms: float
    variance_ms2: float
    percentile_ms: float
    cost_per_h: float
    own_cost_per_h: float
    amounts: tuple[tuple[Resource, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A query's routes, cheapest first; ``complete`` is False if some were left out by a limit.

    ``rows_most``: partial routes in the largest table; ``rows_thinned``: how many a limit put out; ``epsilon_ratio``:
    the coarsest grid that they were thinned on (each thinned one has a kept one nearly as good, up to that ratio at
    that step, unless the grid had to leave out more).
    """

    routes: tuple[Route, ...]
    complete: bool
    rows_most: int = 0
    rows_thinned: int = 0
    epsilon_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enumeration:
    """What to enumerate: which candidates, held against which SLO, pruned how.

    ``fixed``: one pick for each step (of a single candidate). ``fractional``: routes of a split query, whose replicas
    are counted elsewhere.
    """

    candidates: tuple[int, ...]
    slo: Slo
    prune: Prune = Prune.ROUTES
    limits: TemplateLimits = TemplateLimits()
    fractional: bool = False
    fixed: tuple[Pick, ...] | None = None


def admissible(problem: Problem, query: QueryProblem) -> tuple[int, ...]:
    """Indices of the candidates that meet the SLO on accuracy."""
    return tuple(
        index
        for index, candidate in enumerate(query.candidates)
        if meets_accuracy(query, candidate, problem.asked_of(query))
    )


_KNOWN: TemplateMemo[Enumeration, Template] = TemplateMemo()


def template(
    network: Network,
    problem: Problem,
    query: QueryProblem,
    left: Mapping[Resource, float],
    enumeration: Enumeration | None = None,
) -> Template:
    """The template of a query.

    Args:
        network: Machines and links.
        problem: Waiting, caps and the probability asked for.
        query: The query.
        left: How much there is of each resource that could run out; others are taken as plenty.
        enumeration: By default all candidates that meet the SLO on accuracy, held against the query's SLO.
    """
    wanted = enumeration or Enumeration(candidates=admissible(problem, query), slo=query.slo)
    return _KNOWN.get(
        network,
        problem,
        query,
        left,
        wanted,
        lambda: Enumerator(network, problem, query, left, wanted).template(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Complete routes that meet the SLO: candidate and estimate of each row."""

    table: Table
    grower: Grower
    candidate: np.ndarray[tuple[int], np.dtype[np.int64]]
    mean_ms: Array
    variance_ms2: Array


class Enumerator:
    """One enumeration; holds what its steps share."""

    def __init__(
        self,
        network: Network,
        problem: Problem,
        query: QueryProblem,
        left: Mapping[Resource, float],
        wanted: Enumeration,
        *,
        price: Mapping[Resource, float] | None = None,
    ) -> None:
        """``price``: of a unit of a resource, counted in the cost of routes."""
        self.problem, self.query, self.wanted = problem, query, wanted
        self.space = Space(network, problem, query, left, price)
        self.steps: dict[Step, int] = {}
        self.choices: dict[tuple[int, int, float], Choices] = {}
        self.merges = wanted.prune is Prune.ROUTES and merges(network, query)

    def template(self) -> Template:
        """The template."""
        parts: list[Complete] = []
        growths: list[Growth] = []
        front = np.zeros((0, 1 + len(self.space.resources)))
        for batch in self._batches():
            for grower in self.growers(batch):
                table, growth = grower.grow(self.wanted.limits.partial_rows, front)
                growths.append(growth)
                part = self.meeting(grower, table)
                if not len(part.table):
                    continue
                parts.append(part)
                if self.wanted.prune is Prune.ROUTES and not self.merges:
                    figures = np.vstack([front, np.column_stack([part.table.cost_per_h, part.table.use])])
                    front = figures[non_dominated(figures)]
                    # What takes little of everything beats most, so it stands first.
                    strength = (front / np.maximum(front.max(axis=0), 1e-12)).sum(axis=1)
                    front = front[np.argsort(strength, kind="stable")]
        return self._merged(parts, growths)

    def _batches(self) -> Iterator[tuple[int, ...]]:
        """The candidates, those with the least to do first: their routes beat others' early, so few are enough."""
        if self.wanted.prune is not Prune.ROUTES:
            yield self.wanted.candidates
            return

        def least(index: int) -> tuple[float, float, float, int]:
            stay = sum(choices.least_stay_ms for choices in self._every(index))
            return (self.least_cost(index), stay, -self.query.candidates[index].accuracy.value, index)

        ordered, size = sorted(self.wanted.candidates, key=least), 1
        while ordered:
            yield tuple(ordered[:size])
            ordered, size = ordered[size:], min(2 * size, _BATCH_CANDIDATES)

    def _every(self, index: int) -> list[Choices]:
        candidate = self.query.candidates[index]
        return [self._choices(step, place, items_ratio(candidate, step)) for place, step in enumerate(candidate.steps)]

    def least_cost(self, index: int) -> float:
        """What a candidate's steps cost at their cheapest, each by itself."""
        return sum(choices.least_cost_per_h for choices in self._every(index))

    def growers(self, candidates: Iterable[int], times: Sequence[float] = ()) -> list[Grower]:
        """Of each shape of a DAG, the tree of these candidates; ``times``: weights of bounds on cost."""
        shapes: dict[Skeleton, dict[int, float]] = defaultdict(dict)
        for index in candidates:
            limit_ms = self._limit_ms(index)
            shapes[Skeleton.of(self.query.candidates[index])][index] = UNBOUNDED if limit_ms is None else limit_ms
        found = []
        for skeleton, limits in shapes.items():
            tails = Tails(self.space, skeleton, Weights.of(times))
            worsts = Worsts(self.space, skeleton)
            roots, tree = levels(self.query, skeleton, limits, self._choices, tails, worsts)
            found.append(
                Grower(
                    space=self.space,
                    query=self.query,
                    skeleton=skeleton,
                    roots=roots,
                    levels=tree,
                    slo=self.wanted.slo,
                    prune=self.wanted.prune,
                    fractional=self.wanted.fractional,
                    worsts=worsts,
                    times=np.array(times, dtype=float),
                    merged=self._merged_places(next(iter(limits))) if self.merges else frozenset(),
                )
            )
        return found

    def _merged_places(self, index: int) -> frozenset[int]:
        """Places of the steps that other queries may run for this one."""
        steps = self.query.candidates[index].steps
        return frozenset(place for place, step in enumerate(steps) if step.share_key)

    def _limit_ms(self, index: int) -> float | None:
        if self.wanted.slo.latency_ms is None:
            return None
        return latency_limit_ms(self.query, self.query.candidates[index], self.problem.asked_of(self.query))

    def _choices(self, step: Step, position: int, ratio: float) -> Choices:
        number = self.steps.setdefault(step, len(self.steps))
        key = (number, position, ratio)
        if key not in self.choices:
            fixed = self.wanted.fixed[position] if self.wanted.fixed is not None else None
            self.choices[key] = self.space.choices(
                step, self.wanted.slo, items_ratio=ratio, fractional=self.wanted.fractional, fixed=fixed
            )
        return self.choices[key]

    def meeting(self, grower: Grower, table: Table) -> Complete:
        """The complete routes of a table that meet the SLO, once for each candidate."""
        level = grower.levels[-1]
        count = np.array([len(each) for each in level.members])[table.node]
        row = np.repeat(np.arange(len(table)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        starts = np.cumsum([0, *(len(each) for each in level.members)])
        flat = np.array([index for each in level.members for index in each], dtype=np.int64)
        candidate = flat[starts[table.node[row]] + within] if len(row) else np.zeros(0, dtype=np.int64)
        table = table.rows(row)
        mean, variance = answer_times(table, grower.skeleton, level.correlation_ratio[table.node])
        if self.wanted.slo.latency_ms is not None and len(mean):
            limits = np.array([self._limit_ms(int(index)) for index in range(len(self.query.candidates))], dtype=float)
            allowed = limits[candidate] * (1.0 + SLACK_RATIO)
            kept = np.flatnonzero(mean <= allowed)
            latency = percentile_ms(mean[kept], variance[kept], self.wanted.slo.percentile_ratio)
            kept = kept[latency <= allowed[kept]]
            table, candidate, mean, variance = table.rows(kept), candidate[kept], mean[kept], variance[kept]
        return Complete(table=table, grower=grower, candidate=candidate, mean_ms=mean, variance_ms2=variance)

    def _merged(self, parts: list[Complete], growths: list[Growth]) -> Template:
        """The routes of all candidates; of equal ones those of the more accurate, then faster come first."""
        complete = all(growth.complete for growth in growths)
        rows_most = max((growth.rows_most for growth in growths), default=0)
        gone = sum(growth.rows_thinned for growth in growths)
        ratio = max((growth.epsilon_ratio for growth in growths), default=0.0)
        if not parts:
            return Template(routes=(), complete=complete, rows_most=rows_most, rows_thinned=gone, epsilon_ratio=ratio)
        part = np.concatenate([np.full(len(each.table), number) for number, each in enumerate(parts)])
        row = np.concatenate([np.arange(len(each.table)) for each in parts])
        candidate = np.concatenate([each.candidate for each in parts])
        accuracy = np.array([each.accuracy.value for each in self.query.candidates])[candidate]
        mean = np.concatenate([each.mean_ms for each in parts])
        cost = np.concatenate([each.table.cost_per_h for each in parts])
        use = np.concatenate([each.table.use for each in parts])
        order = np.lexsort((np.arange(len(row)), mean, -accuracy, cost))
        if self.wanted.prune is Prune.ROUTES:
            figures = np.column_stack([cost, use])[order]
            if self.merges:
                group = np.concatenate([self._alike(each) for each in parts])
                # Numbers of groups are of their part alone.
                group = np.unique(np.column_stack([part, candidate, group]), axis=0, return_inverse=True)[1].reshape(-1)
                order = order[np.sort(unbeaten_in_groups(figures, group[order]))]
            else:
                order = order[non_dominated(figures)]
        most = self.wanted.limits.routes
        if len(order) > most:
            figures = np.column_stack([cost, mean, use.max(axis=1, initial=0.0), use])[order]
            stays = best_of_each(np.zeros(len(order), dtype=np.int64), figures, most)
            gone += len(order) - len(stays.rows)
            order, complete, ratio = order[stays.rows], False, max(ratio, stays.epsilon_ratio)
        variance = np.concatenate([each.variance_ms2 for each in parts])
        percentiles = percentile_ms(mean[order], variance[order], self.wanted.slo.percentile_ratio)
        return Template(
            routes=tuple(
                self.route(parts[int(part[index])], int(row[index]), float(latency))
                for index, latency in zip(order, percentiles, strict=True)
            ),
            complete=complete,
            rows_most=rows_most,
            rows_thinned=gone,
            epsilon_ratio=ratio,
        )

    @staticmethod
    def _alike(part: Complete) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Groups of complete routes with the same prefix of candidates and the same choices where others may merge."""
        return apart_by(part.table, part.table.node, part.grower.merged)

    def route(self, part: Complete, row: int, latency_ms: float | None = None) -> Route:
        """One row as a route; ``latency_ms``: its percentile, if known."""
        table = part.table
        node = int(table.node[row])
        picks: list[Pick] = []
        for place in reversed(range(len(part.grower.levels))):
            level = part.grower.levels[place]
            variant = int(level.variant[node])
            picks.append(
                level.variants.each[variant].picks[table.picks[row, place] - int(level.variants.start[variant])]
            )
            node = int(level.parent[node])
        if latency_ms is None:
            ratio = self.wanted.slo.percentile_ratio
            latency_ms = float(percentile_ms(part.mean_ms[row], part.variance_ms2[row], ratio))
        return Route(
            candidate=int(part.candidate[row]),
            picks=tuple(reversed(picks)),
            mean_ms=float(part.mean_ms[row]),
            variance_ms2=float(part.variance_ms2[row]),
            percentile_ms=latency_ms,
            cost_per_h=float(table.cost_per_h[row]),
            own_cost_per_h=float(table.own_cost_per_h[row]),
            amounts=tuple(
                (resource, float(amount))
                for resource, amount in zip(self.space.resources, table.use[row], strict=True)
                if amount > 0.0
            ),
        )


__all__ = [
    "Complete",
    "Enumeration",
    "Enumerator",
    "Prune",
    "Route",
    "Template",
    "TemplateLimits",
    "admissible",
    "template",
]
