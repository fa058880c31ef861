"""The agent's ledger: the directives that it accepted, on disk, so that it boots into them without the planner.

What is accepted is synchronised to disk before the planner hears of it (WAL, synchronous=FULL). Every row carries
the digest of its bytes and is checked when it is read: a damaged row is left out and the next good one takes its
place. The highest number ever accepted stands apart from the rows, so damage never lets an older directive in.
A file that SQLite can't read at all is moved aside, not deleted.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite

from circinus.errors import CircinusError
from circinus.events import warning
from circinus.model.device import DeviceId, Digest
from circinus.model.directive import Directive, Generation
from circinus.v1 import types_pb2
from circinus.wire import directive_digest, directive_from_message, generation_of
from edge_agent.law import Accepted, Decision, Offer, decide

_SCHEMA = """
CREATE TABLE IF NOT EXISTS directive (
    epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (epoch, generation)
) STRICT;
CREATE TABLE IF NOT EXISTS mark (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL
) STRICT;
"""
#: Beside what is needed, so many older good directives stay, for the case that newer rows are damaged.
_KEPT_OLDER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an agent boots into, oldest first. ``active``: the generation that sources were emitting under."""

    directives: tuple[Directive, ...] = ()
    active: Generation | None = None
    accepted: Accepted | None = None


class Ledger:
    """The accepted directives of one device. Use as ``async with Ledger(path, device_id) as ledger``."""

    def __init__(self, path: Path, device_id: DeviceId) -> None:
        self._path = path
        self._device_id = device_id
        self._connection: aiosqlite.Connection | None = None
        #: The newest that was ever accepted, its content damaged or not.
        self.accepted: Accepted | None = None
        #: The newest whose content is here.
        self.newest: Accepted | None = None
        self.active: Generation | None = None

    async def __aenter__(self) -> Self:
        try:
            self._connection = await _open(self._path)
        except sqlite3.DatabaseError as error:
            aside = _free_name(self._path)
            warning("ledger_unreadable", path=self._path, moved_to=aside, reason=error)
            for suffix in ("-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)  # noqa: ASYNC240 - once, at a start
            self._path.rename(aside)
            self._connection = await _open(self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @property
    def _database(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise RuntimeError("the ledger is not open")
        return self._connection

    async def load(self) -> Held:
        """What was accepted and is still good: the active directive, whatever is newer, and what is kept for damage."""
        marks = {
            str(name): (Generation(epoch=epoch, number=number), Digest(digest))
            async for name, epoch, number, digest in await self._database.execute(
                "SELECT name, epoch, generation, digest FROM mark"
            )
        }
        directives: list[Directive] = []
        self.newest = None
        rows = await self._database.execute_fetchall(
            "SELECT epoch, generation, digest, body FROM directive ORDER BY epoch, generation"
        )
        for epoch, number, digest, body in rows:
            directive = _intact(Generation(epoch=epoch, number=number), digest, body)
            if directive is None:
                warning("directive_damaged", epoch=epoch, generation=number, digest=digest)
            else:
                directives.append(directive)
                self.newest = Accepted(generation=directive.generation, digest=Digest(digest))
        good = {directive.generation for directive in directives}
        if "accepted" in marks:
            generation, digest = marks["accepted"]
            self.accepted = Accepted(generation=generation, digest=digest, intact=generation in good)
        self.active = self._active_of(marks.get("active"), good)
        needed = tuple(
            directive for directive in directives if self.active is None or directive.generation >= self.active
        )
        return Held(directives=needed, active=self.active, accepted=self.accepted)

    @staticmethod
    def _active_of(mark: tuple[Generation, Digest] | None, good: set[Generation]) -> Generation | None:
        if mark is None or mark[0] in good:
            return mark[0] if mark else None
        return max((generation for generation in good if generation < mark[0]), default=None)

    def judge(self, message: types_pb2.Directive) -> Decision:
        """What the generation law says of a directive.

        Raises:
            WrongDevice, BadDigest, StaleGeneration, ConflictingDirective: it is refused.
        """
        offer = Offer(
            device_id=DeviceId(message.device_id),
            generation=generation_of(message),
            digest=message.digest,
            computed=directive_digest(message),
        )
        return decide(offer, own_id=self._device_id, accepted=self.accepted)

    async def store(self, message: types_pb2.Directive) -> None:
        """Makes a directive the accepted one; it is on disk when this returns."""
        generation, digest = generation_of(message), Digest(message.digest)
        row = (generation.epoch, generation.number, digest)
        await self._database.execute(
            "INSERT OR REPLACE INTO directive (epoch, generation, digest, body) VALUES (?, ?, ?, ?)",
            (*row, message.SerializeToString(deterministic=True)),
        )
        await self._mark("accepted", generation, digest)
        await self._database.commit()
        self.accepted = self.newest = Accepted(generation=generation, digest=digest)

    async def activate(self, generation: Generation) -> None:
        """Remembers under which generation sources emit."""
        await self._mark("active", generation, Digest(""))
        await self._database.commit()
        self.active = generation

    async def retire(self, below: Generation) -> None:
        """Forgets directives below this generation, but for the active one and the newest older."""
        limit = below if self.active is None else min(below, self.active)
        await self._database.execute(
            "DELETE FROM directive WHERE (epoch, generation) < (?, ?) AND (epoch, generation) NOT IN "
            "(SELECT epoch, generation FROM directive WHERE (epoch, generation) < (?, ?) "
            "ORDER BY epoch DESC, generation DESC LIMIT ?)",
            (limit.epoch, limit.number, limit.epoch, limit.number, _KEPT_OLDER),
        )
        await self._database.commit()

    async def _mark(self, name: str, generation: Generation, digest: Digest) -> None:
        await self._database.execute(
            "INSERT OR REPLACE INTO mark (name, epoch, generation, digest) VALUES (?, ?, ?, ?)",
            (name, generation.epoch, generation.number, digest),
        )


async def _open(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path)
    try:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        await connection.executescript(_SCHEMA)
        # The file is small; better to find a torn page now than in the middle of an order.
        for (verdict,) in await connection.execute_fetchall("PRAGMA quick_check(1)"):
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
    except BaseException:
        await connection.close()
        raise
    return connection


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _intact(generation: Generation, digest: str, body: object) -> Directive | None:
    """The directive in a row, or None if the row is not what it was written as."""
    if not isinstance(body, bytes):
        return None
    message = types_pb2.Directive()
    with contextlib.suppress(Exception):  # protobuf's DecodeError differs between its runtimes
        message.ParseFromString(body)
        if directive_digest(message) != digest or generation_of(message) != generation:
            return None
        try:
            return directive_from_message(message)
        except CircinusError:
            return None
    return None
