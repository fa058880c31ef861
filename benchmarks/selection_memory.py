"""The most memory that a process and all that it starts hold at once, looked at from outside."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

_EVERY_S = 0.05


class PeakMemory:
    """Adds up the resident memory of this process's descendants; what they share counts in each.

    ``bytes``: the most that was seen at once.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        mine = psutil.Process()
        while not self._over.wait(_EVERY_S):
            self.bytes = max(self.bytes, sum(resident_bytes(one) for one in mine.children(recursive=True)))


def resident_bytes(process: psutil.Process) -> int:
    """Of a process; 0: it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
