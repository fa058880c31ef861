"""The agent's ledger: the directives that it accepted, on disk, so that it boots into them without the planner.

What is accepted is synchronised to disk before the planner hears of it (WAL, synchronous=FULL). Every row carries
the digest of its bytes and is checked when it is read: a damaged row is left out and the next good one takes its
place. The highest number ever accepted stands apart from the rows, so damage never lets an older directive in. A file
that SQLite can't read at all is moved aside, not deleted. Signatures are kept with what they sign, and checked once
more before a box boots into it: who can write to its disk is not who may tell it what to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import aiosqlite

from circinus.errors import CircinusError, NotRunnable
from circinus.events import warning
from circinus.model.device import DeviceId, Digest
from circinus.model.directive import Directive, Generation
from circinus.v1 import types_pb2
from circinus.wire import directive_digest, directive_from_message, generation_of
from edge_agent.disk_guard import DiskGuard, fault_of, is_damage, set_aside
from edge_agent.identity.keys import Signed
from edge_agent.law import Accepted, Decision, Offer, decide

_SCHEMA = """
CREATE TABLE IF NOT EXISTS directive (
    epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL, body BLOB NOT NULL,
    signature BLOB NOT NULL DEFAULT x'', signer BLOB NOT NULL DEFAULT x'', PRIMARY KEY (epoch, generation)
) STRICT;
CREATE TABLE IF NOT EXISTS mark (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL
) STRICT;
"""
#: Beside what is needed, so many older good directives stay, for the case that newer rows are damaged.
_KEPT_OLDER = 1


#: Says what is wrong with the signature of each of these; empty: nothing.
FindForged: TypeAlias = Callable[[Sequence[Signed]], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an agent boots into, oldest first. ``active``: the generation that sources were emitting under."""

    directives: tuple[Directive, ...] = ()
    active: Generation | None = None
    accepted: Accepted | None = None


class Ledger:
    """The accepted directives of one device. Use as ``async with Ledger(path, device_id) as ledger``."""

    def __init__(self, path: Path, device_id: DeviceId, guard: DiskGuard | None = None) -> None:
        self._path = path
        self._device_id = device_id
        self._connection: aiosqlite.Connection | None = None
        #: The newest that was ever accepted, its content damaged or not.
        self.accepted: Accepted | None = None
        #: The newest whose content is here.
        self.newest: Accepted | None = None
        self.active: Generation | None = None
        #: What is wrong with its disk, and which file was set aside; empty: nothing.
        self.trouble = ""
        self.damage = ""
        self._guard = guard or DiskGuard(path.parent)
        self._copy: Path | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            self._connection = await _open(self._path)
        except sqlite3.DatabaseError as error:
            # A disk that is full or read-only is no damage: what was accepted is still there to boot from.
            self._connection = await (self._begin_anew(error) if is_damage(error) else self._open_copy(error))
        return self

    async def _begin_anew(self, error: Exception) -> aiosqlite.Connection:
        aside = set_aside(self._path)
        warning("ledger_unreadable", path=self._path, moved_to=aside, reason=error)
        self.damage = f"ledger: it was damaged and is set aside as {aside.name}"
        return await _open(self._path)

    async def _open_copy(self, error: Exception) -> aiosqlite.Connection:
        """What is on a disk that can't be written to, read from memory."""
        fault = fault_of(error) or str(error)
        warning("ledger_in_memory", path=self._path, reason=fault)
        self.trouble = f"ledger: {fault}; directives can't be written down, what was accepted runs on"
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._copy = Path(tempfile.mkdtemp(prefix="circinus-", dir=memory))
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{self._path}{suffix}", self._copy / f"ledger.db{suffix}")
        return await _open(self._copy / "ledger.db")

    async def _go_back(self) -> None:
        """Off the copy, if its disk can be written to again."""
        if self._copy is not None:
            connection = await _open(self._path)
            await self._database.close()
            self._connection = connection
            self._drop_copy()

    def _drop_copy(self) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)
            self._copy = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        self._drop_copy()

    @property
    def _database(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise RuntimeError("the ledger is not open")
        return self._connection

    async def load(self, find_forged: FindForged | None = None) -> Held:
        """What was accepted and is still good: the active directive, whatever is newer, and what is kept for damage.

        ``find_forged`` says what is wrong with each signature; without it none is needed.
        """
        marks = {
            str(name): (Generation(epoch=epoch, number=number), Digest(digest))
            async for name, epoch, number, digest in await self._database.execute(
                "SELECT name, epoch, generation, digest FROM mark"
            )
        }
        directives: list[Directive] = []
        self.newest = None
        rows = await self._rows()
        forged = [""] * len(rows)
        if find_forged is not None:
            forged = await find_forged([Signed(body=one[3], signature=one[4], signer=one[5]) for one in rows])
        for (epoch, number, digest, body, _, _), wrong in zip(rows, forged, strict=True):
            directive = _intact(Generation(epoch=epoch, number=number), digest, body)
            if directive is None:
                warning("directive_damaged", epoch=epoch, generation=number, digest=digest)
            elif wrong:
                warning("directive_forged", epoch=epoch, generation=number, reason=wrong)
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

    async def _rows(self) -> list[tuple[int, int, str, bytes, bytes, bytes]]:
        rows = await self._database.execute_fetchall(
            "SELECT epoch, generation, digest, CAST(body AS BLOB), CAST(signature AS BLOB), CAST(signer AS BLOB) "
            "FROM directive ORDER BY epoch, generation"
        )
        return [(int(row[0]), int(row[1]), str(row[2]), row[3], row[4], row[5]) for row in rows]

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

    async def store(self, message: types_pb2.Directive, signed: Signed | None = None) -> None:
        """Makes a directive the accepted one, with its signature; it is on disk when this returns."""
        generation, digest = generation_of(message), Digest(message.digest)
        row = (generation.epoch, generation.number, digest)
        async with self._writing():
            await self._database.execute(
                "INSERT OR REPLACE INTO directive (epoch, generation, digest, body, signature, signer) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (*row, message.SerializeToString(deterministic=True), b"", b"")
                if signed is None
                else (*row, signed.body, signed.signature, signed.signer),
            )
            await self._mark("accepted", generation, digest)
        self.accepted = self.newest = Accepted(generation=generation, digest=digest)

    async def activate(self, generation: Generation) -> None:
        """Remembers under which generation sources emit."""
        async with self._writing():
            await self._mark("active", generation, Digest(""))
        self.active = generation

    async def retire(self, below: Generation) -> None:
        """Forgets directives below this generation, but for the active one and the newest older."""
        limit = below if self.active is None else min(below, self.active)
        async with self._writing():
            await self._database.execute(
                "DELETE FROM directive WHERE (epoch, generation) < (?, ?) AND (epoch, generation) NOT IN "
                "(SELECT epoch, generation FROM directive WHERE (epoch, generation) < (?, ?) "
                "ORDER BY epoch DESC, generation DESC LIMIT ?)",
                (limit.epoch, limit.number, limit.epoch, limit.number, _KEPT_OLDER),
            )

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """Commits what is written inside; all or nothing.

        Raises:
            NotRunnable: the disk can't be written to.
        """
        async with self._lock:
            # Its few pages always find room: the disk's reserve is there for them.
            if self._guard.look():
                self._guard.release()
            try:
                await self._go_back()
                yield
                await self._database.commit()
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    await self._database.rollback()
                if not isinstance(error, sqlite3.Error | OSError):
                    raise
                fault = fault_of(error) or str(error)
                self.trouble = f"ledger: {fault}; directives can't be written down, what was accepted runs on"
                raise NotRunnable(f"it can't be written down: {fault}") from error
            self.trouble = ""

    async def heal(self) -> None:
        """Goes back to the disk if that couldn't be written to and now can."""
        if self.trouble:
            with contextlib.suppress(NotRunnable):
                async with self._writing():
                    pass

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
        columns = {str(row[1]) for row in await connection.execute_fetchall("PRAGMA table_info(directive)")}
        for column in ("signature", "signer"):  # a file of before there were signatures
            if column not in columns:
                await connection.execute(f"ALTER TABLE directive ADD COLUMN {column} BLOB NOT NULL DEFAULT x''")
        # The file is small; better to find a torn page now than in the middle of an order.
        for (verdict,) in await connection.execute_fetchall("PRAGMA quick_check(1)"):
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
    except BaseException:
        await connection.close()
        raise
    return connection


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
