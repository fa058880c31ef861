"""Generations as the store has them, for the pages of the plan's history: each is worked out once."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime

from circinus.errors import NotFound
from circinus.model.directive import Generation
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.plan_history import Changes, cause_of, changes_of
from cloud_planner.store import EventRecord, GenerationHead

#: What is kept of a generation that can't be changed any more.
_KEPT_S = 3_600.0
#: Events that causes are looked for among.
_MOST_EVENTS = 5_000
#: How long a list waits for changes to be worked out; with more queries than that it doesn't: each takes too long.
_PATIENCE_S = 0.3
_PATIENT_QUERIES = 500
_NAME = re.compile(r"(?:(\d{1,9})\.)?(\d{1,15})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A generation in the list: what it changed, and why. ``changes`` None: they are not worked out yet."""

    generation: Generation
    created_at: datetime
    phase: str
    changes: Changes | None
    cause: str
    first: bool

    @property
    def name(self) -> str:
        """As addresses have it."""
        return f"{self.generation.epoch}.{self.generation.number}"


def generation_of(desk: Desk, text: str) -> Generation:
    """The generation that a text names: "12", of the epoch in force, or "2.12".

    Raises:
        NotFound: it names none.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise NotFound(f"{text[:40]!r} is no generation; write a number, such as 12, or epoch and number, such as 1.12")
    epoch = int(match[1]) if match[1] else desk.overview.rollout.epoch
    return Generation(epoch=epoch, number=int(match[2]))


async def rows(desk: Desk, limit: int, before: Generation | None) -> tuple[tuple[Row, ...], bool]:
    """The newest generations, or those before one; and whether there are older ones.

    Of large fleets the changes of some are left to be worked out one by one.
    """
    heads = await desk.overview.store.generation_heads(limit + 1, before)
    events = await _events(desk)
    clock = desk.overview.clock
    patient = len(desk.overview.catalog.queries) <= _PATIENT_QUERIES
    until_s = clock.monotonic_s() + (_PATIENCE_S if patient else 0.0)
    found = []
    for place, head in enumerate(heads[:limit]):
        older = heads[place + 1] if place + 1 < len(heads) else None
        found.append(await _row(desk, head, older, events, patience_s=until_s - clock.monotonic_s()))
    return tuple(found), len(heads) > limit


async def row(desk: Desk, generation: Generation) -> Row:
    """One generation beside the one before it.

    Raises:
        NotFound: there is no such generation.
    """
    above = Generation(epoch=generation.epoch, number=generation.number + 1)
    heads = await desk.overview.store.generation_heads(2, above)
    if not heads or heads[0].generation != generation:
        raise NotFound(f"there is no generation {generation.epoch}.{generation.number}")
    return await _row(desk, heads[0], heads[1] if len(heads) > 1 else None, await _events(desk))


async def changes(desk: Desk, before: Generation | None, after: Generation) -> Changes:
    """What one generation differs from another in; before None: from nothing.

    Raises:
        NotFound: there is no such generation.
    """

    async def made() -> Changes:
        old = await _selection(desk, before) if before is not None else planner_pb2.SelectionSummary()
        new = await _selection(desk, after)
        return await asyncio.to_thread(changes_of, old, new)

    return await desk.remembered(_key(before, after), made, for_s=_KEPT_S)


def _key(before: Generation | None, after: Generation) -> tuple[str, Generation | None, Generation]:
    return ("changes", before, after)


async def _selection(desk: Desk, generation: Generation) -> planner_pb2.SelectionSummary:
    found = await desk.overview.store.selection_of(generation)
    if found is None:
        raise NotFound(f"there is no generation {generation.epoch}.{generation.number}")
    return found


async def _events(desk: Desk) -> tuple[EventRecord, ...]:
    async def made() -> tuple[EventRecord, ...]:
        return await desk.overview.chronicle.list(0, _MOST_EVENTS, newest=True)

    return await desk.remembered("causes", made, for_s=2.0)


async def _row(
    desk: Desk,
    head: GenerationHead,
    older: GenerationHead | None,
    events: tuple[EventRecord, ...],
    *,
    patience_s: float | None = None,
) -> Row:
    before = older.generation if older is not None else None
    since = older.created_at if older is not None else None
    found: Changes | None = desk.known(_key(before, head.generation), for_s=_KEPT_S)
    if found is None:
        making = changes(desk, before, head.generation)
        found = await making if patience_s is None else await desk.within(making, patience_s)
    forgotten = bool(events) and len(events) >= _MOST_EVENTS and head.created_at < events[0].at
    return Row(
        generation=head.generation,
        created_at=head.created_at,
        phase=head.phase.value,
        changes=found,
        cause="too long ago: its events are forgotten" if forgotten else cause_of(events, since, head.created_at),
        first=older is None,
    )


__all__ = ["Row", "changes", "generation_of", "row", "rows"]
