"""Column generation site by site, where one programme for all would be slow. PURE.

What sites share gets its prices from a sample of them, with its part of what there is; then each site finds the
prices of its own rows by itself. The bound holds for these prices as for any; how near it is to the best is what the
sample decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.hoods import Hood
from cloud_planner.core.column_generation.pricing import Aim, Prices, best_at
from cloud_planner.core.column_generation.programmes import Masters
from cloud_planner.core.column_generation.space import Indices, SelectionSpace, Sides

#: Up to so many members one programme for all is quick.
MOST_TOGETHER = 2_500
#: Members in the sample, at least.
_SAMPLE_MEMBERS = 1_000


def apart(space: SelectionSpace, hoods: tuple[Hood, ...]) -> bool:
    """Whether to go site by site: many members, and each in a site of its own."""
    return (
        space.members > MOST_TOGETHER
        and sum(len(hood.members) for hood in hoods) == space.members
        and all(hood.whole for hood in hoods)
        and max(len(hood.members) for hood in hoods) <= MOST_TOGETHER
        and sum(len(hood.sides) for hood in hoods) == len(space.sides)
    )


def generate_apart(
    space: SelectionSpace,
    aim: Aim,
    masters: Masters,
    hoods: tuple[Hood, ...],
    *,
    present: Filling | None = None,
    start: tuple[Indices, Indices] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Relaxation:
    """The relaxation of a space whose sites are neighbourhoods.

    Args:
        space: The plan space.
        aim: What is maximised.
        masters: Starts programmes.
        hoods: The sites; together they have all members.
        present: A selection: the sample's part of goodput, cost and of what is shared is what it takes there.
        start: Members and plans that the sample's programme knows from the start.
        enough: Asked after each site, whether to leave the others at the sample's prices.
    """
    sample = _sample(space, hoods)
    shared = _shared(space, aim, masters, sample, present, start)
    row, members, plans, values = shared.prices.row.copy(), [], [], []
    details = [shared.detail]
    rounds, solved = shared.rounds, shared.solved
    opened = np.zeros(len(space.sides))
    for hood in hoods:
        here = _part(space, hood)
        local = replace(aim, running=None if aim.running is None else aim.running[hood.members])
        found = generate(here, local, masters, prices=shared.prices, rows=hood.rows)
        row[hood.rows] = found.prices.row[hood.rows]
        members.append(hood.members[found.members])
        plans.append(found.plans)
        values.append(found.values)
        opened[hood.sides] = found.opened
        details.append(found.detail)
        rounds, solved = rounds + found.rounds, solved and found.solved
        if enough():
            break
    prices = Prices(row=row, goodput=shared.prices.goodput, cost=shared.prices.cost)
    best = best_at(space, aim, prices)
    return Relaxation(
        prices=prices,
        best=best,
        bound=best.bound,
        members=np.concatenate(members),
        plans=np.concatenate(plans),
        values=np.concatenate(values),
        opened=opened,
        rounds=rounds,
        solved=solved and len(members) == len(hoods),
        detail=next((detail for detail in details if detail), ""),
    )


def _sample(space: SelectionSpace, hoods: tuple[Hood, ...]) -> tuple[Hood, ...]:
    """Sites evenly over all, as many as make a sample."""
    wanted = max(2, int(np.ceil(len(hoods) * _SAMPLE_MEMBERS / space.members)))
    places = np.unique(np.linspace(0, len(hoods) - 1, min(wanted, len(hoods))).astype(int))
    return tuple(hoods[place] for place in places)


def _shared(
    space: SelectionSpace,
    aim: Aim,
    masters: Masters,
    sample: tuple[Hood, ...],
    present: Filling | None,
    start: tuple[Indices, Indices] | None,
) -> Relaxation:
    """Prices of what sites share, of the goodput asked for and of the budget."""
    members = np.concatenate([hood.members for hood in sample])
    own = np.concatenate([hood.rows for hood in sample])
    ratio = len(members) / space.members
    capacity, budget, local = space.capacity * ratio, space.budget_per_h * ratio, aim
    if present is not None:
        here = np.full(space.members, -1, dtype=np.intp)
        here[members] = present.choice[members]
        sides = np.zeros(len(space.sides))
        for hood in sample:
            sides[hood.sides] = present.opened[hood.sides]
        capacity = space.load(here, sides) + np.maximum(present.left, 0.0) * ratio
        cost = space.cost_per_h(here, sides)
        local = replace(
            aim,
            least_goodput_per_s=space.goodput_per_s(here) * aim.least_goodput_per_s / max(present.goodput_per_s, 1e-12),
            most_cost_per_h=cost + max(aim.most_cost_per_h - present.cost_per_h, 0.0) * ratio,
        )
        budget = cost + max(space.budget_per_h - present.cost_per_h, 0.0) * ratio
    capacity[own] = space.capacity[own]
    every = np.concatenate([hood.sides for hood in sample])
    part = replace(space.only(members, capacity, budget), sides=_some(space, every))
    local = replace(local, running=None if aim.running is None else aim.running[members])
    known = None if start is None else _among(space, members, start)
    return generate(part, local, masters, start=known)


def _among(space: SelectionSpace, members: Indices, start: tuple[Indices, Indices]) -> tuple[Indices, Indices]:
    """Those of some plans that belong to some members, by their places among those."""
    number = np.full(space.members, -1, dtype=np.intp)
    number[members] = np.arange(len(members))
    there = number[start[0]] >= 0
    return number[start[0][there]], start[1][there]


def _part(space: SelectionSpace, hood: Hood) -> SelectionSpace:
    return replace(space.only(hood.members, space.capacity), sides=_some(space, hood.sides))


def _some(space: SelectionSpace, sides: Indices) -> Sides:
    return Sides(cost_per_h=space.sides.cost_per_h[sides], most=space.sides.most[sides], use=space.sides.use[:, sides])
