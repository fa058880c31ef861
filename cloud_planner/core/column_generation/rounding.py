"""From a relaxation to a selection: a dive with new prices after each step, then a greedy fill. PURE.

Whole values are taken as they are, then the largest fractions while they fit; what is left of queries and capacity is
priced anew, since prices for the whole are wrong for the rest. At the end whatever still fits goes in, the most worth
for what it takes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.pricing import Aim, Prices
from cloud_planner.core.column_generation.programmes import Masters
from cloud_planner.core.column_generation.space import Indices, SelectionSpace

#: Values this near to one are one.
_WHOLE = 1.0 - 1e-6
#: Fractions below this are not taken ...
_LEAST_FRACTION = 0.5
#: ... but for so many of the largest, so that each step gets on.
_LEAST_STEP = 3
#: Rounds of pricing in each step: near the end of a step's optimum is near enough.
_ROUNDS = 4
_MOST_STEPS = 40


def dive(
    space: SelectionSpace,
    relaxation: Relaxation,
    masters: Masters,
    *,
    enough: Callable[[], bool] = lambda: False,
) -> Filling:
    """A selection near the relaxation's optimum, for goodput.

    Args:
        space: The plan space.
        relaxation: Of the whole space.
        masters: Starts restricted programmes.
        enough: Asked after each step, whether to fill up what there is.
    """
    filling = Filling(space)
    aim, prices = Aim(), relaxation.prices
    now, members = relaxation, np.arange(space.members)
    for _ in range(_MOST_STEPS):
        placed = _take(filling, now, members)
        if enough() or not placed:
            break
        members = np.flatnonzero(filling.choice < 0)
        rest = space.only(members, filling.left, filling.budget_left_per_h)
        rest = replace(rest, sides=replace(space.sides, most=space.sides.most - filling.opened))
        start = _still_open(relaxation, filling, members)
        now = generate(rest, aim, masters, start=start, prices=prices, rounds=_ROUNDS, enough=enough)
        if not now.values.any():
            break
        prices = now.prices
    fill(filling, prices)
    return filling


def _take(filling: Filling, now: Relaxation, members: Indices) -> int:
    """Places whole values, then the largest fractions while they fit; how many."""
    order = np.argsort(-now.values, kind="stable")
    placed = fractions = 0
    fractional = int(((now.values > 1e-6) & (now.values < _WHOLE)).sum())
    most = max(_LEAST_STEP, fractional // 4)
    for column in order.tolist():
        value = now.values[column]
        if value <= 1e-6 or fractions >= most or (value < _LEAST_FRACTION and fractions >= _LEAST_STEP):
            break
        member = int(members[now.members[column]])
        if filling.choice[member] < 0 and filling.place(member, int(now.plans[column])):
            placed += 1
            fractions += value < _WHOLE
    return placed


def _still_open(relaxation: Relaxation, filling: Filling, members: Indices) -> tuple[Indices, Indices]:
    """Columns of the root that belong to members which are not placed, by their numbers in the rest."""
    number = np.full(filling.space.members, -1, dtype=np.intp)
    number[members] = np.arange(len(members))
    there = np.flatnonzero(number[relaxation.members] >= 0)
    fit = there[filling.each_fits(relaxation.members[there], relaxation.plans[there])]
    return number[relaxation.members[fit]], relaxation.plans[fit]


def fill(filling: Filling, prices: Prices, aim: Aim | None = None) -> int:
    """Places what still fits: the most worth for what it takes at these prices first; how many.

    With an aim at least cost, only until its goodput is reached.
    """
    space, aim = filling.space, aim or Aim()
    ranked = []
    for member in np.flatnonzero(filling.choice < 0).tolist():
        plan, price = filling.cheapest(member, prices, aim.cost)
        if plan >= 0:
            ranked.append((-space.worth[member] / max(price, 1e-12), member, plan))
    placed = 0
    goodput = filling.goodput_per_s
    for _, member, first in sorted(ranked):
        if not aim.worth and goodput >= aim.least_goodput_per_s:
            break
        if filling.place(member, first):
            placed += 1
            goodput += float(space.worth[member])
            continue
        plan, _ = filling.cheapest(member, prices, aim.cost)
        if plan >= 0 and filling.place(member, plan):
            placed += 1
            goodput += float(space.worth[member])
    return placed


def cheapen(filling: Filling, least_goodput_per_s: float) -> None:
    """Gives each member the cheapest plan that fits in its present one's place, then drops what need not be served.

    What is dearest for what it is worth goes first, while the goodput holds.
    """
    space = filling.space
    for member in np.flatnonzero(filling.choice >= 0).tolist():
        plan = filling.cheaper(member)
        if plan >= 0:
            before = filling.remove(member)
            if not filling.place(member, plan):
                filling.place(member, before)
    members, plans = space.chosen(filling.choice)
    spare = filling.goodput_per_s - least_goodput_per_s
    saved = space.costs(members, plans) / np.maximum(space.worth[members], 1e-12)
    for place in np.argsort(-saved, kind="stable").tolist():
        worth = float(space.worth[members[place]])
        if saved[place] > 0.0 and worth <= spare:
            filling.remove(int(members[place]))
            spare -= worth
