"""Which devices of a fleet can be reached from where, and are ready; looked at once for all queries. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from circinus.model.device import Device, DeviceId, Digest, SiteId
from circinus.model.pipeline import PipelineId
from cloud_planner.core.local_policy import allows, any_policy
from cloud_planner.core.meant import Meant
from cloud_planner.core.problem import Wire


def wires(devices: Sequence[Device]) -> list[Wire]:
    """The links between these devices that can carry items: one of the two ends can be dialled."""
    by_id = {device.id: device for device in devices}
    found = []
    for device in devices:
        for link in device.links:
            peer = by_id.get(link.peer)
            if peer is None or peer.id == device.id or not (device.data_address or peer.data_address):
                continue
            found.append(
                Wire(
                    source=device.id,
                    target=peer.id,
                    bandwidth_bit_per_s=float(link.bandwidth_bit_per_s) or None,
                    rtt_ms=link.rtt_ms,
                    price_per_gb=link.price_per_gb,
                )
            )
    return found


def environment_ready(device: Device, digest: Digest) -> bool:
    """Whether a device said that it can run operators in this environment."""
    return any(environment.digest == digest and environment.ready for environment in device.environments)


class Vicinity:
    """The devices of a fleet, in the order given, by what is near what."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = tuple(devices)
        self.by_id = {device.id: device for device in devices}
        self.meant = Meant(self.devices)
        self._onward: dict[DeviceId, list[DeviceId]] = defaultdict(list)
        for wire in wires(devices):
            self._onward[wire.source].append(wire.target)
        self._reached: dict[DeviceId, frozenset[DeviceId]] = {}
        self._policies = any_policy(devices)
        self._allowed: dict[tuple[int, SiteId, PipelineId], tuple[Device, ...]] = {}
        self._usable: dict[tuple[frozenset[DeviceId], Digest], tuple[Device, ...]] = {}

    def reachable(self, source: DeviceId) -> frozenset[DeviceId]:
        """The devices that items from a source can reach over any number of links, itself included."""
        if source not in self._reached:
            seen, frontier = {source}, [source]
            while frontier:
                for target in self._onward.get(frontier.pop(), ()):
                    if target not in seen:
                        seen.add(target)
                        frontier.append(target)
            self._reached[source] = frozenset(seen)
        return self._reached[source]

    def usable(self, source: DeviceId, digest: Digest, pipeline_id: PipelineId) -> tuple[Device, ...]:
        """Those of them whose environment is ready and whose owners allow the pipeline.

        The very same tuple where it is the same devices.
        """
        ready = self._ready(source, digest)
        origin = self.by_id.get(source)
        if not self._policies or origin is None:
            return ready
        key = (id(ready), origin.site, pipeline_id)
        if key not in self._allowed:
            found = tuple(device for device in ready if allows(device, pipeline_id, origin.site))
            self._allowed[key] = ready if len(found) == len(ready) else found
        return self._allowed[key]

    def _ready(self, source: DeviceId, digest: Digest) -> tuple[Device, ...]:
        key = (self.reachable(source), digest)
        if key not in self._usable:
            self._usable[key] = tuple(
                device for device in self.devices if device.id in key[0] and environment_ready(device, digest)
            )
        return self._usable[key]


__all__ = ["Vicinity", "environment_ready", "wires"]
