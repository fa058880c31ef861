"""The ledger's accounts in SQLite: the part of SqliteStore that keeps them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from circinus.model.query import QueryId
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.store.port import AccountRecord, StoredWindow

if TYPE_CHECKING:
    import aiosqlite


class SqliteAccounts(ABC):
    """Accounts in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def put_accounts(self, records: Sequence[AccountRecord]) -> None:
        """Opens accounts; one that is there already stands."""
        rows = [
            (
                record.generation.epoch,
                record.generation.number,
                record.query_id,
                record.created_at.timestamp(),
                record.promise.SerializeToString(deterministic=True),
                record.seen.SerializeToString(deterministic=True),
                record.window_id,
            )
            for record in records
        ]
        async with self._transaction():
            await self._connection.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    async def accounts(self, limit: int) -> tuple[AccountRecord, ...]:
        """The newest accounts, newest first."""
        rows = await self._read(
            "SELECT epoch, generation, query_id, created_at_s, promise, seen, window_id FROM accounts "
            "ORDER BY epoch DESC, generation DESC, query_id LIMIT ?",
            (limit,),
        )
        return tuple(account_of(row) for row in rows)

    async def unseen_windows(self, record: AccountRecord, limit: int) -> tuple[StoredWindow, ...]:
        """The first windows of an account that were not seen yet, by number."""
        rows = await self._read(
            "SELECT id, device_id, kind, message FROM windows "
            "WHERE epoch = ? AND generation = ? AND query_id = ? AND id > ? ORDER BY id LIMIT ?",
            (record.generation.epoch, record.generation.number, record.query_id, record.window_id, limit),
        )
        return tuple(
            StoredWindow(
                id=row[0],
                device_id=DeviceId(row[1]),
                window=types_pb2.QueryWindow.FromString(row[3])
                if row[2] == "query"
                else types_pb2.OperatorWindow.FromString(row[3]),
            )
            for row in rows
        )

    async def put_seen(self, records: Sequence[AccountRecord]) -> None:
        """Keeps what was seen, with up to which window."""
        rows = [
            (
                record.seen.SerializeToString(deterministic=True),
                record.window_id,
                record.generation.epoch,
                record.generation.number,
                record.query_id,
            )
            for record in records
        ]
        async with self._transaction():
            await self._connection.executemany(
                "UPDATE accounts SET seen = ?, window_id = ? WHERE epoch = ? AND generation = ? AND query_id = ?", rows
            )

    async def prune_accounts(self, before: datetime, keep: int) -> None:
        """Forgets accounts that were opened before a moment, and all but the newest so many."""
        async with self._transaction():
            await self._connection.execute("DELETE FROM accounts WHERE created_at_s < ?", (before.timestamp(),))
            await self._connection.execute(
                "DELETE FROM accounts WHERE (epoch, generation, query_id) NOT IN (SELECT epoch, generation, query_id "
                "FROM accounts ORDER BY epoch DESC, generation DESC, query_id LIMIT ?)",
                (keep,),
            )


def account_of(row: sqlite3.Row) -> AccountRecord:
    """The account in a row."""
    return AccountRecord(
        generation=Generation(epoch=row[0], number=row[1]),
        query_id=QueryId(row[2]),
        created_at=datetime.fromtimestamp(row[3], UTC),
        promise=planner_pb2.Promise.FromString(row[4]),
        seen=planner_pb2.Seen.FromString(row[5]),
        window_id=row[6],
    )
