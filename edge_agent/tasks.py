"""Tasks that live as long as something else does: owned here, ended and awaited here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from circinus.events import warning


class TaskSet:
    """Background tasks with one owner. One that fails says so at once; none is ever lost."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Starts a task."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    @property
    def count(self) -> int:
        """How many run."""
        return len(self._tasks)

    async def wait(self) -> None:
        """Waits until all that run now have ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Cancels all and waits for their end."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            warning("task_failed", task=task.get_name(), error=repr(error))
