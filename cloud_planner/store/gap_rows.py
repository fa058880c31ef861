"""What telemetry was lost before it was told, in the store's database."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import control_pb2

if TYPE_CHECKING:
    import aiosqlite


class SqliteGaps(ABC):
    """Gaps in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def put_gaps(self, device_id: DeviceId, sequence: int, gaps: Sequence[control_pb2.TelemetryGap]) -> None:
        """Keeps the gaps of one message; told again, they stay one."""
        rows = [
            (
                device_id,
                sequence,
                number,
                gap.query_id,
                gap.start.seconds + gap.start.nanos / 1e9,
                gap.end.seconds + gap.end.nanos / 1e9,
                gap.SerializeToString(deterministic=True),
            )
            for number, gap in enumerate(gaps)
        ]
        async with self._transaction():
            await self._connection.executemany(
                "INSERT OR IGNORE INTO telemetry_gaps VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )

    async def gaps(
        self, query_id: QueryId, devices: Sequence[DeviceId], since: datetime, limit: int
    ) -> tuple[control_pb2.TelemetryGap, ...]:
        """The newest gaps of a query that end after a moment, newest first; and of all that these devices served."""
        marks = ", ".join("?" * len(devices))
        rows = await self._read(
            f"SELECT message FROM telemetry_gaps WHERE end_at_s >= ? AND (query_id = ? OR (query_id = '' "
            f"AND device_id IN ({marks}))) ORDER BY end_at_s DESC LIMIT ?",
            (since.timestamp(), query_id, *devices, limit),
        )
        return tuple(control_pb2.TelemetryGap.FromString(row[0]) for row in rows)

    async def prune_gaps(self, before: datetime, keep: int) -> None:
        """Forgets gaps that ended before a moment, and all but the newest so many."""
        async with self._transaction():
            await self._connection.execute("DELETE FROM telemetry_gaps WHERE end_at_s < ?", (before.timestamp(),))
            await self._connection.execute(
                "DELETE FROM telemetry_gaps WHERE end_at_s <= "
                "(SELECT end_at_s FROM telemetry_gaps ORDER BY end_at_s DESC LIMIT 1 OFFSET ?)",
                (keep,),
            )
