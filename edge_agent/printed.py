"""What this device's processes print, and the agent's own events: a ring of lines for each, which outlives the process.

A line that is printed costs its split and its place in a ring; nothing more is done with it until somebody looks. What
is printed faster than anybody could read is counted and let go, but for the last words of a process, which are kept
however much it said before. Bounded in lines, in bytes for each ring, and in bytes of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from circinus import events
from circinus.clock import Clock

#: Lines and bytes of one ring, bytes of all rings, rings of processes that have ended.
MAX_LINES = 500
MAX_BYTES = 64 * 1024
MAX_ALL_BYTES = 4 * 1024 * 1024
MAX_ENDED = 32
#: A line is cut after so many bytes.
MAX_LINE_BYTES = 2_000
#: Of one process: so many lines a second are kept, and so many at once.
LINES_PER_S = 100.0
BURST_LINES = 500.0
#: Of what was let go, so much of the end is kept until the process has ended.
_LAST_WORDS_BYTES = 4_096
#: What a line takes beside its text, about.
_LINE_BYTES = 120
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "
_MOST_KEY_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Printer:
    """Whose lines a ring has: a replica, a source ("source"), a shadow ("shadow"), or the agent itself (empty).

    ``uses`` are all operators of all queries that the process serves.
    """

    key: str
    query_id: str = ""
    operator_id: str = ""
    replica: int = 0
    uses: frozenset[tuple[str, str]] = frozenset()

    @property
    def is_agent(self) -> bool:
        """Whether it is the agent itself."""
        return not self.query_id

    def serves(self, query_id: str, operator_id: str) -> bool:
        """Whether it has a part in an operator of a query; empty: in any."""
        own = (self.query_id, self.operator_id)
        return any(query_id in ("", query) and operator_id in ("", operator) for query, operator in (*self.uses, own))


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Numbers of a ring's lines rise by one with each that was printed, kept or not."""

    number: int
    at: datetime
    pid: int
    text: str
    cut: bool


@dataclass(slots=True)
class Ring:
    """The newest lines of one printer."""

    printer: Printer
    lines: deque[Line] = field(default_factory=deque)
    size_bytes: int = 0
    #: Of the last line that was printed.
    number: int = 0
    #: How many processes print into it now.
    speaking: int = 0
    room_lines: float = BURST_LINES
    filled_s: float = 0.0

    def after(self, number: int) -> list[Line]:
        """The lines after this one, oldest first."""
        found: list[Line] = []
        for line in reversed(self.lines):
            if line.number <= number:
                break
            found.append(line)
        found.reverse()
        return found

    def drop_oldest(self) -> int:
        """Lets go of its oldest line; gives how many bytes that were."""
        freed_bytes = _size_of(self.lines.popleft())
        self.size_bytes -= freed_bytes
        return freed_bytes


class Printed:
    """The rings of one device."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rings: dict[tuple[str, int], Ring] = {}
        self._size_bytes = 0
        self._own = Voice(self, self.ring(Printer(key="")), clock)

    def rings(self) -> Iterable[Ring]:
        """All that there are."""
        return self._rings.values()

    def ring(self, printer: Printer) -> Ring:
        """The ring of a printer, with what was printed under its key before."""
        place = (printer.key, printer.replica)
        ring = self._rings.pop(place, None) or Ring(printer)
        ring.printer = printer
        self._rings[place] = ring
        return ring

    def serves(self, key: str, uses: Iterable[tuple[str, str]]) -> None:
        """The processes under a key serve these, too, from now on."""
        for ring in self._rings.values():
            if ring.printer.key == key:
                ring.printer = replace(ring.printer, uses=ring.printer.uses.union(uses))

    def voice(self, printer: Printer) -> Voice:
        """A process of a printer is about to start."""
        return Voice(self, self.ring(printer), self._clock)

    def hear(self, name: str, fields: Mapping[str, str], warning: bool) -> None:
        """Keeps an event of the agent."""
        self._own.add(("WARNING " if warning else "") + events.line(name, fields))

    def keep(self, ring: Ring, line: Line) -> None:
        """Puts a line into a ring; old ones make room."""
        ring.lines.append(line)
        grown_bytes = _size_of(line)
        ring.size_bytes += grown_bytes
        self._size_bytes += grown_bytes
        while len(ring.lines) > MAX_LINES or ring.size_bytes > MAX_BYTES:
            self._size_bytes -= ring.drop_oldest()
        while self._size_bytes > MAX_ALL_BYTES:
            self._size_bytes -= max(self._rings.values(), key=lambda one: one.size_bytes).drop_oldest()

    def ended(self) -> None:
        """A process has ended: the oldest rings of those that did are let go where there are many."""
        silent = [place for place, ring in self._rings.items() if not ring.speaking]
        for place in silent[: max(0, len(silent) - MAX_ENDED)]:
            self._size_bytes -= self._rings.pop(place).size_bytes


class Voice:
    """What one process prints into its ring."""

    def __init__(self, printed: Printed, ring: Ring, clock: Clock) -> None:
        #: Told as soon as it is known.
        self.pid = 0
        self._printed = printed
        self._ring = ring
        self._clock = clock
        self._partial = b""
        self._let_go = b""
        self._key_lines = 0
        self._open = True
        ring.speaking += 1

    def take(self, data: bytes) -> None:
        """Bytes as they were printed."""
        data = self._partial + data
        end = data.rfind(b"\n") + 1
        # Of a line that never ends only its beginning is held, and that it is longer.
        self._partial = data[end : end + MAX_LINE_BYTES + 1]
        if end == 0:
            return
        self._take_lines(data, end - 1)

    def _take_lines(self, data: bytes, end: int) -> None:
        ring, now_s = self._ring, self._clock.monotonic_s()
        ring.room_lines = min(BURST_LINES, ring.room_lines + (now_s - ring.filled_s) * LINES_PER_S)
        ring.filled_s = now_s
        printed, kept = data.count(b"\n", 0, end) + 1, int(ring.room_lines)
        if printed > kept:
            # The newest are of more interest.
            self._let_go = (self._let_go + data[max(0, end + 1 - _LAST_WORDS_BYTES) : end + 1])[-_LAST_WORDS_BYTES:]
            ring.number += printed - kept
            if kept == 0:
                return
        rows = data[:end].rsplit(b"\n", kept)[-kept:]
        ring.room_lines -= len(rows)
        self._let_go = b""
        self._add_all(rows)

    def _add_all(self, rows: Iterable[bytes]) -> None:
        at = self._clock.now()
        for row in rows:
            # Of a line that was written over, such as a bar of progress, what is left to see.
            seen = row[: MAX_LINE_BYTES + 1].rstrip(b"\r").rpartition(b"\r")[2]
            self._add(at, seen[:MAX_LINE_BYTES].decode(errors="replace"), cut=len(row) > MAX_LINE_BYTES)

    def add(self, text: str) -> None:
        """A line that is one already."""
        self._add(self._clock.now(), text[:MAX_LINE_BYTES], cut=len(text) > MAX_LINE_BYTES)

    def _add(self, at: datetime, text: str, *, cut: bool) -> None:
        self._ring.number += 1
        self._printed.keep(self._ring, Line(self._ring.number, at, self.pid, self._without_key(text), cut))

    def _without_key(self, text: str) -> str:
        """A key is spread over lines, of which each alone may look harmless."""
        if _KEY_BEGINS in text and "KEY-----" in text:
            self._key_lines = _MOST_KEY_LINES
        elif not self._key_lines:
            return text
        self._key_lines = 0 if _KEY_ENDS in text else self._key_lines - 1
        return "[redacted: private key]"

    def end(self, said: str = "") -> None:
        """The process prints no more; ``said``: how it ended."""
        if not self._open:
            return
        self._open = False
        if self._partial:
            self.take(b"\n")
        if self._let_go:
            # Why it died stands in its last words, however much it said before.
            rows = self._let_go.rstrip(b"\n").split(b"\n")
            self._ring.number -= min(len(rows), self._ring.number)
            self._add_all(rows)
        if said:
            self.add(said)
        self._ring.speaking -= 1
        self._printed.ended()


def _size_of(line: Line) -> int:
    return len(line.text) + _LINE_BYTES
