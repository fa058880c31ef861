"""One picture for scripts, and for where there is no terminal: a document, and the same as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from circinus.event_calls import PlannerEvent
from circinus.line_calls import DeviceLine, QueryLine
from circinus.reports import PlannerStatus
from circinus.top.columns import DEVICE_COLUMNS, QUERY_COLUMNS, Column
from circinus.top.dag import detail_lines
from circinus.top.gathering import Source
from circinus.top.picture import Detail, Picture, Wants
from circinus.top.wording import amount, padded

L = TypeVar("L")
#: The text is for files and pipes: names are cut, nothing else is.
_WIDTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One picture. ``devices_matching`` and ``queries_matching`` are as many as the filter leaves."""

    at: datetime
    planner: str
    status: PlannerStatus
    planned_goodput_per_s: float
    goodput_per_s: float
    cost_per_h: float
    burning: int
    devices_total: int
    devices_matching: int
    devices: tuple[DeviceLine, ...]
    queries_total: int
    queries_matching: int
    queries: tuple[QueryLine, ...]
    query: Detail | None
    events: tuple[PlannerEvent, ...]


async def once(source: Source, wants: Wants, events: int) -> Once:
    """Asks for one picture, with the newest so many events.

    Raises:
        CircinusError: the planner can't be asked.
    """
    picture: Picture = await source.picture(wants)
    happened = [one async for one in source.events(after=0, limit=events, follow=False)] if events else []
    devices, queries = picture.devices, picture.queries
    return Once(
        at=picture.at,
        planner=picture.planner,
        status=picture.status,
        planned_goodput_per_s=queries.planned_goodput_per_s,
        goodput_per_s=queries.goodput_per_s,
        cost_per_h=queries.cost_per_h,
        burning=queries.burning,
        devices_total=devices.total,
        devices_matching=devices.matching,
        devices=devices.lines,
        queries_total=queries.total,
        queries_matching=queries.matching,
        queries=queries.lines,
        query=picture.detail,
        events=tuple(happened),
    )


def text_of(found: Once) -> str:
    """The same for people, without colours."""
    status = found.status
    lines = [
        f"{found.planner}  {found.at:%Y-%m-%d %H:%M:%S} UTC  generation {status.generation}  {status.activity}",
        f"{status.devices_connected:,}/{status.devices_known:,} devices connected, "
        f"{status.queries_placed:,} queries placed, {status.queries_unplaced:,} unplaced, "
        f"{status.queries_pending:,} pending, {found.burning:,} burning",
        f"goodput {amount(found.goodput_per_s)} of {amount(found.planned_goodput_per_s)}/s, "
        f"cost {amount(found.cost_per_h)}/h",
        "",
        *_table(DEVICE_COLUMNS, found.devices, found.at),
        *_left_out(len(found.devices), found.devices_matching, "devices"),
        "",
        *_table(QUERY_COLUMNS, found.queries, found.at),
        *_left_out(len(found.queries), found.queries_matching, "queries"),
    ]
    if found.query is not None:
        detail = detail_lines(found.query, found.query.query_id, _WIDTH)
        lines += ["", *("".join(one.text for one in line).rstrip() for line in detail)]
    if found.events:
        lines += ["", *map(_event, found.events)]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[Column[L]], found: Sequence[L], now: datetime) -> list[str]:
    rows = [
        [column.title for column in columns],
        *([column.cell(one, now).text for column in columns] for one in found),
    ]
    sizes = [min(40, max(len(row[number]) for row in rows)) for number in range(len(columns))]
    return [
        " ".join(
            padded(text, size, right=column.right) for column, text, size in zip(columns, row, sizes, strict=True)
        ).rstrip()
        for row in rows
    ]


def _left_out(shown: int, matching: int, what: str) -> list[str]:
    return [f"... and {matching - shown:,} more {what}; --limit {matching} shows them"] if matching > shown else []


def _event(one: PlannerEvent) -> str:
    said = " ".join(f"{key}={value}" for key, value in one.fields.items())
    return f"{one.at:%H:%M:%S} {one.kind:<7} {one.name} {said}".rstrip()


__all__ = ["Once", "once", "text_of"]
