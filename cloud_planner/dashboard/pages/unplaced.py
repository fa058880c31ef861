"""Queries without a plan: what binds, and what would help."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.query_facts import planned_lines
from cloud_planner.dashboard.query_list import QueryLine
from cloud_planner.dashboard.table import Column, Cut, Wanted, cut
from cloud_planner.dashboard.visit import Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PATH = "/unplaced"
_TEMPLATE = "unplaced.html"
_COLUMNS: tuple[Column[QueryLine], ...] = (
    Column(key="id", label="Query", sort=lambda one: one.id, narrow=True),
    Column(key="state", label="State", sort=lambda one: one.state),
    Column(key="lost", label="Lost goodput /s", sort=lambda one: one.weight * one.rate_per_s, numeric=True),
    Column(key="reason", label="Why", sort=lambda one: one.reason, narrow=True),
)
_ONLY = {"state": lambda one: one.state, "reason": lambda one: kind_of(one.reason)}
_REASONS = 8
_FIGURE = re.compile(r"(?<![A-Za-z\d])\d[\d.,]*(?:e[-+]?\d+)?")
_NAMED = re.compile(r" with \{[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A reason that queries have in common, whatever its figures are for each."""

    text: str
    queries: int
    lost_per_s: float


def kind_of(reason: str) -> str:
    """A reason without what is of one query alone: its figures, and the configuration that it names."""
    return _FIGURE.sub("…", _NAMED.sub("", reason)).strip()


def reasons_of(lines: Sequence[QueryLine]) -> tuple[Reason, ...]:
    """The kinds of reasons, those first that keep most goodput from being served."""
    found: dict[str, tuple[int, float]] = {}
    for line in lines:
        kind = kind_of(line.reason)
        number, lost = found.get(kind, (0, 0.0))
        found[kind] = (number + 1, lost + line.weight * line.rate_per_s)
    made = [Reason(text=text, queries=number, lost_per_s=lost) for text, (number, lost) in found.items()]
    return tuple(sorted(made, key=lambda one: (-one.lost_per_s, one.text)))


async def _without(desk: Desk) -> list[QueryLine]:
    lines = await planned_lines(desk)
    return await asyncio.to_thread(lambda: [line for line in lines if line.state not in ("serving", "placed")])


async def _cut(desk: Desk, query: str) -> tuple[Cut[QueryLine], tuple[Reason, ...]]:
    lines = await _without(desk)
    wanted = Wanted.read(query, _COLUMNS, sort="lost", descending=True, only=tuple(_ONLY))

    def made() -> tuple[Cut[QueryLine], tuple[Reason, ...]]:
        found = cut(lines, wanted, _COLUMNS, lambda one: f"{one.id} {one.pipeline} {one.source} {one.reason}", _ONLY)
        return found, reasons_of([line for line in lines if line.state == "unplaced"])[:_REASONS]

    return await asyncio.to_thread(made)


async def show(visit: Visit) -> Response:
    """The page."""
    found, reasons = await _cut(visit.desk, visit.query)
    return await visit.page(_TEMPLATE, cut=found, reasons=reasons, path=PATH)


async def _live(desk: Desk, argument: str) -> dict[str, str]:
    found, reasons = await _cut(desk, argument)
    return {
        "unplaced-body": await desk.fragment(_TEMPLATE, "rows", cut=found),
        "unplaced-reasons": await desk.fragment(_TEMPLATE, "reasons", reasons=reasons),
    }


PAGE = Page(
    title="Why unplaced",
    path=PATH,
    order=45,
    routes=(Route(path=PATH, show=show, needs="ListQueries"),),
    parts=(Part(name="unplaced.rows", render=_live, needs="ListQueries", period_s=2.0),),
)
