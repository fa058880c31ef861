"""Tables of partial routes: rows are routes, columns what is known of the steps so far. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.core.moment import START, Array, Moment, later_of
from cloud_planner.core.pareto import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloud_planner.core.steps import Skeleton

#: Steps of the grid on which a table is thinned, from fine to coarse.
_GRID_RATIOS = (0.01, 0.03, 0.1, 0.3)
#: With more figures than this each row has a cell for itself.
_GRID_FIGURES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of one step in each row: when, how variable what leaves is, how long the way back takes."""

    at: Moment
    cv2: Array
    back_ms: Array

    def rows(self, index: NDArray[np.intp]) -> End:
        """These rows only."""
        at = Moment(
            mean_ms=np.asarray(self.at.mean_ms)[index],
            variance_ms2=np.asarray(self.at.variance_ms2)[index],
            deviation_ms=np.asarray(self.at.deviation_ms)[index],
        )
        return End(at=at, cv2=self.cv2[index], back_ms=self.back_ms[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Partial routes, sorted by ``node``, the number of their prefix.

    ``picks`` and ``machine``: (rows, steps so far); ``use``: (rows, resources); ``ends``: by the steps that still
    matter.
    """

    node: NDArray[np.int64]
    picks: NDArray[np.int32]
    machine: NDArray[np.int32]
    ends: Mapping[int, End]
    cost_per_h: Array
    own_cost_per_h: Array
    use: Array

    def __len__(self) -> int:
        """Rows."""
        return len(self.node)

    def rows(self, index: NDArray[np.intp]) -> Table:
        """These rows only."""
        return Table(
            node=self.node[index],
            picks=self.picks[index],
            machine=self.machine[index],
            ends={place: end.rows(index) for place, end in self.ends.items()},
            cost_per_h=self.cost_per_h[index],
            own_cost_per_h=self.own_cost_per_h[index],
            use=self.use[index],
        )


def empty_table(nodes: int, resources: int) -> Table:
    """One route that has no steps yet for each of so many prefixes."""
    zero = np.zeros(nodes)
    none = np.zeros((nodes, 0), dtype=np.int32)
    return Table(
        node=np.arange(nodes),
        picks=none,
        machine=none,
        ends={},
        cost_per_h=zero,
        own_cost_per_h=zero,
        use=np.zeros((nodes, resources)),
    )


def answer_times(table: Table, skeleton: Skeleton, correlation_ratio: Array) -> tuple[Array, Array]:
    """Mean and variance of the time until the last output has reached the source."""
    first, *others = skeleton.outputs
    at = table.ends[first].at.later(table.ends[first].back_ms)
    passed = skeleton.passed[first]
    for place in others:
        passed = passed & skeleton.passed[place]
        other = table.ends[place].at.later(table.ends[place].back_ms)
        at = later_of(at, other, common(table.ends, passed))
    return np.asarray(at.mean_ms), np.asarray(at.total_ms2(correlation_ratio))


def common(ends: Mapping[int, End], passed: Iterable[int]) -> Moment:
    """What lies behind all ways that pass these steps: the end of the last of them."""
    last = max(passed, default=-1)
    return ends[last].at if last >= 0 else START


def grouped(table: Table, places: Iterable[int]) -> NDArray[np.int64]:
    """Numbers of the groups of rows that have the same prefix and the same machines at these places."""
    group = table.node.copy()
    for place in places:
        column = table.machine[:, place]
        group = group * (int(column.max(initial=0)) + 1) + column
    return group


def apart_by(table: Table, group: NDArray[np.int64], places: Iterable[int]) -> NDArray[np.int64]:
    """Numbers of the groups of rows that are in one group and have the same choices at these places, so far."""
    chosen = [table.picks[:, place] for place in places if place < table.picks.shape[1]]
    if not chosen or not len(table):
        return group
    _, found = np.unique(np.column_stack([group, *chosen]), axis=0, return_inverse=True)
    return np.asarray(found, dtype=np.int64).reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinned:
    """Rows of a table that stay, and the step of the grid that they were thinned on.

    0: not on one; infinite: more went than a grid explains.
    """

    rows: NDArray[np.intp]
    epsilon_ratio: float


def _extremes(figures: Array, group: NDArray[np.int64]) -> NDArray[np.intp]:
    """For each group and column, the row with the least."""
    found = []
    for column in figures.T:
        order = np.lexsort((column, group))
        found.append(order[np.flatnonzero(np.append(True, np.diff(group[order]) != 0))])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.intp)


def thinned(node: NDArray[np.int64], group: NDArray[np.int64], figures: Array, guides: Array, most: int) -> Thinned:
    """At most so many rows, about as many of each node.

    Of few figures one row of each cell of a grid is kept, as fine as there is room for, and of each group those with
    the least of each figure. Of many, or where these are too many, those of each node that come first by any guide.
    """
    if figures.shape[1] <= _GRID_FIGURES:
        best, grid = _extremes(figures, group), Grid(figures, group)
        for ratio in _GRID_RATIOS:
            rows = np.union1d(grid.one_of_each_cell(ratio), best)
            if len(rows) <= most:
                return Thinned(rows=rows, epsilon_ratio=ratio)
    return best_of_each(node, guides, most)


def best_of_each(node: NDArray[np.int64], figures: Array, most: int) -> Thinned:
    """At most so many rows, about as many of each node: those that come first by any figure."""
    rank = np.full(len(node), len(node))
    for column in figures.T:
        rank = np.minimum(rank, _rank_within(column, node))
    nodes = len(np.unique(node))
    rows = np.flatnonzero(_rank_within(rank.astype(float), node) < max(1, most // nodes))
    return Thinned(rows=rows, epsilon_ratio=inf)


def _rank_within(figure: Array, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each row within its group; nearly equal figures in any order."""
    low, high = float(figure.min(initial=0.0)), float(figure.max(initial=0.0))
    # One sort by group and figure in one number: two sorts take thrice the time.
    order = np.argsort(group + (figure - low) / max(high - low, 1e-300) * 0.999, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return rank
