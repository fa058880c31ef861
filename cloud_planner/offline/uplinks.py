"""The section ``uplinks``: links that share a bandwidth. PURE."""

from __future__ import annotations

from collections.abc import Iterable

from circinus.model.device import DeviceId
from cloud_planner.core.problem import Uplink, Wire
from cloud_planner.offline.case import MachineEntry
from cloud_planner.offline.documents import Faults, Record
from cloud_planner.offline.fields import Fields, suggestion

_Ends = tuple[DeviceId, DeviceId]


def read_uplinks(
    records: tuple[Record, ...], machines: tuple[MachineEntry, ...], wires: tuple[Wire, ...], faults: Faults
) -> tuple[Uplink, ...]:
    """The uplinks: up and down each by itself."""
    found: dict[str, Uplink] = {}
    for record in records:
        for uplink in _uplinks(record, machines, wires, faults):
            if uplink.id in found:
                faults.add(record.place, f"uplink {uplink.id.rpartition('/')[0]!r} is given twice")
            found[uplink.id] = uplink
    return tuple(found.values())


def _uplinks(
    record: Record, machines: tuple[MachineEntry, ...], wires: tuple[Wire, ...], faults: Faults
) -> list[Uplink]:
    fields = Fields(record, faults, "uplink")
    name, site = fields.id("id"), fields.text("site")
    fields.what = f"uplink {name or site}"
    sources, targets = fields.names("from"), fields.names("to")
    widths = {way: fields.number_or_none(f"{way}_mbit_per_s", above=0.0, high=1e12) for way in ("up", "down")}
    fields.done()
    if bool(site) == bool(sources or targets):
        faults.add(record.place, f"{fields.what}: give 'site', or 'from' and 'to'")
        return []
    if not (name or site):
        faults.add(record.place, "uplink: 'id' is missing")
    sites = {entry.machine.id: entry.machine.site for entry in machines}
    if site:
        if site not in sites.values():
            faults.add(
                fields.place_of("site"), f"{fields.what}: unknown site {site!r}{suggestion(site, sites.values())}"
            )
            return []
        inside = {machine for machine, place in sites.items() if place == site}
        outside = sites.keys() - inside
    else:
        for key, names in (("from", sources), ("to", targets)):
            if not names:
                faults.add(record.place, f"{fields.what}: {key!r} is missing")
            for machine in names:
                if machine not in sites:
                    message = f"{fields.what}: unknown machine {machine!r}{suggestion(machine, sites)}"
                    faults.add(fields.place_of(key), message)
        inside, outside = {DeviceId(each) for each in sources}, {DeviceId(each) for each in targets}
    links = {
        "up": _between(wires, inside, outside),
        "down": _between(wires, outside, inside),
    }
    if all(width is None for width in widths.values()):
        faults.add(record.place, f"{fields.what}: give up_mbit_per_s, down_mbit_per_s or both")
    for way, width in widths.items():
        if width is not None and not links[way]:
            faults.add(fields.place_of(f"{way}_mbit_per_s"), f"{fields.what}: no link goes {way} there")
    return [
        Uplink(id=f"{name or site}/{way}", wires=links[way], bandwidth_bit_per_s=width * 1e6)
        for way, width in widths.items()
        if width is not None
    ]


def _between(wires: Iterable[Wire], sources: Iterable[DeviceId], targets: Iterable[DeviceId]) -> tuple[_Ends, ...]:
    starts, ends = set(sources), set(targets)
    return tuple(
        (wire.source, wire.target)
        for wire in wires
        if wire.source != wire.target and wire.source in starts and wire.target in ends
    )
