"""The store on SQLite: one connection, WAL, every commit synced to disk.

``synchronous=FULL`` is for the generation: it must be durable before it is sent. Everything else could be laxer, but
there is little of it, and telemetry comes in batches. One lock keeps transactions of tasks apart, since they share
the connection.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from circinus import wire
from circinus.errors import AlreadyExists
from circinus.model.device import Device, DeviceClass, DeviceId, Digest
from circinus.model.directive import Generation
from circinus.model.pipeline import ContentRef, PipelineId
from circinus.model.profile import ConfigurationProfile, ProfileTable
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.search_terms import (
    Attempt,
)
from cloud_planner.migrations import open_migrated
from cloud_planner.store import profile_rows
from cloud_planner.store.account_rows import SqliteAccounts
from cloud_planner.store.change_rows import SqliteChanges
from cloud_planner.store.drift_rows import SqliteDrift
from cloud_planner.store.episode_rows import SqliteEpisodes
from cloud_planner.store.event_rows import SqliteEvents
from cloud_planner.store.gap_rows import SqliteGaps
from cloud_planner.store.history_rows import SqliteHistory
from cloud_planner.store.mark_rows import SqliteMarks
from cloud_planner.store.port import (
    GenerationRecord,
    PipelineRecord,
    RolloutPhase,
    SearchRecord,
    TelemetryRecord,
    Windows,
)

if TYPE_CHECKING:
    import aiosqlite


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class SqliteStore(
    SqliteAccounts, SqliteChanges, SqliteDrift, SqliteEvents, SqliteHistory, SqliteMarks, SqliteEpisodes, SqliteGaps
):
    """Use ``open``. Implements ``Store``."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path | None) -> SqliteStore:
        """Opens a file, made if there is none, and brings it up to date; None: in memory, for tests.

        Raises:
            Internal: the file is of a newer Circinus.
        """
        return cls(await open_migrated(path, "cloud_planner.store", "the store", busy_timeout_ms=5_000))

    async def close(self) -> None:
        """Lets go of the connection."""
        async with self._lock:
            await self._connection.close()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._lock:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield
                await self._connection.execute("COMMIT")
            except BaseException:
                # Statements of a cancelled task still run, in order: there may be a transaction to undo, or none.
                with suppress(sqlite3.OperationalError):
                    await self._connection.execute("ROLLBACK")
                raise

    async def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(statement, parameters))

    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        async with self._lock:
            return await self._rows(statement, parameters)

    async def _write(self, statement: str, parameters: Sequence[object] = ()) -> None:
        async with self._transaction():
            await self._connection.execute(statement, parameters)

    async def epoch(self) -> int:
        """The planner's epoch."""
        return int((await self._read("SELECT value FROM facts WHERE name = 'epoch'"))[0][0])

    async def generation_floor(self) -> int:
        """What was numbered before a restore."""
        rows = await self._read("SELECT value FROM facts WHERE name = 'generation_floor'")
        return int(rows[0][0]) if rows else 0

    async def name_queries(self, count: int) -> int:
        """Reserves so many numbers; gives the first."""
        async with self._transaction():
            rows = await self._rows(
                "UPDATE facts SET value = value + ? WHERE name = 'queries_named' RETURNING value", (count,)
            )
        return int(rows[0][0]) - count + 1

    async def devices(self) -> tuple[tuple[Device, datetime], ...]:
        """Every device with the moment it was last seen."""
        rows = await self._read("SELECT fingerprint, last_seen_at_s FROM devices ORDER BY id")
        return tuple(
            (wire.device_from_message(types_pb2.Fingerprint.FromString(row[0])), _moment(row[1])) for row in rows
        )

    async def put_device(self, device: Device, last_seen_at: datetime) -> None:
        """Keeps a device's newest fingerprint."""
        message = wire.device_to_message(device).SerializeToString(deterministic=True)
        await self._write(
            "INSERT INTO devices VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "fingerprint = excluded.fingerprint, last_seen_at_s = excluded.last_seen_at_s",
            (device.id, message, last_seen_at.timestamp()),
        )

    async def pipelines(self) -> tuple[PipelineRecord, ...]:
        """Every pipeline, by id."""
        async with self._lock:
            rows = await self._rows(
                "SELECT id, spec_yaml, bundle_digest, environment_digest FROM pipelines ORDER BY id"
            )
            refs = await self._rows(
                "SELECT pipeline_id, name, digest, samples FROM contents ORDER BY pipeline_id, name"
            )
        contents: dict[str, list[ContentRef]] = {}
        for pipeline_id, name, digest, samples in refs:
            contents.setdefault(pipeline_id, []).append(ContentRef(name=name, digest=Digest(digest), samples=samples))
        return tuple(
            PipelineRecord(
                id=PipelineId(row[0]),
                spec_yaml=row[1],
                bundle_digest=Digest(row[2]),
                environment_digest=Digest(row[3]),
                contents=tuple(contents.get(row[0], ())),
            )
            for row in rows
        )

    async def put_pipeline(self, record: PipelineRecord) -> None:
        """Adds a pipeline or replaces it."""
        async with self._transaction():
            await self._put_pipeline(record)

    async def _put_pipeline(self, record: PipelineRecord) -> None:
        await self._connection.execute("DELETE FROM pipelines WHERE id = ?", (record.id,))
        await self._connection.execute(
            "INSERT INTO pipelines VALUES (?, ?, ?, ?)",
            (record.id, record.spec_yaml, record.bundle_digest, record.environment_digest),
        )
        await self._connection.executemany(
            "INSERT INTO contents VALUES (?, ?, ?, ?)",
            [(record.id, content.name, content.digest, content.samples) for content in record.contents],
        )

    async def remove_pipeline(self, pipeline_id: PipelineId) -> None:
        """Removes a pipeline; its profiles stay."""
        await self._write("DELETE FROM pipelines WHERE id = ?", (pipeline_id,))

    async def queries(self) -> tuple[Query, ...]:
        """Every query, in the order of submission."""
        rows = await self._read("SELECT message FROM queries ORDER BY position")
        return tuple(wire.query_from_message(types_pb2.Query.FromString(row[0])) for row in rows)

    async def put_queries(self, queries: Sequence[Query]) -> None:
        """Adds new queries, all or none.

        Raises:
            AlreadyExists: one of the ids is taken.
        """
        rows = [(query.id, wire.query_to_message(query).SerializeToString(deterministic=True)) for query in queries]
        try:
            async with self._transaction():
                await self._connection.executemany("INSERT INTO queries (id, message) VALUES (?, ?)", rows)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(
                f"a query with one of the ids {', '.join(row[0] for row in rows[:5])} exists"
            ) from error

    async def remove_query(self, query_id: QueryId) -> None:
        """Removes a query."""
        async with self._transaction():
            await self._connection.execute("DELETE FROM queries WHERE id = ?", (query_id,))
            await self._connection.execute("DELETE FROM searches WHERE query_id = ?", (query_id,))

    async def put_search(self, record: SearchRecord) -> None:
        """Keeps how far a query's search is."""
        attempts = json.dumps([[attempt.configuration, attempt.start] for attempt in record.attempts])
        state = record.state.SerializeToString(deterministic=True)
        await self._write(
            "INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?)",
            (record.query_id, record.submitted_at.timestamp(), attempts, state),
        )

    async def searches(self) -> tuple[SearchRecord, ...]:
        """How far every search is."""
        rows = await self._read("SELECT query_id, submitted_at_s, attempts, state FROM searches ORDER BY query_id")
        return tuple(
            SearchRecord(
                query_id=QueryId(row[0]),
                submitted_at=_moment(row[1]),
                attempts=tuple(Attempt(configuration=index, start=start) for index, start in json.loads(row[2])),
                state=planner_pb2.SearchState.FromString(row[3]),
            )
            for row in rows
        )

    async def add_profiles(
        self,
        bundle_digest: Digest,
        content_digest: Digest,
        device_class: DeviceClass,
        profiles: Sequence[ConfigurationProfile],
        at: datetime | None = None,
    ) -> None:
        """Adds results."""
        rows = profile_rows.to_rows(bundle_digest, content_digest, device_class, profiles)
        async with self._transaction():
            await self._connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", rows.scores)
            await self._connection.executemany(
                "INSERT OR REPLACE INTO times VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.times
            )
            await self._connection.executemany("INSERT OR REPLACE INTO sizes VALUES (?, ?, ?, ?, ?, ?, ?)", rows.sizes)
            if at is not None:
                key = (bundle_digest, content_digest, device_class)
                await self._connection.execute(
                    "INSERT OR REPLACE INTO profiled VALUES (?, ?, ?, ?)", (*key, at.timestamp())
                )

    async def profiled_at(self, bundle_digest: Digest, content_digest: Digest) -> Mapping[DeviceClass, datetime]:
        """When results last came in, by class of devices."""
        rows = await self._rows(
            "SELECT device_class, at_s FROM profiled WHERE bundle_digest = ? AND content_digest = ?",
            (bundle_digest, content_digest),
        )
        return {DeviceClass(row[0]): _moment(row[1]) for row in rows}

    async def profile_table(self, bundle_digest: Digest, content_digest: Digest) -> ProfileTable:
        """All results for a bundle and content."""
        key = (bundle_digest, content_digest)
        where = "WHERE bundle_digest = ? AND content_digest = ?"
        async with self._lock:
            scores = await self._rows(f"SELECT configuration_key, sample_index, score_ratio FROM scores {where}", key)
            times = await self._rows(
                "SELECT device_class, configuration_key, sample_index, operator_id, cpu_ms, wall_ms, output_bytes, "
                f"cached, hurried FROM times {where}",
                key,
            )
            sizes = await self._rows(
                f"SELECT device_class, configuration_key, kind, operator_id, size_bytes FROM sizes {where}", key
            )
        return profile_rows.to_table(bundle_digest, content_digest, scores, times, sizes)

    async def put_generation(self, record: GenerationRecord) -> None:
        """Makes a generation durable.

        Raises:
            AlreadyExists: there is one with this number.
        """
        epoch, number = record.generation.epoch, record.generation.number
        selection = record.selection.SerializeToString(deterministic=True)
        try:
            async with self._transaction():
                await self._connection.execute(
                    "INSERT INTO generations VALUES (?, ?, ?, ?, ?)",
                    (epoch, number, record.created_at.timestamp(), record.phase, selection),
                )
                await self._connection.executemany(
                    "INSERT INTO directives VALUES (?, ?, ?, ?)",
                    [
                        (epoch, number, device_id, directive.SerializeToString(deterministic=True))
                        for device_id, directive in sorted(record.directives.items())
                    ],
                )
                await self._put_decision(selection)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"generation {number} of epoch {epoch} exists") from error

    async def add_directive(self, directive: types_pb2.Directive) -> None:
        """Adds the directive of one more device to a generation."""
        await self._write(
            "INSERT OR IGNORE INTO directives VALUES (?, ?, ?, ?)",
            (
                directive.epoch,
                directive.generation,
                directive.device_id,
                directive.SerializeToString(deterministic=True),
            ),
        )

    async def set_phase(self, generation: Generation, phase: RolloutPhase) -> None:
        """Notes how far a generation has come."""
        await self._write(
            "UPDATE generations SET phase = ? WHERE epoch = ? AND number = ?",
            (phase, generation.epoch, generation.number),
        )

    async def newest_generation(self) -> GenerationRecord | None:
        """The newest generation."""
        rows = await self._read("SELECT epoch, number FROM generations ORDER BY epoch DESC, number DESC LIMIT 1")
        return await self.generation(Generation(epoch=rows[0][0], number=rows[0][1])) if rows else None

    async def generation(self, generation: Generation) -> GenerationRecord | None:
        """A generation."""
        key = (generation.epoch, generation.number)
        async with self._lock:
            rows = await self._rows(
                "SELECT created_at_s, phase, selection FROM generations WHERE epoch = ? AND number = ?", key
            )
            directives = await self._rows(
                "SELECT device_id, message FROM directives WHERE epoch = ? AND number = ?", key
            )
        if not rows:
            return None
        return GenerationRecord(
            generation=generation,
            created_at=_moment(rows[0][0]),
            phase=RolloutPhase(rows[0][1]),
            selection=planner_pb2.SelectionSummary.FromString(rows[0][2]),
            directives={DeviceId(row[0]): types_pb2.Directive.FromString(row[1]) for row in directives},
        )

    async def _put_decision(self, selection: bytes) -> None:
        await self._connection.execute(
            "INSERT INTO decision VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET selection = excluded.selection",
            (selection,),
        )

    async def put_decision(self, selection: planner_pb2.SelectionSummary) -> None:
        """Keeps the last decision."""
        async with self._transaction():
            await self._put_decision(selection.SerializeToString(deterministic=True))

    async def decision(self) -> planner_pb2.SelectionSummary | None:
        """The last decision."""
        rows = await self._read("SELECT selection FROM decision")
        return planner_pb2.SelectionSummary.FromString(rows[0][0]) if rows else None

    async def add_telemetry(self, records: Sequence[TelemetryRecord], epoch: int) -> int:
        """Adds telemetry, leaving out what is there already."""
        fresh = 0
        async with self._transaction():
            for record in records:
                key = (record.device_id, record.sequence, record.received_at.timestamp())
                cursor = await self._connection.execute("INSERT OR IGNORE INTO telemetry VALUES (?, ?, ?)", key)
                if cursor.rowcount < 1:
                    continue
                fresh += 1
                windows: list[tuple[str, types_pb2.QueryWindow | types_pb2.OperatorWindow]] = []
                windows.extend(("query", window) for window in record.queries)
                windows.extend(("operator", window) for window in record.operators)
                await self._connection.executemany(
                    "INSERT INTO windows (kind, epoch, generation, query_id, start_at_s, device_id, message) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            kind,
                            epoch,
                            window.generation,
                            window.query_id,
                            window.start.seconds + window.start.nanos / 1e9,
                            record.device_id,
                            window.SerializeToString(deterministic=True),
                        )
                        for kind, window in windows
                    ],
                )
        return fresh

    async def windows(
        self, since: datetime, generation: Generation | None = None, queries: Sequence[QueryId] | None = None
    ) -> Windows:
        """Windows that start at or after a moment."""
        statement = "SELECT kind, message FROM windows WHERE start_at_s >= ?"
        parameters: list[float | str] = [since.timestamp()]
        if generation is not None:
            statement += " AND epoch = ? AND generation = ?"
            parameters += [generation.epoch, generation.number]
        if queries is not None:
            statement += f" AND query_id IN ({', '.join('?' * len(queries))})"
            parameters += queries
        rows = await self._read(f"{statement} ORDER BY start_at_s, id", parameters)
        return Windows(
            queries=tuple(types_pb2.QueryWindow.FromString(row[1]) for row in rows if row[0] == "query"),
            operators=tuple(types_pb2.OperatorWindow.FromString(row[1]) for row in rows if row[0] == "operator"),
        )

    async def prune_telemetry(self, before: datetime, keep: int) -> None:
        """Forgets old windows; the newest sequence of each device is kept, so that its repeats stay known."""
        async with self._transaction():
            await self._connection.execute("DELETE FROM windows WHERE start_at_s < ?", (before.timestamp(),))
            # Numbers rise, so this counts, without going through them.
            await self._connection.execute("DELETE FROM windows WHERE id <= (SELECT max(id) FROM windows) - ?", (keep,))
            await self._connection.execute(
                "DELETE FROM telemetry WHERE received_at_s < ? AND sequence < "
                "(SELECT max(newer.sequence) FROM telemetry AS newer WHERE newer.device_id = telemetry.device_id)",
                (before.timestamp(),),
            )
