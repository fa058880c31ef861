"""The agent's own watch over memory, for what the kernel doesn't hold to its limit, or not all of it.

Where there is a memory controller the kernel ends a process that is over its limit at that very moment; of version 1 it
may end a child and leave the rest, which is ended here. Where there is none, what a process has for itself is looked at
twice a second. A limit of address space (RLIMIT_AS) or of data (RLIMIT_DATA) is none: runtimes of models reserve many
times what they touch, and what runs into one gets an error for each item instead of an end.
"""

from __future__ import annotations

import asyncio

from circinus.events import warning
from edge_agent.isolation.enclosed import Enclosed

_PERIOD_S = 0.5


class MemoryWatch:
    """Over all processes of one agent. Runs only while there is something to watch."""

    def __init__(self) -> None:
        self._watched: set[Enclosed] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, enclosed: Enclosed) -> None:
        """Watches a process that has a limit."""
        if not enclosed.memory_limit_bytes:
            return
        self._watched.add(enclosed)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="memory watch")

    def remove(self, enclosed: Enclosed) -> None:
        """It has ended."""
        self._watched.discard(enclosed)
        if not self._watched:
            self.close()

    def close(self) -> None:
        """Watches nothing any more."""
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def look(self) -> None:
        """One look at all of them."""
        for enclosed in tuple(self._watched):
            if _is_over(enclosed):
                enclosed.blame_memory()
                warning("process_over_memory", pid=enclosed.pid, limit_bytes=enclosed.memory_limit_bytes)
                enclosed.kill()
                self._watched.discard(enclosed)

    async def _run(self) -> None:
        while self._watched:
            await asyncio.sleep(_PERIOD_S)
            self.look()


def _is_over(enclosed: Enclosed) -> bool:
    group = enclosed.group
    if group is not None and group.limits_memory:
        return group.ran_out_of_memory()
    return enclosed.own_memory_bytes() > enclosed.memory_limit_bytes
