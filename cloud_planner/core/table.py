"""Tables of partial routes: rows are routes, columns the steps so far. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.core.estimate import Array, join
from cloud_planner.core.pareto import non_dominated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloud_planner.core.steps import Skeleton


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Partial routes. ``picks`` and what follows it: (rows, steps so far); ``use``: (rows, resources)."""

    picks: NDArray[np.int64]
    machine: NDArray[np.int64]
    mean_ms: Array
    variance_ms2: Array
    cv2: Array
    back_ms: Array
    cost_per_h: Array
    own_cost_per_h: Array
    use: Array
    complete: bool = True

    def rows(self, index: NDArray[np.intp], *, complete: bool | None = None) -> Table:
        """These rows only."""
        return Table(
            picks=self.picks[index],
            machine=self.machine[index],
            mean_ms=self.mean_ms[index],
            variance_ms2=self.variance_ms2[index],
            cv2=self.cv2[index],
            back_ms=self.back_ms[index],
            cost_per_h=self.cost_per_h[index],
            own_cost_per_h=self.own_cost_per_h[index],
            use=self.use[index],
            complete=self.complete if complete is None else complete,
        )


def empty_table(resources: int) -> Table:
    """One route that has no steps yet."""
    none = np.zeros((1, 0))
    whole = np.zeros((1, 0), dtype=np.int64)
    zero = np.zeros(1)
    return Table(
        picks=whole,
        machine=whole,
        mean_ms=none,
        variance_ms2=none,
        cv2=none,
        back_ms=none,
        cost_per_h=zero,
        own_cost_per_h=zero,
        use=np.zeros((1, resources)),
    )


def answer_times(table: Table, skeleton: Skeleton) -> tuple[Array, Array]:
    """Mean and variance of the time until the last output has reached the source."""
    first, *others = skeleton.outputs
    mean, variance = table.mean_ms[:, first] + table.back_ms[:, first], table.variance_ms2[:, first]
    for step in others:
        mean, variance = join(
            mean, variance, table.mean_ms[:, step] + table.back_ms[:, step], table.variance_ms2[:, step]
        )
    return mean, variance


def unbeaten_in_groups(figures: Array, keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows that none of their group beats; groups are equal rows of ``keys``."""
    if keys.shape[1] == 0:
        return non_dominated(figures)
    group = np.zeros(len(keys), dtype=np.int64)
    for column in keys.T:
        group = np.unique(group * (int(column.max()) + 1) + column, return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    borders = np.flatnonzero(np.diff(group[order])) + 1
    kept = [members[non_dominated(figures[members])] for members in np.split(order, borders)]
    return np.sort(np.concatenate(kept))


def thinned(cost: Array, mean: Array, use: Array, most: int) -> NDArray[np.intp]:
    """At most so many rows: the cheapest, the fastest, and those that take least of their scarcest resource."""
    scarcest = use.max(axis=1) if use.shape[1] else np.zeros(len(cost))
    rank = np.empty((len(cost), 3), dtype=np.int64)
    for column, figure in enumerate((cost, mean, scarcest)):
        rank[np.argsort(figure, kind="stable"), column] = np.arange(len(cost))
    best = np.argsort(rank.min(axis=1), kind="stable")[:most]
    return np.sort(best)
