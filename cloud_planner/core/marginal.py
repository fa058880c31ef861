"""What one more core, Mbit/s or machine would be worth, from the prices of a selection's linear relaxation. PURE.

A price is what the relaxation's objective gains for one unit more of a resource, in the units of resources.py, where a
machine's cores, memory and slots, and what may be planned of a link, are 1 each. So of a machine with n cores one more
core is 1 / n of that. A faster link also shortens transfers, which its price does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from circinus.model.device import DeviceId
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Machine, Problem
from cloud_planner.core.resources import Resource

_BYTES_PER_GB = 1e9
_BITS_PER_MBIT = 1e6
#: Values for one more and one less that differ by more than this, relatively, say little of the next unit.
_DEGENERATE_RATIO = 0.1


class UnitKind(StrEnum):
    """What there is one more of."""

    CORE = "core"
    MEMORY_GB = "memory_gb"
    SLOT = "slot"
    ACCELERATOR_MEMORY_GB = "accelerator_memory_gb"
    MBIT_PER_S = "mbit_per_s"
    MACHINE = "machine"


class Basis(StrEnum):
    """What it is worth: GOODPUT: weight x rate gained, per second; COST: cost saved, per hour."""

    GOODPUT = "goodput_per_s"
    COST = "cost_per_h"


_NAMES = {
    UnitKind.CORE: "core on",
    UnitKind.MEMORY_GB: "GB of memory on",
    UnitKind.SLOT: "accelerator slot on",
    UnitKind.ACCELERATOR_MEMORY_GB: "GB of accelerator memory on",
    UnitKind.MBIT_PER_S: "Mbit/s on",
    UnitKind.MACHINE: "machine like",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginalValue:
    """The value of one more unit. ``subject``: the machine, "a -> b" for a link, or the uplink.

    ``device_class`` and ``site`` are empty for links between sites and uplinks. ``degenerate``: one less costs much
    more or less than one more brings, or the prices are one choice among several: the next unit may be worth another
    amount.
    """

    kind: UnitKind
    subject: str
    device_class: str
    site: str
    value: float
    basis: Basis = Basis.GOODPUT
    degenerate: bool = False

    @property
    def what(self) -> str:
        """What there is one more of."""
        return f"{_NAMES[self.kind]} {self.subject}"

    @property
    def worth(self) -> str:
        """What it is worth."""
        unit = "per s of goodput" if self.basis is Basis.GOODPUT else "per hour saved"
        return f"{self.value:.4g} {unit}" + (" (degenerate)" if self.degenerate else "")

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"one more {self.what} is worth {self.worth}"


def marginal_values(
    problem: Problem,
    price_per_unit: Mapping[Resource, float],
    basis: Basis = Basis.GOODPUT,
    *,
    class_of: Mapping[DeviceId, str] | None = None,
    less_price_per_unit: Mapping[Resource, float] | None = None,
    degenerate: Collection[Resource] = (),
) -> tuple[MarginalValue, ...]:
    """The value of one more unit of each thing that has a price, the largest first within each kind.

    A machine more like one that there is once is worth all of its parts together.

    Args:
        problem: The problem that the prices are of.
        price_per_unit: What one unit more of a resource brings; what is not named brings nothing.
        basis: What the prices count.
        class_of: Device classes; a machine without one is a class by itself.
        less_price_per_unit: What one unit less costs, where that is known.
        degenerate: Resources whose price is known to be one choice among several.
    """
    network, classes = Network.of(problem), class_of or {}
    unsure = set(degenerate) | _unlike(price_per_unit, less_price_per_unit)
    parts: dict[DeviceId, list[Resource]] = {}
    found: list[MarginalValue] = []
    for resource, price in sorted(price_per_unit.items(), key=repr):
        if price <= 0.0:
            continue
        name = DeviceId(str(resource[1]))
        machine = network.machines.get(name) if resource[0] not in {"bits", "uplink"} else None
        for kind, value in _units(network, problem, resource, price, machine):
            found.append(
                MarginalValue(
                    kind=kind,
                    subject=f"{resource[1]} -> {resource[2]}" if resource[0] == "bits" else str(resource[1]),
                    device_class=classes.get(name, name) if machine is not None else "",
                    site=machine.site if machine is not None else "",
                    value=value,
                    basis=basis,
                    degenerate=resource in unsure,
                )
            )
        if machine is not None and machine.count == 1 and not machine.exclusive:
            parts.setdefault(name, []).append(resource)
    for name, resources in parts.items():
        machine = network.machines[name]
        found.append(
            MarginalValue(
                kind=UnitKind.MACHINE,
                subject=name,
                device_class=classes.get(name, name),
                site=machine.site,
                value=sum(price_per_unit[resource] for resource in resources),
                basis=basis,
                degenerate=any(resource in unsure for resource in resources),
            )
        )
    return _ordered(found)


def one_more(problem: Problem, resource: Resource) -> float | None:
    """One unit as people count it, in units of the resource; None: nobody counts it."""
    network = Network.of(problem)
    machine = network.machines.get(DeviceId(str(resource[1]))) if resource[0] not in {"bits", "uplink"} else None
    return next((value for _, value in _units(network, problem, resource, 1.0, machine)), None)


def _ordered(values: Sequence[MarginalValue]) -> tuple[MarginalValue, ...]:
    kinds = list(UnitKind)
    return tuple(sorted(values, key=lambda value: (kinds.index(value.kind), -value.value, value.subject)))


def _unlike(more: Mapping[Resource, float], less: Mapping[Resource, float] | None) -> set[Resource]:
    """Resources whose value differs between one more and one less."""
    if less is None:
        return set()
    return {
        name
        for name in more.keys() | less.keys()
        if abs(more.get(name, 0.0) - less.get(name, 0.0))
        > _DEGENERATE_RATIO * max(abs(more.get(name, 0.0)), abs(less.get(name, 0.0)))
    }


def _units(
    network: Network, problem: Problem, resource: Resource, price: float, machine: Machine | None
) -> Iterator[tuple[UnitKind, float]]:
    """One unit as people count it, in units of the resource, times the price."""
    kind = resource[0]
    if kind == "bits":
        wire = next((w for ends, w in network.wires.items() if ends == resource[1:]), None)
        if wire is not None and wire.bandwidth_bit_per_s:
            yield UnitKind.MBIT_PER_S, price * _BITS_PER_MBIT / wire.bandwidth_bit_per_s
    elif kind == "uplink":
        uplink = next((each for each in problem.uplinks if each.id == resource[1]), None)
        if uplink is not None and uplink.bandwidth_bit_per_s > 0.0:
            yield UnitKind.MBIT_PER_S, price * _BITS_PER_MBIT / uplink.bandwidth_bit_per_s
    elif machine is None:
        return
    elif kind == "machines":
        yield UnitKind.MACHINE, price
    elif kind == "cores" and machine.cores > 0.0:
        yield UnitKind.CORE, price / machine.cores
    elif kind == "memory" and machine.memory_bytes > 0:
        yield UnitKind.MEMORY_GB, price * _BYTES_PER_GB / machine.memory_bytes
    elif kind == "slots" and machine.accelerator_slots > 0:
        yield UnitKind.SLOT, price / machine.accelerator_slots
    elif kind == "accelerator_memory" and machine.accelerator_memory_bytes > 0:
        yield UnitKind.ACCELERATOR_MEMORY_GB, price * _BYTES_PER_GB / machine.accelerator_memory_bytes


def by_class_and_site(values: Sequence[MarginalValue]) -> tuple[MarginalValue, ...]:
    """Of each kind, class and site the best place for one more unit; links and uplinks stand for themselves."""
    best: dict[tuple[str, str, str, str], MarginalValue] = {}
    for value in values:
        own = "" if value.device_class else value.subject
        key = (value.kind.value, value.device_class, value.site, own)
        if key not in best or value.value > best[key].value:
            best[key] = value
    return _ordered(list(best.values()))
