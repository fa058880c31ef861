"""Where a running query could be served for a moment, while a change makes room. PURE.

One operator at a time is taken to another device that can run it, that its neighbours reach directly, with replicas
enough for its rate. Whether there is room is for transition.py to see; the moment is short, so latency isn't looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import ceil

from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import OperatorPlan, Plan
from circinus.model.query import Query, QueryId
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.directives import directives
from cloud_planner.core.problem import Option, Problem, QueryProblem, Step
from cloud_planner.core.transition import Detours

#: Other ways that are looked at for one query.
MOST: int = 24


def detours_of(problem: Problem, fleet: Fleet, queries: Sequence[Query]) -> Detours:
    """For a query that runs: directives with one of its operators elsewhere."""
    by_id = {query.id: query for query in queries}
    running = {plan.query_id: plan for plan in problem.running}
    problems = {query.id: query for query in problem.queries}
    near = {(wire.source, wire.target) for wire in problem.wires}

    def of(group: frozenset[QueryId]) -> Iterable[Sequence[Directive]]:
        (query_id, *others) = sorted(group)
        plan, query, known = running.get(query_id), by_id.get(query_id), problems.get(query_id)
        if others or plan is None or query is None or known is None:
            return
        unnumbered = Generation(epoch=0, number=0)
        for other in islice(_elsewhere(plan, known, problem, near), MOST):
            yield directives(fleet, [query], [other], unnumbered)

    return of


def _elsewhere(
    plan: Plan, query: QueryProblem, problem: Problem, near: set[tuple[DeviceId, DeviceId]]
) -> Iterator[Plan]:
    candidate = next((one for one in query.candidates if one.configuration == plan.configuration), None)
    if candidate is None or query.source is None:
        return
    hosts: dict[OperatorId, list[OperatorPlan]] = {}
    for placed in plan.operators:
        hosts.setdefault(placed.operator_id, []).append(placed)
    closed = {machine.id for machine in problem.machines if machine.cordoned}
    for step in candidate.steps:
        if len(hosts.get(step.operator_id, ())) != 1:
            continue
        (now,) = hosts[step.operator_id]
        around = _neighbours(step.operator_id, candidate.steps, hosts, query.source)
        for option in step.options:
            there = option.machine
            beside = all(other == there or {(other, there), (there, other)} & near for other in around)
            if there == now.device_id or there in closed or not beside:
                continue
            moved = _placed(now, option, query.rate_per_s, problem.replica_utilization_cap, single=step.single)
            if moved is not None:
                yield replace(plan, operators=tuple(moved if one is now else one for one in plan.operators))


def _neighbours(
    operator_id: OperatorId, steps: Sequence[Step], hosts: Mapping[OperatorId, list[OperatorPlan]], source: DeviceId
) -> set[DeviceId]:
    """The devices that an operator's items come from or go to."""
    found: set[DeviceId] = set()
    for step in steps:
        if step.operator_id == operator_id:
            for name in step.inputs:
                found |= {source} if name == SOURCE else {placed.device_id for placed in hosts.get(name, ())}
        elif operator_id in step.inputs:
            found |= {placed.device_id for placed in hosts.get(step.operator_id, ())}
    return found


def _placed(
    now: OperatorPlan, option: Option, rate_per_s: float, cap_ratio: float, *, single: bool
) -> OperatorPlan | None:
    replicas = max(1, ceil(rate_per_s * now.share_ratio / (cap_ratio * option.capacity_per_s) - 1e-9))
    if single and replicas > 1:
        return None
    return replace(
        now,
        device_id=option.machine,
        replicas=replicas,
        cores=option.cores,
        accelerator_slots=option.accelerator_slots,
        accelerator_memory_bytes=option.accelerator_memory_bytes,
        memory_bytes=option.memory_bytes,
        batch=option.batch,
        service_ms=option.service.mean_ms,
    )
