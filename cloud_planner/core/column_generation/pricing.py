"""Prices of rows, what each query would take at them, and the bound that follows. PURE.

With prices pi >= 0 on rows, mu on the goodput that is asked for and nu on cost that is limited, no selection is better
than

    pi capacity - mu asked + nu budget
    + sum over members of max(0, best profit) + sum over sides of max(0, most x profit)

where the profit of a plan is what it adds to the objective less what it takes at those prices (Lagrangian relaxation of
S2; Geoffrion 1974). It holds for any prices whatever, over every plan in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_planner.core.column_generation.space import NONE, Array, Indices, SelectionSpace

#: Entries of the largest table of priced plans that is held at once.
_MOST_ENTRIES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What is maximised: ``worth`` x goodput - ``cost`` x cost + the number of members that keep their plan x ``kept``.

    ``least_goodput_per_s`` must be reached; ``most_cost_per_h`` must not be exceeded. ``running``: (members,) the plan
    that each keeps, NONE: there is none.
    """

    worth: float = 1.0
    cost: float = 0.0
    kept: float = 0.0
    least_goodput_per_s: float = 0.0
    most_cost_per_h: float = np.inf
    running: Indices | None = None

    def gains(self, space: SelectionSpace, members: Indices, plans: Indices) -> Array:
        """What these plans add to what is maximised."""
        gain = self.worth * space.worth[members]
        if self.cost:
            gain = gain - self.cost * space.costs(members, plans)
        if self.kept and self.running is not None:
            gain = gain + self.kept * (self.running[members] == plans)
        return np.asarray(gain, dtype=float)

    def value(self, space: SelectionSpace, choice: Indices, opened: Array | None) -> float:
        """What is maximised, of a choice."""
        members, plans = space.chosen(choice)
        total = float(self.gains(space, members, plans).sum())
        if self.cost and opened is not None and len(space.sides):
            total -= self.cost * float(space.sides.cost_per_h @ opened)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """``row``: (rows,) per unit; ``goodput``: of a unit of goodput that is asked for; ``cost``: of the budget."""

    row: Array
    goodput: float = 0.0
    cost: float = 0.0

    def of(self, slots: Indices) -> Array:
        """Prices of slots' rows; of no row it is 0."""
        there = slots < len(self.row)
        return np.where(there, self.row[np.where(there, slots, 0)], 0.0) if len(self.row) else np.zeros(len(slots))

    def without(self, rows: Indices) -> Prices:
        """The same with these rows for nothing."""
        row = self.row.copy()
        row[rows] = 0.0
        return Prices(row=row, goodput=self.goodput, cost=self.cost)

    @classmethod
    def zero(cls, space: SelectionSpace) -> Prices:
        """Everything is free."""
        return cls(row=np.zeros(len(space.capacity)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What each member would take at given prices: plan and profit, (members,); and the bound."""

    plan: Indices
    profit: Array
    bound: float


def best_at(space: SelectionSpace, aim: Aim, prices: Prices) -> Best:
    """The most profitable plan of each member out of its whole table, and the bound. Complexity: plans x slots.

    Plans that take more of a row than there is are no part of any selection.
    """
    price, most = np.append(prices.row, 0.0), space.room()
    plan = np.full(space.members, NONE, dtype=np.intp)
    profit = np.full(space.members, -np.inf)
    per_worth, per_cost = aim.worth + prices.goodput, aim.cost + prices.cost
    for kind, members, slots in space.groups():
        if not len(kind.cost_per_h):
            continue
        step = max(1, _MOST_ENTRIES // len(kind.cost_per_h))
        for start in range(0, len(members), step):
            here = members[start : start + step]
            rows = slots[start : start + step]
            priced = price[rows] @ kind.use.T + per_cost * kind.cost_per_h
            for slot in range(rows.shape[1]):
                over = kind.use[None, :, slot] > most[rows[:, slot]][:, None]
                priced[over] = np.inf
            if aim.kept and aim.running is not None:
                kept = np.flatnonzero(aim.running[here] >= 0)
                priced[kept, aim.running[here[kept]]] -= aim.kept
            least = priced.argmin(axis=1)
            plan[here] = least
            profit[here] = per_worth * space.worth[here] - priced[np.arange(len(here)), least]
    bound = float(prices.row @ space.capacity) + float(np.maximum(profit, 0.0).sum())
    bound -= prices.goodput * aim.least_goodput_per_s
    most_cost = min(aim.most_cost_per_h, space.budget_per_h)
    bound += prices.cost * most_cost if prices.cost > 0.0 else 0.0
    if len(space.sides):
        gain = -per_cost * space.sides.cost_per_h - space.sides.use.T @ prices.row
        bound += float((np.maximum(gain, 0.0) * space.sides.most).sum())
    return Best(plan=plan, profit=profit, bound=bound)


def profits_of(space: SelectionSpace, aim: Aim, prices: Prices, member: int) -> Array:
    """The profit of each plan of one member: (plans,)."""
    kind = space.kinds[space.kind[member]]
    price = np.append(prices.row, 0.0)[space.slots[member, : kind.use.shape[1]]]
    priced = kind.use @ price + (aim.cost + prices.cost) * kind.cost_per_h
    if aim.kept and aim.running is not None and aim.running[member] >= 0:
        priced[aim.running[member]] -= aim.kept
    return np.asarray((aim.worth + prices.goodput) * space.worth[member] - priced, dtype=float)
