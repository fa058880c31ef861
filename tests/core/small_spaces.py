"""Small plan spaces from a seed, with everything that can be chosen in them listed, and their linear optimum."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csc_array

from cloud_planner import cbc, highs
from cloud_planner.core.column_generation.programmes import Programmes
from cloud_planner.core.column_generation.space import NONE, Kind, SelectionSpace, Sides, padded

#: What a seed may be: all spaces of a law follow from it.
SEEDS = st.integers(0, 2**40)
#: Whether a site's machines that are switched on take of what others use, too.
_AMOUNTS = (0.0, 0.25, 0.5, 1.0, 1.0, 1.5)


def here():
    """Programmes solved in this process."""
    solver = cbc if highs.library() is None else highs
    master = cbc.CbcMaster if highs.library() is None else highs.HighsMaster
    return Programmes(masters=master, integers=lambda tasks: map(solver.solve_integer, tasks))


def spaces(seed, *, sites=(1, 2, 3), members=(1, 5), strays=True, sides=(0, 2), crossing=True, budget=True):
    """A space of a few sites with rows of their own, and one or two rows that all share.

    Args:
        seed: Whatever is in it follows from this.
        sites: Numbers of sites to draw from.
        members: The fewest and the most.
        strays: Members may use rows of sites that aren't theirs.
        sides: The fewest and the most.
        crossing: Sides may touch rows of several sites, and shared ones.
        budget: There may be one.
    """
    rng = random.Random(seed)
    area = [site for site in range(rng.choice(sites)) for _ in range(rng.choice([1, 2]))]
    area += [-1] * rng.choice([1, 1, 2])
    rows = len(area)
    switched = [row for row in range(rows) if rng.random() < 0.3] if sides[1] else []
    capacity = [
        0.0 if row in switched or rng.random() < 0.1 else rng.choice([1.0, 1.5, 2.0, 3.0]) for row in range(rows)
    ]
    kinds = tuple(_kind(rng) for _ in range(rng.choice([1, 2, 3])))
    kind, slots = [], []
    for _ in range(rng.randint(*members)):
        kind.append(rng.randrange(len(kinds)))
        site = rng.randrange(max(area) + 1)
        mine = [row for row in range(rows) if area[row] in {site, -1} or (strays and rng.random() < 0.2)]
        slots.append([rng.choice([*mine, *mine, rows]) for _ in range(kinds[kind[-1]].use.shape[1])])
    return SelectionSpace(
        capacity=np.array(capacity),
        kinds=kinds,
        worth=np.array([rng.choice([1.0, 1.75, 3.0]) for _ in kind]),
        kind=np.array(kind),
        slots=padded(slots, rows),
        area=np.array(area),
        sides=_sides(rng, area, switched, rng.randint(*sides), crossing),
        budget_per_h=rng.choice([np.inf, np.inf, 2.0, 4.0]) if budget else np.inf,
    )


def _kind(rng):
    plans, slots = rng.choice([1, 2, 3, 3]), rng.choice([1, 2, 3])
    return Kind(
        cost_per_h=np.array([rng.choice([0.0, 0.5, 1.0, 2.5]) for _ in range(plans)]),
        use=np.array([[rng.choice(_AMOUNTS) for _ in range(slots)] for _ in range(plans)]),
    )


def _sides(rng, area, switched, count, crossing):
    rows = len(area)
    use = np.zeros((rows, count))
    for side in range(count):
        first = rng.choice(switched or range(rows))
        use[first, side] = -rng.choice([1.0, 2.0, 2.5])
        for row in range(rows):
            if row != first and (crossing or area[row] == area[first]) and rng.random() < 0.3:
                use[row, side] = -rng.choice([1.0, 2.0]) if row in switched else rng.choice([0.5, 1.0])
    return Sides(
        cost_per_h=np.array([rng.choice([0.0, 0.5, 2.0]) for _ in range(count)]),
        most=np.array([rng.choice([1.0, 1.0, 2.0]) for _ in range(count)]),
        use=csc_array(use),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """All selections that fit: choices (selections, members), opened, goodput and cost of each."""

    choice: np.ndarray
    opened: np.ndarray
    goodput: np.ndarray
    cost: np.ndarray

    def kept(self, running):
        """How many running plans each keeps."""
        return ((self.choice == running) & (running >= 0)).sum(axis=1)

    def value(self, aim):
        """What an aim makes of each; minus infinity where what must be held is not."""
        found = aim.worth * self.goodput - aim.cost * self.cost
        if aim.running is not None:
            found = found + aim.kept * self.kept(aim.running)
        held = (self.goodput >= aim.least_goodput_per_s - 1e-9) & (self.cost <= aim.most_cost_per_h + 1e-9)
        return np.where(held, found, -np.inf)


def taken(space, member, plan):
    """What a plan takes of each row, slot by slot."""
    found = np.zeros(len(space.capacity))
    kind = space.kinds[space.kind[member]]
    for slot, amount in enumerate(kind.use[plan]):
        if space.slots[member, slot] < len(found):
            found[space.slots[member, slot]] += amount
    return found


def listed(space):
    """Every choice with every number of sides, those that fit."""
    rows = len(space.capacity)
    load, cost, worth = np.zeros((1, rows)), np.zeros(1), np.zeros(1)
    choices = np.zeros((1, 0), dtype=int)
    for member in range(space.members):
        kind = space.kinds[space.kind[member]]
        plans = [NONE, *range(len(kind.cost_per_h))]
        uses = np.array([np.zeros(rows) if plan == NONE else taken(space, member, plan) for plan in plans])
        costs = np.array([0.0, *kind.cost_per_h])
        load = (load[:, None, :] + uses[None]).reshape(-1, rows)
        cost = (cost[:, None] + costs).ravel()
        worth = (worth[:, None] + np.where(np.array(plans) >= 0, space.worth[member], 0.0)).ravel()
        choices = np.hstack([np.repeat(choices, len(plans), axis=0), np.tile(plans, len(choices))[:, None]])
    found = []
    for opened in product(*(range(int(most) + 1) for most in space.sides.most)):
        count = np.array(opened, dtype=float)
        whole = cost + float(space.sides.cost_per_h @ count)
        fits = (load + space.sides.use @ count <= space.capacity + 1e-9).all(axis=1) & (
            whole <= space.budget_per_h + 1e-9
        )
        found.append((choices[fits], np.tile(count, (int(fits.sum()), 1)), worth[fits], whole[fits]))
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    return Listed(choice=parts[0], opened=parts[1], goodput=parts[2], cost=parts[3])


def linear_optimum(space, aim):
    """The optimum of the linear relaxation over every plan that fits alone; minus infinity: there is no point."""
    columns, gains, members, costs, worths = [], [], [], [], []
    gives = np.zeros(len(space.capacity), dtype=bool)
    dense = space.sides.use.toarray()
    gives[(dense < 0).any(axis=1)] = True
    for member in range(space.members):
        kind = space.kinds[space.kind[member]]
        mine = space.slots[member, : kind.use.shape[1]]
        room = np.append(np.where(gives, np.inf, space.capacity), np.inf)[mine]
        for plan in range(len(kind.cost_per_h)):
            if (kind.use[plan] <= room + 1e-9).all():
                columns.append(taken(space, member, plan))
                members.append(member)
                costs.append(kind.cost_per_h[plan])
                worths.append(space.worth[member])
                keeps = aim.running is not None and aim.running[member] == plan
                gains.append(aim.worth * worths[-1] - aim.cost * costs[-1] + aim.kept * keeps)
    count, sides = len(columns), len(space.sides)
    if count + sides == 0:
        return 0.0 if aim.least_goodput_per_s <= 0.0 else -np.inf
    once = np.zeros((space.members, count + sides))
    once[members, range(count)] = 1.0
    use = np.hstack([np.array(columns).reshape(count, len(space.capacity)).T, dense])
    cost = np.append(costs, space.sides.cost_per_h)
    limit = min(aim.most_cost_per_h, space.budget_per_h)
    rows, rhs = [once, use], [np.ones(space.members), space.capacity]
    if np.isfinite(limit):
        rows.append(cost[None])
        rhs.append([limit])
    if aim.least_goodput_per_s > 0.0:
        rows.append(-np.append(worths, np.zeros(sides))[None])
        rhs.append([-aim.least_goodput_per_s])
    gain = np.append(gains, -aim.cost * space.sides.cost_per_h)
    upper = [*([1.0] * count), *space.sides.most]
    solved = linprog(
        -gain, A_ub=np.vstack(rows), b_ub=np.concatenate(rhs), bounds=[(0.0, most) for most in upper], method="highs"
    )
    return -solved.fun if solved.status == 0 else -np.inf
