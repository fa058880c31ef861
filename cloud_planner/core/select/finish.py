"""From assignments to plans with their estimates. PURE."""

from __future__ import annotations

from math import isfinite

from circinus.model.plan import Interval, MachineUse, OperatorPlan, Plan
from circinus.model.query import Slo
from cloud_planner.core.estimate import Z95, in_time_ratio, median_ms, slo_probability
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.select.assignment import Assignment, Bill, own_cost_per_h
from cloud_planner.core.steps import Pick
from cloud_planner.core.templates import Enumeration, Prune, Route, template

#: Stands for an endless wait (a replica with no room to spare and uneven load), which JSON has no number for.
ENDLESS_MS = 1e12


def path_estimate(network: Network, problem: Problem, assignment: Assignment, options: tuple[int, ...]) -> Route | None:
    """The estimate of one path of an assignment, with no bound held against it; None if there is no such way."""
    query = problem.queries[assignment.query]
    replicas = {(load.step, load.option): load.replicas for load in assignment.loads}
    picks = tuple(Pick(option=option, replicas=replicas[step, option]) for step, option in enumerate(options))
    listed = template(
        network,
        problem,
        query,
        {},
        Enumeration(
            candidates=(assignment.candidate,),
            slo=Slo(percentile_ratio=query.slo.percentile_ratio),
            prune=Prune.NOTHING,
            fractional=query.splittable,
            fixed=picks,
        ),
    )
    return listed.routes[0] if listed.routes else None


def _operators(problem: Problem, assignment: Assignment) -> tuple[OperatorPlan, ...]:
    candidate = problem.queries[assignment.query].candidates[assignment.candidate]
    plans = []
    for load in assignment.loads:
        step = candidate.steps[load.step]
        option = step.options[load.option]
        plans.append(
            OperatorPlan(
                operator_id=step.operator_id,
                device_id=option.machine,
                replicas=load.replicas,
                share_ratio=load.share_ratio,
                cores=option.cores,
                accelerator_slots=option.accelerator_slots,
                accelerator_memory_bytes=option.accelerator_memory_bytes,
                memory_bytes=option.memory_bytes,
                batch=option.batch,
                service_ms=option.service.mean_ms,
            )
        )
    return tuple(plans)


def plan_of(network: Network, problem: Problem, assignment: Assignment) -> Plan:
    """An assignment as a plan, without its runner-up.

    The latency of a split plan is that of its slowest path: each path meets the SLO by itself. Its cost is that of
    the shares that it uses, also of machines that are paid whole.
    """
    query = problem.queries[assignment.query]
    candidate = query.candidates[assignment.candidate]
    estimates = []
    for path in assignment.paths:
        route = path_estimate(network, problem, assignment, path.options)
        if route is not None:
            estimates.append((path.share_ratio, route))
    worst = max((route for _, route in estimates), key=lambda route: route.percentile_ms)
    latency = worst.percentile_ms if isfinite(worst.percentile_ms) else ENDLESS_MS
    spread = Z95 * candidate.latency_uncertainty_ratio
    in_time = sum(
        share * in_time_ratio(route.mean_ms, route.variance_ms2, query.slo.latency_ms) for share, route in estimates
    )
    return Plan(
        query_id=query.id,
        configuration=candidate.configuration,
        operators=_operators(problem, assignment),
        latency_ms=Interval(value=latency, low=max(0.0, latency * (1.0 - spread)), high=latency * (1.0 + spread)),
        latency_p50_ms=min(median_ms(worst.mean_ms, worst.variance_ms2), ENDLESS_MS),
        accuracy_ratio=candidate.accuracy,
        cost_per_h=own_cost_per_h(network, problem, query, assignment),
        slo_probability_ratio=min(1.0, slo_probability(query, candidate, latency)),
        item_goodput_per_s=query.weight * query.rate_per_s * candidate.accuracy.value * min(1.0, in_time),
    )


def machine_uses(total: Bill) -> tuple[MachineUse, ...]:
    """What is used of each machine, by id."""
    return tuple(
        MachineUse(
            device_id=machine,
            machines=count,
            cores=total.cores[machine],
            cost_per_h=total.machine_cost_per_h[machine],
        )
        for machine, count in sorted(total.machines.items())
    )
