"""Templates: the non-dominated routes of a query over all of its candidates. PURE.

A route of a candidate takes one choice (option and replicas) for each step. Partial routes stand in a table and are
expanded operator by operator; candidates that begin with the same steps share what is expanded so far. A partial
route goes when it cannot meet the SLO even if all that follows took no waiting, when it needs more than there is, or
when another with its frontier on the same machines is nowhere worse: in mean and variance at each frontier step, in
the variability of what flows on, in cost, and in each resource that could run out. All that follows adds to these or
is monotone in them (estimate.py), so no optimum is lost. Complete routes are compared across candidates by cost and
resources only: with the SLO met, no more is asked for.

Frontier: the steps that some later step still reads. Complexity: rows x choices for each step, and the pruning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from circinus.model.query import Slo
from cloud_planner.core.estimate import (
    SLACK_RATIO,
    Array,
    join,
    latency_limit_ms,
    meets_accuracy,
    percentile_ms,
)
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.pareto import beaten, non_dominated
from cloud_planner.core.problem import Problem, QueryProblem, Step
from cloud_planner.core.resources import Resource
from cloud_planner.core.steps import UNBOUNDED, Choices, Pick, Skeleton, Space, tails_ms
from cloud_planner.core.table import Table, answer_times, empty_table, thinned, unbeaten_in_groups


class Prune(StrEnum):
    """What goes.

    ROUTES: any beaten route. PLACEMENTS: routes beaten by one on the same machines. SLOWER: routes beaten in latency
    alone. NOTHING: none.
    """

    ROUTES = "routes"
    PLACEMENTS = "placements"
    SLOWER = "slower"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLimits:
    """The most rows that a table of partial routes, and a template, may have; beyond, they are thinned."""

    partial_rows: int = 40_000
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
    """A query's routes, cheapest first; ``complete`` is False if some were left out by a limit."""

    routes: tuple[Route, ...]
    complete: bool


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
        if meets_accuracy(query, candidate, problem.slo_probability_ratio)
    )


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
    return _Enumerator(network, problem, query, left, wanted).template()


class _Enumerator:
    """One enumeration; holds what its steps share."""

    def __init__(
        self,
        network: Network,
        problem: Problem,
        query: QueryProblem,
        left: Mapping[Resource, float],
        wanted: Enumeration,
    ) -> None:
        self.problem, self.query, self.wanted = problem, query, wanted
        self.space = Space(network, problem, query, left)
        self.steps: dict[Step, int] = {}
        self.choices: dict[tuple[int, int], Choices] = {}
        self.tables: dict[tuple[object, ...], Table] = {}
        self.picks: dict[int, list[tuple[Pick, ...]]] = {}
        #: By skeleton: least time after each step, least own cost after each step, least cost after each step.
        self.ahead: dict[Skeleton, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {}
        self.limit_ms = UNBOUNDED
        #: Cost and use of complete routes so far: whatever they beat already need not be expanded.
        self.front = np.zeros((0, 1 + len(self.space.resources)))

    def template(self) -> Template:
        limits = {index: self._limit_ms(index) for index in self.wanted.candidates}
        self.limit_ms = max((UNBOUNDED if value is None else value for value in limits.values()), default=UNBOUNDED)
        skeletons = {index: Skeleton.of(self.query.candidates[index]) for index in self.wanted.candidates}
        self._look_ahead(skeletons)
        parts: list[tuple[int, Table, Array, Array]] = []
        complete = True
        for index in self._order():
            table = self._complete_table(index, skeletons[index])
            complete &= table.complete
            mean, variance = answer_times(table, skeletons[index])
            table, mean, variance = self._meeting(table, mean, variance, limits[index])
            if len(mean):
                parts.append((index, table, mean, variance))
                if self.wanted.prune is Prune.ROUTES:
                    figures = np.vstack([self.front, np.column_stack([table.cost_per_h, table.use])])
                    self.front = figures[non_dominated(figures)]
        return self._merged(parts, complete)

    def _order(self) -> list[int]:
        """The candidates, those with the least to do first: their routes beat others' early."""

        def least(index: int) -> tuple[float, float, float, int]:
            candidate = self.query.candidates[index]
            every = [self._choices(step, position) for position, step in enumerate(candidate.steps)]
            cost = sum(float(np.min(choices.cost_per_h, initial=UNBOUNDED)) for choices in every)
            stay = sum(float(np.min(choices.stay.base_ms, initial=UNBOUNDED)) for choices in every)
            return (cost, stay, -candidate.accuracy.value, index)

        return sorted(self.wanted.candidates, key=least)

    def _limit_ms(self, index: int) -> float | None:
        if self.wanted.slo.latency_ms is None:
            return None
        return latency_limit_ms(self.query, self.query.candidates[index], self.problem.slo_probability_ratio)

    def _choices(self, step: Step, position: int) -> Choices:
        number = self.steps.setdefault(step, len(self.steps))
        key = (number, position)
        if key not in self.choices:
            fixed = self.wanted.fixed[position] if self.wanted.fixed is not None else None
            self.choices[key] = self.space.choices(
                step, self.wanted.slo, fractional=self.wanted.fractional, fixed=fixed
            )
        return self.choices[key]

    def _look_ahead(self, skeletons: Mapping[int, Skeleton]) -> None:
        least: dict[Skeleton, list[tuple[float, float, float]]] = {}
        for index, skeleton in skeletons.items():
            figures = []
            for position, step in enumerate(self.query.candidates[index].steps):
                choices = self._choices(step, position)
                stay = float(np.min(choices.stay.base_ms, initial=UNBOUNDED))
                own = float(np.min(choices.own_cost_per_h, initial=UNBOUNDED))
                figures.append((stay, own, float(np.min(choices.cost_per_h, initial=UNBOUNDED))))
            before = least.get(skeleton, figures)
            least[skeleton] = [
                (min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])) for a, b in zip(before, figures, strict=True)
            ]
        for skeleton, figures in least.items():
            after = [figures[position + 1 :] for position in range(len(figures))]
            self.ahead[skeleton] = (
                tails_ms(skeleton, tuple(stay for stay, _, _ in figures)),
                tuple(sum(own for _, own, _ in rest) for rest in after),
                tuple(sum(cost for _, _, cost in rest) for rest in after),
            )

    def _complete_table(self, index: int, skeleton: Skeleton) -> Table:
        candidate = self.query.candidates[index]
        table = empty_table(len(self.space.resources))
        key: tuple[object, ...] = (skeleton, candidate.source_bytes)
        for position, step in enumerate(candidate.steps):
            choices = self._choices(step, position)
            key = (*key, self.steps[step])
            if key not in self.tables:
                expanded = self._expand(table, index, position, skeleton, choices)
                self.tables[key] = self._pruned(expanded, position, skeleton)
            table = self.tables[key]
        return table

    def _expand(self, table: Table, index: int, position: int, skeleton: Skeleton, choices: Choices) -> Table:
        candidate, ways = self.query.candidates[index], self.space.ways
        count = len(choices.picks)
        row = np.repeat(np.arange(len(table.cost_per_h)), count)
        choice = np.tile(np.arange(count), len(table.cost_per_h))
        target = choices.machine[choice] if count else np.zeros(0, dtype=np.int64)
        keep = np.ones(len(row), dtype=bool)
        sources = []
        for place in skeleton.inputs[position]:
            source = np.full(len(row), self.space.source_index) if place < 0 else table.machine[row, place]
            keep &= ways.exists[source, target]
            sources.append(source)
        row, choice, target = row[keep], choice[keep], target[keep]
        use = table.use[row] + choices.use[choice]
        cost = table.cost_per_h[row] + choices.cost_per_h[choice]
        own = table.own_cost_per_h[row] + choices.own_cost_per_h[choice]
        mean = variance = cv2 = back = np.zeros(len(row))
        for number, (place, all_sources) in enumerate(zip(skeleton.inputs[position], sources, strict=True)):
            source = all_sources[keep]
            item_bytes = candidate.source_bytes if place < 0 else candidate.steps[place].output_bytes
            items = 1.0 if place < 0 else candidate.steps[place].items_per_item
            bytes_per_s = self.query.rate_per_s * items * item_bytes
            traffic = ways.price_per_byte[source, target] * bytes_per_s * SECONDS_PER_H
            if not self.wanted.fractional:
                wire = ways.wire[source, target]
                taken = np.flatnonzero(wire >= 0)
                use[taken, wire[taken]] += (ways.share_per_byte[source, target] * bytes_per_s)[taken]
            cost, own = cost + traffic, own + traffic
            came = (np.zeros(len(row)) if place < 0 else table.mean_ms[row, place]) + (
                ways.delay_ms[source, target] + item_bytes * ways.ms_per_byte[source, target]
            )
            spread = np.zeros(len(row)) if place < 0 else table.variance_ms2[row, place]
            varied = np.full(len(row), self.query.arrival_cv2) if place < 0 else table.cv2[row, place]
            way = ways.back_ms[source, target] + (0.0 if place < 0 else table.back_ms[row, place])
            if number == 0:
                mean, variance, cv2, back = came, spread, varied, way
            else:
                mean, variance = join(mean, variance, came, spread)
                cv2, back = np.maximum(cv2, varied), np.maximum(back, way)
        stay = type(choices.stay)(
            base_ms=np.asarray(choices.stay.base_ms)[choice],
            variance_ms2=np.asarray(choices.stay.variance_ms2)[choice],
            pressure_ms=np.asarray(choices.stay.pressure_ms)[choice],
            service_cv2=np.asarray(choices.stay.service_cv2)[choice],
            utilization_ratio=np.asarray(choices.stay.utilization_ratio)[choice],
        )
        stay_mean, stay_variance, departure = stay.through(cv2)
        mean, variance = mean + stay_mean, variance + stay_variance
        tail, rest, _ = (figures[position] for figures in self.ahead[skeleton])
        possible = mean + back + tail <= self.limit_ms * (1.0 + SLACK_RATIO)
        if self.wanted.slo.cost_per_h is not None:
            possible &= own + rest <= self.wanted.slo.cost_per_h * (1.0 + SLACK_RATIO)
        if not self.wanted.fractional:
            possible &= (use <= self.space.left * (1.0 + SLACK_RATIO)).all(axis=1)
        grown = Table(
            picks=np.column_stack([table.picks[row], choice]),
            machine=np.column_stack([table.machine[row], target]),
            mean_ms=np.column_stack([table.mean_ms[row], mean]),
            variance_ms2=np.column_stack([table.variance_ms2[row], variance]),
            cv2=np.column_stack([table.cv2[row], departure]),
            back_ms=np.column_stack([table.back_ms[row], back]),
            cost_per_h=cost,
            own_cost_per_h=own,
            use=use,
            complete=table.complete,
        )
        return grown.rows(np.flatnonzero(possible))

    def _pruned(self, table: Table, position: int, skeleton: Skeleton) -> Table:
        rows = len(table.cost_per_h)
        if len(self.front) and rows:
            least = table.cost_per_h + self.ahead[skeleton][2][position]
            table = table.rows(np.flatnonzero(~beaten(np.column_stack([least, table.use]), self.front)))
            rows = len(table.cost_per_h)
        if rows > 1 and self.wanted.prune is not Prune.NOTHING:
            live = [step for step in range(position + 1) if any(s > position for s in skeleton.successors[step])]
            keyed = range(position + 1) if self.wanted.prune is Prune.PLACEMENTS else live
            # Of equals the first stays: let that be the fastest, also where no bound asks for it.
            table = table.rows(np.argsort(table.mean_ms[:, position] + table.back_ms[:, position], kind="stable"))
            figures = self._figures(table, position, skeleton, live)
            table = table.rows(unbeaten_in_groups(figures, table.machine[:, list(keyed)]))
            rows = len(table.cost_per_h)
        most = self.wanted.limits.partial_rows
        if rows <= most:
            return table
        order = thinned(table.cost_per_h, table.mean_ms[:, position] + table.back_ms[:, position], table.use, most)
        return table.rows(order, complete=False)

    def _figures(self, table: Table, position: int, skeleton: Skeleton, live: Sequence[int]) -> Array:
        """What a partial route is compared by: (rows, figures)."""
        slowness = self.wanted.prune is Prune.SLOWER
        columns = [] if slowness else [table.cost_per_h]
        if self.wanted.slo.cost_per_h is not None and not slowness:
            columns.append(table.own_cost_per_h)
        if self.wanted.slo.latency_ms is not None:
            finished = [step for step in skeleton.outputs if step <= position]
            for step in sorted({*live, *finished}):
                if skeleton.joins:
                    columns += [table.mean_ms[:, step], table.back_ms[:, step]]
                else:
                    columns.append(table.mean_ms[:, step] + table.back_ms[:, step])
                columns.append(table.variance_ms2[:, step])
                if step in live:
                    columns.append(table.cv2[:, step])
        return np.column_stack(columns if slowness else [*columns, table.use])

    def _meeting(
        self, table: Table, mean: Array, variance: Array, limit_ms: float | None
    ) -> tuple[Table, Array, Array]:
        """The rows that meet the SLO."""
        if limit_ms is None or not len(mean):
            return table, mean, variance
        latency = percentile_ms(mean, variance, self.wanted.slo.percentile_ratio)
        kept = np.flatnonzero(latency <= limit_ms * (1.0 + SLACK_RATIO))
        return table.rows(kept), mean[kept], variance[kept]

    def _merged(self, parts: list[tuple[int, Table, Array, Array]], complete: bool) -> Template:
        """The routes of all candidates; of equal ones those of the more accurate, then faster come first."""
        if not parts:
            return Template(routes=(), complete=complete)
        part = np.concatenate([np.full(len(mean), number) for number, (_, _, mean, _) in enumerate(parts)])
        row = np.concatenate([np.arange(len(mean)) for _, _, mean, _ in parts])
        accuracy = np.array([self.query.candidates[index].accuracy.value for index, *_ in parts])
        mean = np.concatenate([mean for _, _, mean, _ in parts])
        cost = np.concatenate([table.cost_per_h for _, table, _, _ in parts])
        use = np.concatenate([table.use for _, table, _, _ in parts])
        order = np.lexsort((np.arange(len(row)), mean, -accuracy[part], cost))
        if self.wanted.prune is Prune.ROUTES:
            order = order[non_dominated(np.column_stack([cost, use])[order])]
        most = self.wanted.limits.routes
        if len(order) > most:
            order = order[thinned(cost[order], mean[order], use[order], most)]
            complete = False
        return Template(
            routes=tuple(self._route(parts[int(part[index])], int(row[index])) for index in order), complete=complete
        )

    def _route(self, part: tuple[int, Table, Array, Array], row: int) -> Route:
        candidate, table, mean, variance = part
        steps = self.query.candidates[candidate].steps
        if candidate not in self.picks:
            self.picks[candidate] = [self._choices(step, position).picks for position, step in enumerate(steps)]
        picks = tuple(every[table.picks[row, position]] for position, every in enumerate(self.picks[candidate]))
        percentile = percentile_ms(mean[row], variance[row], self.wanted.slo.percentile_ratio)
        return Route(
            candidate=candidate,
            picks=picks,
            mean_ms=float(mean[row]),
            variance_ms2=float(variance[row]),
            percentile_ms=float(percentile),
            cost_per_h=float(table.cost_per_h[row]),
            own_cost_per_h=float(table.own_cost_per_h[row]),
            amounts=tuple(
                (resource, float(amount))
                for resource, amount in zip(self.space.resources, table.use[row], strict=True)
                if amount > 0.0
            ),
        )
