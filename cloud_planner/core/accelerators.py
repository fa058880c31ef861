"""Which accelerator an operator uses on a device, and what a replica takes of it. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from circinus.model.device import Accelerator, Device
from circinus.model.pipeline import OperatorSpec
from cloud_planner.core.profiles import ServiceStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Of one replica. ``common_bytes``: of memory that the accelerator and the device have in common."""

    slots: int = 0
    memory_bytes: int = 0
    common_bytes: int = 0


_NOTHING = Take()


def accelerator_for(operator: OperatorSpec, device: Device) -> Accelerator | None:
    """The accelerator that an operator uses on a device: its variant ran on it when the class was profiled.

    Each replica takes one slot.
    """
    for kind in operator.accelerator_kinds:
        for accelerator in device.accelerators:
            if accelerator.kind == kind and accelerator.slots > 0:
                return accelerator
    return None


def accelerator_take(operator: OperatorSpec, device: Device, service: ServiceStatistics) -> Take:
    """What a replica takes: the memory that was measured, else an even part for each slot.

    Of unified memory nothing but what was measured: it is the device's, where it is counted once. Where nobody knows
    how much memory there is, slots alone limit. A replica lies in one accelerator: what the last one leaves of each of
    several is no use to another, so it counts as taken.
    """
    accelerator = accelerator_for(operator, device)
    if accelerator is None:
        return _NOTHING
    if accelerator.unified:
        return Take(slots=1, common_bytes=service.accelerator_memory_bytes)
    if accelerator.memory_bytes == 0:
        return Take(slots=1)
    held_bytes = service.accelerator_memory_bytes or accelerator.memory_bytes // accelerator.slots
    like = [one.memory_bytes for one in device.accelerators if one.kind == accelerator.kind and one.memory_bytes]
    if len(like) > 1 and held_bytes <= min(like):
        held_bytes = min(like) // (min(like) // held_bytes) if held_bytes else 0
    return Take(slots=1, memory_bytes=held_bytes)
