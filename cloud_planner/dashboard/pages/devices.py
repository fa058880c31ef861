"""Devices: all of them in a table, and each with what it can do, what runs there and what happened to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from circinus.model.device import DeviceId
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.fleet import STATES, DeviceRow, device_rows, sites
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.table import Column, Cut, Wanted, cut
from cloud_planner.dashboard.templating import anchor
from cloud_planner.dashboard.visit import Visit
from cloud_planner.store import EventKind, EventRecord

if TYPE_CHECKING:
    from starlette.responses import Response

_TEMPLATE, _ONE = "devices.html", "device.html"
_EVENTS = 20
_LOOKED_AT = 3_000
_ORDER = {state: number for number, state in enumerate(STATES)}

COLUMNS: tuple[Column[DeviceRow], ...] = (
    Column(key="id", label="Device", sort=lambda row: row.id, narrow=True),
    Column(key="state", label="State", sort=lambda row: _ORDER[row.state], narrow=True, title="What needs you first"),
    Column(key="site", label="Site", sort=lambda row: row.device.site),
    Column(key="tier", label="Tier", sort=lambda row: row.device.tier.value),
    Column(key="cores", label="Cores", sort=lambda row: row.device.cores, numeric=True, title="That plans may use"),
    Column(
        key="planned",
        label="Planned",
        sort=lambda row: row.planned_ratio,
        narrow=True,
        title="Part of its cores that the newest generation gives to replicas",
    ),
    Column(
        key="busy", label="Busy", sort=lambda row: row.busy_ratio, title="Part of its cores that operators took lately"
    ),
    Column(key="memory", label="Memory", sort=lambda row: row.device.memory_bytes, numeric=True),
    Column(key="queries", label="Queries", sort=lambda row: len(row.queries), numeric=True),
    Column(key="price", label="Price/h", sort=lambda row: row.device.price_per_h, numeric=True),
    Column(key="seen", label="Seen", sort=lambda row: row.last_seen_at, title="When it was heard of last"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """One operator of one query on a device. ``others``: queries that the same processes serve."""

    query_id: str
    operator_id: str
    pipeline_id: str
    replicas: int
    cores: float
    memory_bytes: int
    accelerator_slots: int
    batch: int
    others: tuple[str, ...]


async def _cut(desk: Desk, query: str) -> Cut[DeviceRow]:
    rows = await device_rows(desk)
    wanted = Wanted.read(query, COLUMNS, sort="id", only=("site", "tier", "state"))
    only = {
        "site": lambda row: row.device.site,
        "tier": lambda row: row.device.tier.value,
        "state": lambda row: row.state,
    }
    return await asyncio.to_thread(cut, rows, wanted, COLUMNS, lambda row: row.text, only)


async def _table(desk: Desk, query: str) -> dict[str, Any]:
    found = await _cut(desk, query)
    return {"cut": found, "now": desk.now}


async def show_all(visit: Visit) -> Response:
    """The table."""
    desk = visit.desk
    context = await _table(desk, visit.query)
    names = [site.name for site in await sites(desk)]
    chosen = context["cut"].wanted.only.get("site")
    if chosen and chosen not in names:
        names.append(chosen)
    choices = [
        ("site", "Site", [(name, name) for name in names]),
        ("tier", "Tier", [("edge", "edge"), ("cloud", "cloud")]),
        ("state", "State", [(state, state) for state in STATES]),
    ]
    return await visit.page(_TEMPLATE, choices=choices, **context)


async def _live_rows(desk: Desk, argument: str) -> Mapping[str, str]:
    context = await _table(desk, argument)

    def made() -> dict[str, str]:
        return {
            f"row-{anchor(row.id)}": desk.templates.block(_TEMPLATE, "row", {"row": row, "now": context["now"]})
            for row in context["cut"].rows
        }

    return await asyncio.to_thread(made)


async def _row(desk: Desk, device_id: str) -> DeviceRow:
    # Whoever doesn't exist is named by the registry itself.
    device = desk.overview.registry.require(DeviceId(device_id)).device
    found = next((row for row in await device_rows(desk) if row.id == device.id), None)
    if found is None:
        desk.forget("devices")
        found = next(row for row in await device_rows(desk) if row.id == device.id)
    return found


async def _state(desk: Desk, device_id: str) -> dict[str, Any]:
    row = await _row(desk, device_id)
    overview = desk.overview
    record = overview.registry.require(DeviceId(device_id))
    mark = overview.marks.of(record.device.id)
    newest = overview.rollout.newest
    directive = newest.directives.get(record.device.id) if newest is not None else None
    draining = record.device.id in overview.marks.draining
    return {
        "row": row,
        "now": desk.now,
        "mark": mark,
        "kept": mark.keeping.value if mark.keeping.value != "free" else "",
        "problems": [text for text in (record.doubled, record.refusal, *record.status.troubles) if text],
        "progress": overview.departures.progress(record.device.id) if draining else None,
        "generation": newest.generation.number if newest is not None and directive is not None else 0,
        "active": record.status.active_generation,
        "runs": _runs(directive),
        "sources": sorted({one.query_id for one in directive.sources}) if directive is not None else [],
    }


def _runs(directive: types_pb2.Directive | None) -> tuple[Runs, ...]:
    if directive is None:
        return ()
    return tuple(
        Runs(
            query_id=one.query_id,
            operator_id=one.operator_id,
            pipeline_id=one.pipeline_id,
            replicas=one.replicas,
            cores=one.cores,
            memory_bytes=one.memory_bytes,
            accelerator_slots=one.accelerator_slots,
            batch=one.batch,
            others=tuple(dict.fromkeys(use.query_id for use in one.uses if use.query_id != one.query_id)),
        )
        for one in directive.replica_sets
    )


async def _events(desk: Desk, device_id: str) -> tuple[EventRecord, ...]:
    kinds = (EventKind.DEVICE, EventKind.REFUSAL)

    async def looked() -> tuple[EventRecord, ...]:
        return await desk.overview.chronicle.list(0, _LOOKED_AT, kinds, newest=True)

    # One look at the store for all devices that are looked at.
    found = await desk.remembered("device events", looked, version=desk.overview.chronicle.written.rings, for_s=60.0)
    mine = [one for one in reversed(found) if one.fields.get("device") == device_id]
    return tuple(mine[:_EVENTS])


async def show_one(visit: Visit) -> Response:
    """One device."""
    desk, device_id = visit.desk, visit.path["device_id"]
    context = await _state(desk, device_id)
    return await visit.page(_ONE, events=await _events(desk, device_id), **context)


LIVE = ("state", "tiles", "problems", "drain", "runs")


async def _live_one(desk: Desk, argument: str) -> Mapping[str, str]:
    device_id = unquote(argument)
    context = {**await _state(desk, device_id), "events": await _events(desk, device_id)}

    def made() -> dict[str, str]:
        return {f"device-{name}": desk.templates.block(_ONE, name, context) for name in (*LIVE, "events")}

    return await asyncio.to_thread(made)


async def _why(visit: Visit) -> str:
    return str((await visit.form()).get("why", ""))[:200]


async def cordon(visit: Visit) -> Response:
    """Puts nothing new there."""
    device_id = visit.path["device_id"]
    message = planner_pb2.CordonDeviceRequest(device_id=device_id, why=await _why(visit))
    await visit.ask("CordonDevice", message)
    return _back(visit, device_id)


async def uncordon(visit: Visit) -> Response:
    """Lets plans use it again."""
    device_id = visit.path["device_id"]
    await visit.ask("CordonDevice", planner_pb2.CordonDeviceRequest(device_id=device_id, lift=True))
    return _back(visit, device_id)


async def drain(visit: Visit) -> Response:
    """Empties it."""
    device_id = visit.path["device_id"]
    await visit.ask("DrainDevice", planner_pb2.DrainDeviceRequest(device_id=device_id, why=await _why(visit)))
    return _back(visit, device_id)


def _back(visit: Visit, device_id: str) -> Response:
    visit.desk.forget("devices")
    return visit.to(f"/devices/{quote(device_id, safe='')}")


PAGE = Page(
    title="Devices",
    path="/devices",
    order=20,
    routes=(
        Route(path="/devices", show=show_all, needs="ListDevices"),
        Route(path="/devices/{device_id:path}/cordon", show=cordon, needs="CordonDevice", post=True),
        Route(path="/devices/{device_id:path}/uncordon", show=uncordon, needs="CordonDevice", post=True),
        Route(path="/devices/{device_id:path}/drain", show=drain, needs="DrainDevice", post=True),
        Route(path="/devices/{device_id:path}", show=show_one, needs="ListDevices"),
    ),
    parts=(
        Part(name="devices.rows", render=_live_rows, needs="ListDevices", period_s=2.0),
        Part(name="devices.one", render=_live_one, needs="ListDevices"),
    ),
)
