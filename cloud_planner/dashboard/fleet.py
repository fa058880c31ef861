"""Devices as rows of a page, and the sites that they are at."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from circinus.model.device import Device
from cloud_planner.dashboard.desk import Desk
from cloud_planner.registry import DeviceRecord
from cloud_planner.store import GenerationRecord, Keeping, Mark

#: States, from what needs a person to what doesn't, with how they are shown.
STATES: Mapping[str, str] = {
    "doubled": "bad",
    "refuses": "bad",
    "away": "bad",
    "in trouble": "warn",
    "leaving": "warn",
    "draining": "warn",
    "cordoned": "warn",
    "connected": "good",
}
_KEPT = {
    Keeping.CORDONED: "cordoned",
    Keeping.DRAINING: "draining",
    Keeping.LEAVING: "leaving",
    Keeping.LEFT: "leaving",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device in one line. ``cores_planned`` of ``device.cores`` are given to replicas; ``cores_busy`` None: unknown.

    ``queries``: whose operators or source it has. ``text``: what a filter looks in.
    """

    device: Device
    state: str
    connected: bool
    reason: str
    cores_planned: float
    cores_busy: float | None
    memory_planned_bytes: int
    replicas: int
    queries: tuple[str, ...]
    last_seen_at: datetime
    labels: Mapping[str, str]
    text: str

    @property
    def id(self) -> str:
        """Its name."""
        return self.device.id

    @property
    def kind(self) -> str:
        """How its state is shown."""
        return STATES[self.state]

    @property
    def planned_ratio(self) -> float:
        """The part of its cores that is given to replicas."""
        return self.cores_planned / self.device.cores if self.device.cores else 0.0

    @property
    def busy_ratio(self) -> float | None:
        """The part of its cores that operators took lately."""
        busy = self.cores_busy
        return busy / self.device.cores if busy is not None and self.device.cores else None

    @property
    def level(self) -> str:
        """Its class on the map: by state, else by load in six steps."""
        if not self.connected:
            return "away"
        if self.state != "connected":
            return "kept"
        load = self.planned_ratio if self.busy_ratio is None else self.busy_ratio
        return f"l{min(5, max(0, round(load * 5 + 0.3)))}" if load > 0.0 else "l0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The devices of one site."""

    name: str
    devices: tuple[DeviceRow, ...]

    @property
    def connected(self) -> int:
        """How many are connected."""
        return sum(one.connected for one in self.devices)

    @property
    def planned_ratio(self) -> float:
        """The part of all cores that is given to replicas."""
        cores = sum(one.device.cores for one in self.devices)
        return sum(one.cores_planned for one in self.devices) / cores if cores else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the newest generation has a device do."""

    cores: float = 0.0
    memory_bytes: int = 0
    replicas: int = 0
    queries: tuple[str, ...] = ()


_IDLE = _Work()


async def device_rows(desk: Desk) -> tuple[DeviceRow, ...]:
    """Every device, by id; at most a second old."""

    async def made() -> tuple[DeviceRow, ...]:
        overview, newest = desk.overview, desk.overview.rollout.newest

        async def worked() -> tuple[GenerationRecord | None, Mapping[str, _Work]]:
            return newest, await asyncio.to_thread(_work, newest)

        # The record stands beside what was made of it: an id is its own only as long as it is there.
        _, work = await desk.remembered("work", worked, version=id(newest), for_s=math.inf)
        records = overview.registry.records()
        marks: dict[str, Mark] = {name: overview.marks.of(name) for name in overview.marks.cordoned}
        labels: dict[str, Mapping[str, str]] = {
            record.device.id: overview.marks.labels(record.device)
            for record in records
            if record.device.labels or record.device.id in marks
        }
        busy: dict[str, float | None] = {
            record.device.id: overview.recent.busy_cores(record.device.id) for record in records
        }
        return await asyncio.to_thread(_rows, records, marks, labels, busy, work)

    return await desk.remembered("devices", made)


def _work(newest: GenerationRecord | None) -> dict[str, _Work]:
    found = {}
    for device_id, directive in newest.directives.items() if newest is not None else ():
        cores, memory_bytes, replicas = 0.0, 0, 0
        queries: dict[str, None] = {}
        for one in directive.replica_sets:
            number = one.replicas
            cores += number * one.cores
            memory_bytes += number * one.memory_bytes
            replicas += number
            queries[one.query_id] = None
        queries |= dict.fromkeys(one.query_id for one in directive.sources)
        found[str(device_id)] = _Work(cores=cores, memory_bytes=memory_bytes, replicas=replicas, queries=tuple(queries))
    return found


async def sites(desk: Desk) -> tuple[Site, ...]:
    """Every site with its devices, by name; the cloud last."""
    by_name: dict[str, list[DeviceRow]] = {}
    for row in await device_rows(desk):
        by_name.setdefault(row.device.site, []).append(row)
    found = [Site(name=name, devices=tuple(rows)) for name, rows in by_name.items()]
    return tuple(sorted(found, key=lambda one: (one.devices[0].device.tier.value != "edge", one.name)))


def _rows(
    records: Sequence[DeviceRecord],
    marks: Mapping[str, Mark],
    labels: Mapping[str, Mapping[str, str]],
    busy: Mapping[str, float | None],
    work: Mapping[str, _Work],
) -> tuple[DeviceRow, ...]:
    rows = []
    for record in records:
        device = record.device
        done = work.get(device.id, _IDLE)
        mark = marks.get(device.id)
        state = _state(record, mark)
        own = labels.get(device.id, {})
        words = (device.id, device.site, device.tier.value, state, device.device_class, device.cpu_model, *done.queries)
        accelerators = (f"{one.kind} {one.model}" for one in device.accelerators)
        pairs = (f"{key}={value}" for key, value in own.items())
        rows.append(
            DeviceRow(
                device=device,
                state=state,
                connected=record.session is not None,
                reason=_reason(record, mark),
                cores_planned=done.cores,
                cores_busy=busy.get(device.id),
                memory_planned_bytes=done.memory_bytes,
                replicas=done.replicas,
                queries=done.queries,
                last_seen_at=record.last_seen_at,
                labels=own,
                text="\n".join((*words, *accelerators, *pairs)),
            )
        )
    return tuple(rows)


def _state(record: DeviceRecord, mark: Mark | None) -> str:
    if record.doubled:
        return "doubled"
    if record.refusal:
        return "refuses"
    if record.session is None:
        return "away"
    if mark is not None and mark.keeping in _KEPT:
        return _KEPT[mark.keeping]
    return "in trouble" if record.status.troubles else "connected"


def _reason(record: DeviceRecord, mark: Mark | None) -> str:
    found = record.doubled or record.refusal or "; ".join(record.status.troubles) or record.status.reason
    return found or (mark.why if mark is not None else "")


__all__ = ["STATES", "DeviceRow", "Site", "device_rows", "sites"]
