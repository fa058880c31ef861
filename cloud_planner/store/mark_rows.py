"""What people said of devices, in the store's database."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from circinus.model.device import DeviceId

if TYPE_CHECKING:
    import aiosqlite


class Keeping(StrEnum):
    """What plans may do with a device.

    FREE: all. CORDONED: nothing new. DRAINING: what is there goes elsewhere, too. LEAVING: it leaves as soon as it is
    drained. LEFT: its agent was told goodbye.
    """

    FREE = "free"
    CORDONED = "cordoned"
    DRAINING = "draining"
    LEAVING = "leaving"
    LEFT = "left"


_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What people said of a device. ``since``: when it came to be kept so.

    ``people``: labels that they set; None: that it has none with this key. ``bound``: those of its token.
    """

    device_id: DeviceId
    keeping: Keeping = Keeping.FREE
    why: str = ""
    since: datetime = _NEVER
    people: Mapping[str, str | None] = field(default_factory=dict)
    bound: Mapping[str, str] = field(default_factory=dict)


def mark_row(mark: Mark) -> tuple[object, ...]:
    """A mark as a row of device_marks."""
    return (
        mark.device_id,
        mark.keeping,
        mark.why,
        mark.since.timestamp(),
        json.dumps(dict(mark.people), sort_keys=True),
        json.dumps(dict(mark.bound), sort_keys=True),
    )


class SqliteMarks(ABC):
    """Marks in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def put_mark(self, mark: Mark) -> None:
        """Keeps what people say of a device."""
        async with self._transaction():
            await self._connection.execute(
                "INSERT OR REPLACE INTO device_marks VALUES (?, ?, ?, ?, ?, ?)", mark_row(mark)
            )

    async def marks(self) -> tuple[Mark, ...]:
        """What people said, by device."""
        rows = await self._read("SELECT device_id, state, why, since_s, people, bound FROM device_marks ORDER BY 1")
        return tuple(
            Mark(
                device_id=DeviceId(row[0]),
                keeping=Keeping(row[1]),
                why=row[2],
                since=datetime.fromtimestamp(row[3], UTC),
                people=json.loads(row[4]),
                bound=json.loads(row[5]),
            )
            for row in rows
        )

    async def remove_device(self, device_id: DeviceId) -> None:
        """Forgets a device: its fingerprint, what people said of it, and which telemetry of it was taken in.

        What it served stays in the ledger. Another box with its name numbers its telemetry from 1 again.
        """
        async with self._transaction():
            for table, column in (("devices", "id"), ("device_marks", "device_id"), ("telemetry", "device_id")):
                await self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (device_id,))


__all__ = ["Keeping", "Mark", "SqliteMarks"]
