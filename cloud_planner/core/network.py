"""Which machines there are and what it takes to send items between them. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from circinus.model.device import DeviceId
from cloud_planner.core.problem import Machine, Problem, Uplink, Wire
from cloud_planner.core.processes import Process, Stream, processes_of, readers_of

BYTES_PER_GB = 1e9
SECONDS_PER_H = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One way from a machine to a machine.

    An item of b bytes takes ``delay_ms + b * ms_per_byte``; its answer takes ``back_ms`` the other way.
    ``price_per_byte`` is what a byte costs. ``wire`` is the link it takes, None where no link is needed; ``uplinks``
    share its bandwidth with others.
    """

    delay_ms: float = 0.0
    ms_per_byte: float = 0.0
    back_ms: float = 0.0
    price_per_byte: float = 0.0
    wire: Wire | None = None
    uplinks: tuple[Uplink, ...] = ()

    def transfer_ms(self, item_bytes: float) -> float:
        """Time for an item to reach the other side: half a round trip and its bytes at the link's bandwidth."""
        return self.delay_ms + item_bytes * self.ms_per_byte


HERE = Hop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Machines and links by id; ``uplinks`` by the link that is part of them.

    ``processes``: what replicas could share, by machine and share key; ``readers``: how many queries read a stream.
    """

    machines: Mapping[DeviceId, Machine]
    wires: Mapping[tuple[DeviceId, DeviceId], Wire]
    uplinks: Mapping[tuple[DeviceId, DeviceId], tuple[Uplink, ...]]
    processes: Mapping[tuple[DeviceId, str], Process]
    readers: Mapping[Stream, int]

    @classmethod
    def of(cls, problem: Problem) -> Network:
        """The network of a problem."""
        uplinks: dict[tuple[DeviceId, DeviceId], tuple[Uplink, ...]] = {}
        for uplink in problem.uplinks:
            for ends in dict.fromkeys(uplink.wires):
                uplinks[ends] = (*uplinks.get(ends, ()), uplink)
        return cls(
            machines={machine.id: machine for machine in problem.machines},
            wires={(wire.source, wire.target): wire for wire in problem.wires},
            uplinks=uplinks,
            processes=processes_of(problem),
            readers=readers_of(problem),
        )

    def same_site(self, source: DeviceId | None, target: DeviceId) -> bool:
        """Whether items stay at the site where they are made; what is made nowhere in particular is at any site."""
        if source is None or source == target:
            return True
        here, there = self.machines.get(source), self.machines.get(target)
        return here is not None and there is not None and here.site == there.site

    def hop(self, source: DeviceId | None, target: DeviceId) -> Hop | None:
        """The way from ``source`` to ``target``; None if there is no link.

        A machine reaches itself freely unless it has a link to itself (machines of one type). From nowhere
        (source None) every machine is reached freely. An answer goes back over the link in the other direction
        where there is one, else it takes half of this link's round trip. Of a link and the uplinks that it is part of
        the narrowest says how long a byte takes.
        """
        if source is None:
            return HERE
        wire = self.wires.get((source, target))
        if wire is None:
            return HERE if source == target else None
        back = self.wires.get((target, source), wire)
        uplinks = self.uplinks.get((source, target), ())
        widths = [wire.bandwidth_bit_per_s or inf, *(uplink.bandwidth_bit_per_s for uplink in uplinks)]
        return Hop(
            delay_ms=wire.rtt_ms / 2.0,
            ms_per_byte=8e3 / min(widths),
            back_ms=back.rtt_ms / 2.0,
            price_per_byte=wire.price_per_gb / BYTES_PER_GB,
            wire=wire,
            uplinks=uplinks,
        )
