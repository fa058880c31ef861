"""A selection that stands while queries come and go and devices are lost: a change touches its neighbours only. PURE.

A query that arrives is priced at the prices of the last global selection and placed where it fits. Where it fits
nowhere, neighbours of its site make room: one takes another of its plans, or gives way if it is worth less. What a
change costs depends on the site, not on the fleet. Whether a global selection would do better is for the background to
find out (``attain`` from here); ``wanted`` says that there is a reason to ask.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.pricing import Prices
from cloud_planner.core.column_generation.space import NONE, Array, Indices, Kind, SelectionSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Plans of a query that neighbours are asked to make room for, those that take least at the prices first.
_PLANS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one event changed.

    ``placed`` are members that had no plan and have one, ``moved`` have another one, ``dropped`` lost theirs.
    """

    placed: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()

    @property
    def touched(self) -> int:
        """Running plans that were changed or ended: the churn."""
        return len(self.moved) + len(self.dropped)


@dataclass(slots=True)
class Standing:
    """The selection in force. ``filling`` holds it; ``prices`` are those of the last global selection.

    ``moves`` and ``drops`` count churn since then; ``wanted``: a global selection might do better.
    """

    filling: Filling
    prices: Prices
    moves: int = 0
    drops: int = 0
    wanted: bool = False
    _neighbours: dict[int, set[int]] = field(init=False, repr=False)
    _area: list[int] = field(init=False, repr=False)
    _longer: dict[str, NDArray[Any]] = field(init=False, repr=False, default_factory=dict)
    _uses: dict[int, tuple[int, dict[int, float]]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        space = self.filling.space
        self._area = _areas(space, space.slots).tolist()
        self._neighbours = {}
        for member, area in enumerate(self._area):
            self._neighbours.setdefault(area, set()).add(member)

    def arrive(self, kind: Kind, slots: Indices, worth: float) -> tuple[int, Change]:
        """A new query: its number, and what changed. Complexity: plans of the site's members, whatever the fleet."""
        space = self._joined(kind, slots, worth)
        self.filling.grow(space)
        member = space.members - 1
        area = int(_areas(space, space.slots[-1:])[0])
        self._area.append(area)
        self._neighbours.setdefault(area, set()).add(member)
        change = self._settle(member)
        self.wanted |= not change.placed
        return member, self._counted(change)

    def _joined(self, kind: Kind, slots: Indices, worth: float) -> SelectionSpace:
        """The space with one more member; what it is made of is copied now and then only."""
        space = self.filling.space
        number = next((place for place, one in enumerate(space.kinds) if one is kind), len(space.kinds))
        width = max(space.slots.shape[1], len(slots))
        row = np.full(width, len(space.capacity), dtype=np.intp)
        row[: len(slots)] = slots
        before = space.slots
        if width > before.shape[1]:
            before = np.full((space.members, width), len(space.capacity), dtype=np.intp)
            before[:, : space.slots.shape[1]] = space.slots
        return replace(
            space,
            kinds=space.kinds if number < len(space.kinds) else (*space.kinds, kind),
            worth=self._grown("worth", space.worth, worth),
            kind=self._grown("kind", space.kind, number),
            slots=self._grown("slots", before, row),
        )

    def _grown(self, name: str, now: NDArray[Any], more: object) -> NDArray[Any]:
        """An array with one more row: a view of a longer one, so that copies are few."""
        count = len(now)
        longer = self._longer.get(name)
        if longer is None or now.base is not longer or len(longer) <= count:
            longer = np.empty((count + max(64, count // 2), *now.shape[1:]), dtype=now.dtype)
            longer[:count] = now
            self._longer[name] = longer
        longer[count] = more
        return longer[: count + 1]

    def leave(self, member: int) -> Change:
        """A query that ends. Whether what it leaves is of use to others is for the background."""
        self.filling.remove(member)
        self._neighbours[self._area[member]].discard(member)
        self.wanted = True
        return Change()

    def lose(self, rows: Indices) -> Change:
        """Rows of which there is nothing left: their members are placed anew, the worthiest first.

        Sides that touch them can't be opened any more; what those gave to is lost with them.
        """
        filling = self.filling
        space, dead, gone = self._without(rows)
        hit = [
            member
            for member in np.flatnonzero((filling.choice >= 0) & np.isin(space.slots, list(gone)).any(axis=1)).tolist()
            if not gone.isdisjoint(self._use_of(member))
        ]
        for member in hit:
            filling.remove(member)
        filling.resize(space, dead)
        moved, dropped = set(hit), set[int]()
        for member in sorted(hit, key=lambda one: (-space.worth[one], one)):
            change = self._settle(member)
            moved |= set(change.moved)
            dropped |= set(change.dropped)
            if not change.placed:
                dropped.add(member)
        self.wanted = True
        dropped = {member for member in dropped if filling.choice[member] == NONE}
        return self._counted(Change(moved=tuple(sorted(moved - dropped)), dropped=tuple(sorted(dropped))))

    def _without(self, rows: Indices) -> tuple[SelectionSpace, Indices, set[int]]:
        """The space without these rows, the sides that are lost, and all rows that had anything from either."""
        space = self.filling.space
        capacity, sides = space.capacity.copy(), space.sides
        capacity[rows] = 0.0
        touching = np.asarray((abs(sides.use[rows, :])).sum(axis=0)).ravel() > 0.0 if len(sides) else np.zeros(0, bool)
        dead = np.flatnonzero(touching)
        gone = set(rows.tolist())
        for side in dead.tolist():
            begin, end = sides.use.indptr[side], sides.use.indptr[side + 1]
            gone |= set(sides.use.indices[begin:end][sides.use.data[begin:end] < 0.0].tolist())
        most = sides.most.copy()
        most[dead] = 0.0
        return replace(space, capacity=capacity, sides=replace(sides, most=most)), dead, gone

    def _settle(self, member: int) -> Change:
        """Places a member: where it fits, or where a neighbour makes room."""
        filling = self.filling
        plan, _ = filling.cheapest(member, self.prices)
        if plan != NONE and filling.place(member, plan):
            return Change(placed=(member,))
        return self._with_room(member)

    def _with_room(self, member: int) -> Change:
        """Places a member where one neighbour takes another plan, or one that is worth less gives way."""
        filling, space = self.filling, self.filling.space
        neighbours = sorted(one for one in self._neighbours[self._area[member]] if filling.choice[one] >= 0)
        loss: tuple[float, int, int] | None = None
        taken = np.zeros(len(space.capacity) + 1)
        for plan in self._least_priced(member):
            rows, amounts = space.use_of(member, plan)
            lacking = amounts - filling.left[rows]
            short = {int(row): float(lack) for row, lack in zip(rows, lacking, strict=True) if lack > 1e-9}
            taken[rows] = amounts
            for other in neighbours:
                mine = self._use_of(other)
                if any(mine.get(row, 0.0) < lack - 1e-9 for row, lack in short.items()):
                    continue
                if self._could_move(other, taken) and self._move_aside(other, member, plan):
                    return Change(placed=(member,), moved=(other,))
                if space.worth[other] < space.worth[member] - 1e-9:
                    found = (float(space.worth[other]), other, plan)
                    loss = found if loss is None else min(loss, found)
            taken[rows] = 0.0
        return Change() if loss is None else self._give_way(loss[1], member, loss[2])

    def _give_way(self, other: int, member: int, plan: int) -> Change:
        """Places a member in the place of one that is worth less; which may find another."""
        filling = self.filling
        before = filling.remove(other)
        if not filling.place(member, plan):
            filling.place(other, before)
            return Change()
        again, _ = filling.cheapest(other, self.prices)
        if again != NONE and filling.place(other, again):
            return Change(placed=(member,), moved=(other,))
        return Change(placed=(member,), dropped=(other,))

    def _least_priced(self, member: int) -> list[int]:
        space = self.filling.space
        kind = space.kinds[space.kind[member]]
        slots = space.slots[member, : kind.use.shape[1]]
        possible = np.flatnonzero((kind.use <= space.room()[slots]).all(axis=1))
        priced = kind.use[possible] @ self.prices.of(slots)
        return [int(plan) for plan in possible[np.lexsort((kind.cost_per_h[possible], priced))][:_PLANS]]

    def _use_of(self, member: int) -> dict[int, float]:
        """What a placed member takes, by row."""
        plan = self.filling.plan(member)
        known = self._uses.get(member)
        if known is None or known[0] != plan:
            rows, amounts = self.filling.space.use_of(member, plan)
            known = (plan, dict(zip(rows.tolist(), amounts.tolist(), strict=True)))
            self._uses[member] = known
        return known[1]

    def _could_move(self, other: int, taken: Array) -> bool:
        """Whether another plan of a placed member seems to fit once it has left its place to what takes ``taken``."""
        filling, space = self.filling, self.filling.space
        kind, now = space.kinds[space.kind[other]], filling.plan(other)
        slots = space.slots[other, : kind.use.shape[1]]
        there = (kind.use <= filling.room(slots) + kind.use[now] - taken[slots]).all(axis=1)
        there[now] = False
        return bool(there.any())

    def _move_aside(self, other: int, member: int, plan: int) -> bool:
        """Places a member where another one takes another plan; whether that went."""
        filling = self.filling
        before = filling.remove(other)
        if filling.place(member, plan):
            instead, _ = filling.cheapest(other, self.prices)
            if instead != NONE and filling.place(other, instead):
                return True
            filling.remove(member)
        filling.place(other, before)
        return False

    def _counted(self, change: Change) -> Change:
        self.moves += len(change.moved)
        self.drops += len(change.dropped)
        return change


def _areas(space: SelectionSpace, slots: Indices) -> Indices:
    """The site of each of some members: the first that one of its rows belongs to; -1: none."""
    areas = np.append(space.area, -1)[slots]
    return np.asarray(areas.max(axis=1, initial=-1))
