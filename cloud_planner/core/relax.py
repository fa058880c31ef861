"""Why a query has no plan, and what would give it one: infeasible is an answer. PURE.

The limits that conflict are a set of which none could be left out, the smallest that is found. Every limit that opens
the way by itself is in every such set: so what is said of its members is said of all limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from circinus.model.plan import Selection
from circinus.model.query import QueryId
from cloud_planner.core.network import Network
from cloud_planner.core.placeable import room_for
from cloud_planner.core.placeable_room import Room
from cloud_planner.core.problem import Problem
from cloud_planner.core.relax_limits import Limit, Relaxation, moved, relaxed, without
from cloud_planner.core.relax_search import Found, Seeker, least_move, limits_near, relaxation_of, smallest_conflict
from cloud_planner.core.select.milp import Solver
from cloud_planner.core.select.reasons import reason

#: Sets of limits that are tried for a smaller conflict, and pairs of limits that could move together; of those that do,
#: so many are measured.
_SETS = 200
_PAIRS = 200
_MEASURED = 4
#: Queries that are tried for displacement, one by one.
_DISPLACED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Why a query has no plan.

    ``limits`` conflict, and none of them could be left out; empty: no limit is in the way, ``reason`` says what is.
    ``relaxations``: of each limit that does alone what it takes, the least that does, that which moves least first.
    ``together``: where none does alone, the cheapest few found that do when all of them move. ``alone``: it could be
    placed if the others were not there; ``displaces``: a smallest set found of those that would have to go. ``exact``:
    no plan was left out of what this rests on.
    """

    query_id: QueryId
    reason: str
    limits: tuple[Limit, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    together: tuple[Relaxation, ...] = ()
    alone: bool = False
    displaces: tuple[QueryId, ...] = ()
    exact: bool = True


def conflict(problem: Problem, selection: Selection, query_id: QueryId, solver: Solver | None = None) -> Conflict:
    """Why a query that has no plan in a selection has none, beside the selection's plans of the others.

    Args:
        problem: The problem that the selection is of.
        selection: Its plans are left as they are.
        query_id: The query; a plan of its own in the selection does not count.
        solver: For a query whose items may be divided.

    Raises:
        NotFound: there is no such query.
    """
    return conflict_in(room_for(problem, selection, query_id, solver))


def conflict_in(room: Room) -> Conflict:
    """The same for a query and the plans beside which it must fit."""
    problem, query = room.problem, room.query
    if (query.impossible or not query.candidates) and not query.freely:
        said = query.impossible or "no configuration is known: there are no profiles"
        return Conflict(query_id=query.id, reason=said)
    if query.splittable and room.solver is None:
        return Conflict(query_id=query.id, reason="its items may be divided, which needs a solver", exact=False)
    seeker = Seeker(room=room, limits=limits_near(room))
    if seeker.opens(()):
        said = "it fits beside the others: the selection is not the best there is, or does without it"
        return Conflict(query_id=query.id, reason=said, alone=True)
    if not seeker.opens(seeker.limits):
        bare = without(problem, room.number, seeker.limits)
        said = reason(Network.of(bare), bare, room.number, (), {})
        return Conflict(query_id=query.id, reason=said, exact=seeker.exact)
    limits = _smallest(seeker)
    found = [(limit, least_move(seeker, problem, limit)) for limit in limits if seeker.opens((limit,))]
    moves = [relaxation_of(limit, move) for limit, move in found if move is not None]
    alone = replace(room, others=()).any().fit is not None
    return Conflict(
        query_id=query.id,
        reason=_said(limits, enough=bool(moves)),
        limits=limits,
        relaxations=tuple(sorted(moves, key=lambda move: (move.move_ratio, move.limit.text))),
        # With several moving, a larger machine must not do for its smaller part alone, which costs less.
        together=() if moves else _together(replace(seeker, same_prices=True, known={}), limits),
        alone=alone,
        displaces=_displaced(room) if alone else (),
        exact=seeker.exact,
    )


def _said(limits: Sequence[Limit], *, enough: bool) -> str:
    """Which limits are in the way; without ``enough``, none of them alone."""
    others = "" if enough else " (and others)"
    if len(limits) == 1:
        return f"in the way: {limits[0].text}{others}"
    *first, last = [limit.text for limit in limits]
    return f"in the way together: {', '.join(first)} and {last}{others}"


def _smallest(seeker: Seeker) -> tuple[Limit, ...]:
    """The smallest conflict, in the order of the limits; of many sets, as small as a bounded search finds."""
    limits = seeker.limits
    found = smallest_conflict(limits, seeker.conflict)
    needed = tuple(limit for limit in found if seeker.opens((limit,)))
    rest = [limit for limit in limits if limit not in needed]
    tried = 0
    for size in range(len(needed), len(found)):
        for more in combinations(rest, size - len(needed)):
            tried += 1
            if tried > _SETS:
                return tuple(limit for limit in limits if limit in found)
            if seeker.conflict((*needed, *more)):
                return tuple(limit for limit in limits if limit in (*needed, *more))
    return tuple(limit for limit in limits if limit in found)


def _together(seeker: Seeker, limits: tuple[Limit, ...]) -> tuple[Relaxation, ...]:
    """Of limits that do not open the way alone, a few that do so together, each moved as little as the others allow."""
    pairs = [(one, other) for one in limits for other in seeker.limits if other != one]
    open_ones = []
    for pair in pairs[:_PAIRS]:
        if pair[::-1] not in open_ones and seeker.opens(pair):
            open_ones.append(pair)
    if not open_ones:
        return _moved_in_order(seeker, _opening(seeker, limits))
    measured = [(moves, pair) for pair in open_ones[:_MEASURED] if (moves := _moved_in_order(seeker, pair))]
    if not measured:
        return ()
    best, pair = min(measured, key=lambda each: _distance(each[0]))
    # What moves first moves least: the other way round may be shorter.
    return min([best, _moved_in_order(seeker, pair[::-1]) or best], key=_distance)


def _distance(moves: Sequence[Relaxation]) -> float:
    return sum(move.move_ratio for move in moves)


def _opening(seeker: Seeker, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Limits that open the way together, none of which could stay."""
    chosen = [*limits, *(limit for limit in seeker.limits if limit not in limits)]
    for limit in reversed(list(chosen)):
        if seeker.opens([other for other in chosen if other != limit]):
            chosen.remove(limit)
    return tuple(chosen)


def _moved_in_order(seeker: Seeker, order: Sequence[Limit]) -> tuple[Relaxation, ...]:
    """Each moved as little as does while those after it are away and those before it have moved."""
    problem, number = seeker.room.problem, seeker.room.number
    found: list[Relaxation] = []
    for place, limit in enumerate(order):
        later = without(problem, number, order[place + 1 :])
        if seeker.fit(later) is not None:
            continue
        move: Found | None = least_move(seeker, later, limit)
        if move is None:
            return ()
        found.append(relaxation_of(limit, move))
        problem = moved(problem, number, limit, found[-1].bound)
    return tuple(found)


def _displaced(room: Room) -> tuple[QueryId, ...]:
    """What would have to go for the query to fit: one query if that does, else some of which none may stay."""
    queries = room.problem.queries

    def worth(number: int) -> tuple[float, str]:
        return (queries[number].weight * queries[number].rate_per_s, queries[number].id)

    def fits(gone: Sequence[int]) -> bool:
        others = tuple(other for other in room.others if other.query not in gone)
        return replace(room, others=others).any().fit is not None

    ordered = sorted({other.query for other in room.others}, key=worth)
    for number in ordered[:_DISPLACED]:
        if fits((number,)):
            return (queries[number].id,)
    # Halving finds where enough have gone; then those that need not go stay, the worthiest first.
    low, high = 0, len(ordered)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(ordered[:middle]) else (middle, high)
    gone = ordered[:high]
    for number in list(reversed(gone))[:_DISPLACED]:
        fewer = [other for other in gone if other != number]
        if fits(fewer):
            gone = fewer
    return tuple(queries[number].id for number in sorted(gone, key=worth))


__all__ = ["Conflict", "Limit", "Relaxation", "conflict", "conflict_in", "relaxed"]
