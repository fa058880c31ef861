"""What plans compete for, and how much of it a replica or a transfer takes. PURE.

A resource is named by a tuple. Amounts of most are shares of what there is, so that capacity is 1:

- ("cores" | "memory" | "slots" | "accelerator_memory", machine): of a shared machine with count 1.
- ("on", machine): 1 where a plan needs a shared machine with count 1 that is paid whole; no capacity.
- ("bits", source, target): of what may be planned of a link's bandwidth. ("uplink", id): of that of an uplink.
- ("process", machine, share key): cores of processes that others may share, in cores; their memory stands in its own
  variable.
- ("apart", machine, query, other): 1 where a query that must stay apart from another, or that one, is on a machine.
- ("machines", machine): whole machines of an exclusive type, in machines; capacity: the count.
- ("shape", machine, owner, shape): replicas of one shape on a type whose machines are counted or paid whole.
  Replicas are not divisible over machines, so totals do not say whether they fit: packing.py does. The owner is "" on
  shared machines; on exclusive ones it names query and operator, for split queries only.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from typing import Final, TypeGuard

from circinus.model.device import DeviceId
from cloud_planner.core.estimate import SLACK_RATIO
from cloud_planner.core.network import Hop
from cloud_planner.core.problem import Billing, Machine, Option

Shape = tuple[float, int, int, int]
Resource = tuple[object, ...]

#: Taken once however much of a plan is on the machine.
ONCE: Final = frozenset({"on", "apart"})
#: Taken once for each process where replicas share them.
MEMORIES: Final = frozenset({"memory", "accelerator_memory"})
#: These name no machine.
LINKS: Final = frozenset({"bits", "uplink"})

#: Stands for "as many as you like" where replicas take nothing.
NO_LIMIT = 1_000_000


def shape_of(option: Option) -> Shape:
    """Cores, memory, accelerator slots and accelerator memory of a replica."""
    return (option.cores, option.memory_bytes, option.accelerator_slots, option.accelerator_memory_bytes)


def capacity_of(machine: Machine) -> Shape:
    """Cores, memory, accelerator slots and accelerator memory of one machine."""
    return (machine.cores, machine.memory_bytes, machine.accelerator_slots, machine.accelerator_memory_bytes)


def fit_count(machine: Machine, shape: Shape) -> int:
    """How many replicas of one shape a machine holds."""
    counts = [
        floor(there / used + SLACK_RATIO) for used, there in zip(shape, capacity_of(machine), strict=True) if used > 0
    ]
    return min(counts, default=NO_LIMIT)


def usable(machine: Machine | None, option: Option) -> TypeGuard[Machine]:
    """Whether a replica may run by this option, given its machine."""
    return (
        machine is not None
        and option.capacity_per_s > 0.0
        and option.replicas_most != 0
        and fit_count(machine, shape_of(option)) >= 1
    )


def is_single(machine: Machine) -> bool:
    """Whether it is one shared machine, for which totals say what fits."""
    return machine.count == 1 and not machine.exclusive


def is_limited(machine: Machine) -> bool:
    """Whether plans compete for its machines, or share what a machine costs."""
    return machine.count is not None or machine.billing is Billing.WHOLE


def machine_amounts(machine: Machine, option: Option, replicas: int) -> Iterator[tuple[Resource, float]]:
    """What the replicas of one operator of one unsplit query take. The option must fit the machine."""
    shape = shape_of(option)
    if is_single(machine):
        names = ("cores", "memory", "slots", "accelerator_memory")
        for name, used, there in zip(names, shape, capacity_of(machine), strict=True):
            if used > 0:
                yield (name, machine.id), replicas * used / there
        if machine.billing is Billing.WHOLE:
            yield ("on", machine.id), 1.0
    elif is_limited(machine):
        if machine.exclusive:
            yield ("machines", machine.id), float(ceil(replicas / fit_count(machine, shape)))
        else:
            yield ("shape", machine.id, "", shape), float(replicas)


def capacity(resource: Resource, machines: dict[DeviceId, Machine] | None = None) -> float | None:
    """How much there is of a resource; None where other rows say so (packing, switching on)."""
    kind = resource[0]
    if kind in {"on", "shape", "apart", "process"}:
        return None
    if kind == "machines":
        machine = (machines or {})[DeviceId(str(resource[1]))]
        return None if machine.count is None else float(machine.count)
    return 1.0


def bits_amounts(hop: Hop, bytes_per_s: float, cap_ratio: float) -> list[tuple[Resource, float]]:
    """What a flow of bytes takes of a link, if its bandwidth is limited, and of the uplinks that it is part of."""
    if hop.wire is None:
        return []
    found: list[tuple[Resource, float]] = []
    planned_per_s = bytes_per_s * 8.0 / cap_ratio
    if hop.wire.bandwidth_bit_per_s:
        found.append((("bits", hop.wire.source, hop.wire.target), planned_per_s / hop.wire.bandwidth_bit_per_s))
    found += [(("uplink", uplink.id), planned_per_s / uplink.bandwidth_bit_per_s) for uplink in hop.uplinks]
    return found
