"""Sinks: results of queries as lines of JSON in files of the device, as far as its owner lets queries write.

A file that grows over its limit becomes NAME.1, in place of an older one: there are two at most. What can't be written
in time is let go and counted; the next line that is written says how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from circinus.clock import Clock
from circinus.events import event, warning
from circinus.model.directive import SourceSpec
from circinus.model.query import QueryId
from circinus.results import result_line
from edge_agent.dataplane.book import Ended
from edge_agent.feeds.access import Access, NotOpened
from edge_agent.ingress.results import result_message

MAX_FILE_BYTES = 64 * 1024 * 1024
#: Results that wait to be written; beyond that the oldest are let go.
MAX_WAITING = 1_000
MAX_WAITING_BYTES = 16 * 1024 * 1024
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
_FILE = "file:"


class Sink:
    """One file, and what waits for it. ``failure``: why nothing can be written; empty: it can."""

    def __init__(self, uri: str, access: Access, clock: Clock, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.failure = ""
        self._path = uri.removeprefix(_FILE)
        self._access = access
        self._clock = clock
        self._max_file_bytes = max_file_bytes
        self._waiting: deque[tuple[Ended, datetime]] = deque()
        self._size_bytes = 0
        self._lost = 0
        self._has_work = asyncio.Event()
        self._closed = asyncio.Event()

    def put(self, ended: Ended) -> None:
        """Takes an outcome; the oldest that wait make room for it."""
        self._waiting.append((ended, self._clock.now()))
        self._size_bytes += _size(ended)
        while len(self._waiting) > MAX_WAITING or (self._size_bytes > MAX_WAITING_BYTES and len(self._waiting) > 1):
            gone, _ = self._waiting.popleft()
            self._size_bytes -= _size(gone)
            self._lost += 1
        self._has_work.set()

    def close(self) -> None:
        """Nothing more comes: what waits is tried once more, and that is it."""
        self._closed.set()
        self._has_work.set()

    async def run(self) -> None:
        """Writes what comes until the sink is closed."""
        pause_s = 0.0
        while not self._closed.is_set():
            await self._has_work.wait()
            await self._write_waiting()
            pause_s = min(_MAX_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s)) if self.failure else 0.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closed.wait()
        await self._write_waiting()

    async def _write_waiting(self) -> None:
        self._has_work.clear()
        taken, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._size_bytes = self._lost = 0
        wrong = await asyncio.to_thread(self._write, taken, lost)
        if wrong:
            self._lost += len(taken) + lost
            if wrong != self.failure:
                warning("sink_failed", reason=wrong)
        elif self.failure:
            event("sink_works_again", path=self._path)
        self.failure = wrong

    def _write(self, taken: Sequence[tuple[Ended, datetime]], lost: int) -> str:
        """Appends, in a thread; gives why that can't be."""
        lines = [
            result_line(result_message(ended, at), 0 if index else lost) + "\n"
            for index, (ended, at) in enumerate(taken)
        ]
        if not lines:
            return ""
        try:
            path = self._access.sink(self._path)
            # Not through a link that was put there since the check.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o640), "ab") as file:
                file.write("".join(lines).encode())
                size_bytes = file.tell()
            if size_bytes >= self._max_file_bytes:
                path.replace(path.with_name(path.name + ".1"))
        except NotOpened as error:
            return str(error)
        except OSError as error:
            return f"{self._path}: {error.strerror or error}"
        return ""


def _size(ended: Ended) -> int:
    return sum(len(payload) for payload in ended.outputs.values())


class Sinks:
    """The sinks of the queries whose sources this device has. Queries may share a file: lines name their query."""

    def __init__(self, access: Access, clock: Clock, spawn: Callable[[Sink], object]) -> None:
        self._access = access
        self._clock = clock
        self._spawn = spawn
        self._sinks: dict[str, Sink] = {}
        self._of: dict[QueryId, Sink] = {}

    def serve(self, sources: Iterable[SourceSpec]) -> None:
        """Writes results of these queries from now on, of no others."""
        wanted = {source.query_id: source.sink for source in sources if source.sink}
        for uri in self._sinks.keys() - set(wanted.values()):
            self._sinks.pop(uri).close()
        for uri in sorted(set(wanted.values()) - self._sinks.keys()):
            sink = self._sinks[uri] = Sink(uri, self._access, self._clock)
            self._spawn(sink)
        self._of = {query_id: self._sinks[uri] for query_id, uri in wanted.items()}

    def put(self, ended: Ended) -> None:
        """An item's outcome."""
        sink = self._of.get(ended.emission.query_id)
        if sink is not None:
            sink.put(ended)

    @property
    def failure(self) -> str:
        """Why some results can't be written; empty: all can."""
        return next((sink.failure for sink in self._sinks.values() if sink.failure), "")
