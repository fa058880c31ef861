"""A selection that empties devices, as far as nobody is served the worse for it. PURE.

First all that could be elsewhere must be (cordon.py). If a query that runs would end by that, its plan may stay where
it is; if another one would, since what moves takes its room, all may. A drain never ends a query: what stays is told,
and goes as soon as there is room or another device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId, RegisteredPipeline
from circinus.model.plan import Plan, Selection
from circinus.model.query import Query, QueryId
from cloud_planner.core.problem import Problem

#: Solves a problem; of the held queries these are not held.
Choose = Callable[[Problem, frozenset[QueryId]], Selection]
#: So often more queries are let stay before all are.
_ROUNDS = 2
_AT_SOURCE = "its source is this device, and a query stays with its source: remove it, or submit it with another source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """What can't be moved off a device that is being drained, and why. ``operator_id`` empty: the query's source."""

    query_id: QueryId
    operator_id: OperatorId
    reason: str


def drained(problem: Problem, choose: Choose) -> Selection:
    """The selection for a problem in which devices are drained; without any, the one that is chosen for it."""
    moving = on_draining(problem, problem.running)
    selection = choose(problem, moving)
    if not moving:
        return selection
    running = {plan.query_id for plan in problem.running}
    staying: frozenset[QueryId] = frozenset()
    for number in range(_ROUNDS + 1):
        ended = running - {plan.query_id for plan in selection.plans}
        fresh = ended & moving if number < _ROUNDS and ended <= moving else moving
        if not ended or staying == moving or not fresh - staying:
            return selection
        staying |= fresh
        selection = choose(replace(problem, staying=staying), moving)
    return selection


def on_draining(problem: Problem, plans: tuple[Plan, ...]) -> frozenset[QueryId]:
    """The queries whose plans have something on a device that is being drained."""
    draining = {machine.id for machine in problem.machines if machine.draining}
    if not draining:
        return frozenset()
    return frozenset(plan.query_id for plan in plans if any(placed.device_id in draining for placed in plan.operators))


def with_staying(problem: Problem, selection: Selection) -> Problem:
    """The problem that a selection was at last chosen for: what it leaves on draining devices may be there."""
    return replace(problem, staying=on_draining(problem, selection.plans))


def staying_on(
    device_id: DeviceId,
    queries: tuple[Query, ...],
    plans: Mapping[QueryId, Plan],
    pipelines: Mapping[PipelineId, RegisteredPipeline],
) -> tuple[Stays, ...]:
    """What the plans of a decision leave on a device that is being drained, by query and operator."""
    found: list[Stays] = []
    for query in sorted(queries, key=lambda one: one.id):
        plan = plans.get(query.id)
        if plan is None:
            continue
        operators = {operator.id: operator for operator in pipelines[query.pipeline_id].pipeline.operators}
        for placed in sorted(plan.operators, key=lambda one: one.operator_id):
            if placed.device_id != device_id:
                continue
            pinned = operators[placed.operator_id].pinned
            if pinned == SOURCE:
                reason = "its pipeline pins it to the source, which is here"
            elif pinned:
                reason = "its pipeline pins it to this device"
            else:
                reason = "no other device can serve the query within its SLO as things are"
            found.append(Stays(query_id=query.id, operator_id=placed.operator_id, reason=reason))
        if query.source_device_id == device_id:
            found.append(Stays(query_id=query.id, operator_id=OperatorId(""), reason=_AT_SOURCE))
    return tuple(found)


__all__ = ["Choose", "Stays", "drained", "on_draining", "staying_on", "with_staying"]
