"""What a rollout is on its way to, where that takes more than one generation; and what generations say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from circinus import wire
from circinus.channel import MAX_PAYLOAD_BYTES
from circinus.errors import TooLarge
from circinus.model.device import DeviceId
from circinus.model.directive import Directive
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.core.transition import Amounts, Detours, Step, no_detours, transition
from cloud_planner.store import GenerationRecord, RolloutPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be in force at last. ``wanted``: the directives' contents, by which an equal one is known.

    ``detours``: where a query could run for a moment.
    """

    selection: planner_pb2.SelectionSummary
    directives: tuple[Directive, ...]
    wanted: Mapping[DeviceId, bytes]
    detours: Detours = no_detours


def next_step(
    target: Target, newest: GenerationRecord | None, before: GenerationRecord | None, have: Mapping[DeviceId, Amounts]
) -> tuple[Step | None, bool]:
    """The next step to a target, and whether it is the last one; None: what runs has to settle first.

    ``before``: the generation that newest is about to replace, or just did, if that isn't settled.
    """
    if newest is None:
        return Step(directives=target.directives, paused={}), True
    unsettled = newest.phase is not RolloutPhase.SETTLED and before is not None
    if newest.phase is RolloutPhase.STARTING and before is not None:
        # Sources still emit under the one before; what is staged ends as soon as something newer is.
        steps = transition(told(before), target.directives, have, beside=told(newest), detours=target.detours)
        if len(steps) > 1:
            steps = transition(told(before), target.directives, have, detours=target.detours)
        return steps[0], len(steps) == 1
    beside = told(before) if unsettled and before is not None else ()
    steps = transition(told(newest), target.directives, have, beside=beside, detours=target.detours)
    if len(steps) > 1 and unsettled:
        return None, False
    return steps[0], len(steps) == 1


def bound_for(target: Target | None, newest: GenerationRecord | None) -> Mapping[DeviceId, types_pb2.Directive]:
    """The directives that are to be in force at last: those of the target, while there is one."""
    if target is not None:
        return {one.device_id: wire.directive_to_message(one) for one in target.directives}
    return newest.directives if newest is not None else {}


def pauses(
    newest: GenerationRecord, directives: Sequence[Directive], have: Mapping[DeviceId, Amounts], detours: Detours
) -> bool:
    """Whether queries pause on the way from a generation to these directives."""
    return any(step.paused for step in transition(told(newest), directives, have, detours=detours))


def told(record: GenerationRecord) -> tuple[Directive, ...]:
    """A generation's directives, without the empty ones."""
    return tuple(
        wire.directive_from_message(message)
        for _, message in sorted(record.directives.items())
        if not is_empty(message)
    )


def selection_of(
    step: Step, target: planner_pb2.SelectionSummary, old: planner_pb2.SelectionSummary | None
) -> planner_pb2.SelectionSummary:
    """What is in force with a step that isn't the last one: new plans of those that moved, the others' old ones."""
    served = {source.query_id for directive in step.directives for source in directive.sources}
    now = {plan.query_id: plan for plan in target.plans}
    was = {plan.query_id: plan for plan in old.plans} if old is not None else {}
    summary = planner_pb2.SelectionSummary()
    summary.CopyFrom(target)
    del summary.plans[:]
    for query_id in sorted(served):
        plan = now.get(query_id) if query_id in step.moved else was.get(query_id, now.get(query_id))
        if plan is not None:
            summary.plans.append(plan)
    known = {one.query_id for one in summary.unplaced}
    for name in sorted(now.keys() - served - known):
        gap_s = step.paused.get(QueryId(name))
        summary.unplaced.append(
            planner_pb2.Unplaced(
                query_id=name,
                reason="it is about to start"
                if gap_s is None
                else f"it pauses for about {gap_s:g} s: no device has room for its old and its new plan side by side",
            )
        )
    return summary


def lingering(status: control_pb2.GenerationStatus, directive: types_pb2.Directive | None) -> Collection[str]:
    """The processes that a device still has and its newest directive does not ask for, by key."""
    if directive is None:
        return ()
    keys = {one.key for one in directive.replica_sets} | {one.key for one in directive.sources}
    keys |= {one.key for stand_by in directive.stand_bys for one in stand_by.replica_sets}
    return sorted(status.pids.keys() - keys)


def devices_of(record: GenerationRecord | None) -> frozenset[DeviceId]:
    """The devices that run something under a generation."""
    if record is None:
        return frozenset()
    return frozenset(device_id for device_id, message in record.directives.items() if not is_empty(message))


def is_empty(message: types_pb2.Directive) -> bool:
    """Whether a device has nothing to run under it."""
    return not (message.replica_sets or message.routes or message.sources or message.peers or message.dialled_by)


def contents(record: GenerationRecord) -> dict[DeviceId, bytes]:
    """What a generation orders, by device, without the empty directives."""
    return {device_id: content(message) for device_id, message in record.directives.items() if not is_empty(message)}


def check_sizes(wanted: Mapping[DeviceId, bytes]) -> None:
    """Refuses directives that no agent could receive: it would reconnect for ever.

    Raises:
        TooLarge: one is.
    """
    for device_id, one in wanted.items():
        if len(one) > MAX_PAYLOAD_BYTES:
            raise TooLarge(
                f"the directive for {device_id} has {len(one):,} bytes; the limit is {MAX_PAYLOAD_BYTES:,}: "
                "spread its queries over more devices"
            )


def content(message: types_pb2.Directive) -> bytes:
    """What a directive orders, as bytes that can be compared."""
    return wire.orders_of(message).SerializeToString(deterministic=True)
