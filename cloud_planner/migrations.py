"""Migrations of a SQLite file: scripts in a package's folder, in order of names, applied from ``user_version`` on."""

from __future__ import annotations

import sqlite3
from importlib import resources
from typing import TYPE_CHECKING

from circinus.errors import Internal

if TYPE_CHECKING:
    import aiosqlite


async def migrate(connection: aiosqlite.Connection, package: str, what: str) -> None:
    """Brings a file up to date, within the caller's transaction. ``what`` it is called in messages.

    Raises:
        Internal: the file is of a newer Circinus.
    """
    found = resources.files(package).joinpath("migrations").iterdir()
    scripts = sorted((entry for entry in found if entry.name.endswith(".sql")), key=lambda entry: entry.name)
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
