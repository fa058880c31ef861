"""The plans that a query's own plan won against, each with why it lost and what it would take. PURE.

Two kinds of them matter. Plans that meet every bound and fit beside the others lost since they are no better. Plans
that cost less lost to one limit: of each limit that stands in the way of a cheaper plan alone, the one that comes
nearest is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from circinus.model.plan import Plan
from cloud_planner.core.cordon import cordoned
from cloud_planner.core.network import Network
from cloud_planner.core.placeable_room import Room, machines_of
from cloud_planner.core.problem import Billing, Problem, Sharing
from cloud_planner.core.relax_limits import Limit, LimitKind, Relaxation, limits_of, moved, sized_as
from cloud_planner.core.relax_search import Found, Seeker, least_move, need_of, relaxation_of, smallest_conflict
from cloud_planner.core.select.assignment import Assignment, bill, from_route
from cloud_planner.core.select.finish import plan_of
from cloud_planner.core.templates import Enumeration, Prune, TemplateLimits, admissible, template

_LIMITS = TemplateLimits(partial_rows=20_000, routes=20_000)
#: Plans of other configurations or placements, cheapest first, that are held against what is left.
_TRIES = 400
#: Costs that differ by less, relatively, are equals.
_EQUAL_RATIO = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A plan that lost. ``adds_per_h``: what it adds to what all plans cost together, which is what counts.

    ``change_ratio``: how much would have to change for it to win, against what there is.
    """

    plan: Plan
    adds_per_h: float
    reason: str
    wins_if: str
    change_ratio: float
    relaxation: Relaxation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Those that meet all limits, cheapest first; by limit that binds, the nearest cheaper one. ``exact``: as told."""

    adds_per_h: float
    meeting: tuple[Rival, ...]
    cheaper: tuple[Rival, ...]
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contest:
    """A query's plan, and the room in which others would have to be better."""

    network: Network
    room: Room
    assignment: Assignment
    plan: Plan
    others_per_h: float
    adds_per_h: float
    #: Whether some machine is paid whole, or something shared, so that a query's own cost is not what it adds.
    whole: bool

    def adds(self, assignment: Assignment) -> float:
        """What a plan adds to the bill of the others."""
        return bill(self.network, self.room.problem, [*self.room.others, assignment]).cost_per_h - self.others_per_h

    @property
    def least_difference(self) -> float:
        """Costs that differ by less are equals."""
        return _EQUAL_RATIO * max(abs(self.adds_per_h), self.others_per_h if self.whole else 0.0, 1e-9)


def rivals_of(room: Room, assignment: Assignment, most: int) -> Rivals:
    """The rivals of a query's plan; at most so many of those that meet all limits."""
    network = Network.of(room.problem)
    near = set(machines_of(room.query))
    others_per_h = bill(network, room.problem, room.others).cost_per_h
    contest = _Contest(
        network=network,
        room=room,
        assignment=assignment,
        plan=plan_of(network, room.problem, assignment),
        others_per_h=others_per_h,
        adds_per_h=bill(network, room.problem, [*room.others, assignment]).cost_per_h - others_per_h,
        whole=room.problem.sharing is not Sharing.NONE
        or any(machine.billing is Billing.WHOLE for machine in room.problem.machines if machine.id in near),
    )
    meeting, complete = _meeting(contest, most)
    cheaper, exact = _cheaper(contest)
    return Rivals(adds_per_h=contest.adds_per_h, meeting=meeting, cheaper=cheaper, exact=exact and complete)


def _meeting(contest: _Contest, most: int) -> tuple[tuple[Rival, ...], bool]:
    """Plans of another configuration or placement that meet the SLO and fit, the cheapest of each, cheapest first."""
    room = contest.room
    problem = cordoned(room.problem)
    query, network = problem.queries[room.number], contest.network
    # Of a query whose items may be divided these are plans that leave each operator whole.
    listed = template(
        network,
        problem,
        query,
        room.left(network, problem),
        Enumeration(candidates=admissible(problem, query), slo=query.slo, prune=Prune.PLACEMENTS, limits=_LIMITS),
    )
    seen = {_where(problem, contest.assignment)}
    found: list[tuple[float, Assignment]] = []
    tried = 0
    for route in sorted(listed.routes, key=lambda route: (route.own_cost_per_h, route.mean_ms)):
        other = from_route(room.number, route)
        where = _where(problem, other)
        if where in seen:
            continue
        tried += 1
        if tried > _TRIES or (len(found) == most and not contest.whole):
            break
        if room.holds(other):
            seen.add(where)
            found.append((contest.adds(other), other))
    ranked = sorted(found, key=lambda each: each[0])[:most]
    return tuple(_beaten(contest, other, adds) for adds, other in ranked), listed.complete and tried <= _TRIES


def _where(problem: Problem, assignment: Assignment) -> tuple[object, ...]:
    """Configuration and placement: what makes a plan another one."""
    candidate = problem.queries[assignment.query].candidates[assignment.candidate]
    placed = {(load.step, candidate.steps[load.step].options[load.option].machine) for load in assignment.loads}
    return (assignment.candidate, tuple(sorted(placed)))


def _beaten(contest: _Contest, other: Assignment, adds_per_h: float) -> Rival:
    """Why a plan that meets all limits is not the one."""
    plan = plan_of(contest.network, contest.room.problem, other)
    more, least = adds_per_h - contest.adds_per_h, contest.least_difference
    if more > least:
        change = more / max(abs(contest.adds_per_h), 1e-9)
        part = f" ({change:+.0%})" if contest.adds_per_h > least else ""
        kind = "adds to all costs" if contest.whole else "dearer by"
        return Rival(
            plan=plan,
            adds_per_h=adds_per_h,
            reason=f"{kind} {more:.4g} per hour{' more' if contest.whole else ''}{part}",
            wins_if=f"it costs {_more(more)} per hour less",
            change_ratio=change,
        )
    if more < -least:
        reason = f"would save {-more:.4g} per hour: the selection is not proven best"
        wins = "plan again with more work"
        return Rival(plan=plan, adds_per_h=adds_per_h, reason=reason, wins_if=wins, change_ratio=0.0)
    reason, wins, change = _equally_dear(contest.plan, plan)
    return Rival(plan=plan, adds_per_h=adds_per_h, reason=reason, wins_if=wins, change_ratio=change)


def _equally_dear(chosen: Plan, plan: Plan) -> tuple[str, str, float]:
    """Why it lost, what it would take, and how much of a change that is."""
    here, there = chosen.accuracy_ratio.value, plan.accuracy_ratio.value
    if there < here:
        reason = f"less accurate at the same cost: {there:.4g} against {here:.4g}"
        return reason, f"its accuracy is above {here:.6g}, or it costs less", (here - there) / max(abs(here), 1e-9)
    slower = plan.latency_ms.value - chosen.latency_ms.value
    if slower > 0.0:
        reason = f"slower by {slower:.4g} ms at the same cost"
        wins = f"it is faster by {_more(slower)} ms, or costs less"
        return reason, wins, slower / max(chosen.latency_ms.value, 1e-9)
    return "costs the same, and does no more than its bounds ask for", "it costs less", 0.0


def _more(figure: float) -> str:
    """A figure rounded up to four digits."""
    text = f"{figure:.4g}"
    return text if float(text) >= figure else f"{figure * 1.0006:.4g}"


def _cheaper(contest: _Contest) -> tuple[tuple[Rival, ...], bool]:
    """By each limit that alone keeps a cheaper plan out, the plan that it keeps out by least."""
    if contest.adds_per_h <= 10.0 * contest.least_difference:
        return (), True
    wanted, bound = _below(contest)
    limits = tuple(limit for limit in limits_of(wanted.problem, wanted.number) if limit.kind is not bound)
    seeker = Seeker(room=wanted, limits=limits, same_prices=True)
    if seeker.opens(()) or not seeker.opens(limits):
        return (), seeker.exact
    found: list[Rival] = []
    for limit in smallest_conflict(limits, seeker.conflict):
        move = least_move(seeker, wanted.problem, limit) if seeker.opens((limit,)) else None
        if move is not None:
            found.append(_kept_out(contest, limit, move))
    return tuple(sorted(found, key=lambda rival: (rival.change_ratio, rival.reason))), seeker.exact


def _below(contest: _Contest) -> tuple[Room, LimitKind]:
    """Its query where plans must cost less than its own, and the limit that says so."""
    room, query = contest.room, contest.room.query
    below = contest.adds_per_h - 10.0 * contest.least_difference
    if contest.whole:
        return room.within(replace(room.problem, budget_per_h=contest.others_per_h + below)), LimitKind.BUDGET
    changed = replace(query, slo=replace(query.slo, cost_per_h=below))
    queries = (*room.problem.queries[: room.number], changed, *room.problem.queries[room.number + 1 :])
    return room.within(replace(room.problem, queries=queries)), LimitKind.COST


def _kept_out(contest: _Contest, limit: Limit, move: Found) -> Rival:
    room = contest.room
    relaxation = relaxation_of(limit, move)
    inside = sized_as(moved(room.problem, room.number, limit, relaxation.bound), room.problem)
    network = Network.of(inside)
    others = bill(network, inside, room.others).cost_per_h
    adds = bill(network, inside, [*room.others, move.fit.assignment]).cost_per_h - others
    return Rival(
        plan=plan_of(network, inside, move.fit.assignment),
        adds_per_h=adds,
        reason=f"{_missed(room, limit, relaxation, move)}; cheaper by {contest.adds_per_h - adds:.4g} per hour",
        wins_if=relaxation.text,
        change_ratio=relaxation.move_ratio,
        relaxation=relaxation,
    )


def _missed(room: Room, limit: Limit, relaxation: Relaxation, move: Found) -> str:
    need = need_of(room, limit, move.fit)
    match limit.kind:
        case LimitKind.LATENCY:
            return f"misses latency by {need - limit.bound:.4g} ms: {limit.bound:.6g} ms are allowed"
        case LimitKind.ACCURACY:
            return f"not accurate enough: {need:.6g} is promised, {limit.bound:.6g} asked for"
        case LimitKind.BUDGET:
            return f"over the budget of {limit.bound:.6g} per hour"
        case LimitKind.CORDON | LimitKind.APART | LimitKind.RESIDENCY | LimitKind.SELECTOR:
            return f"not allowed: {limit.text}"
        case _:
            return f"does not fit: lacks {relaxation.text.removeprefix('+')}"
