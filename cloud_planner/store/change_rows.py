"""What files declare, put into the store's database at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from circinus import wire
from cloud_planner.store.mark_rows import mark_row

if TYPE_CHECKING:
    import aiosqlite

    from cloud_planner.store.port import Changes, PipelineRecord


class SqliteChanges(ABC):
    """Changes of several things in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _put_pipeline(self, record: PipelineRecord) -> None: ...

    async def apply_changes(self, changes: Changes) -> None:
        """Makes all of these changes, or none."""
        queries = [
            (query.id, wire.query_to_message(query).SerializeToString(deterministic=True)) for query in changes.queries
        ]
        async with self._transaction():
            for query_id in changes.begun_anew:
                await self._connection.execute("DELETE FROM searches WHERE query_id = ?", (query_id,))
            for query_id in changes.removed_queries:
                await self._connection.execute("DELETE FROM queries WHERE id = ?", (query_id,))
                await self._connection.execute("DELETE FROM searches WHERE query_id = ?", (query_id,))
            for pipeline_id in changes.removed_pipelines:
                await self._connection.execute("DELETE FROM pipelines WHERE id = ?", (pipeline_id,))
            for record in changes.pipelines:
                await self._put_pipeline(record)
            # One in the place of another keeps its turn.
            await self._connection.executemany(
                "INSERT INTO queries (id, message) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET "
                "message = excluded.message",
                queries,
            )
            for mark in changes.marks:
                await self._connection.execute(
                    "INSERT OR REPLACE INTO device_marks VALUES (?, ?, ?, ?, ?, ?)", mark_row(mark)
                )
