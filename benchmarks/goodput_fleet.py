"""The fleets of the goodput benchmark: sites with source boxes and a gateway, a capped cloud, in three layouts.

Boxes are of the speeds that the search benchmark draws from, in turn, the dearer the quicker. Each device has a link of
its own to the next tier and to the cloud, so no two share an uplink. A multiple of a fleet has so many times the cores
on every machine; links stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from search_queries import CLOUD_PER_CORE_H, PRICE_PER_GB

from circinus.model.device import DeviceId, SiteId, Tier
from cloud_planner.baselines.admission import Room
from cloud_planner.baselines.plan_space import CAP_RATIO, TierClass
from cloud_planner.core.problem import Machine, Wire

#: By site and box: how fast, against the class that was measured.
BOX_SPEEDS = ((0.5, 0.25), (1.0, 0.125), (0.5, 0.25))
BOX_CORES, GATEWAY_CORES, CLOUD_CORES = 2.0, 2.0, 3.0
GATEWAY_SPEED = 1.0
#: Of a cloud that is alone.
LONE_CLOUD_CORES = 8.0
#: Of sites, in turn.
UPLINK_BIT_PER_S = (100e6, 20e6, 100e6)
UPLINK_RTT_MS = 40.0
LAN_BIT_PER_S, LAN_RTT_MS = 1e9, 2.0
_NO_CORES = 1e-9


class Layout(StrEnum):
    """Which tiers there are; with the cloud alone, sources have no cores."""

    EDGE_CLOUD = "edge + cloud"
    EDGE = "edge"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine with how fast its cores are, and the link by which items come to it from the tier before."""

    id: str
    site: str
    tier: Tier
    speed_ratio: float
    cores: float
    price_per_core_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``paths``: by source, its machines from tier to tier, itself first."""

    layout: Layout
    nodes: tuple[Node, ...]
    paths: tuple[tuple[str, ...], ...]
    wires: tuple[Wire, ...]

    @property
    def capacity(self) -> float:
        """Cores, counted by their speed."""
        return sum(node.cores * node.speed_ratio for node in self.nodes)

    @property
    def price_per_h(self) -> float:
        """Of all machines."""
        return sum(node.cores * node.price_per_core_h for node in self.nodes)

    def node(self, name: str) -> Node:
        """A machine by its id."""
        return next(node for node in self.nodes if node.id == name)

    def multiple(self, ratio: float) -> Fleet:
        """The same with so many times the cores on each machine."""
        return replace(self, nodes=tuple(replace(node, cores=node.cores * ratio) for node in self.nodes))

    def tiers(self, path: tuple[str, ...]) -> tuple[TierClass, ...]:
        """A source's machines as the tiers of a plan space."""
        found = []
        for number, name in enumerate(path):
            node = self.node(name)
            wire = self.wire(path[number - 1], name) if number else None
            found.append(
                TierClass(
                    name=node.tier,
                    speed_ratio=node.speed_ratio,
                    price_per_core_h=node.price_per_core_h,
                    # A share of nothing is no number: a source without cores has as good as none.
                    cores=max(node.cores, _NO_CORES),
                    rtt_ms=wire.rtt_ms if wire else 0.0,
                    bandwidth_bit_per_s=(wire.bandwidth_bit_per_s or inf) if wire else inf,
                    price_per_gb=wire.price_per_gb if wire else 0.0,
                )
            )
        return tuple(found)

    def wire(self, source: str, target: str) -> Wire:
        """The link from one to another."""
        return next(wire for wire in self.wires if wire.source == source and wire.target == target)

    def room(self) -> Room:
        """All of it, with nothing on it."""
        return Room(
            cores={node.id: node.cores for node in self.nodes},
            bit_per_s={
                (str(wire.source), str(wire.target)): CAP_RATIO * (wire.bandwidth_bit_per_s or inf)
                for wire in self.wires
            },
        )

    def machines(self) -> tuple[Machine, ...]:
        """As the selection knows them, paid by the share that is used."""
        return tuple(
            Machine(
                id=DeviceId(node.id),
                tier=node.tier,
                site=SiteId(node.site),
                cores=node.cores,
                memory_bytes=0,
                price_per_h=node.cores * node.price_per_core_h,
            )
            for node in self.nodes
        )


def box_price_per_core_h(speed_ratio: float) -> float:
    """The dearer the quicker, and slow ones dearer for what they do."""
    return 0.10 * float(speed_ratio**0.7)


def fleet(layout: Layout) -> Fleet:
    """The fleet of a layout."""
    clouded = layout is not Layout.EDGE
    edge = layout is not Layout.CLOUD
    nodes: list[Node] = []
    paths: list[tuple[str, ...]] = []
    wires: list[Wire] = []
    for number, speeds in enumerate(BOX_SPEEDS[: 3 if layout is Layout.EDGE else 2]):
        gateway = _node(f"gateway-{number}", f"site-{number}", GATEWAY_SPEED, GATEWAY_CORES)
        if edge:
            nodes.append(gateway)
        for place, speed in enumerate(speeds):
            box = _node(f"box-{number}-{place}", f"site-{number}", speed, BOX_CORES if edge else 0.0)
            nodes.append(box)
            path = [box.id, *((gateway.id,) if edge else ()), *(("cloud",) if clouded else ())]
            paths.append(tuple(path))
            if edge:
                wires.append(_wire(box.id, gateway.id, LAN_BIT_PER_S, LAN_RTT_MS, 0.0))
            if clouded:
                wires.append(_uplink(box.id, number, over_lan=edge))
        if edge and clouded:
            wires.append(_uplink(gateway.id, number, over_lan=False))
    if clouded:
        cores = CLOUD_CORES if edge else LONE_CLOUD_CORES
        cloud = Node(
            id="cloud",
            site="cloud",
            tier=Tier.CLOUD,
            speed_ratio=1.0,
            cores=cores,
            price_per_core_h=CLOUD_PER_CORE_H,
        )
        nodes.append(cloud)
    ordered = tuple(sorted(nodes, key=lambda node: node.id))
    return Fleet(layout=layout, nodes=ordered, paths=tuple(paths), wires=tuple(wires))


def _node(name: str, site: str, speed: float, cores: float) -> Node:
    price = box_price_per_core_h(speed)
    return Node(id=name, site=site, tier=Tier.EDGE, speed_ratio=speed, cores=cores, price_per_core_h=price)


def _wire(source: str, target: str, bit_per_s: float, rtt_ms: float, price_per_gb: float) -> Wire:
    return Wire(
        source=DeviceId(source),
        target=DeviceId(target),
        bandwidth_bit_per_s=bit_per_s,
        rtt_ms=rtt_ms,
        price_per_gb=price_per_gb,
    )


def _uplink(source: str, site: int, *, over_lan: bool) -> Wire:
    """To the cloud; by way of the gateway it takes the time of both links."""
    bandwidth, rtt_ms = UPLINK_BIT_PER_S[site], UPLINK_RTT_MS
    if over_lan:
        bandwidth, rtt_ms = 1.0 / (1.0 / bandwidth + 1.0 / LAN_BIT_PER_S), rtt_ms + LAN_RTT_MS
    return _wire(source, "cloud", bandwidth, rtt_ms, PRICE_PER_GB)
