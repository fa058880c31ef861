"""Lines of the goodput benchmark as figures: sums over seeds by layout, draw, load and method, and what they say.

Ratios are of sums over paired seeds, so that a seed with few queries does not weigh as much as one with many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, nan

from goodput_fleet import Layout
from goodput_methods import EXACT, EXACT_POOL, OURS, Kind
from goodput_runs import EQUAL, Line
from search_queries import DRAWS

#: Loads that claims are made for.
CLAIMED_LOADS = (1.0, 3.0)
#: The figure of goodput where accuracy is that over the whole pool.
POOL = "pool_goodput"
#: Where it counts as missed only beyond the held-out samples' own error.
ERROR = "error_goodput"
#: Of a query that counts where one of two serves none at all.
_LEAST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Spot:
    """A cell over all seeds, at a load."""

    layout: str
    draw: str
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best of several methods at a spot, with its goodput summed over seeds."""

    name: str
    goodput: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All lines of a plan."""

    lines: tuple[Line, ...]

    def layouts(self) -> list[str]:
        """The fleet with both tiers first."""
        there = {line.cell.layout for line in self.lines}
        return [layout for layout in Layout if layout in there]

    def draws(self) -> list[str]:
        """In the order of the search benchmark."""
        there = {line.cell.draw for line in self.lines}
        return [draw for draw in DRAWS if draw in there]

    def seeds(self) -> list[int]:
        """In order."""
        return sorted({line.cell.seed for line in self.lines})

    def loads(self) -> list[float]:
        """In order."""
        return sorted({float(load) for line in self.lines for load in line.at})

    def kinds(self) -> dict[str, str]:
        """The kind of each method, ours first, in the order in which they come."""
        return {line.method: line.kind for line in self.lines if line.method != EQUAL}

    def names(self, *kinds: Kind) -> list[str]:
        """Methods of some kinds."""
        return [name for name, kind in self.kinds().items() if kind in kinds]

    def spots(self, *, claimed: bool = False, layout: str | None = None) -> list[Spot]:
        """All that were run, or those that claims are made for."""
        low, high = CLAIMED_LOADS
        every = [
            Spot(layout=one, draw=draw, load=load)
            for one in self.layouts()
            for draw in self.draws()
            for load in self.loads()
            if (layout is None or one == layout) and (not claimed or low <= load <= high)
        ]
        return [spot for spot in every if self.rows(spot, OURS)]

    def rows(self, spot: Spot, method: str, seed: int | None = None) -> list[dict[str, float]]:
        """A method's figures at a spot, one row a seed."""
        key = f"{spot.load:g}"
        return [
            line.at[key]
            for line in sorted(self.lines, key=lambda one: one.cell)
            if line.method == method
            and line.cell.layout == spot.layout
            and line.cell.draw == spot.draw
            and key in line.at
            and (seed is None or line.cell.seed == seed)
        ]

    def total(self, spots: Iterable[Spot], method: str, figure: str, seed: int | None = None) -> float:
        """The sum of a figure over spots and seeds; NaN where the method was not run."""
        rows = [row for spot in spots for row in self.rows(spot, method, seed)]
        return sum(row[figure] for row in rows) if rows else nan

    def goodput(self, spot: Spot, method: str, figure: str = "goodput") -> float:
        """Summed over seeds."""
        return self.total([spot], method, figure)

    def bound(self, spot: Spot, figure: str = "goodput") -> float:
        """Of the selection on what is true, summed over seeds; by the pool, of that on what is true of the pool."""
        return self.total([spot], EXACT_POOL if figure == POOL else EXACT, "bound")

    def best(self, spot: Spot, *kinds: Kind, figure: str = "goodput") -> Best:
        """The method of some kinds with the most goodput; of equals the first."""
        found = [(self.goodput(spot, name, figure), name) for name in self.names(*kinds)]
        goodput, name = max(found, key=lambda one: one[0] if isfinite(one[0]) else -1.0, default=(nan, "none"))
        return Best(name=name, goodput=goodput)

    def over(self, spots: Sequence[Spot], rival: str, method: str = OURS, figure: str = "goodput") -> float:
        """The geometric mean over spots of a method's goodput over a rival's."""
        pairs = [(self.goodput(spot, method, figure), self.goodput(spot, rival, figure)) for spot in spots]
        return geometric_mean(ratio(mine, other) for mine, other in pairs if isfinite(mine + other))

    def over_best(
        self, spots: Sequence[Spot], *kinds: Kind, method: str = OURS, figure: str = "goodput"
    ) -> tuple[float, str]:
        """The same over the rival of some kinds with which it is least, and who that is."""
        found = [(self.over(spots, name, method, figure), name) for name in self.names(*kinds) if name != method]
        return min((one for one in found if isfinite(one[0])), default=(nan, "none"))

    def over_best_of_each(
        self, spots: Sequence[Spot], *kinds: Kind, method: str = OURS, figure: str = "goodput"
    ) -> float:
        """The same over whoever is best at each spot: the best of many is partly luck."""
        pairs = [(self.goodput(spot, method, figure), self.best(spot, *kinds, figure=figure).goodput) for spot in spots]
        return geometric_mean(ratio(mine, other) for mine, other in pairs if isfinite(mine + other))

    def of_bound(self, spots: Sequence[Spot], method: str = OURS, figure: str = "goodput") -> float:
        """The geometric mean over spots of a method's share of the bound."""
        pairs = [(self.goodput(spot, method, figure), self.bound(spot, figure)) for spot in spots]
        return geometric_mean(mine / bound for mine, bound in pairs if bound > 0.0 and isfinite(mine))

    def losses(
        self, spots: Sequence[Spot], method: str = OURS, figure: str = "goodput"
    ) -> list[tuple[float, Spot, str]]:
        """Where a baseline serves more: ours over its goodput, less than 1, the worst first."""
        found = []
        for spot in spots:
            mine = self.goodput(spot, method, figure)
            for name in self.names(Kind.FAITHFUL, Kind.REINFORCED):
                other = self.goodput(spot, name, figure)
                if other > 0.0 and mine < other * (1.0 - 1e-9):
                    found.append((mine / other, spot, name))
        return sorted(found)

    def false_admits(self, spots: Sequence[Spot], method: str = OURS, figure: str = "false_admits") -> float:
        """Of the queries that are placed, the part whose SLO does not hold."""
        placed = self.total(spots, method, "placed")
        return self.total(spots, method, figure) / placed if placed else nan

    def equal_ratios(
        self, over: str, method: str, taken: str, layout: str | None = None, figure: str = "goodput"
    ) -> list[float]:
        """What the best of a kind ("faithful", "reinforced") takes over what a method does, cell by cell."""
        found = []
        for line in self.lines:
            if line.method != EQUAL or (layout is not None and line.cell.layout != layout):
                continue
            of = line.equal.get(figure, {})
            mine = of.get(method, {}).get(taken, -1.0)
            theirs = [one[taken] for one in of.values() if one[over] > 0.0]
            if mine > 0.0 and theirs and min(theirs) > 0.0:
                found.append(min(theirs) / mine)
        return found


def ratio(mine: float, other: float) -> float:
    """One goodput over another; where either is none, half a query stands for it."""
    return max(mine, _LEAST) / max(other, _LEAST) if min(mine, other) <= 0.0 else mine / other


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of none, 0 if one is 0."""
    found = [value for value in values if isfinite(value)]
    if not found:
        return nan
    return 0.0 if min(found) <= 0.0 else exp(sum(map(log, found)) / len(found))
