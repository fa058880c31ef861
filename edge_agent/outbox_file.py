"""The outbox's file: rows by number in SQLite. Synchronous; one thread at a time.

Every row carries a check sum, since most single flipped bits pass SQLite's own checks unseen. The file is written ahead
and not synchronised at every commit: a kill loses nothing, a power cut the last second. A row's age is kept as time
that the device ran, by a clock that never jumps: ages outlive restarts of the agent, and after one of the device they
only say "at least so much".
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edge_agent.telemetry_gaps import Gaps, of_rows

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    sequence INTEGER PRIMARY KEY, kind INTEGER NOT NULL, made_at_s REAL NOT NULL, ran_s REAL NOT NULL,
    exact INTEGER NOT NULL, sum INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS waiting_kept ON waiting (sequence) WHERE kind > 0;
CREATE TABLE IF NOT EXISTS gap (
    query_id TEXT NOT NULL, generation INTEGER NOT NULL, cause TEXT NOT NULL, start_s REAL NOT NULL,
    end_s REAL NOT NULL, messages INTEGER NOT NULL, emitted INTEGER NOT NULL,
    PRIMARY KEY (query_id, generation, cause)
) STRICT;
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
#: Pages that are free before the file is made smaller, and how many are given back at a time.
_SPARE_PAGES = 256
_SHRINK_PAGES = 1_024
_COLUMNS = "sequence, kind, made_at_s, ran_s, exact, sum, body"


class Kind(IntEnum):
    """What a row is. Telemetry may be let go; the others were promised."""

    TELEMETRY = 0
    #: Telemetry that may not be let go: episodes of stand-bys, and gaps.
    KEPT = 1
    #: Anything else that must get there: a whole ConnectRequest.
    PROMISE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message that waits. ``ran_s``: how long the device had run when it was made; ``exact``: in this start of it."""

    sequence: int
    kind: Kind
    made_at_s: float
    ran_s: float
    exact: bool
    body: bytes

    @property
    def values(self) -> tuple[int, int, float, float, int, int, bytes]:
        """As it stands in the file."""
        return (
            self.sequence,
            self.kind,
            self.made_at_s,
            self.ran_s,
            int(self.exact),
            _sum(self.sequence, self.body),
            self.body,
        )


class OutboxFile:
    """An open file. Methods raise sqlite3.Error; whoever calls knows what to do about the disk."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
        try:
            # Only heeded while the file is empty.
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA cache_size=-256")
            self._connection.execute("PRAGMA journal_size_limit=1048576")
            self._connection.executescript(_SCHEMA)
            self._take_over_old()
        except BaseException:
            self._connection.close()
            raise

    def _take_over_old(self) -> None:
        """What an agent from before kinds and ages left."""
        if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'telemetry'").fetchone():
            return
        rows = self._connection.execute("SELECT sequence, body FROM telemetry").fetchall()
        with self:
            self.insert(
                Row(sequence=sequence, kind=Kind.TELEMETRY, made_at_s=0.0, ran_s=0.0, exact=False, body=body)
                for sequence, body in rows
            )
            last = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'telemetry'").fetchone()
            self.set_mark("next", str((last[0] if last else 0) + 1))
            self._connection.execute("DROP TABLE telemetry")

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()

    def __enter__(self) -> OutboxFile:
        self._connection.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # A full disk may have rolled it back already.
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    def insert(self, rows: Iterable[Row]) -> None:
        """Adds rows; ones that are there already stand."""
        self._connection.executemany(
            f"INSERT OR IGNORE INTO waiting ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", (row.values for row in rows)
        )

    def read(self, after: int, kinds: Sequence[Kind], limit: int) -> tuple[list[Row], list[int]]:
        """The next rows of these kinds above a number, and the numbers of damaged ones among them."""
        # Without promises in it a question must not go through all telemetry.
        where = "kind = 2 AND kind > 0" if tuple(kinds) == (Kind.PROMISE,) else "kind < 2"
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM waiting WHERE {where} AND sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return _checked(found)

    def oldest(self, limit: int) -> list[Row]:
        """The oldest telemetry, damaged or not."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM waiting WHERE kind = 0 ORDER BY sequence LIMIT ?", (limit,)
        )
        return [_row(*values) for values in found]

    def aged(self, before_ran_s: float, limit: int) -> list[Row]:
        """Telemetry from before a running time, oldest first."""
        return [row for row in self.oldest(limit) if row.ran_s < before_ran_s]

    def delete(self, sequences: Iterable[int]) -> list[tuple[Kind, int]]:
        """Takes rows out. Gives the kind and size of each that was there."""
        gone: list[tuple[Kind, int]] = []
        for sequence in sequences:
            statement = "DELETE FROM waiting WHERE sequence = ? RETURNING kind, length(body)"
            gone += [(Kind(kind), size) for kind, size in self._connection.execute(statement, (sequence,)).fetchall()]
        return gone

    def shrink(self) -> None:
        """Gives free pages back to the disk, if there are many."""
        if self._connection.execute("PRAGMA freelist_count").fetchone()[0] > _SPARE_PAGES:
            # A script: a single statement ends after its first page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")

    def held(self) -> dict[Kind, tuple[int, int]]:
        """Rows and bytes of each kind."""
        found = self._connection.execute("SELECT kind, count(*), sum(length(body)) FROM waiting GROUP BY kind")
        return {Kind(kind): (count, size_bytes) for kind, count, size_bytes in found}

    def highest(self) -> int:
        """The highest number in it."""
        return int(self._connection.execute("SELECT coalesce(max(sequence), 0) FROM waiting").fetchone()[0])

    def rebase(self, last_ran_s: float, now_ran_s: float) -> None:
        """The device was started anew: ages go on from where they were when it was last heard of."""
        self._connection.execute("UPDATE waiting SET ran_s = ran_s - ? + ?, exact = 0", (last_ran_s, now_ran_s))

    def mark(self, name: str, default: str = "") -> str:
        """A fact by name."""
        found = self._connection.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else default

    def set_mark(self, name: str, value: str) -> None:
        """Keeps a fact by name."""
        self._connection.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, value))

    def gaps(self) -> Gaps:
        """Gaps that nobody was told of."""
        found = self._connection.execute(
            "SELECT query_id, generation, cause, start_s, end_s, messages, emitted FROM gap"
        )
        return of_rows(found.fetchall())

    def set_gaps(self, gaps: Gaps) -> None:
        """Keeps these in place of those before."""
        self._connection.execute("DELETE FROM gap")
        self._connection.executemany(
            "INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((*key, gap.start_s, gap.end_s, gap.messages, gap.emitted) for key, gap in gaps.items()),
        )


def _sum(sequence: int, body: bytes) -> int:
    return zlib.crc32(body, sequence & 0xFFFFFFFF)


def _row(sequence: int, kind: int, made_at_s: float, ran_s: float, exact: int, _sum: int, body: bytes) -> Row:
    return Row(sequence=sequence, kind=Kind(kind), made_at_s=made_at_s, ran_s=ran_s, exact=bool(exact), body=body)


def _checked(found: Iterable[tuple[int, int, float, float, int, int, bytes]]) -> tuple[list[Row], list[int]]:
    rows: list[Row] = []
    damaged: list[int] = []
    for values in found:
        if values[5] == _sum(values[0], values[6]):
            rows.append(_row(*values))
        else:
            damaged.append(values[0])
    return rows, damaged
