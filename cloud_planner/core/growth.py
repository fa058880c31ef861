"""Partial routes, grown step by step over all candidates at once. PURE.

A row goes when it cannot meet the SLO even if all that follows took no waiting, when it needs more than there is, when
complete routes at hand beat it whatever follows, or when another of the same prefix with its frontier on the same
machines is nowhere worse: in mean and variance at each frontier step, in the variability of what flows on, in cost,
and in each resource that could run out. All that follows adds to these or is monotone in them (estimate.py).

Frontier: the steps that some later step still reads. Where two of them have a step in common behind them, later_of
takes what they have apart from it, so that is what is compared, and the common part once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.query import Slo
from cloud_planner.core.estimate import SLACK_RATIO, percentile_at_most_ms, percentile_spread
from cloud_planner.core.frontier import Frontier, frontier_of
from cloud_planner.core.moment import START, Array, Moment, later_of
from cloud_planner.core.network import SECONDS_PER_H
from cloud_planner.core.pareto import beaten, unbeaten_in_groups
from cloud_planner.core.prefixes import Level
from cloud_planner.core.problem import QueryProblem
from cloud_planner.core.steps import Skeleton, Space
from cloud_planner.core.table import End, Table, apart_by, best_of_each, common, empty_table, grouped, thinned
from cloud_planner.core.worst import Worsts

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Times the rows that growth goes on with: so many are compared with each other.
_COMPARED = 3
#: The part of them that a thinned growth goes on with.
_FRACTION = 8
_FEW = 200


class Prune(StrEnum):
    """What goes.

    ROUTES: any beaten route. PLACEMENTS: routes beaten by one on the same machines. SLOWER: routes beaten in latency
    alone. NOTHING: none.
    """

    ROUTES = "routes"
    PLACEMENTS = "placements"
    SLOWER = "slower"
    NOTHING = "nothing"


@dataclass(slots=True, kw_only=True)
class Growth:
    """How one growth went. ``epsilon_ratio``: the coarsest grid that a table was thinned on."""

    complete: bool = True
    rows_most: int = 0
    rows_thinned: int = 0
    epsilon_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grower:
    """Grows the routes of one tree of prefixes.

    ``times``: the weights on time that its levels' tails have, beside time alone. ``merged``: places of steps that
    other queries may run for this one; what does not agree there is not compared.
    """

    space: Space
    query: QueryProblem
    skeleton: Skeleton
    roots: int
    levels: tuple[Level, ...]
    slo: Slo
    prune: Prune
    fractional: bool
    worsts: Worsts
    times: Array
    merged: frozenset[int] = frozenset()

    def grow(self, most: int, front: Array | None = None, most_cost: Array | None = None) -> tuple[Table, Growth]:
        """All complete routes that stay, before the SLO on latency is held against them.

        Args:
            most: Rows that a level may go on with; beyond, they are thinned.
            front: Cost and use of complete routes at hand, (routes, 1 + resources); what they beat strictly goes.
            most_cost: By candidate, what a route of it may cost.
        """
        growth = Growth()
        table = empty_table(self.roots, len(self.space.resources))
        for place, level in enumerate(self.levels):
            table = self._expand(table, place, level, front, most_cost)
            table = self._pruned(table, place, level, most, growth)
        return table, growth

    def _expand(self, table: Table, place: int, level: Level, front: Array | None, most_cost: Array | None) -> Table:
        row, node, choice = _paired(table, level)
        variants, ways = level.variants, self.space.ways
        target = variants.machine[choice]
        use = table.use[row]
        cost = table.cost_per_h[row] + variants.cost_per_h[choice]
        own = table.own_cost_per_h[row] + variants.own_cost_per_h[choice]
        keep = np.ones(len(row), dtype=bool)
        sources = []
        for number, before in enumerate(self.skeleton.inputs[place]):
            source = np.full(len(row), self.space.source_index) if before < 0 else table.machine[row, before]
            keep &= ways.exists[source, target]
            keep &= ways.same_site[source, target] | ~level.at_site[node, number]
            sources.append(source)
        if not self.fractional:
            use += variants.use[choice]
        for number, source in enumerate(sources):
            bytes_per_s = (self.query.rate_per_s * level.items[:, number] * level.item_bytes[:, number])[node]
            cost = cost + ways.charge_per_byte[source, target] * bytes_per_s * SECONDS_PER_H
            own = own + ways.price_per_byte[source, target] * bytes_per_s * SECONDS_PER_H
            if not self.fractional:
                for each in range(ways.wires.shape[2]):
                    wire = ways.wires[source, target, each]
                    taken = np.flatnonzero(wire >= 0)
                    use[taken, wire[taken]] += (ways.share_per_byte[source, target, each] * bytes_per_s)[taken]
        if self.slo.cost_per_h is not None:
            keep &= own + level.own_ahead_per_h[node] <= self.slo.cost_per_h * (1.0 + SLACK_RATIO)
        if not self.fractional and use.shape[1]:
            keep &= (use <= self.space.left * (1.0 + SLACK_RATIO)).all(axis=1)
        least = cost + level.cost_ahead_per_h[node]
        if most_cost is not None:
            allowed = np.array([max(most_cost[index] for index in each) for each in level.members])
            keep &= least <= allowed[node] * (1.0 + SLACK_RATIO)
        kept = np.flatnonzero(keep)
        if front is not None and len(front) and len(kept):
            figures = np.column_stack([least[kept], use[kept] + level.use_ahead[node[kept]]])
            # Strictly beaten only: of equals the more accurate is wanted.
            kept = kept[~beaten(figures * (1.0 - SLACK_RATIO), front)]
        row, node, choice, target = row[kept], node[kept], choice[kept], target[kept]
        end = self._end(table, place, level, row, node, choice, target)
        frontier = frontier_of(self.skeleton, place)
        grown = Table(
            node=node,
            picks=np.column_stack([table.picks[row], choice.astype(np.int32)]),
            machine=np.column_stack([table.machine[row], target.astype(np.int32)]),
            ends={p: end if p == place else table.ends[p].rows(row) for p in frontier.kept},
            cost_per_h=cost[kept],
            own_cost_per_h=own[kept],
            use=use[kept],
        )
        possible = self._possible(grown, level, frontier, None if most_cost is None else allowed)
        return grown if possible.all() else grown.rows(np.flatnonzero(possible))

    def _possible(self, table: Table, level: Level, frontier: Frontier, allowed: Array | None) -> NDArray[np.bool_]:
        """Rows that may still be in time, and so at no more than is allowed."""
        node = table.node
        possible = np.ones(len(node), dtype=bool)
        if self.slo.latency_ms is None:
            return possible
        limit = level.limit_ms[node] * (1.0 + SLACK_RATIO)
        for place in frontier.ends:
            so_far = self._so_far(table, level, place)
            ahead = level.tails[place][node, :, table.machine[:, place]]
            possible &= so_far + ahead[:, 0] <= limit
            if allowed is not None and ahead.shape[1] > 1:
                least = (ahead[:, 1:] - self.times * (limit - so_far)[:, None]).max(axis=1)
                cost = table.cost_per_h + level.others_per_h[place][node] + least
                possible &= cost <= allowed[node] * (1.0 + SLACK_RATIO) + 1e-12
        return possible

    @staticmethod
    def _correlation(level: Level, node: NDArray[np.int64]) -> Array | float:
        return level.correlation_ratio[node] if level.correlation_ratio.any() else 0.0

    def _end(
        self,
        table: Table,
        place: int,
        level: Level,
        row: NDArray[np.intp],
        node: NDArray[np.int64],
        choice: NDArray[np.int64],
        target: NDArray[np.int64],
    ) -> End:
        """When the step at a place ends, in each row."""
        ways = self.space.ways
        correlation = self._correlation(level, node)
        at, cv2, back = START, np.zeros(len(row)), np.zeros(len(row))
        passed = frozenset[int]()
        behind = {p: end.rows(row) for p, end in table.ends.items()} if table.ends else {}
        for number, before in enumerate(self.skeleton.inputs[place]):
            source = np.full(len(row), self.space.source_index) if before < 0 else table.machine[row, before]
            delay = ways.delay_ms[source, target] + level.item_bytes[node, number] * ways.ms_per_byte[source, target]
            came = (_started(len(row)) if before < 0 else behind[before].at).later(delay)
            varied = np.full(len(row), self.query.arrival_cv2) if before < 0 else behind[before].cv2
            way = ways.back_ms[source, target] + (0.0 if before < 0 else behind[before].back_ms)
            ways_to = self.skeleton.passed[before] if before >= 0 else frozenset[int]()
            if number == 0:
                at, cv2, back, passed = came, varied, way, ways_to
            else:
                passed = passed & ways_to
                at = later_of(at, came, common(behind, passed))
                cv2, back = np.maximum(cv2, varied), np.maximum(back, way)
        stay, departure = level.variants.stay.rows(choice).moment(cv2, correlation, at.deviation_ms)
        return End(at=at.then(stay), cv2=departure, back_ms=back)

    def _pruned(self, table: Table, place: int, level: Level, most: int, growth: Growth) -> Table:
        growth.rows_most = max(growth.rows_most, len(table))
        if len(table) < 2:
            return table
        frontier = frontier_of(self.skeleton, place)
        # With some left out no bound follows any more, so a fraction does.
        aim = most if len(self.times) else max(min(most, _FEW), most // _FRACTION)
        compared = _COMPARED * (most if growth.complete else aim)
        if len(table) > compared:
            # Comparing them all takes longer than what it brings.
            table = self._thinned(table, place, level, frontier, compared, growth)
        if self.prune is not Prune.NOTHING:
            keyed = range(place + 1) if self.prune is Prune.PLACEMENTS else frontier.live
            # Of equals the first stays: let that be the fastest, also where no bound asks for it.
            table = table.rows(np.argsort(self._last_ms(table, place), kind="stable"))
            figures = self._figures(table, place, level, frontier)
            stays = unbeaten_in_groups(figures, apart_by(table, grouped(table, keyed), self.merged))
            table = table.rows(stays[np.argsort(table.node[stays], kind="stable")])
        few = len(table) <= (most if growth.complete else aim)
        return table if few else self._thinned(table, place, level, frontier, aim, growth)

    def _thinned(self, table: Table, place: int, level: Level, frontier: Frontier, most: int, growth: Growth) -> Table:
        if len(self.times):
            stays = best_of_each(table.node, self._guides(table, level, frontier), most)
        else:
            figures = self._figures(table, place, level, frontier)
            group = grouped(table, frontier.live)
            stays = thinned(table.node, group, figures, self._criteria(table, place), most)
        growth.complete = False
        growth.rows_thinned += len(table) - len(stays.rows)
        growth.epsilon_ratio = max(growth.epsilon_ratio, stays.epsilon_ratio)
        return table.rows(stays.rows)

    def _guides(self, table: Table, level: Level, frontier: Frontier) -> Array:
        """What whole routes that begin so may take: (rows, weights). The least time, and cost with time weighed."""
        found = np.full((len(table), 1 + len(self.times)), -np.inf)
        for place in frontier.ends:
            ahead = level.tails[place][table.node, :, table.machine[:, place]]
            so_far = self._so_far(table, level, place)[:, None]
            others = (table.cost_per_h + level.others_per_h[place][table.node])[:, None]
            guide = ahead + np.append(1.0, self.times) * so_far
            guide[:, 1:] += others
            found = np.maximum(found, guide)
        return found

    def _so_far(self, table: Table, level: Level, place: int) -> Array:
        """The time up to the end of a step and back, with the deviation that the whole will have at least."""
        end = table.ends[place]
        # For a gamma distribution whose deviation is at most its mean, no percentile is nearer to the mean.
        spread = percentile_spread(self.slo.percentile_ratio)
        if spread == 0.0:
            return np.asarray(end.at.mean_ms + end.back_ms)
        deviation = np.sqrt(end.at.total_ms2(self._correlation(level, table.node)))
        return np.asarray(end.at.mean_ms + end.back_ms + spread * np.minimum(deviation, end.at.mean_ms))

    def _criteria(self, table: Table, place: int) -> Array:
        """What a thinned table must hold the best of: cost, time, each resource, and some of these together."""
        cost, time, use = table.cost_per_h, self._last_ms(table, place), table.use
        dear, slow = cost / max(float(cost.max()), 1e-12), time / max(float(time.max()), 1e-12)
        columns = [dear, slow, *(dear + weight * slow for weight in (0.1, 0.5, 2.0))]
        if use.shape[1]:
            most = use.max(axis=1)
            total = use.sum(axis=1) / max(float(use.sum(axis=1).max()), 1e-12)
            columns += [most, total, dear + total, total + slow, *use.T]
        return np.column_stack(columns)

    def _last_ms(self, table: Table, place: int) -> Array:
        end = table.ends.get(place)
        if end is None:
            return np.zeros(len(table))
        return np.asarray(end.at.mean_ms + end.back_ms)

    def _figures(self, table: Table, place_done: int, level: Level, frontier: Frontier) -> Array:
        """What a partial route is compared by: (rows, figures)."""
        slowness = self.prune is Prune.SLOWER
        columns: list[Array] = [] if slowness else [table.cost_per_h]
        if self.slo.cost_per_h is not None and not slowness:
            columns.append(table.own_cost_per_h)
        first = len(columns)
        if self.slo.latency_ms is not None:
            for place in frontier.ends:
                end = table.ends[place]
                if self.skeleton.joins:
                    columns += [np.asarray(end.at.mean_ms), end.back_ms]
                else:
                    columns.append(end.at.mean_ms + end.back_ms)
                if place in frontier.live:
                    columns.append(end.cv2)
            for place, tie in frontier.parts:
                at, behind = table.ends[place].at, common(table.ends, [tie])
                columns.append(np.asarray(at.variance_ms2 - behind.variance_ms2))
            if any(each.correlation_ratio.any() for each in self.levels):
                columns += [np.asarray(table.ends[place].at.deviation_ms) for place in frontier.ends]
        if slowness:
            return np.column_stack(columns) if columns else np.zeros((len(table), 0))
        figures = np.column_stack([*columns, table.use])
        if len(columns) > first:
            figures[self._surely_in_time(table, place_done, level), first : len(columns)] = -1.0
        return figures

    def _surely_in_time(self, table: Table, place: int, level: Level) -> NDArray[np.bool_]:
        """Rows that meet the bound on latency whatever follows: their times need not be compared."""
        node = table.node
        mean, variance = self.worsts.answer(table, place, level.worst, node, self._correlation(level, node))
        return percentile_at_most_ms(mean, variance, self.slo.percentile_ratio) <= level.worst_limit_ms[node]


def _started(rows: int) -> Moment:
    return Moment(mean_ms=np.zeros(rows), variance_ms2=np.zeros(rows), deviation_ms=np.zeros(rows))


def _paired(table: Table, level: Level) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Each row with each choice of each prefix that grows from its own: row, new prefix, choice."""
    start = np.searchsorted(table.node, level.parent, side="left")
    rows = np.searchsorted(table.node, level.parent, side="right") - start
    choices = level.variants.count[level.variant]
    pairs = rows * choices
    node = np.repeat(np.arange(len(level.parent)), pairs)
    within = np.arange(len(node)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    each = np.maximum(choices[node], 1)
    row = start[node] + within // each
    choice = level.variants.start[level.variant[node]] + within % each
    return row, node, choice
