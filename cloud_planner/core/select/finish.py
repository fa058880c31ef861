"""From assignments to plans with their estimates. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite

from circinus.model.device import DeviceId
from circinus.model.plan import Interval, MachineUse, OperatorPlan, Plan
from cloud_planner.core.estimate import (
    Z95,
    dominant_share_ratio,
    in_time_ratio,
    median_ms,
    paid_share,
    slo_probability,
)
from cloud_planner.core.network import Network
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import Shape, capacity_of, shape_of
from cloud_planner.core.select.assignment import Assignment, Bill, own_cost_per_h, traffic
from cloud_planner.core.select.estimates import PathEstimates

#: Stands for an endless wait (a replica with no room to spare and uneven load), which JSON has no number for.
ENDLESS_MS = 1e12


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


def plan_of(network: Network, problem: Problem, assignment: Assignment, known: PathEstimates | None = None) -> Plan:
    """An assignment as a plan, without its runner-up.

    The latency of a split plan is that of its slowest path: each path meets the SLO by itself. Its cost is that of
    the shares that it uses, also of machines that are paid whole; what it is billed follows from the others.
    """
    query = problem.queries[assignment.query]
    candidate = query.candidates[assignment.candidate]
    known = known or PathEstimates(network, problem)
    estimates = []
    for path in assignment.paths:
        route = known.of(assignment, path.options)
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


def billed_per_h(
    network: Network, problem: Problem, assignments: Sequence[Assignment], total: Bill
) -> dict[int, float]:
    """Each query's part of the whole bill; these add up to it.

    What a machine (type) costs is divided in proportion to price x dominant share, evenly where nothing has a share; an
    exclusive type by the machines that each operator has. Traffic is divided in proportion to what each sends.
    """
    parts: dict[DeviceId, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    sent: dict[int, float] = {}
    for assignment in assignments:
        query = problem.queries[assignment.query]
        candidate = query.candidates[assignment.candidate]
        owned: dict[tuple[DeviceId, int], dict[Shape, int]] = defaultdict(lambda: defaultdict(int))
        for load in assignment.loads:
            option = candidate.steps[load.step].options[load.option]
            machine = network.machines[option.machine]
            if machine.exclusive and not paid_share(machine):
                owned[machine.id, load.step][shape_of(option)] += load.replicas
            else:
                parts[machine.id][assignment.query] += dominant_share_ratio(machine, option) * load.replicas
        for (name, _), shapes in owned.items():
            parts[name][assignment.query] += machines_needed(shapes, capacity_of(network.machines[name]))
        sent[assignment.query] = sum(
            way[0] * path.share_ratio
            for path in assignment.paths
            if (way := traffic(network, problem, query, candidate, path.options)) is not None
        )
    found = _divided(total.traffic_cost_per_h, sent)
    for name, shares in parts.items():
        for number, cost in _divided(total.machine_cost_per_h[name], shares).items():
            found[number] += cost
    return found


def _divided(whole: float, shares: Mapping[int, float]) -> dict[int, float]:
    together = sum(shares.values())
    if together <= 0.0:
        return {number: whole / len(shares) for number in shares}
    return {number: whole * share / together for number, share in shares.items()}


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
