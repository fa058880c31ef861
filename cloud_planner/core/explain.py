"""Why a query has the plan that it has, what the next best are and what they would take; or why it has none. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from circinus.model.plan import Plan, Selection
from circinus.model.query import QueryId
from cloud_planner.core.explain_rivals import Rival, Rivals, rivals_of
from cloud_planner.core.network import Network
from cloud_planner.core.placeable import assignment_of, room_for
from cloud_planner.core.placeable_room import Fit, Room, fit_of
from cloud_planner.core.problem import Problem
from cloud_planner.core.relax import Conflict, conflict_in
from cloud_planner.core.relax_limits import SLO_KINDS, Limit, LimitKind, Relaxation, limits_of
from cloud_planner.core.relax_search import need_of
from cloud_planner.core.select.milp import Solver

#: So many rivals are told.
RIVALS = 3
#: A bound with less room than this, relatively, is called tight.
_TIGHT_RATIO = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """A bound of the SLO and how far the plan stays from it, in the bound's unit.

    ``value`` is the tightest bound that the plan still meets with the probability asked for. ``tight``: there is hardly
    any room left. ``cheaper_at``: where the bound would have to be for a cheaper plan, which saves ``saves_per_h``.
    """

    limit: Limit
    value: float
    slack: float
    tight: bool
    cheaper_at: Relaxation | None = None
    saves_per_h: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A limit that alone keeps a cheaper plan out: where it would have to be, and what that plan saves."""

    relaxation: Relaxation
    saves_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a query has its plan, or none: then ``conflict`` says why.

    ``rivals``: the three that come nearest to winning, in order of cost. ``exact``: no plan was left out of what this
    rests on.
    """

    query_id: QueryId
    why: str
    plan: Plan | None = None
    margins: tuple[Margin, ...] = ()
    binding: tuple[Binding, ...] = ()
    rivals: tuple[Rival, ...] = ()
    conflict: Conflict | None = None
    exact: bool = True


def explain(problem: Problem, selection: Selection, query_id: QueryId, solver: Solver | None = None) -> Explanation:
    """Explains what a selection gives a query.

    Args:
        problem: The problem that the selection is of.
        selection: The selection.
        query_id: The query.
        solver: For a query whose items may be divided.

    Raises:
        NotFound: there is no such query.
    """
    room = room_for(problem, selection, query_id, solver)
    plan = next((plan for plan in selection.plans if plan.query_id == query_id), None)
    if plan is None:
        conflict = conflict_in(room)
        return Explanation(query_id=query_id, why=conflict.reason, conflict=conflict, exact=conflict.exact)
    assignment = assignment_of(room.problem, plan)
    if assignment is None:
        why = "its plan is not in the tables that are known now: it was made from others"
        return Explanation(query_id=query_id, why=why, plan=plan, exact=False)
    rivals = rivals_of(room, assignment, RIVALS)
    fit = fit_of(Network.of(room.problem), room.problem, assignment)
    binding = tuple(
        Binding(relaxation=rival.relaxation, saves_per_h=rivals.adds_per_h - rival.adds_per_h)
        for rival in rivals.cheaper
        if rival.relaxation is not None
    )
    return Explanation(
        query_id=query_id,
        why=_why(rivals, binding),
        plan=plan,
        margins=tuple(
            _margin(room, limit, fit, binding)
            for limit in limits_of(room.problem, room.number)
            if limit.kind in SLO_KINDS
        ),
        binding=binding,
        rivals=_nearest(rivals),
        exact=rivals.exact,
    )


def _nearest(rivals: Rivals) -> tuple[Rival, ...]:
    """Those that come nearest to winning, in order of cost."""
    ranked = sorted((*rivals.cheaper, *rivals.meeting), key=lambda rival: (rival.change_ratio, rival.adds_per_h))
    return tuple(sorted(ranked[:RIVALS], key=lambda rival: rival.adds_per_h))


def _why(rivals: Rivals, binding: tuple[Binding, ...]) -> str:
    if binding:
        moves = " or ".join(each.relaxation.text for each in binding[:RIVALS])
        return f"the cheapest that meets its bounds and fits beside the others; a cheaper one needs {moves}"
    if any(rival.adds_per_h < rivals.adds_per_h - 1e-9 for rival in rivals.meeting):
        return "it meets its bounds and fits, but is not proven the cheapest beside the others"
    return "the cheapest there is: no single limit keeps a cheaper one out"


def _margin(room: Room, limit: Limit, fit: Fit, binding: tuple[Binding, ...]) -> Margin:
    value = need_of(room, limit, fit)
    slack = value - limit.bound if limit.kind is LimitKind.ACCURACY else limit.bound - value
    cheaper = next((each for each in binding if each.relaxation.limit == limit), None)
    return Margin(
        limit=limit,
        value=value,
        slack=slack,
        tight=slack <= _TIGHT_RATIO * max(abs(limit.bound), 1e-9),
        cheaper_at=cheaper.relaxation if cheaper is not None else None,
        saves_per_h=cheaper.saves_per_h if cheaper is not None else None,
    )
