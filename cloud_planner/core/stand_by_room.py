"""What is left of a device for stand-bys, and what one takes beside all that is planned there. PURE.

Cores of a query's own operators, which nobody else uses, are free while its stand-by serves; memory and accelerators
are not, since both are kept warm. A process that is in the plan and in the stand-by is there once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from circinus.model.device import Device
from circinus.model.directive import Directive, ReplicaSet
from circinus.model.query import QueryId

_CORE_TOLERANCE = 1e-6


@dataclass(slots=True, kw_only=True)
class Room:
    """What is left of a device. Cores and the rest of what runs there are what directives say."""

    cores: float
    memory_bytes: int
    slots: int
    accelerator_memory_bytes: int

    @classmethod
    def of(cls, device: Device, directive: Directive | None) -> Room:
        """What a directive leaves of its device."""
        room = cls(
            cores=device.cores,
            memory_bytes=device.memory_bytes,
            slots=sum(one.slots for one in device.accelerators),
            # Where nobody knows how much there is, slots alone limit.
            accelerator_memory_bytes=2**60
            if device.accelerator_memory_bytes is None
            else device.accelerator_memory_bytes,
        )
        for replica_set in directive.replica_sets if directive is not None else ():
            room.take(replica_set)
        return room

    @property
    def holds(self) -> bool:
        """Whether no more was taken than there is."""
        return self.cores >= -_CORE_TOLERANCE and min(self.memory_bytes, self.slots, self.accelerator_memory_bytes) >= 0

    def take(self, one: ReplicaSet) -> None:
        """Less by a replica set."""
        self.cores -= one.replicas * one.cores
        self.memory_bytes -= one.replicas * one.memory_bytes
        self.slots -= one.replicas * one.accelerator_slots
        self.accelerator_memory_bytes -= one.replicas * one.accelerator_memory_bytes


def own_sets(directive: Directive | None, query_id: QueryId) -> tuple[ReplicaSet, ...]:
    """The replica sets of a directive that serve nobody but a query."""
    if directive is None:
        return ()
    return tuple(one for one in directive.replica_sets if {use.query_id for use in one.served} == {query_id})


def own_cores(directive: Directive | None, query_id: QueryId) -> float:
    """Cores of the replica sets that serve nobody but a query."""
    return sum(one.replicas * one.cores for one in own_sets(directive, query_id))


def shares(device: Device, room: Room) -> dict[tuple[object, ...], float]:
    """A room as shares of its device, as templates have it."""
    slots = sum(one.slots for one in device.accelerators)
    memory_bytes = sum(one.memory_bytes for one in device.accelerators if not one.unified)
    shares: dict[tuple[object, ...], float] = {
        ("cores", device.id): room.cores / device.cores,
        ("memory", device.id): room.memory_bytes / device.memory_bytes,
    }
    if slots:
        shares["slots", device.id] = room.slots / slots
    if memory_bytes:
        shares["accelerator_memory", device.id] = room.accelerator_memory_bytes / memory_bytes
    return shares


def beside(room: Room, directive: Directive | None, query_id: QueryId, sets: Iterable[ReplicaSet]) -> Room:
    """What a stand-by of these replica sets leaves of a room."""
    left, own = replace(room), {one.key for one in own_sets(directive, query_id)}
    wanted = tuple(sets)
    for one in wanted:
        if one.key not in own:
            left.take(replace(one, cores=0.0))
    left.cores -= max(0.0, sum(one.replicas * one.cores for one in wanted) - own_cores(directive, query_id))
    return left
