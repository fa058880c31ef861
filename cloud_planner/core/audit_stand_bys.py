"""A checker of stand-bys that does not trust who made them. PURE.

From directives, plans and devices alone: each stand-by is for a source of its device, runs all of its pipeline there
and nowhere else, names just those devices that the plan needs, and together with all that is planned on the device fits
it: memory and accelerators beside everything, cores in place of its own query's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import fsum

from circinus.model.device import Device, DeviceId
from circinus.model.directive import Directive, ReplicaSet, StandBy
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import Selection
from circinus.model.query import QueryId
from cloud_planner.core.audited import TOLERANCE, Finding


def audit_stand_bys(
    selection: Selection, directives: Sequence[Directive], devices: Mapping[DeviceId, Device]
) -> tuple[Finding, ...]:
    """All that is wrong with the stand-bys of these directives; empty if nothing is."""
    found: list[Finding] = []
    for directive in directives:
        for query_id, times in Counter(one.query_id for one in directive.stand_bys).items():
            if times > 1:
                found.append(Finding(subject=query_id, message=f"has {times} stand-bys"))
        for stand_by in directive.stand_bys:
            found += [
                Finding(subject=stand_by.query_id, message=f"its stand-by {message}")
                for message in _wrong(selection, directive, stand_by)
            ]
        device = devices.get(directive.device_id)
        if device is not None and directive.stand_bys:
            found += [Finding(subject=device.id, message=message) for message in _over(directive, device)]
    return tuple(found)


def _wrong(selection: Selection, directive: Directive, stand_by: StandBy) -> list[str]:
    here, wrong = directive.device_id, []
    source = next((one for one in directive.sources if one.query_id == stand_by.query_id), None)
    plan = next((one for one in selection.plans if one.query_id == stand_by.query_id), None)
    if source is None or plan is None:
        return [f"is on {here}, which has no source of it, or it has no plan"]
    away = {placed.device_id for placed in plan.operators} - {here}
    if set(stand_by.needs) != away or not away:
        wrong.append(f"names {', '.join(stand_by.needs) or 'nobody'} as needed; the plan needs {', '.join(away)}")
    owners = [one.query_id for one in stand_by.replica_sets] + [one.query_id for one in stand_by.routes]
    if any(query_id != stand_by.query_id for query_id in owners):
        wrong.append("runs what is of another query")
    wrong += [
        f"sends items for {route.operator_id} elsewhere"
        for route in stand_by.routes
        if [target.device_id for target in route.targets] != [here] or route.given_by
    ]
    run = {one.operator_id: one.inputs for one in stand_by.replica_sets}
    if run.keys() != {placed.operator_id for placed in plan.operators}:
        wrong.append("does not run each operator of the pipeline")
    told: dict[OperatorId, tuple[OperatorId, ...]] = {one.operator_id: one.inputs for one in stand_by.routes}
    if told != {**run, SOURCE: source.output_operator_ids}:
        wrong.append("does not lead items to each operator")
    return wrong


def _over(directive: Directive, device: Device) -> list[str]:
    """What a device is asked for beyond what it has."""
    sets = {one.key: one for one in directive.replica_sets}
    kept = {one.key: one for stand_by in directive.stand_bys for one in stand_by.replica_sets}
    memory_bytes = _sum(sets | kept, lambda one: one.memory_bytes)
    slots = _sum(sets | kept, lambda one: one.accelerator_slots)
    accelerator_bytes = _sum(sets | kept, lambda one: one.accelerator_memory_bytes)
    cores = fsum(one.replicas * one.cores for one in directive.replica_sets)
    for stand_by in directive.stand_bys:
        own = fsum(one.replicas * one.cores for one in directive.replica_sets if _only(one, stand_by.query_id))
        cores += max(0.0, fsum(one.replicas * one.cores for one in stand_by.replica_sets) - own)
    there = device.accelerators
    accelerator_bytes_there = device.accelerator_memory_bytes
    wrong = []
    if cores > device.cores + TOLERANCE:
        wrong.append(f"with stand-bys {cores:.6g} cores are asked for, there are {device.cores:g}")
    if memory_bytes > device.memory_bytes:
        wrong.append(f"with stand-bys {memory_bytes:.0f} bytes are asked for, there are {device.memory_bytes}")
    if slots > sum(one.slots for one in there):
        wrong.append(f"with stand-bys {slots:.0f} accelerator slots are asked for")
    if accelerator_bytes_there is not None and accelerator_bytes > accelerator_bytes_there:
        wrong.append(f"with stand-bys {accelerator_bytes:.0f} bytes of accelerators are asked for")
    return wrong


def _only(one: ReplicaSet, query_id: QueryId) -> bool:
    return {use.query_id for use in one.served} == {query_id}


def _sum(sets: Mapping[str, ReplicaSet], of: Callable[[ReplicaSet], int]) -> float:
    return fsum(one.replicas * of(one) for one in sets.values())
