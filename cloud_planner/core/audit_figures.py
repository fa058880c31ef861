"""A checker of the figures that a selection only tells: intervals, medians, item goodput, bounds, counts. PURE.

audit.py checks what a selection must keep. Here is what nobody plans by, but people read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product
from math import isclose, isfinite, prod

from circinus.model.device import DeviceId
from circinus.model.plan import Plan, Selection
from cloud_planner.core.audited import TOLERANCE, Audit, Finding, Placed, placed_plans
from cloud_planner.core.estimate import Z95, dominant_share_ratio, in_time_ratio, median_ms
from cloud_planner.core.network import Network
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Problem, Sharing
from cloud_planner.core.resources import Shape, capacity_of, shape_of
from cloud_planner.core.select.assignment import Assignment, Load
from cloud_planner.core.select.estimates import PathEstimates
from cloud_planner.core.select.finish import ENDLESS_MS
from cloud_planner.core.templates import Route

#: Of a split plan no more ways than these are looked at.
_MOST_WAYS = 256


def audit_figures(problem: Problem, selection: Selection) -> tuple[Finding, ...]:
    """What is wrong with a selection's figures beyond what ``audit`` checks; empty if nothing is.

    Plans that are not in the tables, and devices that don't exist, are left to ``audit``.
    """
    work = Audit(problem=problem, selection=selection, network=Network.of(problem))
    placed = placed_plans(Audit(problem=problem, selection=selection, network=work.network))
    numbers = {query.id: number for number, query in enumerate(problem.queries)}
    estimates = PathEstimates(work.network, problem)
    for entry in placed:
        _interval(work, entry)
        _ways(work, entry, numbers[entry.query.id], estimates)
    _machines(work, placed)
    _traffic(work, placed)
    _bounds(work)
    return tuple(work.findings)


def _interval(work: Audit, entry: Placed) -> None:
    """Latency within its interval, which is as wide as the tables are unsure."""
    latency, query = entry.plan.latency_ms, entry.query.id
    spread = Z95 * entry.candidate.latency_uncertainty_ratio
    for name, factor, claimed in (("low", 1.0 - spread, latency.low), ("high", 1.0 + spread, latency.high)):
        right = max(0.0, latency.value * factor)
        if not isclose(right, claimed, rel_tol=TOLERANCE, abs_tol=1e-9):
            work.say(query, f"the {name} end of its latency is {right:.9g} ms, {claimed:.9g} is claimed")


def _ways(work: Audit, entry: Placed, number: int, estimates: PathEstimates) -> None:
    """Latency, its median and item goodput, worked out again for each way through the plan.

    Those of a split plan are of its slowest way that is in use. Shares don't tell which that is, but some way it is.
    """
    query, plan = entry.query, entry.plan
    routes = _routes(entry, number, estimates)
    if not routes:
        return
    wrong = [_differences(plan, route, told=len(routes) == 1) for route in routes]
    if all(wrong):
        work.say(query.id, f"{min(wrong, key=len)[0]}")
    most = query.weight * query.rate_per_s * entry.candidate.accuracy.value
    in_time = [
        most * min(1.0, in_time_ratio(route.mean_ms, route.variance_ms2, query.slo.latency_ms)) for route in routes
    ]
    slack = TOLERANCE * abs(most) + 1e-9
    if not min(in_time) - slack <= plan.item_goodput_per_s <= max(in_time) + slack:
        right = f"{min(in_time):.9g}" if len(routes) == 1 else f"within {min(in_time):.9g}..{max(in_time):.9g}"
        work.say(query.id, f"its item goodput is {right}/s, {plan.item_goodput_per_s:.9g} is claimed")


def _differences(plan: Plan, route: Route, *, told: bool) -> list[str]:
    """How a plan's latencies differ from a way's. ``told``: there is only this one, whose percentile audit checks."""
    found = []
    median = min(median_ms(route.mean_ms, route.variance_ms2), ENDLESS_MS)
    figures = [("median latency", median, plan.latency_p50_ms)]
    if not told:
        figures.append(("latency", min(route.percentile_ms, ENDLESS_MS), plan.latency_ms.value))
    for name, right, claimed in figures:
        if not isclose(right, claimed, rel_tol=TOLERANCE, abs_tol=1e-6):
            found.append(f"its {name} is {right:.9g} ms, {claimed:.9g} is claimed")
    return found


def _routes(entry: Placed, number: int, estimates: PathEstimates) -> list[Route]:
    """The estimates of all ways through a plan; none if there are too many, or a part of it runs nowhere."""
    if prod(len(loads) for loads in entry.loads) not in range(1, _MOST_WAYS + 1):
        return []
    indices = [
        [next(n for n, option in enumerate(step.options) if option is used) for _, used in loads]
        for step, loads in zip(entry.candidate.steps, entry.loads, strict=True)
    ]
    assignment = Assignment(
        query=number,
        candidate=next(n for n, candidate in enumerate(entry.query.candidates) if candidate is entry.candidate),
        loads=tuple(
            Load(step=step, option=option, replicas=operator.replicas, share_ratio=operator.share_ratio)
            for step, loads in enumerate(entry.loads)
            for option, (operator, _) in zip(indices[step], loads, strict=True)
        ),
        paths=(),
    )
    ways = (estimates.of(assignment, options) for options in product(*indices))
    return [route for route in ways if route is not None]


def _machines(work: Audit, placed: list[Placed]) -> None:
    """Each machine stands once, and no more are on than replicas need."""
    held: dict[DeviceId, dict[str, dict[Shape, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for entry in placed:
        for operator, option in (load for loads in entry.loads for load in loads):
            machine = work.network.machines[option.machine]
            owner = f"{entry.query.id}/{operator.operator_id}" if machine.exclusive else ""
            held[machine.id][owner][shape_of(option)] += operator.replicas
    for name, times in Counter(use.device_id for use in work.selection.machines).items():
        if times > 1:
            work.say(name, f"stands {times} times among the machines")
    for use in work.selection.machines:
        known = work.network.machines.get(use.device_id)
        if known is None:
            work.say(use.device_id, "there is no such machine")
            continue
        try:
            needed = sum(machines_needed(shapes, capacity_of(known)) for shapes in held[use.device_id].values())
        except ValueError:  # a replica that fits into none: audit says so
            continue
        if use.machines > needed:
            work.say(use.device_id, f"{use.machines} machines are claimed, replicas need {needed}")


def _traffic(work: Audit, placed: list[Placed]) -> None:
    """What is left of plans' own costs without their machines is the traffic's, all of it together."""
    if work.problem.sharing is not Sharing.NONE or len(placed) < len(work.selection.plans):
        return
    left = 0.0
    for entry in placed:
        own = entry.plan.cost_per_h
        for operator, option in (load for loads in entry.loads for load in loads):
            machine = work.network.machines[option.machine]
            own -= machine.price_per_h * dominant_share_ratio(machine, option) * operator.replicas
        if own < -TOLERANCE * max(1.0, entry.plan.cost_per_h):
            work.say(entry.query.id, f"costs {entry.plan.cost_per_h:.9g} per hour, less than its machines' shares")
        left += own
    claimed, size = work.selection.traffic_cost_per_h, sum(entry.plan.cost_per_h for entry in placed)
    if not isclose(left, claimed, rel_tol=TOLERANCE, abs_tol=1e-9 + TOLERANCE * size):
        work.say("", f"plans' own costs leave {left:.9g} per hour for traffic, {claimed:.9g} is claimed")


def _bounds(work: Audit) -> None:
    """Bounds are numbers, and no higher than if all that could be placed was."""
    selection = work.selection
    possible = sum(query.weight * query.rate_per_s for query in work.problem.queries if query.candidates)
    if selection.goodput_bound_per_s > possible * (1.0 + TOLERANCE) + 1e-9:
        work.say(
            "", f"the bound {selection.goodput_bound_per_s:.9g}/s is above all that is asked for, {possible:.9g}/s"
        )
    figures = {
        "goodput": selection.goodput_per_s,
        "the bound on goodput": selection.goodput_bound_per_s,
        "cost": selection.cost_per_h,
        "the bound on cost": selection.cost_bound_per_h,
        "the traffic's cost": selection.traffic_cost_per_h,
        "the provisional rate": selection.provisional_per_s,
    }
    for name, value in figures.items():
        if not (isfinite(value) and value >= 0.0):
            work.say("", f"{name} is {value:.9g}, but must be a number of at least 0")
    for name, value in (("gap", selection.gap_ratio), ("cost gap", selection.cost_gap_ratio)):
        if not -TOLERANCE <= value <= 1.0 + TOLERANCE:
            work.say("", f"the {name} is {value:.9g}, but must be between 0 and 1")
