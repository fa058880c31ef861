"""What happened lately, in the store's database: a ring with cursors that only rise."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiosqlite

#: So many are kept.
RING = 10_000


class EventKind(StrEnum):
    """What an event is of. REFUSAL: an agent or a directive was refused, or a device can't do what it is told."""

    DEVICE = "device"
    QUERY = "query"
    PLAN = "plan"
    DRIFT = "drift"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """Something that happened. ``cursor`` 0: it has none yet. ``fields``: what it is of, as the log has it."""

    cursor: int = 0
    at: datetime
    kind: EventKind
    name: str
    warning: bool
    fields: Mapping[str, str]


class SqliteEvents(ABC):
    """Events in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def add_events(self, events: Sequence[EventRecord], keep: int = RING) -> None:
        """Adds events, in their order, and forgets all but the newest so many."""
        rows = [
            (one.at.timestamp(), one.kind, one.name, int(one.warning), json.dumps(dict(one.fields))) for one in events
        ]
        async with self._transaction():
            await self._connection.executemany(
                "INSERT INTO events (at_s, kind, name, warning, fields) VALUES (?, ?, ?, ?, ?)", rows
            )
            await self._connection.execute(
                "DELETE FROM events WHERE cursor <= (SELECT max(cursor) FROM events) - ?", (keep,)
            )

    async def events(
        self, after: int, limit: int, kinds: Collection[EventKind] = (), *, newest: bool = False
    ) -> tuple[EventRecord, ...]:
        """Events after a cursor, oldest first: the first so many, or the ``newest``. ``kinds`` empty: of all."""
        where, parameters = "cursor > ?", [after, *kinds]
        if kinds:
            where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        rows = await self._read(
            f"SELECT cursor, at_s, kind, name, warning, fields FROM events WHERE {where} "
            f"ORDER BY cursor {'DESC' if newest else 'ASC'} LIMIT ?",
            [*parameters, limit],
        )
        found = tuple(
            EventRecord(
                cursor=row[0],
                at=datetime.fromtimestamp(row[1], UTC),
                kind=EventKind(row[2]),
                name=row[3],
                warning=bool(row[4]),
                fields=json.loads(row[5]),
            )
            for row in rows
        )
        return found[::-1] if newest else found

    async def first_event(self) -> int:
        """The cursor of the oldest event that is kept; 0: there is none."""
        rows = await self._read("SELECT min(cursor) FROM events")
        return int(rows[0][0] or 0)


__all__ = ["RING", "EventKind", "EventRecord", "SqliteEvents"]
