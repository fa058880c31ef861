"""Machines that take nothing new. PURE.

What the running plan of a query has on a cordoned machine may stay as long as the query keeps its configuration: the
same options with no more replicas. All else that could run there may not. The options keep their places, so that what
is chosen from the cordoned problem means the same in the whole one.

On a machine that is being drained only that stays which has nowhere else to go: operators without any other machine,
and the plans of ``staying`` queries (drain.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.model.plan import OperatorPlan, Plan
from circinus.model.query import QueryId
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Step


def cordoned(problem: Problem) -> Problem:
    """The problem with all options on cordoned machines shut but those that stay (``replicas_most``)."""
    shut = {machine.id for machine in problem.machines if machine.cordoned}
    if not shut:
        return problem
    draining = {machine.id for machine in problem.machines if machine.draining}
    running: dict[QueryId, Plan] = {plan.query_id: plan for plan in problem.running}
    queries = []
    # What queries have in common stays in common; the problem holds what is looked up, so that an id stays taken.
    known: dict[tuple[int, tuple[OperatorPlan, ...]], Step] = {}
    alike: dict[int, tuple[Candidate, ...]] = {}
    for query in problem.queries:
        plan = running.get(query.id)
        if plan is not None and any(placed.device_id in shut for placed in plan.operators):
            left = set() if query.id in problem.staying else draining
            bound = bound_operators(query, shut) if left else frozenset()
            candidates = tuple(_candidate(one, plan, shut, left, bound, known) for one in query.candidates)
        else:
            if id(query.candidates) not in alike:
                made = tuple(_candidate(one, None, shut, draining, frozenset(), known) for one in query.candidates)
                alike[id(query.candidates)] = made
            candidates = alike[id(query.candidates)]
        queries.append(replace(query, candidates=candidates))
    return replace(problem, queries=tuple(queries))


def left_out(query: QueryProblem) -> tuple[DeviceId, ...]:
    """The cordoned machines that a query could run on otherwise."""
    shut = {o.machine for c in query.candidates for s in c.steps for o in s.options if o.replicas_most == 0}
    return tuple(sorted(shut))


def bound_operators(query: QueryProblem, shut: Collection[DeviceId]) -> frozenset[OperatorId]:
    """The operators of a query that have nowhere to go from these machines, whatever its configuration."""
    free = {s.operator_id for c in query.candidates for s in c.steps if any(o.machine not in shut for o in s.options)}
    return frozenset(step.operator_id for one in query.candidates for step in one.steps) - free


def option_of(step: Step, placed: OperatorPlan) -> int | None:
    """The option that a plan's operator runs by: equal in what a process is told, nearest in memory."""
    fitting = [
        index
        for index, option in enumerate(step.options)
        if option.machine == placed.device_id
        and option.cores == placed.cores
        and option.accelerator_slots == placed.accelerator_slots
        and option.batch == placed.batch
    ]

    def distance(index: int) -> tuple[float, int]:
        option = step.options[index]
        memory = abs(option.memory_bytes - placed.memory_bytes)
        accelerator = abs(option.accelerator_memory_bytes - placed.accelerator_memory_bytes)
        return (memory + accelerator + abs(option.service.mean_ms - placed.service_ms), index)

    return min(fitting, key=distance, default=None)


def _candidate(
    candidate: Candidate,
    plan: Plan | None,
    shut: set[DeviceId],
    left: set[DeviceId],
    bound: frozenset[OperatorId],
    known: dict[tuple[int, tuple[OperatorPlan, ...]], Step],
) -> Candidate:
    kept = plan is not None and dict(plan.configuration) == dict(candidate.configuration)
    steps = []
    for step in candidate.steps:
        here = tuple(
            placed
            for placed in (plan.operators if plan is not None and kept else ())
            if placed.operator_id == step.operator_id
            and placed.device_id in shut
            and (placed.device_id not in left or step.operator_id in bound)
        )
        key = (id(step), here)
        if key not in known:
            known[key] = _step(step, here, shut)
        steps.append(known[key])
    return replace(candidate, steps=tuple(steps))


def _step(step: Step, here: tuple[OperatorPlan, ...], shut: set[DeviceId]) -> Step:
    stays: dict[int, int] = {}
    for placed in here:
        index = option_of(step, placed)
        if index is not None:
            stays[index] = stays.get(index, 0) + placed.replicas
    if not any(option.machine in shut for option in step.options):
        return step
    options = tuple(
        replace(option, replicas_most=stays.get(index, 0)) if option.machine in shut else option
        for index, option in enumerate(step.options)
    )
    return replace(step, options=options)


__all__ = ["bound_operators", "cordoned", "left_out", "option_of"]
