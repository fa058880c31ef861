"""Mixed-integer programmes as plain values, and the port through which they are solved. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Protocol


class Sense(StrEnum):
    """How a row's terms compare with its right-hand side."""

    AT_MOST = "<="
    EQUAL = "="
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A linear constraint: terms are (column, coefficient), each column at most once."""

    terms: tuple[tuple[int, float], ...]
    sense: Sense
    rhs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Milp:
    """Optimise objective x values over lower <= values <= upper, rows, integrality. ``start``: a feasible point."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    integer: tuple[bool, ...]
    objective: tuple[float, ...]
    maximize: bool
    rows: tuple[Row, ...]
    start: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much a solver may do. ``max_seconds`` makes answers depend on the clock; None: nodes alone limit."""

    max_nodes: int = 5_000
    max_seconds: float | None = None


class MilpStatus(StrEnum):
    """How a solve ended. NO_SOLUTION: the work was done before a feasible point was found."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    NO_SOLUTION = "no solution"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MilpResult:
    """What a solver found. ``bound`` holds for every feasible point (infinite if nothing is proven)."""

    status: MilpStatus
    values: tuple[float, ...]
    objective: float
    bound: float
    detail: str = ""

    @property
    def solved(self) -> bool:
        """Whether there are values."""
        return self.status in {MilpStatus.OPTIMAL, MilpStatus.FEASIBLE}


class Solver(Protocol):
    """Solves programmes; never raises for a programme that it can't solve."""

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves, within the work given."""
        ...


@dataclass(slots=True, kw_only=True)
class Builder:
    """Collects columns and rows; objectives are given when it is frozen."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def column(self, *, upper: float = inf, integer: bool = False) -> int:
        """A new column from 0 to ``upper``; its index."""
        self.lower.append(0.0)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.lower) - 1

    def row(self, terms: Iterable[tuple[int, float]], sense: Sense, rhs: float) -> None:
        """A new row; coefficients of the same column add up."""
        self.rows.append(Row(terms=merged(terms), sense=sense, rhs=rhs))

    def freeze(self, objective: Iterable[tuple[int, float]], *, maximize: bool, rows: Sequence[Row] = ()) -> Milp:
        """The programme with this objective and these further rows."""
        values = [0.0] * len(self.lower)
        for column, value in objective:
            values[column] += value
        return Milp(
            lower=tuple(self.lower),
            upper=tuple(self.upper),
            integer=tuple(self.integer),
            objective=tuple(values),
            maximize=maximize,
            rows=(*self.rows, *rows),
        )


def merged(terms: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Terms with one coefficient for each column, in order of columns, without zeros."""
    total: dict[int, float] = {}
    for column, value in terms:
        total[column] = total.get(column, 0.0) + value
    return tuple((column, total[column]) for column in sorted(total) if total[column] != 0.0)
