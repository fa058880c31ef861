"""SQLite files, opened and brought up to date by the scripts in a package's folder, in order of their names."""

from __future__ import annotations

import sqlite3
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import aiosqlite

from circinus.errors import Internal


async def open_migrated(path: Path | None, package: str, what: str, *, busy_timeout_ms: int) -> aiosqlite.Connection:
    """A connection to a file that is up to date, made if there is none; None: in memory.

    ``what`` the file is called in messages.

    Raises:
        Internal: the file is of a newer Circinus.
    """
    connection = await aiosqlite.connect(path if path is not None else ":memory:", isolation_level=None)
    try:
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            await connection.execute(f"PRAGMA {pragma}")
        await connection.execute("BEGIN IMMEDIATE")
        await _migrate(connection, package, what)
        await connection.execute("COMMIT")
    except BaseException:
        # What was begun is undone with it. Its thread is no daemon: left open, it would keep the process alive.
        await connection.close()
        raise
    return connection


def newest(package: str) -> int:
    """How many migrations a package's files have when they are up to date."""
    return len(_scripts(package))


def _scripts(package: str) -> list[Traversable]:
    found = resources.files(package).joinpath("migrations").iterdir()
    return sorted((entry for entry in found if entry.name.endswith(".sql")), key=lambda entry: entry.name)


async def _migrate(connection: aiosqlite.Connection, package: str, what: str) -> None:
    scripts = _scripts(package)
    rows = list(await connection.execute_fetchall("PRAGMA user_version"))
    version = int(rows[0][0])
    if version > len(scripts):
        raise Internal(f"{what} is of version {version}, this planner knows {len(scripts)}: use a newer planner")
    for number, script in enumerate(scripts[version:], start=version + 1):
        # executescript would commit first: statement by statement, the migration is one transaction.
        for statement in _statements(script.read_text()):
            await connection.execute(statement)
        await connection.execute(f"PRAGMA user_version={number}")


def _statements(script: str) -> list[str]:
    """The statements of a script, split where SQLite says that one is complete."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
