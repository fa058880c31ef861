"""Neighbourhoods: some queries with the rows that are theirs alone, as one small integer programme. PURE.

Sites couple only through what they share: the cloud, the goodput that is asked for, the budget. With those at their
prices each site is a problem of its own, and

    prices of what is shared x what there is + sum over sites of the best that each can do at those prices

bounds every selection (Lagrangian decomposition; Guignard and Kim 1987). It is never worse than the linear bound, since
inside a site whole plans are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array, csc_array, hstack, vstack
from scipy.sparse.csgraph import connected_components

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.pricing import Aim, Best, Prices, profits_of
from cloud_planner.core.column_generation.programmes import IntegerResult, IntegerTask
from cloud_planner.core.column_generation.repair import repair
from cloud_planner.core.column_generation.rounding import cheapen, fill
from cloud_planner.core.column_generation.space import NONE, Array, Indices, SelectionSpace

#: A neighbourhood has no more members; a site that has is cut up.
MOST_MEMBERS = 160
#: Plans that lose more than this part of what a neighbourhood could gain are left out, and counted in the bound.
_LOSS_RATIO = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Hood:
    """``rows`` and ``sides`` are touched by no other members; ``whole``: and its members touch no site's but these."""

    members: Indices
    rows: Indices
    sides: Indices
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A neighbourhood's programme, and what its columns are: sides first, then plans of members."""

    hood: Hood
    programme: IntegerTask
    members: Indices
    plans: Indices
    #: No selection of the neighbourhood with a plan that was left out is worth more at these prices.
    bound_without: float


def refined(space: SelectionSpace, over: int = MOST_MEMBERS) -> SelectionSpace:
    """The same with sites of more than ``over`` members cut where few rows hold them together; those count as shared.

    Such rows are those that many members may use. What falls apart without them is put together again up to half of
    ``MOST_MEMBERS``. Nothing changes where the sites are small enough.
    """
    area = np.append(space.area, -1)[space.slots].max(axis=1, initial=-1)
    large = np.flatnonzero(np.bincount(area[area >= 0], minlength=1) > over)
    if not len(large):
        return space
    users = np.bincount(space.slots.ravel(), minlength=len(space.capacity) + 1)[: len(space.capacity)]
    found = space.area.copy()
    for number in large.tolist():
        members = np.flatnonzero(area == number)
        mine = found == number
        found[mine] = -1
        own = np.append(mine & (users <= MOST_MEMBERS // 4), False)
        place, slot = np.nonzero(own[space.slots[members]])
        rows = space.slots[members[place], slot]
        ties = coo_array((np.ones(len(rows)), (place, len(members) + rows)), shape=[len(members) + len(own)] * 2)
        _, label = connected_components(ties, directed=False)
        sizes = np.bincount(label[: len(members)])
        # Small parts one after the other, a new site whenever one is full.
        site = np.cumsum(sizes) // (MOST_MEMBERS // 2)
        kept = np.unique(rows)
        found[kept] = found.max(initial=0) + 1 + site[label[len(members) + kept]]
    return replace(space, area=found)


def hoods(space: SelectionSpace) -> tuple[Hood, ...]:
    """The sites as neighbourhoods; members that touch several sites are in none. Too large ones are cut up later."""
    area = np.append(space.area, -1)[space.slots]
    first = area.max(axis=1, initial=-1)
    mixed = ((area >= 0) & (area != first[:, None])).any(axis=1) | (first < 0)
    spoilt = np.unique(area[mixed])
    side_area = _areas_of_sides(space)
    # What a side of several sites touches is no site's own: with its price, not with what is left of it now.
    outside = np.zeros(len(space.capacity), dtype=bool)
    outside[space.sides.use[:, side_area < 0].indices] = True
    area_of_rows = np.where(outside, -1, space.area)
    found = []
    order = np.argsort(first, kind="stable")
    bounds = np.searchsorted(first[order], np.arange(int(space.area.max(initial=-1)) + 2))
    rows_order = np.argsort(area_of_rows, kind="stable")
    row_bounds = np.searchsorted(area_of_rows[rows_order], np.arange(len(bounds)))
    for number in range(len(bounds) - 1):
        members = order[bounds[number] : bounds[number + 1]]
        members = np.sort(members[~mixed[members]])
        if len(members):
            found.append(
                Hood(
                    members=members,
                    rows=rows_order[row_bounds[number] : row_bounds[number + 1]],
                    sides=np.flatnonzero(side_area == number),
                    whole=number not in spoilt,
                )
            )
    rest, everywhere = np.flatnonzero(mixed), np.flatnonzero(side_area < 0)
    if len(rest):
        found.append(Hood(members=rest, rows=np.zeros(0, dtype=np.intp), sides=everywhere, whole=False))
    return tuple(found)


def _areas_of_sides(space: SelectionSpace) -> Indices:
    """The site whose rows alone a side touches; -1: it touches others."""
    use = space.sides.use
    found = np.full(len(space.sides), -1, dtype=np.intp)
    for side in range(len(space.sides)):
        areas = np.unique(space.area[use.indices[use.indptr[side] : use.indptr[side + 1]]])
        if len(areas) == 1:
            found[side] = areas[0]
    return found


def cut(space: SelectionSpace, hood: Hood, prices: Prices, turn: int) -> tuple[Hood, ...]:
    """A neighbourhood in parts of neighbours, begun elsewhere at each turn.

    Members stand in the order of the row that they pay most for.
    """
    if len(hood.members) <= MOST_MEMBERS:
        return (hood,)
    price = np.append(prices.row, 0.0)
    main = np.zeros(len(hood.members), dtype=np.intp)
    for place, member in enumerate(hood.members.tolist()):
        kind = space.kinds[space.kind[member]]
        slots = space.slots[member, : kind.use.shape[1]]
        main[place] = slots[int(np.argmax(price[slots] * kind.use.mean(axis=0)))]
    ordered = hood.members[np.argsort(main, kind="stable")]
    half = MOST_MEMBERS // 2
    ordered = np.roll(ordered, -(turn * half // 2) % len(ordered))
    none = np.zeros(0, dtype=np.intp)
    return tuple(
        Hood(members=np.sort(ordered[start : start + half]), rows=none, sides=none, whole=False)
        for start in range(0, len(ordered), half)
    )


def value_at(space: SelectionSpace, aim: Aim, prices: Prices, hood: Hood, filling: Filling) -> float:
    """What the neighbourhood's present plans are worth, with what they share at its price."""
    members = hood.members[filling.choice[hood.members] >= 0]
    plans = filling.choice[members]
    gain = aim.gains(space, members, plans) + prices.goodput * space.worth[members]
    gain = gain - prices.cost * space.costs(members, plans)
    total = float(gain.sum()) - float(
        prices.without(hood.rows).row @ np.asarray(space.columns(members, plans).sum(axis=1))
    )
    if len(hood.sides):
        opened = filling.opened[hood.sides]
        total -= (aim.cost + prices.cost) * float(space.sides.cost_per_h[hood.sides] @ opened)
        total -= float(prices.without(hood.rows).row @ (space.sides.use[:, hood.sides] @ opened))
    return total


def most_at(space: SelectionSpace, aim: Aim, prices: Prices, hood: Hood, best: Best) -> float:
    """The linear bound on the same, from prices of all rows."""
    total = float(prices.row[hood.rows] @ space.capacity[hood.rows]) + float(
        np.maximum(best.profit[hood.members], 0.0).sum()
    )
    if len(hood.sides):
        use = space.sides.use[:, hood.sides]
        gain = -(aim.cost + prices.cost) * space.sides.cost_per_h[hood.sides] - use.T @ prices.row
        total += float((np.maximum(gain, 0.0) * space.sides.most[hood.sides]).sum())
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard a neighbourhood is solved."""

    gap_ratio: float = 2e-3
    nodes: int = 2_000
    seconds: float | None = None


def task(
    space: SelectionSpace,
    aim: Aim,
    prices: Prices,
    hood: Hood,
    filling: Filling,
    best: Best,
    *,
    priced: bool,
    effort: Effort,
    share: Array | None = None,
) -> Task:
    """The programme of a neighbourhood.

    Args:
        space: The plan space.
        aim: What is maximised.
        prices: Of all rows.
        hood: The neighbourhood.
        filling: The present selection; all other members stay as they are.
        best: What each member would take at these prices.
        priced: What is shared may be had at its price, as much as is wanted; else there is only what is left of it.
        effort: When to stop.
        share: (rows,) the neighbourhood's part of what is shared, by the relaxation; it takes no more, unless it does.
    """
    most = most_at(space, aim, prices, hood, best)
    room = max(most - value_at(space, aim, prices, hood, filling), 0.0)
    loss = _LOSS_RATIO * room + 1e-9 * max(1.0, abs(most))
    members, plans = _worth_trying(space, aim, prices, hood, best, filling, loss)
    use = space.columns(members, plans)
    gain = aim.gains(space, members, plans)
    count, sides = len(members), hood.sides
    number = np.full(space.members, -1, dtype=np.intp)
    number[hood.members] = np.arange(len(hood.members))
    once = csc_array((np.ones(count), number[members], np.arange(count + 1)), shape=(len(hood.members), count))
    side_use = space.sides.use[:, sides] if len(sides) else csc_array((len(space.capacity), 0))
    every = csc_array(hstack([side_use, use], format="csc"))
    side_gain = -aim.cost * space.sides.cost_per_h[sides]
    blocks, rhs = [hstack([csc_array((len(hood.members), len(sides))), once])], [np.ones(len(hood.members))]
    start = np.append(filling.opened[sides], (filling.choice[members] == plans).astype(float))
    own = every @ start
    # What is shared has its price also where there is only so much of it: others could do with it what it is worth.
    shared = prices.without(hood.rows).row
    gain = gain - use.T @ shared
    side_gain = side_gain - side_use.T @ shared
    if priced:
        rows = hood.rows
        gain = gain + prices.goodput * space.worth[members] - prices.cost * space.costs(members, plans)
        side_gain = side_gain - prices.cost * space.sides.cost_per_h[sides]
    else:
        rows = np.unique(every.indices)
        if aim.least_goodput_per_s > 0.0:
            spare = max(filling.goodput_per_s - aim.least_goodput_per_s, 0.0)
            worth = np.append(np.zeros(len(sides)), space.worth[members])
            blocks.append(csc_array(-worth[None, :]))
            rhs.append(np.array([spare - float(worth @ start)]))
        limit = min(aim.most_cost_per_h, space.budget_per_h)
        if np.isfinite(limit):
            cost = np.append(space.sides.cost_per_h[sides], space.costs(members, plans))
            blocks.append(csc_array(cost[None, :]))
            rhs.append(np.array([max(limit - filling.cost_per_h, 0.0) + float(cost @ start)]))
    blocks.append(every[rows, :])
    there = np.maximum(filling.left[rows], 0.0) + own[rows]
    if share is not None:
        mine = np.isin(rows, hood.rows)
        there = np.where(mine, there, np.minimum(there, np.maximum(own, share)[rows]))
    rhs.append(there)
    programme = IntegerTask(
        use=csc_array(vstack(blocks, format="csc")),
        rhs=np.concatenate(rhs),
        gain=np.append(side_gain, gain),
        most=np.append(space.sides.most[sides], np.ones(count)),
        start=start,
        gap_ratio=effort.gap_ratio,
        nodes=effort.nodes,
        seconds=effort.seconds,
    )
    return Task(hood=hood, programme=programme, members=members, plans=plans, bound_without=most - loss)


def _worth_trying(
    space: SelectionSpace, aim: Aim, prices: Prices, hood: Hood, best: Best, filling: Filling, loss: float
) -> tuple[Indices, Indices]:
    """Plans that lose little against what their members would take at these prices; what they have is among them."""
    members, plans = [], []
    room = space.room()
    for member in hood.members.tolist():
        profit = profits_of(space, aim, prices, member)
        kind = space.kinds[space.kind[member]]
        there = (kind.use <= room[space.slots[member, : kind.use.shape[1]]]).all(axis=1)
        near = there & (max(best.profit[member], 0.0) - profit <= loss)
        if filling.choice[member] >= 0:
            near[filling.choice[member]] = True
        found = np.flatnonzero(near)
        members.append(np.full(len(found), member, dtype=np.intp))
        plans.append(found)
    return np.concatenate(members), np.concatenate(plans)


def bound_of(made: Task, answer: IntegerResult, linear: float) -> float:
    """The most that the neighbourhood can be worth at the task's prices."""
    return min(linear, max(answer.bound, made.bound_without))


def chosen(filling: Filling, made: Task, answer: IntegerResult) -> tuple[Indices, Array] | None:
    """Choice and opened sides with the answer in place; None: there is none, or nothing changes."""
    if not len(answer.values):
        return None
    hood, sides = made.hood, len(made.hood.sides)
    taken = np.flatnonzero(answer.values[sides:] > 0.5)
    choice, opened = filling.choice.copy(), filling.opened.copy()
    choice[hood.members] = NONE
    choice[made.members[taken]] = made.plans[taken]
    opened[hood.sides] = answer.values[:sides]
    same = (choice == filling.choice).all() and (opened == filling.opened).all()
    return None if same else (choice, opened)


def adopt(filling: Filling, made: Task, answer: IntegerResult, aim: Aim) -> bool:
    """Makes the answer the selection where it fits and is better; whether it did."""
    found = chosen(filling, made, answer)
    if found is None:
        return False
    before, value = filling.copy(), aim.value(filling.space, filling.choice, filling.opened)
    if not filling.replace(made.hood.members, *found):
        return False
    if better(filling, aim, value):
        return True
    filling.take_back(before)
    return False


def better(filling: Filling, aim: Aim, value: float) -> bool:
    """Whether a selection is worth more than before, and what must be held is held."""
    more = aim.value(filling.space, filling.choice, filling.opened) > value + 1e-9 * max(1.0, abs(value))
    enough = filling.goodput_per_s >= aim.least_goodput_per_s * (1.0 - 1e-9)
    return more and enough and filling.cost_per_h <= aim.most_cost_per_h * (1.0 + 1e-9)


def adopt_all(filling: Filling, answers: Sequence[tuple[Task, IntegerResult]], aim: Aim, prices: Prices) -> bool:
    """All answers at once, what they exceed together repaired wherever it costs least; whether that is better."""
    before, value = filling.copy(), aim.value(filling.space, filling.choice, filling.opened)
    for made, answer in answers:
        found = chosen(filling, made, answer)
        if found is not None:
            filling.replace(made.hood.members, *found, anyway=True)
    if repair(filling, aim, prices):
        fill(filling, prices, aim)
        if aim.cost > 0.0:
            cheapen(filling, aim.least_goodput_per_s)
        if better(filling, aim, value):
            return True
    filling.take_back(before)
    return False
