"""The identity file: SQLite, WAL, every commit synced. The planner and its command line use it at the same time.

A token is spent, an enrolment is made and both are in the log by one transaction, or none of it is: of any number of
enrolments with one token, in whatever processes, one wins. Who else wrote is told by SQLite's data_version.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cloud_planner.identity.audit import Chain
from cloud_planner.identity.rows import Rows, entry_of
from cloud_planner.migrations import open_migrated

if TYPE_CHECKING:
    import aiosqlite

_BATCH = 2_000


class IdentityStore:
    """Use ``open``."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = asyncio.Lock()
        self._rows = Rows(connection)
        self._doubtful = 0

    @classmethod
    async def open(cls, path: Path) -> IdentityStore:
        """Opens a file, made for its owner only if there is none, and brings it up to date.

        Raises:
            Internal: the file is of a newer Circinus.
        """
        # SQLite makes its side files with the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return cls(await open_migrated(path, "cloud_planner.identity", str(path), busy_timeout_ms=10_000), path)

    async def close(self) -> None:
        """Lets go of the connection."""
        async with self._lock:
            await self._connection.close()

    async def _pragma(self, name: str) -> int:
        rows = list(await self._connection.execute_fetchall(f"PRAGMA {name}"))
        return int(rows[0][0])

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Rows]:
        """One transaction: all that is done in it, or nothing."""
        async with self._lock:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield self._rows
                await self._connection.execute("COMMIT")
            except BaseException:
                # Statements of a cancelled task still run, in order: there may be a transaction to undo, or none.
                # Then it was committed, and who asked for it did not get to note that.
                self._doubtful += 1
                with suppress(sqlite3.OperationalError):
                    await self._connection.execute("ROLLBACK")
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Rows]:
        """For reads only."""
        async with self._lock:
            yield self._rows

    async def data_version(self) -> int:
        """Another number whenever another connection has changed the file, or this one may have and nobody knows."""
        async with self._lock:
            return await self._pragma("data_version") + self._doubtful

    async def chain(self) -> Chain:
        """The log's chain, followed from the first entry to the last: O(entries), in a thread."""
        return await asyncio.to_thread(_follow, self._path)


def _follow(path: Path) -> Chain:
    chain = Chain()
    # A connection of its own, so that nobody waits; one transaction, so that entries and head belong together.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        cursor = connection.execute(
            "SELECT sequence, at_us, actor, action, subject, outcome, detail, digest FROM audit ORDER BY sequence"
        )
        while rows := cursor.fetchmany(_BATCH):
            chain.follow((entry_of(row), row[7]) for row in rows)
        head = connection.execute("SELECT sequence, digest FROM audit_head").fetchone()
    chain.ends_at(*(head if head is not None else (-1, b"")))
    return chain
