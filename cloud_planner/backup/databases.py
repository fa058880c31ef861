"""SQLite files of a backup: copied while others write, checked, and set ahead of all that was numbered before."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from circinus.errors import BadDigest, CircinusError
from cloud_planner.migrations import open_migrated

#: The scripts of which package bring a file up to date.
PACKAGES = {"planner": "cloud_planner.store", "identity": "cloud_planner.identity"}
_BUSY_S = 15.0
#: Numbers that may have been given after a backup, where nobody can tell any more.
_UNKNOWN = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What a planner's file has numbered so far: none of these may be given again to something else."""

    epoch: int = 0
    generation: int = 0
    queries_named: int = 0
    cursor: int = 0


def copy(source: Path, target: Path) -> None:
    """Copies a file as it is at one moment, whoever writes to it meanwhile; the copy is one file, without a log.

    Raises:
        CircinusError: it can't be read, or is busy all the time.
    """
    try:
        with closing(_open(source, "rw")) as found, closing(sqlite3.connect(target)) as made:
            # In one step: the snapshot is that of its begin, and nobody who writes waits for it.
            found.backup(made)
            made.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise CircinusError(f"{source} can't be copied: {error}; `cloud-planner run` says more of it") from error


def check(path: Path) -> None:
    """Reads all of a file.

    Raises:
        BadDigest: it is damaged.
    """
    try:
        with closing(_open(path, "ro")) as found:
            said = [str(row[0]) for row in found.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        said = [str(error)]
    if said != ["ok"]:
        raise BadDigest(f"{path.name} is damaged: {'; '.join(said)[:300]}")


def is_whole(path: Path) -> bool:
    """Whether a file is there and SQLite can read all of it."""
    try:
        check(path)
    except BadDigest:
        return False
    return True


def schema_of(path: Path) -> int:
    """How many migrations a file has had."""
    with closing(_open(path, "ro")) as found:
        return int(found.execute("PRAGMA user_version").fetchone()[0])


def let_go(path: Path) -> bool:
    """Folds a file's log into it; False: somebody else has it open.

    Raises:
        sqlite3.Error: it can't be read.
    """
    with closing(_open(path, "rw", busy_s=0.5)) as found:
        try:
            # Only who is alone may leave the log behind.
            return str(found.execute("PRAGMA journal_mode=DELETE").fetchone()[0]) == "delete"
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return False
            raise


def numbers_of(path: Path) -> Numbers:
    """What a planner's file has numbered.

    Raises:
        sqlite3.Error: it can't be read.
    """
    with closing(_open(path, "ro")) as found:
        facts = {str(name): int(value) for name, value in found.execute("SELECT name, value FROM facts")}
        (generation,) = found.execute("SELECT coalesce(max(number), 0) FROM generations").fetchone()
        cursor = found.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return Numbers(
        epoch=facts["epoch"],
        generation=max(int(generation), facts.get("generation_floor", 0)),
        queries_named=facts["queries_named"],
        cursor=int(cursor[0]) if cursor else 0,
    )


def ahead_of(known: list[Numbers], *, now_s: float, sure: bool, epoch: int = 0) -> Numbers:
    """What a restored planner goes on from.

    ``known``: of the backup and of all that is left of what came after it. ``sure``: nothing came after that. The epoch
    is the moment's, in seconds since 1970: it rises even where nobody knows how often a backup was restored before.

    Raises:
        CircinusError: ``epoch``, which is taken if it is given, is not above those known.
    """
    highest = max(one.epoch for one in known)
    if epoch and epoch <= highest:
        raise CircinusError(f"epoch {epoch} is not above {highest}, which was used before; agents would obey the older")
    more = 0 if sure else _UNKNOWN
    return Numbers(
        epoch=epoch or max(highest + 1, int(now_s)),
        # One more: so that the first one is new, though nothing came after the backup.
        generation=max(one.generation for one in known) + 1 + more,
        queries_named=max(one.queries_named for one in known) + more // 1_000,
        cursor=max(one.cursor for one in known) + more,
    )


def set_ahead(path: Path, numbers: Numbers) -> None:
    """Brings a planner's file up to date and has it go on from these numbers.

    Raises:
        Internal: it is of a newer Circinus.
    """
    asyncio.run(_migrate(path, PACKAGES["planner"]))
    with closing(_open(path, "rw")) as found, found:
        found.execute("UPDATE facts SET value = ? WHERE name = 'epoch'", (numbers.epoch,))
        found.execute("UPDATE facts SET value = ? WHERE name = 'queries_named'", (numbers.queries_named,))
        found.execute("INSERT OR REPLACE INTO facts VALUES ('generation_floor', ?)", (numbers.generation,))
        # It is not what the fleet has by now: nothing of it is gone on with, it is only where the next one comes from.
        found.execute("UPDATE generations SET phase = 'settled'")
        # Where nothing was planned yet, that is what comes back: agents are told to run nothing.
        found.execute(
            "INSERT INTO generations SELECT 1, 0, 0.0, 'settled', x'' WHERE NOT EXISTS (SELECT 1 FROM generations)"
        )
        found.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
        found.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (numbers.cursor,))
    let_go(path)


async def _migrate(path: Path, package: str) -> None:
    connection = await open_migrated(path, package, f"{path.name} of the backup", busy_timeout_ms=5_000)
    await connection.close()


def _open(path: Path, mode: str, busy_s: float = _BUSY_S) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=busy_s)
