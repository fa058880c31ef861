"""When stand-bys served, in the store's database."""

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


class SqliteEpisodes(ABC):
    """Episodes in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def put_episodes(self, device_id: DeviceId, episodes: Sequence[control_pb2.StandByEpisode]) -> None:
        """Keeps episodes; told again, with its end or without, one stays one, and an end stands."""
        async with self._transaction():
            for one in episodes:
                start_s = _seconds(one.start.seconds, one.start.nanos)
                end_s = _seconds(one.end.seconds, one.end.nanos) if one.HasField("end") else None
                # Of an agent that was killed meanwhile nobody heard the end.
                await self._connection.execute(
                    "UPDATE stand_by_episodes SET end_at_s = ? "
                    "WHERE device_id = ? AND query_id = ? AND start_at_s < ? AND end_at_s IS NULL",
                    (start_s, device_id, one.query_id, start_s),
                )
                await self._connection.execute(
                    "INSERT INTO stand_by_episodes VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (device_id, query_id, start_at_s) DO UPDATE SET "
                    "message = CASE WHEN excluded.end_at_s IS NULL THEN message ELSE excluded.message END, "
                    "end_at_s = coalesce(excluded.end_at_s, end_at_s)",
                    (device_id, one.query_id, start_s, end_s, one.SerializeToString(deterministic=True)),
                )

    async def episodes(self, query_id: QueryId, limit: int) -> tuple[control_pb2.StandByEpisode, ...]:
        """The newest episodes of a query, newest first."""
        rows = await self._read(
            "SELECT end_at_s, message FROM stand_by_episodes WHERE query_id = ? ORDER BY start_at_s DESC LIMIT ?",
            (query_id, limit),
        )
        found = []
        for end_at_s, message in rows:
            one = control_pb2.StandByEpisode.FromString(message)
            if end_at_s is not None and not one.HasField("end"):
                one.end.FromNanoseconds(round(end_at_s * 1e9))
            found.append(one)
        return tuple(found)

    async def prune_episodes(self, before: datetime) -> None:
        """Forgets what ended, or began and was never heard of again, before a moment."""
        async with self._transaction():
            await self._connection.execute(
                "DELETE FROM stand_by_episodes WHERE coalesce(end_at_s, start_at_s) < ?", (before.timestamp(),)
            )


def _seconds(seconds: int, nanos: int) -> float:
    return seconds + nanos / 1e9
