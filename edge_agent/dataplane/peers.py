"""What is to be sent to another device: a bounded queue per peer, shaped if the link is emulated.

An item is refused at once, with its cause, when it can't be sent or could only arrive after its deadline:
what would be too late anyway must not take the link from what can still make it. Outcomes are small and the only word
that the source gets, so they wait for the link to come back, up to a bound of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from circinus.clock import Clock
from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome
from edge_agent.dataplane.shaping import Shaper

#: Items and outcomes that wait for one peer at most.
MAX_ITEMS = 64
MAX_OUTCOMES = 256
#: What a message has beside its payload, about.
_ENVELOPE_BYTES = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A message and when it is through an emulated link."""

    message: Input | Outcome
    arrives_at_s: float


class PeerLink:
    """This device's end of the way to one peer. ``on_lost`` gets items that the link lost before they were sent."""

    def __init__(
        self, peer: DeviceId, *, shaper: Shaper, clock: Clock, on_lost: Callable[[Input, Cause], None]
    ) -> None:
        self.peer = peer
        self._shaper = shaper
        self._clock = clock
        self._on_lost = on_lost
        self._waiting: deque[Sending] = deque()
        self._items = 0
        self._connection = 0
        self._connected = False
        self._changed = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a stream to the peer."""
        return self._connected

    def send_input(self, one: Input) -> Cause | None:
        """Queues an item; gives the cause if it can't be sent."""
        if not self._connected:
            return Cause.LINK_DOWN
        if len(one.payload) > MAX_PAYLOAD_BYTES:
            return Cause.ITEM_TOO_LARGE
        if self._items >= MAX_ITEMS:
            return Cause.LINK_FULL
        size_bytes, now_s = len(one.payload) + _ENVELOPE_BYTES, self._clock.monotonic_s()
        if one.deadline_s is not None and self._shaper.arrival_s(size_bytes, now_s) > one.deadline_s:
            return Cause.DEADLINE
        self._items += 1
        self._queue(one, size_bytes, now_s)
        return None

    def send_outcome(self, outcome: Outcome) -> bool:
        """Queues an outcome, even while the link is down; False: too many wait."""
        if len(self._waiting) - self._items >= MAX_OUTCOMES:
            return False
        self._queue(outcome, len(outcome.payload) + _ENVELOPE_BYTES, self._clock.monotonic_s())
        return True

    def attach(self) -> int:
        """A stream to the peer is there; it replaces an older one. Gives its number."""
        self._connection += 1
        self._connected = True
        self._changed.set()
        return self._connection

    def detach(self, connection: int) -> None:
        """The stream with this number is gone: items that wait are lost, outcomes stay."""
        if connection != self._connection:
            return
        self._connected = False
        lost = [sending.message for sending in self._waiting if isinstance(sending.message, Input)]
        self._waiting = deque(sending for sending in self._waiting if isinstance(sending.message, Outcome))
        self._items = 0
        for one in lost:
            self._on_lost(one, Cause.LINK_DOWN)

    async def pump(self, connection: int, write: Callable[[Input | Outcome], Awaitable[None]]) -> None:
        """Sends what waits, each when it is through the link, until it is cancelled or another stream took over.

        A message that fails to be written is lost with its stream.
        """
        while connection == self._connection:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            sending = self._waiting[0]
            wait_s = sending.arrives_at_s - self._clock.monotonic_s()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                continue
            # Taken out only when written: until then it counts as held here, and a lost stream reports it.
            await write(sending.message)
            if self._waiting and self._waiting[0] is sending:
                self._waiting.popleft()
                self._items -= isinstance(sending.message, Input)

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait to be sent."""
        return sum(
            1 for sending in self._waiting if isinstance(sending.message, Input) and sending.message.generation < than
        )

    def _queue(self, message: Input | Outcome, size_bytes: int, now_s: float) -> None:
        self._waiting.append(Sending(message=message, arrives_at_s=self._shaper.send(size_bytes, now_s)))
        self._changed.set()
