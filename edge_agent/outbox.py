"""Telemetry that waits for the planner: a bounded queue on disk.

Each message has a number that rises for ever, restarts included, by which the planner drops repeats; so sending
twice is harmless and losing is not: a message is deleted only when the link has outlived its sending. When the
planner is away for long the oldest go first, and they are counted. The file is not synchronised at every write
(a window lost with the power is no harm), so at each start the numbers jump ahead of any that may have been lost.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite

from circinus.events import warning
from circinus.v1 import control_pb2, types_pb2

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS telemetry (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;"
)
#: At two seconds a window: five and a half hours.
_MAX_MESSAGES = 10_000
_MAX_MESSAGE_BYTES = 1024 * 1024
_JUMP = 1_000


class Outbox:
    """Telemetry of one device, oldest first. Use as ``async with Outbox(path) as outbox``."""

    def __init__(self, path: Path, *, max_messages: int = _MAX_MESSAGES) -> None:
        self._path = path
        self._max_messages = max_messages
        self._connection: aiosqlite.Connection | None = None
        #: Messages that were never sent, since the queue was full.
        self.dropped = 0

    async def __aenter__(self) -> Self:
        try:
            self._connection = await _open(self._path)
        except sqlite3.DatabaseError as error:
            # Telemetry isn't worth keeping an agent from its work.
            warning("outbox_unreadable", path=self._path, reason=error)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)  # noqa: ASYNC240 - once, at a start
            self._connection = await _open(self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @property
    def _database(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise RuntimeError("the outbox is not open")
        return self._connection

    async def put(
        self,
        queries: list[types_pb2.QueryWindow],
        operators: list[types_pb2.OperatorWindow],
        episodes: Sequence[control_pb2.StandByEpisode] = (),
    ) -> None:
        """Adds windows and episodes, in as many messages as their size asks for."""
        messages = split(queries, operators)
        if episodes:
            messages.append(control_pb2.Telemetry(stand_bys=episodes))
        for message in messages:
            await self._database.execute("INSERT INTO telemetry (body) VALUES (?)", (message.SerializeToString(),))
        cursor = await self._database.execute(
            "DELETE FROM telemetry WHERE sequence IN (SELECT sequence FROM telemetry ORDER BY sequence "
            "LIMIT max(0, (SELECT count(*) FROM telemetry) - ?))",
            (self._max_messages,),
        )
        await self._database.commit()
        if cursor.rowcount > 0:
            self.dropped += cursor.rowcount
            warning("telemetry_dropped", messages=cursor.rowcount, total=self.dropped, limit=self._max_messages)

    async def peek(self, after: int, limit: int = 64) -> list[control_pb2.Telemetry]:
        """The next messages with numbers above ``after``."""
        rows = await self._database.execute_fetchall(
            "SELECT sequence, body FROM telemetry WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        messages: list[control_pb2.Telemetry] = []
        for sequence, body in rows:
            message = control_pb2.Telemetry()
            with contextlib.suppress(Exception):  # a damaged row becomes an empty message: the number is used up
                message.ParseFromString(body)
            message.sequence = sequence
            messages.append(message)
        return messages

    async def forget(self, up_to: int) -> None:
        """Deletes messages up to this number."""
        await self._database.execute("DELETE FROM telemetry WHERE sequence <= ?", (up_to,))
        await self._database.commit()


def split(
    queries: list[types_pb2.QueryWindow], operators: list[types_pb2.OperatorWindow]
) -> list[control_pb2.Telemetry]:
    """Windows packed into messages of about 1 MiB at most, in order; none if there are no windows."""
    messages: list[control_pb2.Telemetry] = []
    used_bytes = _MAX_MESSAGE_BYTES
    for window in (*queries, *operators):
        size_bytes = window.ByteSize()
        if used_bytes + size_bytes > _MAX_MESSAGE_BYTES:
            messages.append(control_pb2.Telemetry())
            used_bytes = 0
        if isinstance(window, types_pb2.QueryWindow):
            messages[-1].queries.append(window)
        elif isinstance(window, types_pb2.OperatorWindow):
            messages[-1].operators.append(window)
        used_bytes += size_bytes + 8
    return messages


async def _open(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path)
    try:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=NORMAL")
        await connection.executescript(_SCHEMA)
        # Numbers that were given out but lost with the last unsynchronised write are never given out again.
        await connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'telemetry', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'telemetry')"
        )
        await connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'telemetry'", (_JUMP,))
        await connection.commit()
    except BaseException:
        await connection.close()
        raise
    return connection
