"""A selection as it is filled: what is chosen, what is open, what is left. PURE."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.core.column_generation.pricing import Prices
from cloud_planner.core.column_generation.space import NONE, SLACK_RATIO, Array, Indices, SelectionSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Filling:
    """Choices one by one, with what is left of each row after them.

    ``choice``: (members,) plan or NONE; ``opened``: (sides,); ``left``: (rows,).
    """

    def __init__(self, space: SelectionSpace, choice: Indices | None = None, opened: Array | None = None) -> None:
        self.space = space
        self.choice = np.full(space.members, NONE, dtype=np.intp) if choice is None else choice.copy()
        self.opened = np.zeros(len(space.sides)) if opened is None else opened.copy()
        # One more than there are rows: of no row there is as much as is wanted.
        self._room = np.append(space.capacity - space.load(self.choice, self.opened), np.inf)
        self.cost_per_h = space.cost_per_h(self.choice, self.opened)
        self._slack = np.append(SLACK_RATIO * np.maximum(1.0, np.abs(space.capacity)), 0.0)
        self._givers: dict[int, list[int]] = {}
        use = space.sides.use
        for side in range(len(space.sides)):
            for place in range(use.indptr[side], use.indptr[side + 1]):
                if use.data[place] < 0.0:
                    self._givers.setdefault(int(use.indices[place]), []).append(side)
        self._gives = np.zeros(len(space.capacity) + 1, dtype=bool)
        self._gives[list(self._givers)] = True

    @property
    def left(self) -> Array:
        """What is left of each row: (rows,)."""
        return self._room[:-1]

    @property
    def budget_left_per_h(self) -> float:
        """What is left of the budget."""
        return self.space.budget_per_h - self.cost_per_h

    @property
    def goodput_per_s(self) -> float:
        """Worth of what is placed."""
        return self.space.goodput_per_s(self.choice)

    def plan(self, member: int) -> int:
        """What a member has."""
        return int(self.choice[member])

    def room(self, slots: Indices) -> Array:
        """What is left of slots' rows, and what is within rounding of it."""
        return np.asarray(self._room[slots] + self._slack[slots])

    def grow(self, space: SelectionSpace) -> None:
        """Goes on in a space with more members at the end; they have nothing yet."""
        self.choice = np.append(self.choice, np.full(space.members - len(self.choice), NONE, dtype=np.intp))
        self.space = space

    def resize(self, space: SelectionSpace, closed: Indices) -> None:
        """Goes on in the same space with other capacities, and with some sides closed."""
        for side in closed.tolist():
            self._open(side, -float(self.opened[side]))
        self._room[:-1] += space.capacity - self.space.capacity
        self.space = space
        self._slack[:-1] = SLACK_RATIO * np.maximum(1.0, np.abs(space.capacity))

    def fits(self, member: int, plan: int) -> bool:
        """Whether a plan fits in what is left."""
        return self._opening(member, plan) is not None

    def each_fits(self, members: Indices, plans: Indices) -> NDArray[np.bool_]:
        """Whether each of some plans would fit alone in what is left, were any side opened that gives."""
        use = self.space.columns(members, plans)
        over = use.data > np.where(self._gives[use.indices], np.inf, self._room[use.indices] + self._slack[use.indices])
        found = np.ones(len(members), dtype=bool)
        found[np.repeat(np.arange(len(members)), np.diff(use.indptr))[over]] = False
        return found

    def place(self, member: int, plan: int) -> bool:
        """Places a plan if it fits, opening what it needs; whether it did."""
        opening = self._opening(member, plan)
        if opening is None:
            return False
        rows, amounts = self.space.use_of(member, plan)
        self.left[rows] -= amounts
        for side in opening:
            self._open(side, 1.0)
        self.choice[member] = plan
        self.cost_per_h += self._cost(member, plan)
        return True

    def swap_in(self, member: int, plan: int, *, anyway: bool = False) -> bool:
        """Places a plan if it exceeds nothing more than is exceeded already (or anyway); whether it did."""
        rows, amounts = self.space.use_of(member, plan)
        if not anyway and (amounts > np.maximum(self.left[rows], 0.0) + self._slack[rows]).any():
            return False
        self.left[rows] -= amounts
        self.choice[member] = plan
        self.cost_per_h += self._cost(member, plan)
        return True

    def remove(self, member: int) -> int:
        """Takes a member's plan away, and closes what nobody needs any more; the plan that it had."""
        plan = int(self.choice[member])
        if plan == NONE:
            return NONE
        rows, amounts = self.space.use_of(member, plan)
        self.left[rows] += amounts
        self.choice[member] = NONE
        self.cost_per_h -= self._cost(member, plan)
        self._close(rows)
        return plan

    def copy(self) -> Filling:
        """The same, to try something on."""
        made = copy(self)
        made.take_back(self)
        return made

    def take_back(self, other: Filling) -> None:
        """Becomes what another one is."""
        self.choice, self.opened = other.choice.copy(), other.opened.copy()
        self._room, self.cost_per_h = np.append(other.left, np.inf), other.cost_per_h

    def short(self) -> Indices:
        """Rows that are exceeded."""
        return np.flatnonzero(self._room < -self._slack)

    def instead(self, member: int, prices: Prices, most: int = 4) -> list[int]:
        """Other plans of a member that would fit in its present one's place and exceed nothing more, cheapest first."""
        space = self.space
        kind = space.kinds[space.kind[member]]
        slots = space.slots[member, : kind.use.shape[1]]
        mine = kind.use[self.choice[member]]
        room = (np.maximum(self._room[slots], 0.0) + self._slack[slots]) + mine
        room[self._room[slots] < -self._slack[slots]] -= 1e-9
        there = (kind.use <= room).all(axis=1)
        there[self.choice[member]] = False
        found = np.flatnonzero(there)
        price = prices.of(slots)
        return [int(plan) for plan in found[np.argsort(kind.use[found] @ price, kind="stable")][:most]]

    def cheaper(self, member: int) -> int:
        """The cheapest plan that fits in the present one's place and costs less; NONE: there is none."""
        space, now = self.space, int(self.choice[member])
        kind = space.kinds[space.kind[member]]
        less = np.flatnonzero(kind.cost_per_h < kind.cost_per_h[now] - 1e-12)
        if not len(less):
            return NONE
        slots = space.slots[member, : kind.use.shape[1]]
        room = (np.maximum(self._room[slots], 0.0) + self._slack[slots]) + kind.use[now]
        fitting = less[(kind.use[less] <= room).all(axis=1)]
        return int(fitting[np.argmin(kind.cost_per_h[fitting])]) if len(fitting) else NONE

    def replace(self, members: Indices, choice: Indices, opened: Array, *, anyway: bool = False) -> bool:
        """Takes over what others chose for some members, if it fits (or anyway); whether it did."""
        space = self.space
        before = members[self.choice[members] >= 0]
        after = members[choice[members] >= 0]
        left = self.left + np.asarray(space.columns(before, self.choice[before]).sum(axis=1)).ravel()
        left -= np.asarray(space.columns(after, choice[after]).sum(axis=1)).ravel()
        cost = self.cost_per_h - float(space.costs(before, self.choice[before]).sum())
        cost += float(space.costs(after, choice[after]).sum())
        if len(space.sides):
            left -= space.sides.use @ (opened - self.opened)
            cost += float(space.sides.cost_per_h @ (opened - self.opened))
        over = (left < -self._slack[:-1]).any() or cost > space.budget_per_h * (1.0 + SLACK_RATIO) + 1e-12
        if over and not anyway:
            return False
        self.choice, self.opened, self.cost_per_h = choice, opened, cost
        self._room = np.append(left, np.inf)
        return True

    def cheapest(self, member: int, prices: Prices, cost_weight: float = 0.0) -> tuple[int, float]:
        """The plan that fits and takes least at these prices, and what that is; NONE: none fits."""
        space = self.space
        kind = space.kinds[space.kind[member]]
        slots = space.slots[member, : kind.use.shape[1]]
        room = np.maximum(self._room[slots], 0.0) + self._slack[slots]
        room[self._gives[slots]] = np.inf
        fitting = np.flatnonzero((kind.use <= room).all(axis=1))
        if not len(fitting):
            return NONE, np.inf
        price = prices.of(slots)
        priced = kind.use[fitting] @ price + (cost_weight + prices.cost) * kind.cost_per_h[fitting]
        for place in np.lexsort((kind.cost_per_h[fitting], priced)).tolist():
            plan = int(fitting[place])
            if self.fits(member, plan):
                return plan, float(priced[place])
        return NONE, np.inf

    def _cost(self, member: int, plan: int) -> float:
        return float(self.space.kinds[self.space.kind[member]].cost_per_h[plan])

    def _opening(self, member: int, plan: int) -> list[int] | None:
        """The sides that must be opened so that a plan fits; None: it does not."""
        rows, amounts = self.space.use_of(member, plan)
        cost = self._cost(member, plan)
        short = rows[amounts > self.left[rows] + self._slack[rows]]
        if not len(short):
            return [] if cost <= self.budget_left_per_h * (1.0 + SLACK_RATIO) + 1e-12 else None
        if not self._gives[short].all():
            return None
        return self._open_for(rows, amounts, cost)

    def _open_for(self, rows: Indices, amounts: Array, cost: float) -> list[int] | None:
        sides, left = self.space.sides, self.left.copy()
        left[rows] -= amounts
        opened: list[int] = []
        counts = self.opened.copy()
        for _ in range(64):
            short = np.flatnonzero(left < -self._slack[:-1])
            if not len(short):
                total = cost + float(sides.cost_per_h[opened].sum())
                return opened if total <= self.budget_left_per_h * (1.0 + SLACK_RATIO) + 1e-12 else None
            able = [
                side for side in self._givers.get(int(short[0]), ()) if counts[side] + 1.0 <= sides.most[side] + 1e-9
            ]
            if not able:
                return None
            side = min(able, key=lambda one: (sides.cost_per_h[one] / self._given(one, short), one))
            counts[side] += 1.0
            opened.append(side)
            begin, end = sides.use.indptr[side], sides.use.indptr[side + 1]
            left[sides.use.indices[begin:end]] -= sides.use.data[begin:end]
        return None

    def _given(self, side: int, rows: Indices) -> float:
        """How much a side gives to rows that are short."""
        use = self.space.sides.use
        begin, end = use.indptr[side], use.indptr[side + 1]
        mine = np.isin(use.indices[begin:end], rows)
        return max(1e-9, float(-np.minimum(use.data[begin:end][mine], 0.0).sum()))

    def _open(self, side: int, count: float) -> None:
        use = self.space.sides.use
        begin, end = use.indptr[side], use.indptr[side + 1]
        self.left[use.indices[begin:end]] -= count * use.data[begin:end]
        self.opened[side] += count
        self.cost_per_h += count * float(self.space.sides.cost_per_h[side])

    def _close(self, rows: Indices) -> None:
        """Closes sides that give to these rows and are not needed, the dearest first."""
        if not self._givers:
            return
        sides = self.space.sides
        freed = set(rows.tolist())
        while freed:
            giving = {side for row in freed for side in self._givers.get(row, ()) if self.opened[side] > 0.5}
            # What a closed side took of others may close those in turn.
            freed = set()
            for side in sorted(giving, key=lambda one: (-sides.cost_per_h[one], one)):
                begin, end = sides.use.indptr[side], sides.use.indptr[side + 1]
                here, used = sides.use.indices[begin:end], sides.use.data[begin:end]
                while self.opened[side] > 0.5 and (self.left[here] + used >= -self._slack[here]).all():
                    self._open(side, -1.0)
                    freed.update(here[used > 0.0].tolist())
