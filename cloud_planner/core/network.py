"""Which machines there are and what it takes to send items between them. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circinus.model.device import DeviceId
from cloud_planner.core.problem import Machine, Problem, Wire

BYTES_PER_GB = 1e9
SECONDS_PER_H = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One way from a machine to a machine.

    An item of b bytes takes ``delay_ms + b * ms_per_byte``; its answer takes ``back_ms`` the other way.
    ``price_per_byte`` is what a byte costs. ``wire`` is the link it takes, None where no link is needed.
    """

    delay_ms: float = 0.0
    ms_per_byte: float = 0.0
    back_ms: float = 0.0
    price_per_byte: float = 0.0
    wire: Wire | None = None

    def transfer_ms(self, item_bytes: float) -> float:
        """Time for an item to reach the other side: half a round trip and its bytes at the link's bandwidth."""
        return self.delay_ms + item_bytes * self.ms_per_byte


HERE = Hop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Machines and links by id."""

    machines: Mapping[DeviceId, Machine]
    wires: Mapping[tuple[DeviceId, DeviceId], Wire]

    @classmethod
    def of(cls, problem: Problem) -> Network:
        """The network of a problem."""
        return cls(
            machines={machine.id: machine for machine in problem.machines},
            wires={(wire.source, wire.target): wire for wire in problem.wires},
        )

    def hop(self, source: DeviceId | None, target: DeviceId) -> Hop | None:
        """The way from ``source`` to ``target``; None if there is no link.

        A machine reaches itself freely unless it has a link to itself (machines of one type). From nowhere
        (source None) every machine is reached freely. An answer goes back over the link in the other direction
        where there is one, else it takes half of this link's round trip.
        """
        if source is None:
            return HERE
        wire = self.wires.get((source, target))
        if wire is None:
            return HERE if source == target else None
        back = self.wires.get((target, source), wire)
        bandwidth = wire.bandwidth_bit_per_s
        return Hop(
            delay_ms=wire.rtt_ms / 2.0,
            ms_per_byte=8e3 / bandwidth if bandwidth else 0.0,
            back_ms=back.rtt_ms / 2.0,
            price_per_byte=wire.price_per_gb / BYTES_PER_GB,
            wire=wire,
        )
