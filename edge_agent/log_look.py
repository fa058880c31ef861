"""What somebody who looks has read of what this device prints: first what there is, merged by time, then what comes.

There is no line for each reader: the rings are that, and what was let go of them before it was read is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import timedelta

from circinus.clock import Clock
from circinus.redaction import Redactor
from circinus.v1 import control_pb2
from edge_agent.printed import Line, Printed, Ring

#: What a line takes in a message beside its text, about.
_LINE_BYTES = 60
#: Taking secrets out takes time; serving comes in between after so much of it.
_SLICE_S = 0.002


class LogLook:
    """One reader. ``processes`` False: the owner of the device shows the agent's own lines alone."""

    def __init__(
        self, printed: Printed, wanted: control_pb2.LogsWanted, clock: Clock, *, processes: bool = True
    ) -> None:
        self._printed = printed
        self._clock = clock
        self._wanted = wanted
        self._processes = processes
        self._redactor = Redactor()
        self._caught_up = False
        #: Of each ring the number of the line that was read last.
        self._read: dict[tuple[str, int], int] = {}
        since = clock.now() - timedelta(seconds=wanted.since_s) if wanted.since_s > 0.0 else None
        found = [
            (line.at, ring, line) for ring in self._rings() for line in ring.lines if since is None or line.at >= since
        ]
        found.sort(key=lambda one: one[0])
        self._backlog = deque((ring, line) for _, ring, line in (found[-wanted.tail :] if wanted.tail else found))
        self._ends = {_place(ring): ring.lines[-1].number for ring in self._rings() if ring.lines}

    def next_chunk(self, most_bytes: int) -> control_pb2.LookChunk | None:
        """What is to be sent next; None: nothing now."""
        chunk = control_pb2.LookChunk()
        if not self._caught_up:
            self._fill(chunk, self._backlog, most_bytes)
            if self._backlog:
                return chunk
            self._caught_up = chunk.caught_up = True
            chunk.ended = not self._wanted.follow
            self._read = self._ends | self._read
            return chunk
        found = [
            (line.at, ring, line)
            for ring in self._rings()
            if ring.number > self._read.get(_place(ring), 0)
            for line in ring.after(self._read.get(_place(ring), 0))
        ]
        found.sort(key=lambda one: one[0])
        self._fill(chunk, deque((ring, line) for _, ring, line in found), most_bytes)
        return chunk if chunk.lines else None

    def _rings(self) -> Iterator[Ring]:
        wanted = self._wanted
        for ring in self._printed.rings():
            if ring.printer.is_agent:
                if wanted.agent:
                    yield ring
            elif self._processes and ring.printer.serves(wanted.query_id, wanted.operator_id):
                yield ring

    def _fill(self, chunk: control_pb2.LookChunk, lines: deque[tuple[Ring, Line]], most_bytes: int) -> None:
        left_bytes, until_s = most_bytes, self._clock.monotonic_s() + _SLICE_S
        while lines and (left_bytes == most_bytes or len(lines[0][1].text) + _LINE_BYTES <= left_bytes):
            if left_bytes != most_bytes and self._clock.monotonic_s() > until_s:
                return
            ring, line = lines.popleft()
            left_bytes -= len(line.text) + _LINE_BYTES
            chunk.lines.append(self._message(ring, line))

    def _message(self, ring: Ring, line: Line) -> control_pb2.LogLine:
        printer, place = ring.printer, _place(ring)
        before = self._read.get(place)
        self._read[place] = line.number
        message = control_pb2.LogLine(
            query_id=printer.query_id,
            operator_id=printer.operator_id,
            replica=printer.replica,
            pid=line.pid,
            text=self._redactor.text(line.text),
            cut=line.cut,
            left_out=0 if before is None else max(0, line.number - before - 1),
        )
        message.at.FromDatetime(line.at)
        return message


def _place(ring: Ring) -> tuple[str, int]:
    return ring.printer.key, ring.printer.replica
