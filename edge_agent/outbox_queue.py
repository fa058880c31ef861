"""The outbox's rules: what waits on disk and, while the disk can't be written, in memory. Synchronous; one thread.

Bounds are in number, bytes and age. Over them the oldest telemetry goes first, and is noted as a gap by name. What was
promised never goes: over its own bound the newest is refused. Whatever the disk does, nothing here raises: rows wait in
bounded memory until it can be written again, and what was acknowledged meanwhile is taken out then.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from circinus.events import event, warning
from circinus.v1 import control_pb2
from edge_agent.disk_guard import DiskGuard, fault_of, is_damage, set_aside
from edge_agent.outbox_file import Kind, OutboxFile, Row
from edge_agent.telemetry_gaps import Gap, Gaps

_MIB = 1024 * 1024
#: How far numbers jump at each start, past any that were given out and lost with the power.
_JUMP = 1_000
#: How often a disk that failed is tried again, old telemetry is looked for, and dropping is said again.
_RETRY_S = 5.0
_AGE_PERIOD_S = 60.0
_SAY_PERIOD_S = 60.0
#: A disk that is nearly full keeps at least so much telemetry.
_LEAST_BYTES = 256 * 1024
#: Small messages of what may not be let go (a gap, an error) find room beyond the bound of large ones.
_SMALL_BYTES = 4_096
_SMALL_EXTRA = 1_000
_BATCH = 256
_TOLD = (Kind.TELEMETRY, Kind.KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the outbox holds at most. Ages count the time that the device ran."""

    telemetry: int = 100_000
    telemetry_bytes: int = 256 * _MIB
    age_s: float = 35 * 86_400.0
    promised: int = 10_000
    promised_bytes: int = 64 * _MIB
    memory: int = 5_000
    memory_bytes: int = 8 * _MIB


class OutboxQueue:
    """Rows that wait. ``ran_s``: how long the device has run (a clock that never jumps); ``boot`` names its start."""

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits,
        guard: DiskGuard,
        now_s: Callable[[], float],
        ran_s: Callable[[], float],
        boot: str,
    ) -> None:
        self._path = path
        self._limits = limits
        self._guard = guard
        self._now_s = now_s
        self._ran_s = ran_s
        self._boot = boot
        self._file: OutboxFile | None = None
        self._memory: deque[Row] = deque()
        self._done: set[int] = set()
        #: Rows and bytes of each kind, on disk and in memory.
        self._held = dict.fromkeys(Kind, (0, 0))
        self._gaps = Gaps()
        self._next = 0
        self._retry_s = float("-inf")
        self._aged_s = float("-inf")
        self._said_s = float("-inf")
        self._low_at_bytes: int | None = None
        self._serving = False
        self.dropped = 0
        self.refused = 0
        #: How often a file was opened: rows with lower numbers than those known may have come with it.
        self.opened = 0
        #: What is wrong with the file's disk, and which file was set aside; empty: nothing.
        self.trouble = ""
        self.damage = ""

    @property
    def restless(self) -> bool:
        """Whether ``rest`` has something to do."""
        return self._serving or bool(self._memory or self._done or self.trouble)

    @property
    def waiting(self) -> tuple[int, int]:
        """Rows that wait, and their bytes."""
        return sum(count for count, _ in self._held.values()), sum(size for _, size in self._held.values())

    @property
    def owes_gaps(self) -> bool:
        """Whether gaps wait to be made a message of."""
        return bool(self._gaps)

    @property
    def owes_promises(self) -> bool:
        """Whether there is anything for ``promised``."""
        return self._held[Kind.PROMISE][0] > 0

    def open(self) -> None:
        """Opens the file; a damaged one is set aside, one out of reach is tried again later."""
        self._write(None)
        if not self._next:
            self._next = _first_number()

    def close(self) -> None:
        """Writes down what memory holds, if that can be, and that nothing was cut off."""
        self._retry_s = float("-inf")
        if self._write(lambda file: file.set_mark("open", "0"), important=True):
            return self._let_go_of_file()
        if self._memory:
            warning("outbox_lost", messages=len(self._memory), reason=self.trouble)
        return self._let_go_of_file()

    def _let_go_of_file(self) -> None:
        if self._file is not None:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None

    # What comes in.

    def put(self, bodies: Sequence[tuple[Kind, bytes]]) -> bool:
        """Adds messages. False: one of them was promised and there is no room for it; it is not kept."""
        now_s, ran_s, taken = self._now_s(), self._ran_s(), True
        rows: list[Row] = []
        for kind, body in bodies:
            if kind is not Kind.TELEMETRY and not self._room(len(body)):
                self.refused += 1
                taken = False
                continue
            self._next += 1
            rows.append(Row(sequence=self._next, kind=kind, made_at_s=now_s, ran_s=ran_s, exact=True, body=body))
            self._count(kind, 1, len(body))
        if not rows:
            return taken
        telemetry = any(row.kind is Kind.TELEMETRY for row in rows)
        self._serving |= telemetry

        def write(file: OutboxFile) -> None:
            file.insert(rows)
            self._mark(file, now_s if telemetry else None)

        if self._write(write, important=any(row.kind is not Kind.TELEMETRY for row in rows)):
            self._trim()
        else:
            self._memory.extend(rows)
            self._trim_memory()
        return taken

    def rest(self) -> None:
        """There is nothing to count now: a kill from here on loses nothing."""
        if not self._serving:
            self._write(None)
        elif self._write(lambda file: file.set_mark("serving", "0")):
            self._serving = False

    def _room(self, size_bytes: int) -> bool:
        limits = self._limits
        count = self._held[Kind.KEPT][0] + self._held[Kind.PROMISE][0]
        if size_bytes <= _SMALL_BYTES:
            return count < limits.promised + _SMALL_EXTRA
        if self._memory and sum(len(row.body) for row in self._memory) + size_bytes > 2 * limits.memory_bytes:
            return False
        held_bytes = self._held[Kind.KEPT][1] + self._held[Kind.PROMISE][1]
        return count < limits.promised and held_bytes + size_bytes <= limits.promised_bytes

    def _count(self, kind: Kind, rows: int, size_bytes: int) -> None:
        count, held_bytes = self._held[kind]
        self._held[kind] = (max(0, count + rows), max(0, held_bytes + size_bytes))

    # What goes out.

    def peek(self, after: int, limit: int) -> list[Row]:
        """The next telemetry with numbers above ``after``."""
        return self._read(after, _TOLD, limit)

    def promised(self, after: int, limit: int) -> list[Row]:
        """The next of what else was promised with numbers above ``after``."""
        return self._read(after, (Kind.PROMISE,), limit) if self.owes_promises else []

    def _read(self, after: int, kinds: Sequence[Kind], limit: int) -> list[Row]:
        rows: list[Row] = []
        damaged: list[int] = []
        if self._file is not None:
            try:
                # What was acknowledged is still in the file while it can't be written.
                rows, damaged = self._file.read(after, kinds, limit + len(self._done))
            except sqlite3.Error as error:
                self._failed(error)
        if damaged:
            now_s = self._now_s()
            self._gaps.add(("", 0, "damaged"), Gap(start_s=now_s, end_s=now_s, messages=len(damaged)))
            warning("outbox_rows_damaged", rows=len(damaged))
            self.forget(damaged)
        rows.extend(row for row in self._memory if row.kind in kinds and row.sequence > after)
        return [row for row in rows if row.sequence not in self._done][:limit]

    def forget(self, sequences: Iterable[int]) -> None:
        """Takes out what has arrived."""
        gone = set(sequences)
        if self._memory:
            for row in self._memory:
                if row.sequence in gone:
                    self._count(row.kind, -1, -len(row.body))
            self._memory = deque(row for row in self._memory if row.sequence not in gone)
        self._done |= gone
        self._write(None, important=True)

    def tell_gaps(self) -> None:
        """Makes a message of the gaps that nobody was told of."""
        if not self._gaps:
            return
        message = self._gaps.message()
        message.made_at.FromNanoseconds(round(max(0.0, self._now_s()) * 1e9))
        if self.put([(Kind.KEPT, message.SerializeToString())]):
            self._gaps = Gaps()
            self._write(lambda file: file.set_gaps(self._gaps), important=True)

    # Bounds.

    def _trim(self) -> None:
        """Lets the oldest telemetry go while there is too much of it."""
        while cause := self._excess():
            many = self._held[Kind.TELEMETRY][0] - self._limits.telemetry
            if not self._let_go(lambda file, many=many: file.oldest(max(1, min(_BATCH, many))), cause):  # type: ignore[misc]
                break
        if self._ran_s() - self._aged_s >= _AGE_PERIOD_S:
            self._aged_s = self._ran_s()
            before_s = self._ran_s() - self._limits.age_s
            while self._let_go(lambda file: file.aged(before_s, _BATCH), "age"):
                pass

    def _excess(self) -> str:
        count, held_bytes = self._held[Kind.TELEMETRY]
        if count > self._limits.telemetry:
            return "number"
        limit_bytes = self._limits.telemetry_bytes
        if held_bytes > _LEAST_BYTES and self._guard.low():
            # It grows no more: pages that are let go are used again.
            if self._low_at_bytes is None:
                self._low_at_bytes = held_bytes
            limit_bytes = min(limit_bytes, self._low_at_bytes)
        else:
            self._low_at_bytes = None
        return "bytes" if held_bytes > limit_bytes else ""

    def _let_go(self, choose: Callable[[OutboxFile], Sequence[Row]], cause: str) -> bool:
        """Lets rows of the file go and notes the gap, both or neither. False: there were none, or it can't be."""
        rows: list[Row] = []
        gaps = self._gaps.copy()

        def write(file: OutboxFile) -> None:
            rows.extend(choose(file))
            file.delete(row.sequence for row in rows)
            for row in rows:
                gaps.add_message(row.body, cause, row.made_at_s)
            file.set_gaps(gaps)

        if not self._write(write) or not rows:
            return False
        self._gaps = gaps
        self._lost(rows, cause)
        return True

    def _trim_memory(self) -> None:
        size_bytes = sum(len(row.body) for row in self._memory)
        telemetry = [row for row in self._memory if row.kind is Kind.TELEMETRY]
        excess, lost = len(self._memory) - self._limits.memory, []
        for row in telemetry:
            if excess <= 0 and size_bytes <= self._limits.memory_bytes:
                break
            excess, size_bytes = excess - 1, size_bytes - len(row.body)
            self._gaps.add_message(row.body, "memory", row.made_at_s)
            lost.append(row)
        if lost:
            gone = {row.sequence for row in lost}
            self._memory = deque(row for row in self._memory if row.sequence not in gone)
            self._lost(lost, "memory")

    def _lost(self, rows: Sequence[Row], cause: str) -> None:
        for row in rows:
            self._count(row.kind, -1, -len(row.body))
        self.dropped += len(rows)
        if self._ran_s() - self._said_s >= _SAY_PERIOD_S:
            self._said_s = self._ran_s()
            warning("telemetry_dropped", messages=len(rows), total=self.dropped, cause=cause)

    # The disk.

    def _write(self, write: Callable[[OutboxFile], None] | None, *, important: bool = False) -> bool:
        """Writes, after all that waits to be written; False: the disk can't be written now.

        For what is ``important`` the disk's reserve may be given up.
        """
        if self.trouble and self._ran_s() < self._retry_s:
            return False
        for _ in range(3):
            gone: list[tuple[Kind, int]] = []
            try:
                file = self._file if self._file is not None else self._open()
                with file:
                    if self._memory:
                        file.insert(self._memory)
                    if self._done:
                        gone = file.delete(self._done)
                    if write is not None:
                        write(file)
            except (sqlite3.Error, OSError) as error:
                if self._failed(error) or (important and self._guard.release()):
                    continue
                return False
            self._written(file, gone)
            return True
        return False

    def _written(self, file: OutboxFile, gone: Sequence[tuple[Kind, int]]) -> None:
        for kind, size_bytes in gone:
            self._count(kind, -1, -size_bytes)
        self._memory.clear()
        self._done.clear()
        if gone:
            with suppress(sqlite3.Error):
                file.shrink()
        if self.trouble:
            event("outbox_on_disk_again", path=self._path)
            self.trouble = ""

    def _open(self) -> OutboxFile:
        file = OutboxFile(self._path)
        try:
            with file:
                self._resume(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        self.opened += 1
        return file

    def _resume(self, file: OutboxFile) -> None:
        """Takes up where the last agent was."""
        marked = int(file.mark("next", "0"))
        if not self._next:
            self._next = max(marked, file.highest()) + _JUMP if marked else _first_number()
        now_s, ran_s = self._now_s(), self._ran_s()
        if (boot := file.mark("boot")) and boot != self._boot:
            file.rebase(float(file.mark("ran_s", "0")), ran_s)
        for key, gap in file.gaps().items():
            self._gaps.add(key, gap)
        if file.mark("open") == "1" and file.mark("serving") == "1":
            last_s = float(file.mark("last_s", "0"))
            self._gaps.add(("", 0, "restart"), Gap(start_s=last_s, end_s=max(last_s, now_s)))
        self._held = dict.fromkeys(Kind, (0, 0)) | file.held()
        for row in self._memory:
            self._count(row.kind, 1, len(row.body))
        file.set_mark("open", "1")
        file.set_mark("serving", "0")
        self._mark(file, None)
        file.set_gaps(self._gaps)

    def _mark(self, file: OutboxFile, telemetry_s: float | None) -> None:
        file.set_mark("next", str(self._next))
        file.set_mark("boot", self._boot)
        file.set_mark("ran_s", repr(self._ran_s()))
        if telemetry_s is not None:
            file.set_mark("last_s", repr(telemetry_s))
            file.set_mark("serving", "1")

    def _failed(self, error: Exception) -> bool:
        """Names what is wrong. True: the file was damaged and is set aside, so that a new one may be tried."""
        if is_damage(error):
            return self._put_aside(error)
        fault = fault_of(error) or str(error) or type(error).__name__
        if not self.trouble:
            warning("outbox_in_memory", path=self._path, reason=fault)
        self.trouble = f"outbox: {fault}; what is to be sent waits in memory"
        self._retry_s = self._ran_s() + _RETRY_S
        return False

    def _put_aside(self, error: Exception) -> bool:
        self._let_go_of_file()
        try:
            aside = set_aside(self._path)
        except OSError as fault:
            return self._failed(fault)
        warning("outbox_unreadable", path=self._path, moved_to=aside, reason=error)
        self.damage = f"outbox: it was damaged and is set aside as {aside.name}"
        now_s = self._now_s()
        self._gaps.add(("", 0, "damaged"), Gap(start_s=now_s, end_s=now_s))
        return True


def telemetry_of(row: Row, ran_s: float) -> control_pb2.Telemetry:
    """A row as it is sent."""
    message = control_pb2.Telemetry.FromString(row.body)
    message.sequence = row.sequence
    if row.exact:
        message.age_s = max(0.0, ran_s - row.ran_s)
    return message


def _first_number() -> int:
    """Where numbers begin if the last ones are lost: not where they did before, or they would count as repeats."""
    return secrets.randbits(40) << 20
