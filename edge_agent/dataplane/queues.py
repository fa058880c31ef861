"""The queue of one replica set: bounded, first in first out, shared by its replicas (work-conserving)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from circinus.clock import Clock
from circinus.model.directive import Generation
from edge_agent.dataplane.item import Work

#: Bounds of one queue; the time is that which its replicas would need for what waits.
MAX_ITEMS = 32
MAX_WORK_S = 4.0
MAX_BYTES = 64 * 1024 * 1024
#: Bytes of one batch at most (unless a single item has more): it has to fit into one frame.
MAX_BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An item and when it came."""

    work: Work
    since_s: float


class WorkQueue:
    """What waits for the replicas of one set. ``on_overdue`` gets items whose deadline passed while they waited."""

    def __init__(self, *, clock: Clock, replicas: int, on_overdue: Callable[[Work], None]) -> None:
        #: Service time of one item, as learnt; seconds.
        self.service_s = 0.0
        self._clock = clock
        self._replicas = max(1, replicas)
        self._on_overdue = on_overdue
        self._waiting: deque[Queued] = deque()
        self._size_bytes = 0
        self._wakers: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Work) -> bool:
        """Takes an item; False: the queue is full."""
        if self._full(work):
            return False
        self._waiting.append(Queued(work=work, since_s=self._clock.monotonic_s()))
        self._size_bytes += work.size_bytes
        self.wake()
        return True

    def _full(self, work: Work) -> bool:
        waiting = len(self._waiting)
        if waiting < self._replicas:
            return False  # less than one item for each replica is no queue, however slow they are
        return (
            waiting >= MAX_ITEMS
            or self._size_bytes + work.size_bytes > MAX_BYTES
            or waiting * self.service_s / self._replicas > MAX_WORK_S
        )

    async def take(self, limit: int, abandoned: asyncio.Future[None]) -> list[Queued]:
        """Waits for items and gives at least one and at most ``limit``; empty: ``abandoned`` was done first."""
        abandoned.add_done_callback(self._wake_one)
        try:
            while not abandoned.done():
                if batch := self._pop(limit):
                    return batch
                waker = asyncio.get_running_loop().create_future()
                self._wakers.add(waker)
                try:
                    await waker
                finally:
                    self._wakers.discard(waker)
            return []
        finally:
            abandoned.remove_done_callback(self._wake_one)

    def wake(self) -> None:
        """Has every waiting taker look again; there are few of them, and none may miss an item."""
        for waker in self._wakers:
            if not waker.done():
                waker.set_result(None)

    def clear(self) -> list[Work]:
        """Takes everything out."""
        left = [queued.work for queued in self._waiting]
        self._waiting.clear()
        self._size_bytes = 0
        return left

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait."""
        return sum(1 for queued in self._waiting if queued.work.generation < than)

    def _wake_one(self, _: asyncio.Future[None]) -> None:
        self.wake()

    def _pop(self, limit: int) -> list[Queued]:
        now_s = self._clock.monotonic_s()
        batch: list[Queued] = []
        batch_bytes = 0
        while self._waiting and len(batch) < limit:
            size_bytes = self._waiting[0].work.size_bytes
            if batch and batch_bytes + size_bytes > MAX_BATCH_BYTES:
                break
            queued = self._waiting.popleft()
            self._size_bytes -= size_bytes
            if queued.work.deadline_s is not None and queued.work.deadline_s <= now_s:
                self._on_overdue(queued.work)
                continue
            batch.append(queued)
            batch_bytes += size_bytes
        return batch
