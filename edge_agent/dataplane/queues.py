"""The queue of one replica set, shared by its replicas: waits where waiting.py decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from circinus.clock import Clock
from circinus.model.directive import Generation, Use
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.waiting import Dropped, Taken, WaitingLine


class WorkQueue:
    """What waits for the replicas of one set. ``on_dropped`` gets each item that is let go of."""

    def __init__(
        self,
        uses: Sequence[Use],
        *,
        clock: Clock,
        replicas: int,
        batch: int,
        on_dropped: Callable[[Dropped], None],
    ) -> None:
        self._clock = clock
        self._on_dropped = on_dropped
        self._line = WaitingLine(uses, replicas=replicas, batch=batch)
        self._wakers: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._line)

    def update(self, uses: Sequence[Use], *, batch: int) -> None:
        """The uses from now on."""
        self._line.update(uses, batch=batch)
        self.wake()

    def put(self, work: Work) -> None:
        """Takes an item; it may be let go of at once, or others for it."""
        self._tell(self._line.put(work, self._clock.monotonic_s()))
        self.wake()

    async def take(self, limit: int, abandoned: asyncio.Future[None]) -> Taken:
        """Waits for a batch of at least one item and at most ``limit``; an empty one: ``abandoned`` was done first."""
        abandoned.add_done_callback(self._wake_on)
        try:
            while not abandoned.done():
                taken, dropped = self._line.take(limit, self._clock.monotonic_s())
                self._tell(dropped)
                if taken.batch:
                    return taken
                await self._until_changed(taken.again_at_s)
            return Taken()
        finally:
            abandoned.remove_done_callback(self._wake_on)

    def done(self, taken: Taken, wall_s: float | None) -> None:
        """A batch is through in so long, or failed (None)."""
        self._line.done(taken.number, taken.batch, wall_s)

    def forget(self, work: Work) -> None:
        """An item failed at one of its parts: nobody is to work for the others."""
        self._line.forget(work)

    def wake(self) -> None:
        """Has every waiting taker look again; there are few of them, and none may miss an item."""
        for waker in self._wakers:
            if not waker.done():
                waker.set_result(None)

    def clear(self) -> list[Work]:
        """Takes everything out."""
        return self._line.clear()

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait."""
        return self._line.count_older(than)

    async def _until_changed(self, again_at_s: float | None) -> None:
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wakers.add(waker)
        alarm = None
        if again_at_s is not None:
            alarm = asyncio.ensure_future(self._clock.sleep(max(0.0, again_at_s - self._clock.monotonic_s())))
            alarm.add_done_callback(self._wake_on)
        try:
            await waker
        finally:
            self._wakers.discard(waker)
            if alarm is not None:
                alarm.cancel()

    def _tell(self, dropped: Sequence[Dropped]) -> None:
        for one in dropped:
            self._on_dropped(one)

    def _wake_on(self, _: asyncio.Future[None]) -> None:
        self.wake()
