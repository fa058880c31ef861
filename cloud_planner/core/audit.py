"""A checker of selections that does not trust the planner. PURE.

It starts from the problem and the published selection alone, finds each plan's options in the tables again, and
works out by plain sums what templates and programme claim: that replicas fit machine by machine, that links and
replicas stay under their caps, that every SLO holds by the latency model (estimate.py), and that the figures add up.
For split plans, which publish shares and not routes, it looks for routes that explain them within the links and the
claimed traffic cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import isclose

from circinus.model.device import DeviceId
from circinus.model.plan import Selection
from cloud_planner.core.audit_machines import check_bills, check_machines, check_places
from cloud_planner.core.audit_selectors import check_selectors
from cloud_planner.core.audit_traffic import check_traffic
from cloud_planner.core.audited import TOLERANCE, Audit, Finding, Placed, placed_plans
from cloud_planner.core.estimate import accuracy_probability_ratio, slo_probability
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem


def audit(problem: Problem, selection: Selection) -> tuple[Finding, ...]:
    """All that is wrong with a selection; empty if nothing is."""
    work = Audit(problem=problem, selection=selection, network=Network.of(problem))
    placed = placed_plans(work)
    _once(work)
    for entry in placed:
        _slo(work, entry)
    _replicas(work, placed)
    check_places(work, placed)
    check_selectors(work, placed)
    machine_cost = check_machines(work, placed)
    check_traffic(work, placed)
    _totals(work, placed, machine_cost)
    check_bills(work, placed, machine_cost)
    return tuple(work.findings)


def _once(work: Audit) -> None:
    """Each query is either placed once or unplaced once."""
    seen: dict[str, int] = defaultdict(int)
    named: list[str] = [plan.query_id for plan in work.selection.plans]
    named += [unplaced.query_id for unplaced in work.selection.unplaced]
    for query_id in named:
        seen[query_id] += 1
    for query in work.problem.queries:
        if seen.pop(query.id, 0) != 1:
            work.say(query.id, "stands neither once among the plans nor once among the unplaced")
    for query_id in seen:
        work.say(query_id, "there is no such query")
    for unplaced in work.selection.unplaced:
        if not unplaced.reason:
            work.say(unplaced.query_id, "is unplaced without a reason")


def _replicas(work: Audit, placed: list[Placed]) -> None:
    """Shares sum to 1, and each set of replicas carries its share under the cap."""
    cap = work.problem.replica_utilization_cap
    for entry in placed:
        for step, loads in zip(entry.candidate.steps, entry.loads, strict=True):
            total = sum(operator.share_ratio for operator, _ in loads)
            if not isclose(total, 1.0, abs_tol=TOLERANCE):
                work.say(entry.query.id, f"shares of {step.operator_id} sum to {total:.9g}")
            if len(loads) > 1 and not entry.query.splittable:
                work.say(entry.query.id, f"{step.operator_id} is split, which the query does not allow")
            if step.single and sum(operator.replicas for operator, _ in loads) > 1:
                work.say(entry.query.id, f"{step.operator_id} carries state and has more than one replica")
            for operator, option in loads:
                flow = entry.query.rate_per_s * step.items_per_item * operator.share_ratio
                most = cap * option.capacity_per_s * operator.replicas
                if flow > most * (1.0 + TOLERANCE) or operator.replicas < 1:
                    work.say(
                        entry.query.id, f"{step.operator_id} gets {flow:.6g} items/s, its replicas may do {most:.6g}"
                    )


def _slo(work: Audit, entry: Placed) -> None:
    """Bounds on accuracy and cost, and the probability asked for; latency is checked with the ways."""
    slo, plan, query = entry.query.slo, entry.plan, entry.query
    if slo.accuracy_ratio is not None and entry.candidate.accuracy.low < slo.accuracy_ratio:
        work.say(query.id, f"accuracy may be {entry.candidate.accuracy.low:.6g}, the bound is {slo.accuracy_ratio:.6g}")
    if slo.cost_per_h is not None and plan.cost_per_h > slo.cost_per_h * (1.0 + TOLERANCE):
        work.say(query.id, f"costs {plan.cost_per_h:.6g} per hour, the bound is {slo.cost_per_h:.6g}")
    if slo.latency_ms is not None and plan.latency_ms.value > slo.latency_ms * (1.0 + TOLERANCE):
        work.say(query.id, f"takes {plan.latency_ms.value:.6g} ms, the bound is {slo.latency_ms:.6g}")
    probability = slo_probability(query, entry.candidate, plan.latency_ms.value)
    asked = work.problem.asked_of(query) if slo.latency_ms is not None or slo.accuracy_ratio is not None else 0.0
    if probability < asked - TOLERANCE or accuracy_probability_ratio(query, entry.candidate) < asked - TOLERANCE:
        work.say(query.id, f"meets its SLO with probability {probability:.6g} only")
    if not isclose(probability, plan.slo_probability_ratio, abs_tol=TOLERANCE):
        work.say(query.id, f"probability {plan.slo_probability_ratio:.6g} is claimed, it is {probability:.6g}")


def _totals(work: Audit, placed: list[Placed], machine_cost: Mapping[DeviceId, float]) -> None:
    """Goodput, cost, bounds and gaps add up."""
    selection = work.selection
    goodput = sum(entry.query.weight * entry.query.rate_per_s for entry in placed)
    checks = [
        ("goodput", goodput, selection.goodput_per_s),
        ("cost", sum(machine_cost.values()) + selection.traffic_cost_per_h, selection.cost_per_h),
        ("gap", _gap(selection.goodput_bound_per_s, selection.goodput_per_s), selection.gap_ratio),
        ("cost gap", _cost_gap(selection), selection.cost_gap_ratio),
    ]
    for name, right, claimed in checks:
        if not isclose(right, claimed, rel_tol=TOLERANCE, abs_tol=1e-9):
            work.say("", f"{name} is {right:.9g}, {claimed:.9g} is claimed")
    budget = work.problem.budget_per_h
    if budget is not None and selection.cost_per_h > budget * (1.0 + TOLERANCE) + 1e-9:
        work.say("", f"costs {selection.cost_per_h:.9g} per hour, the budget is {budget:.9g}")
    if selection.goodput_bound_per_s < selection.goodput_per_s * (1.0 - 1e-9):
        work.say("", f"goodput {selection.goodput_per_s:.9g} is above its bound {selection.goodput_bound_per_s:.9g}")
    if selection.cost_bound_per_h > selection.cost_per_h * (1.0 + 1e-9) + 1e-12:
        work.say("", f"cost {selection.cost_per_h:.9g} is below its bound {selection.cost_bound_per_h:.9g}")


def _gap(bound: float, reached: float) -> float:
    return (bound - reached) / bound if bound > 0.0 else 0.0


def _cost_gap(selection: Selection) -> float:
    if selection.cost_per_h <= 0.0:
        return 0.0
    return (selection.cost_per_h - selection.cost_bound_per_h) / selection.cost_per_h


__all__ = ["Finding", "audit"]
