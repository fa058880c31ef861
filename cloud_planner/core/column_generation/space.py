"""The plan space of a selection as arrays: what every query could take, of everything that is limited. PURE.

Queries of one kind share a table of plans; each has its own rows (a device's cores, an uplink ...) in the places of the
kind's slots. So ten thousand queries and a hundred plans each are a few small tables and one array of row numbers, and
all plans of a kind are priced for all of its queries by one product of matrices.

Notation: x_mj takes plan j for member m (a query), y_k is a side variable: a machine that is switched on, a pattern of
replicas, a shared process. Everything is a row:

S1  sum over j of x_mj <= 1 for each member
S2  sum of use x + sum of side use y <= capacity for each row; a side may give (its use is negative)
S3  0 <= y <= most, y integer

Goodput is the sum of worth x; cost that of plans and sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
#: What a member takes if it takes no plan.
NONE = -1
#: A sum within so much of a capacity, relative, is within it.
SLACK_RATIO = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A table of plans. ``cost_per_h``: (plans,); ``use``: (plans, slots), in units of the slots' rows."""

    cost_per_h: Array
    use: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Side variables. ``cost_per_h`` and ``most``: (sides,); ``use``: (rows, sides), negative where one gives."""

    cost_per_h: Array
    most: Array
    use: csc_array

    @classmethod
    def none(cls, rows: int) -> Sides:
        """No side variables."""
        return cls(cost_per_h=np.zeros(0), most=np.zeros(0), use=csc_array((rows, 0)))

    def __len__(self) -> int:
        return len(self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSpace:
    """Members, their plans, and what there is.

    ``capacity``: (rows,). By member: ``worth`` (weight x rate), ``kind``, ``slots`` (members, widest kind): the row of
    each of its kind's slots; beyond those, and where a slot is of nothing limited, ``len(capacity)``. ``area``: (rows,)
    the number of the site that a row belongs to, -1 where many share it. ``budget_per_h``: most that all may cost.
    """

    capacity: Array
    kinds: tuple[Kind, ...]
    worth: Array
    kind: Indices
    slots: Indices
    area: Indices
    sides: Sides
    budget_per_h: float = np.inf
    _groups: list[tuple[int, Indices]] = field(init=False, repr=False, compare=False, default_factory=list)

    @property
    def members(self) -> int:
        """How many queries there are."""
        return len(self.worth)

    @property
    def plans(self) -> int:
        """How many plans there are of all members together."""
        sizes = np.array([len(kind.cost_per_h) for kind in self.kinds])
        return int(sizes[self.kind].sum())

    def room(self) -> Array:
        """The most that one plan may take of each row, and of no row: (rows + 1,). Infinite where a side gives."""
        room = np.maximum(self.capacity, 0.0) + SLACK_RATIO * np.maximum(1.0, np.abs(self.capacity))
        if len(self.sides):
            room[np.unique(self.sides.use.indices[self.sides.use.data < 0.0])] = np.inf
        return np.append(room, np.inf)

    def groups(self) -> Iterator[tuple[Kind, Indices, Indices]]:
        """Each kind that has members, with those and their rows: (members of the kind, its slots)."""
        if not self._groups and self.members:
            order = np.argsort(self.kind, kind="stable")
            bounds = np.flatnonzero(np.diff(self.kind[order], prepend=-1, append=-2))
            self._groups.extend((int(self.kind[order[a]]), order[a:b]) for a, b in pairwise(bounds))
        for number, members in self._groups:
            kind = self.kinds[number]
            yield kind, members, self.slots[members, : kind.use.shape[1]]

    def use_of(self, member: int, plan: int) -> tuple[Indices, Array]:
        """The rows that a plan takes of, each once, and how much."""
        use = self.kinds[self.kind[member]].use[plan]
        taken = use.nonzero()[0]
        rows, amounts = self.slots[member, taken], use[taken]
        if len(set(rows.tolist())) < len(rows):
            rows, places = np.unique(rows, return_inverse=True)
            amounts = np.bincount(places, weights=amounts, minlength=len(rows))
        there = rows < len(self.capacity)
        if there.all():
            return rows, np.asarray(amounts, dtype=float)
        return rows[there], np.asarray(amounts[there], dtype=float)

    def columns(self, members: Indices, plans: Indices) -> csc_array:
        """What these plans take: (rows, columns)."""
        rows, columns, amounts = [], [], []
        order = np.argsort(self.kind[members], kind="stable")
        kinds = self.kind[members][order]
        bounds = np.flatnonzero(np.diff(kinds, prepend=-1, append=-2))
        for start, end in pairwise(bounds):
            here = order[start:end]
            use = self.kinds[kinds[start]].use[plans[here]]
            place, slot = np.nonzero(use)
            row = self.slots[members[here][place], slot]
            there = row < len(self.capacity)
            rows.append(row[there])
            columns.append(here[place][there])
            amounts.append(use[place, slot][there])
        shape = (len(self.capacity), len(members))
        if not rows:
            return csc_array(shape)
        return csc_array(
            coo_array((np.concatenate(amounts), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
        )

    def costs(self, members: Indices, plans: Indices) -> Array:
        """What these plans cost per hour."""
        found = np.zeros(len(members))
        for number in np.unique(self.kind[members]):
            here = self.kind[members] == number
            found[here] = self.kinds[number].cost_per_h[plans[here]]
        return found

    def chosen(self, choice: Indices) -> tuple[Indices, Indices]:
        """Members that take a plan, and which."""
        members = np.flatnonzero(choice >= 0)
        return members, choice[members]

    def load(self, choice: Indices, opened: Array | None = None) -> Array:
        """What a choice takes of each row: (rows,)."""
        members, plans = self.chosen(choice)
        used = np.asarray(self.columns(members, plans).sum(axis=1), dtype=float).ravel()
        if opened is not None and len(self.sides):
            used += self.sides.use @ opened
        return used

    def goodput_per_s(self, choice: Indices) -> float:
        """Worth of what is placed."""
        return float(self.worth[choice >= 0].sum())

    def cost_per_h(self, choice: Indices, opened: Array | None = None) -> float:
        """What a choice costs with its sides."""
        members, plans = self.chosen(choice)
        total = float(self.costs(members, plans).sum())
        return total + float(self.sides.cost_per_h @ opened) if opened is not None and len(self.sides) else total

    def fits(self, choice: Indices, opened: Array | None = None) -> bool:
        """Whether a choice is within every row and the budget."""
        room = self.capacity - self.load(choice, opened)
        within = bool((room >= -SLACK_RATIO * np.maximum(1.0, np.abs(self.capacity))).all())
        return within and self.cost_per_h(choice, opened) <= self.budget_per_h * (1.0 + SLACK_RATIO)

    def only(self, members: Indices, capacity: Array, budget_per_h: float | None = None) -> SelectionSpace:
        """The same for some of the members, with what is left for them."""
        return replace(
            self,
            capacity=capacity,
            worth=self.worth[members],
            kind=self.kind[members],
            slots=self.slots[members],
            budget_per_h=self.budget_per_h if budget_per_h is None else budget_per_h,
        )


def padded(slots: Sequence[Sequence[int]], rows: int) -> Indices:
    """Rows of slots as one array, filled up with the number of no row."""
    width = max((len(one) for one in slots), default=0)
    found = np.full((len(slots), width), rows, dtype=np.intp)
    for number, one in enumerate(slots):
        found[number, : len(one)] = one
    return found
