"""The linear and integer programmes of column generation as plain arrays, and the ports through which they are solved.

PURE. All rows are "at most"; all columns are at least 0; everything is maximised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cloud_planner.core.column_generation.space import Array
from cloud_planner.core.select.milp import MilpStatus

if TYPE_CHECKING:
    from scipy.sparse import csc_array


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearResult:
    """Values of columns and duals (>= 0) of rows; not ``solved``: nothing, and why in ``detail``."""

    solved: bool
    values: Array
    duals: Array
    detail: str = ""


class Master(Protocol):
    """A linear programme that grows."""

    def add(self, use: csc_array, gain: Array, most: Array) -> None:
        """More columns: ``use`` (rows, columns), what each adds to the objective, and the most of it."""

    def solve(self) -> LinearResult:
        """Solves; never raises for a programme that it can't solve."""


#: Starts a programme with these right-hand sides: (rows,).
Masters = Callable[[Array], Master]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerTask:
    """An integer programme: ``use`` (rows, columns), right-hand sides, what columns add, the most of each.

    ``start``: a feasible point. ``gap_ratio``: where to stop. ``nodes`` and ``seconds`` (None: nodes alone) limit work.
    """

    use: csc_array
    rhs: Array
    gain: Array
    most: Array
    start: Array
    gap_ratio: float = 1e-6
    nodes: int = 2_000
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerResult:
    """Values (empty: none was found) and a bound that holds for every point (infinite: nothing is proven)."""

    status: MilpStatus
    values: Array
    bound: float
    detail: str = ""


#: Solves tasks, side by side where it can; it takes them as it gets on, results come in their order. Never raises for
#: one that it can't solve.
Integers = Callable[[Iterable[IntegerTask]], Iterator[IntegerResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmes:
    """How programmes are solved."""

    masters: Masters
    integers: Integers
