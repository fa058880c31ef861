"""Back within what there is, at the least loss. PURE."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.pricing import Aim, Prices, profits_of
from cloud_planner.core.column_generation.space import NONE, Array, Indices

_MOST_TURNS = 20


def repair(filling: Filling, aim: Aim, prices: Prices) -> bool:
    """Changes or drops plans until no row is exceeded; whether it got there.

    Each turn ranks changes by what they lose of what is maximised for what they free, and makes the best of them that
    are still needed.
    """
    for _ in range(_MOST_TURNS):
        short = filling.short()
        if not len(short):
            return filling.cost_per_h <= filling.space.budget_per_h * (1.0 + 1e-9) + 1e-12
        if not _turn(filling, aim, prices, short):
            return False
    return False


def _turn(filling: Filling, aim: Aim, prices: Prices, short: Indices) -> bool:
    space = filling.space
    lacking = np.zeros(len(space.capacity))
    lacking[short] = -filling.left[short]
    # What is maximised, with the goodput that is asked for at its price: a plan's loss must not be what it takes.
    worth_alone = replace(Prices.zero(space), goodput=prices.goodput)
    placed, plans = space.chosen(filling.choice)
    touching = space.columns(placed, plans)
    users = placed[np.asarray((touching.T @ (lacking > 0.0).astype(float)) > 0.0)]
    ranked = sorted(
        change
        for member in users.tolist()
        for change in _changes(filling, prices, member, lacking, profits_of(space, aim, worth_alone, member))
    )
    changed: set[int] = set()
    for _, member, plan in ranked:
        if not len(filling.short()):
            break
        if member in changed:
            continue
        rows, _ = space.use_of(member, int(filling.choice[member]))
        if not (filling.left[rows] < 0.0).any():
            continue
        before = filling.remove(member)
        if plan != NONE and not filling.swap_in(member, plan):
            filling.swap_in(member, before, anyway=True)
            continue
        changed.add(member)
    return bool(changed)


def _changes(
    filling: Filling, prices: Prices, member: int, lacking: Array, gains: Array
) -> list[tuple[float, int, int]]:
    """A member's other plans (NONE: none at all), each with its loss for what it frees of what is lacking.

    ``gains``: (plans,) what each adds to what is maximised.
    """
    space, plan = filling.space, int(filling.choice[member])
    rows, amounts = space.use_of(member, plan)
    freed = float(np.minimum(amounts, lacking[rows]).sum())
    if freed <= 0.0:
        return []
    found = [(max(gains[plan], 0.0) / freed, member, NONE)]
    for other in filling.instead(member, prices):
        mine, less = space.use_of(member, other)
        still = float(np.minimum(less, lacking[mine]).sum())
        if still < freed - 1e-12:
            found.append((max(gains[plan] - gains[other], 0.0) / (freed - still), member, other))
    return found
