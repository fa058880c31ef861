"""What was, for people who look back: generations, one query's windows and accounts. The part of SqliteStore for it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime

from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from circinus.model.query import QueryId
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.store.account_rows import account_of
from cloud_planner.store.port import AccountRecord, GenerationHead, RolloutPhase, StoredWindow


class SqliteHistory(ABC):
    """What was, in a store's database."""

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def generation_heads(self, limit: int, before: Generation | None = None) -> tuple[GenerationHead, ...]:
        """The newest generations, newest first, without their selections; those before one."""
        where, parameters = "", [limit]
        if before is not None:
            where = "WHERE (epoch, number) < (?, ?)"
            parameters = [before.epoch, before.number, limit]
        rows = await self._read(
            f"SELECT epoch, number, created_at_s, phase FROM generations {where} "
            "ORDER BY epoch DESC, number DESC LIMIT ?",
            parameters,
        )
        return tuple(
            GenerationHead(
                generation=Generation(epoch=row[0], number=row[1]),
                created_at=datetime.fromtimestamp(row[2], UTC),
                phase=RolloutPhase(row[3]),
            )
            for row in rows
        )

    async def selection_of(self, generation: Generation) -> planner_pb2.SelectionSummary | None:
        """What a generation carries out; None: there is no such generation."""
        rows = await self._read(
            "SELECT selection FROM generations WHERE epoch = ? AND number = ?", (generation.epoch, generation.number)
        )
        return planner_pb2.SelectionSummary.FromString(rows[0][0]) if rows else None

    async def windows_of(self, query_id: QueryId, since: datetime, limit: int) -> tuple[StoredWindow, ...]:
        """The newest windows of a query that start at or after a moment, oldest first."""
        rows = await self._read(
            "SELECT id, device_id, kind, message FROM windows WHERE query_id = ? AND start_at_s >= ? "
            "ORDER BY start_at_s DESC, id DESC LIMIT ?",
            (query_id, since.timestamp(), limit),
        )
        return tuple(
            StoredWindow(
                id=row[0],
                device_id=DeviceId(row[1]),
                window=types_pb2.QueryWindow.FromString(row[3])
                if row[2] == "query"
                else types_pb2.OperatorWindow.FromString(row[3]),
            )
            for row in reversed(rows)
        )

    async def accounts_of(self, query_id: QueryId, limit: int) -> tuple[AccountRecord, ...]:
        """The newest accounts of a query, newest first."""
        rows = await self._read(
            "SELECT epoch, generation, query_id, created_at_s, promise, seen, window_id FROM accounts "
            "WHERE query_id = ? ORDER BY epoch DESC, generation DESC LIMIT ?",
            (query_id, limit),
        )
        return tuple(account_of(row) for row in rows)


__all__ = ["SqliteHistory"]
