"""Column generation: prices for every row, and a bound over the whole plan space. PURE.

The restricted linear programme knows few plans of each query. Its dual values are prices; at those each query picks its
best plan out of its whole table, and what is better than all that the programme knows goes in; until there is nothing
(Dantzig and Wolfe 1960; Gilmore and Gomory 1961). Each round's prices give a bound; the least of them stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, vstack

from cloud_planner.core.column_generation.pricing import Aim, Best, Prices, best_at
from cloud_planner.core.column_generation.programmes import LinearResult, Masters
from cloud_planner.core.column_generation.space import NONE, Array, Indices, SelectionSpace

#: A plan whose profit is no larger than this part of the largest worth does not improve anything.
_TOLERANCE_RATIO = 1e-7
_MOST_ROUNDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """What column generation ends with.

    ``bound`` holds for every selection. Columns: ``members``, ``plans`` and ``values``. ``opened``: (sides,).
    ``solved``: the relaxation is at its optimum; else the bound is what the last prices gave. ``detail``: why not.
    """

    prices: Prices
    best: Best
    bound: float
    members: Indices
    plans: Indices
    values: Array
    opened: Array
    rounds: int
    solved: bool
    detail: str = ""


def generate(
    space: SelectionSpace,
    aim: Aim,
    masters: Masters,
    *,
    start: tuple[Indices, Indices] | None = None,
    prices: Prices | None = None,
    rows: Indices | None = None,
    rounds: int = _MOST_ROUNDS,
    enough: Callable[[], bool] = lambda: False,
) -> Relaxation:
    """The linear relaxation over the whole plan space.

    Rows of the programme: S1 of each member, S2 of each row, then the goodput asked for and the cost allowed.

    Args:
        space: The plan space.
        aim: What is maximised.
        masters: Starts the restricted programme.
        start: Members and plans that it knows from the start; without, what is best at ``prices``.
        prices: A guess; with ``rows`` those of all others are what they stay.
        rows: The rows whose prices are sought; None: all, and the goodput asked for and the cost allowed.
        rounds: At most so many.
        enough: Asked after each round, whether to stop with what there is.
    """
    work = _Generation(space, aim, masters, rows, prices or Prices.zero(space))
    at_hand = best_at(space, aim, prices or Prices.zero(space))
    bound, found_prices = at_hand.bound, prices or Prices.zero(space)
    if start is not None:
        work.add(*start)
    work.add(np.flatnonzero(at_hand.profit > 0.0), at_hand.plan[at_hand.profit > 0.0])
    best, result, detail, solved, done = at_hand, None, "", False, 0
    while done < rounds:
        done += 1
        answer = work.master.solve()
        if not answer.solved:
            detail = answer.detail
            break
        result = answer
        now = work.prices(answer)
        priced = best_at(space, aim, now)
        if priced.bound <= bound:
            bound, found_prices, best = priced.bound, now, priced
        better = priced.profit - answer.duals[: space.members]
        improving = np.flatnonzero(better > work.tolerance)
        if not work.add(improving, priced.plan[improving]):
            solved = True
            break
        if enough():
            break
    members, plans = work.known()
    values = result.values if result is not None else np.zeros(0)
    sides = len(space.sides)
    taken = np.zeros(len(members))
    taken[: max(0, len(values) - sides)] = values[sides:]
    return Relaxation(
        prices=found_prices,
        best=best,
        bound=bound,
        members=members,
        plans=plans,
        values=taken,
        opened=values[:sides] if len(values) else np.zeros(sides),
        rounds=done,
        solved=solved,
        detail=detail,
    )


class _Generation:
    """The restricted programme, and which plans it knows."""

    def __init__(self, space: SelectionSpace, aim: Aim, masters: Masters, rows: Indices | None, fixed: Prices) -> None:
        self.space, self.aim = space, aim
        self.rows = np.arange(len(space.capacity)) if rows is None else rows
        #: What stays as it is: prices of what the programme has no rows for.
        self.fixed = Prices.zero(space) if rows is None else fixed.without(rows)
        self.asks = rows is None and aim.least_goodput_per_s > 0.0
        limit = min(aim.most_cost_per_h, space.budget_per_h)
        self.limited = rows is None and bool(np.isfinite(limit))
        rhs = [np.ones(space.members), space.capacity[self.rows]]
        if self.asks:
            rhs.append(np.array([-aim.least_goodput_per_s]))
        if self.limited:
            rhs.append(np.array([limit]))
        self.master = masters(np.concatenate(rhs))
        self.tolerance = _TOLERANCE_RATIO * self._scale()
        self._known: set[tuple[int, int]] = set()
        self._members: list[Indices] = []
        self._plans: list[Indices] = []
        if len(space.sides):
            self._add_sides()

    def _add_sides(self) -> None:
        sides, fixed = self.space.sides, self.fixed
        blocks = [csc_array((self.space.members, len(sides))), sides.use[self.rows, :]]
        blocks += [csc_array((1, len(sides)))] if self.asks else []
        blocks += [csc_array(sides.cost_per_h[None, :])] if self.limited else []
        gain = -(self.aim.cost + fixed.cost) * sides.cost_per_h - sides.use.T @ fixed.row
        self.master.add(csc_array(vstack(blocks, format="csc")), gain, sides.most)

    def _scale(self) -> float:
        space, aim = self.space, self.aim
        worth = (aim.worth + self.fixed.goodput) * float(space.worth.max(initial=0.0))
        cost = max((float(kind.cost_per_h.max(initial=0.0)) for kind in space.kinds), default=0.0) * aim.cost
        return max(worth, cost, aim.kept, 1e-9)

    def add(self, members: Indices, plans: Indices) -> int:
        """Adds what is not known yet; how many."""
        fresh = [
            place
            for place, key in enumerate(zip(members.tolist(), plans.tolist(), strict=True))
            if key[1] != NONE and key not in self._known
        ]
        if not fresh:
            return 0
        members, plans = members[fresh], plans[fresh]
        self._known.update(zip(members.tolist(), plans.tolist(), strict=True))
        self._members.append(members)
        self._plans.append(plans)
        space, count, fixed = self.space, len(members), self.fixed
        once = csc_array((np.ones(count), members, np.arange(count + 1)), shape=(space.members, count))
        use = space.columns(members, plans)
        blocks = [once, use if len(self.rows) == len(space.capacity) else use[self.rows, :]]
        blocks += [csc_array(-space.worth[members][None, :])] if self.asks else []
        blocks += [csc_array(space.costs(members, plans)[None, :])] if self.limited else []
        gain = self.aim.gains(space, members, plans) + fixed.goodput * space.worth[members] - use.T @ fixed.row
        if fixed.cost:
            gain = gain - fixed.cost * space.costs(members, plans)
        self.master.add(csc_array(vstack(blocks, format="csc")), gain, np.full(count, np.inf))
        return count

    def known(self) -> tuple[Indices, Indices]:
        """All columns, in the order in which they came."""
        if not self._members:
            return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
        return np.concatenate(self._members), np.concatenate(self._plans)

    def prices(self, answer: LinearResult) -> Prices:
        """Duals as prices, beside those that stay."""
        first, last = self.space.members, self.space.members + len(self.rows)
        rest = np.maximum(answer.duals[last:], 0.0)
        row = self.fixed.row.copy()
        row[self.rows] = np.maximum(answer.duals[first:last], 0.0)
        return Prices(
            row=row,
            goodput=float(rest[0]) if self.asks else self.fixed.goodput,
            cost=float(rest[-1]) if self.limited else self.fixed.cost,
        )
