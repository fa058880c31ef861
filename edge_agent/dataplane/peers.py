"""This device's end of the way to one peer: what waits for it (lanes.py), and the pump that sends it.

An item is refused or given up, with its cause, when it can't be sent or could only arrive after its deadline:
what would be too late anyway must not take the link from what can still make it. Outcomes are small and the only word
that the source gets, so they wait for the link to come back, up to a bound of their own.

On an emulated link what is picked takes its time on the link and is written when it is through; picking and writing
overlap by the delay. A real link takes what is picked at once, and holds the pump back when it is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Protocol

from circinus.clock import Clock
from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from circinus.model.query import QueryId
from edge_agent.dataplane.chunks import MAX_CHUNK_BYTES
from edge_agent.dataplane.credit import WINDOW_BYTES, WINDOW_ITEMS, Account, Amount, Grants
from edge_agent.dataplane.frames import Parts, add_abandoned, add_chunk, add_credit, add_item, add_outcome
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome
from edge_agent.dataplane.lanes import Lanes, Parcel
from edge_agent.dataplane.messages import item_header, outcome_header
from edge_agent.dataplane.shaping import LearntRate, Shaper

#: A chunk takes no longer than this on a link whose rate is known: so long the next item waits at most.
_CHUNK_S = 0.02
_MIN_CHUNK_BYTES = 8 * 1024
#: Messages up to this size share one frame, up to that one.
_SHARED_BYTES = 32 * 1024
_FRAME_BYTES = 64 * 1024
#: Credit that is not urgent waits so long for a frame that goes anyway.
_CREDIT_WAIT_S = 0.02
_ANY_SIZE = 1 << 62


def _nobody(message: Input | Outcome, size_bytes: int) -> None:
    """Nobody counts what leaves."""


class AtOnce(Protocol):
    """A carrier of frames that need not be waited for."""

    @property
    def writable(self) -> bool:
        """Whether there is room for a frame."""

    def put(self, frame: Parts) -> None:
        """Sends a frame."""


class PeerLink:
    """The way to one peer. ``on_lost`` gets items that the link lost or gave up before they were sent.

    ``on_sent`` gets each message with the bytes of its payload that left.
    """

    def __init__(
        self,
        peer: DeviceId,
        *,
        shaper: Shaper,
        clock: Clock,
        on_lost: Callable[[Input, Cause], None],
        on_sent: Callable[[Input | Outcome, int], None] = _nobody,
    ) -> None:
        self.peer = peer
        #: Messages, or parts of them, from this peer that were refused.
        self.refused = 0
        self._shaper = shaper
        self._shapes = shaper.shapes
        self._clock = clock
        self._on_lost = on_lost
        self._on_sent = on_sent
        self._lanes = Lanes(_chunk_bytes(shaper.rate_bytes_per_s))
        self._learnt = LearntRate()
        self._account = Account(0, 0)
        self._grants = Grants()
        #: What was picked and is not written yet, with the time at which it is through.
        self._going: deque[tuple[float, Parcel]] = deque()
        self._abandoned: list[int] = []
        self._ready_at_s: float | None = None
        self._connection = 0
        self._connected = False
        self._waker: asyncio.Future[None] | None = None
        self._at_once: AtOnce | None = None
        self._credit_timer: asyncio.TimerHandle | None = None
        self._credit_due = False

    @property
    def connected(self) -> bool:
        """Whether there is a stream to the peer."""
        return self._connected

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._lanes and not self._going

    @property
    def waiting(self) -> int:
        """Items and outcomes that wait to be sent."""
        return self._lanes.items + self._lanes.outcomes + len(self._going)

    @property
    def outstanding(self) -> Amount:
        """What the peer has and has not given back."""
        return self._account.out

    def send_input(self, one: Input) -> Cause | None:
        """Queues an item; gives the cause if it can't be sent."""
        size = len(one.payload)
        if not self._connected:
            return Cause.LINK_DOWN
        if size > MAX_PAYLOAD_BYTES or not self._account.holds(size):
            return Cause.ITEM_TOO_LARGE
        now_s = self._clock.monotonic_s()
        if (one.deadline_s is None or one.deadline_s > now_s) and self._sent_at_once(one, size, now_s):
            return None
        left_s = rate_bytes_per_s = inf
        if one.deadline_s is not None:
            rate_bytes_per_s = self._rate_bytes_per_s(now_s)
            left_s = one.deadline_s - max(now_s, self._shaper.free_at_s) - self._shaper.delay_s
        cause, gone = self._lanes.put_item(one, rate_bytes_per_s, left_s)
        if cause is None:
            self._wake()
        for other in gone:
            self._on_lost(other, Cause.LINK_FULL)
        return cause

    def send_outcome(self, outcome: Outcome) -> bool:
        """Queues an outcome, even while the link is down; False: too many wait."""
        size = len(outcome.payload)
        if self._sent_at_once(outcome, size, 0.0):
            return True
        if size > MAX_PAYLOAD_BYTES or not self._lanes.put_outcome(outcome):
            return False
        self._wake()
        return True

    def attach(self, granted: Amount | None = None, grants: Grants | None = None) -> int:
        """A stream to the peer is there; it replaces an older one. Gives its number.

        ``granted`` is the window that the peer grants, ``grants`` what this device grants the peer.
        """
        self._connection += 1
        self._connected = True
        window = granted or Amount(size_bytes=WINDOW_BYTES, items=WINDOW_ITEMS)
        self._account = Account(window.size_bytes, window.items)
        self._grants = grants or Grants()
        self._stop_credit_timer()
        lost = self._give_back_going()
        self._at_once = None
        self._lanes.restart()
        self._abandoned.clear()
        self._wake()
        for one in lost:
            self._on_lost(one, Cause.LINK_DOWN)
        return self._connection

    def detach(self, connection: int) -> None:
        """The stream with this number is gone: items that wait are lost, outcomes stay."""
        if connection != self._connection:
            return
        self._connected = False
        self._at_once = None
        self._stop_credit_timer()
        lost = self._give_back_going() + self._lanes.lose_items()
        for one in lost:
            self._on_lost(one, Cause.LINK_DOWN)

    def returned(self, query_id: QueryId, back: Amount) -> bool:
        """The peer gives credit back; False: more than it had."""
        right = self._account.give_back(query_id, back)
        if self._lanes:
            self._wake()
        return right

    def credit_ready(self, grants: Grants) -> None:
        """There is credit to give back to the peer; it goes with the next frame, or soon by itself."""
        if grants is not self._grants:
            return  # of a stream that another one replaced
        if grants.urgent:
            self._rouse()
        elif self._credit_timer is None and self._connected:
            # It is left to run when the credit goes earlier with another frame: one for many items, not one for each.
            self._credit_timer = asyncio.get_running_loop().call_later(_CREDIT_WAIT_S, self._send_credit)

    async def pump(
        self,
        connection: int,
        write: Callable[[Parts], Awaitable[None]],
        at_once: AtOnce | None = None,
    ) -> None:
        """Sends what waits, each when it is through the link, until it is cancelled or another stream took over.

        A message that fails to be written is lost with its stream. With ``at_once``, what comes while nothing waits
        does not wait for this task either.
        """
        if connection == self._connection:
            self._at_once = at_once
        while connection == self._connection:
            now_s = self._clock.monotonic_s()
            parcels = self._due(now_s) if self._shapes else self._load(now_s)
            if frame := self._frame(parcels, now_s):
                await write(frame)
                if connection == self._connection:
                    self._written(parcels, now_s)
            elif (next_s := self._next_s(now_s)) is not None:
                await self._clock.sleep(next_s - now_s)
            else:
                self._waker = asyncio.get_running_loop().create_future()
                await self._waker

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait to be sent."""
        going = (parcel.entry.message for _, parcel in self._going if parcel.last)
        return self._lanes.count_older(than) + sum(
            1 for one in going if isinstance(one, Input) and one.generation < than
        )

    def _rate_bytes_per_s(self, now_s: float) -> float:
        return min(self._shaper.rate_bytes_per_s, self._learnt.at_most_bytes_per_s(now_s))

    def _wake(self) -> None:
        if self._ready_at_s is None:
            self._ready_at_s = self._clock.monotonic_s()
        self._rouse()

    def _sent_at_once(self, message: Input | Outcome, size_bytes: int, now_s: float) -> bool:
        """Sends a message without a way through the lanes, if nothing waits there and the carrier has room."""
        carrier, waker = self._at_once, self._waker
        if carrier is None or waker is None or waker.done() or self._lanes or self._going or self._shapes:
            return False
        if size_bytes > self._lanes.chunk_bytes or not carrier.writable:
            return False
        parts: Parts = []
        if isinstance(message, Input):
            if not self._account.fits(message.query_id, size_bytes, excess=message.excess):
                return False
            self._account.take(message.query_id, size_bytes)
            add_item(parts, item_header(message, now_s), bytes(message.payload))
        else:
            add_outcome(parts, outcome_header(message), bytes(message.payload))
        self._add_credit(parts)
        carrier.put(parts)
        self._on_sent(message, size_bytes)
        # What comes after it in the same turn of the loop goes in one frame.
        waker.set_result(None)
        return True

    def _rouse(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def _load(self, now_s: float) -> list[Parcel]:
        """Picks what goes into the next frame of a link that is not shaped."""
        picked: list[Parcel] = []
        size, at_most = 0, _ANY_SIZE
        while self._lanes and size < _FRAME_BYTES and (parcel := self._pick(now_s, at_most)) is not None:
            picked.append(parcel)
            self._going.append((now_s, parcel))
            size += parcel.size_bytes
            if size > _SHARED_BYTES and at_most == _ANY_SIZE:
                break
            at_most = _SHARED_BYTES
        if self._lanes.given_up:
            self._lose_given_up()
        return picked

    def _load_shaped(self, now_s: float) -> None:
        while self._shaper.free_at_s <= now_s:
            # The link went on when the one before was through, however late this loop is; it stood still only while
            # there was nothing that could go.
            start_s = max(self._shaper.free_at_s, now_s if self._ready_at_s is None else self._ready_at_s)
            parcel = self._pick(start_s, _ANY_SIZE)
            if parcel is None:
                self._ready_at_s = None
                return
            self._going.append((self._shaper.send(parcel.wire_bytes, start_s), parcel))

    def _pick(self, now_s: float, at_most: int) -> Parcel | None:
        return self._lanes.pick(self._account, now_s, self._rate_bytes_per_s(now_s), self._shaper.delay_s, at_most)

    def _lose_given_up(self) -> None:
        given_up, self._lanes.given_up = self._lanes.given_up, []
        for entry in given_up:
            if entry.stream:
                self._abandoned.append(entry.stream)
            if isinstance(entry.message, Input):
                self._on_lost(entry.message, Cause.DEADLINE)

    def _due(self, now_s: float) -> list[Parcel]:
        """What is through a shaped link now, as much of it as one frame may have."""
        self._load_shaped(now_s)
        self._lose_given_up()
        due: list[Parcel] = []
        size = 0
        for arrives_at_s, parcel in self._going:
            if arrives_at_s > now_s or (due and size + parcel.wire_bytes > MAX_CHUNK_BYTES):
                break
            due.append(parcel)
            size += parcel.wire_bytes
        return due

    def _next_s(self, now_s: float) -> float | None:
        """When a shaped link has something to do; None: when something changes."""
        if not self._shapes:
            return None
        through_s = self._going[0][0] if self._going else inf
        free_s = self._shaper.free_at_s if self._lanes and self._shaper.free_at_s > now_s else inf
        next_s = min(through_s, free_s)
        return None if next_s == inf else next_s

    def _frame(self, parcels: Iterable[Parcel], now_s: float) -> Parts:
        """The frame of these parcels, and of what is to be said beside them; empty: nothing is."""
        parts: Parts = []
        for stream in self._abandoned:
            add_abandoned(parts, stream)
        self._abandoned.clear()
        for parcel in parcels:
            _add_parcel(parts, parcel, now_s)
        if parts or self._credit_due or self._grants.urgent:
            self._add_credit(parts)
        return parts

    def _add_credit(self, parts: Parts) -> None:
        self._credit_due = False
        if self._grants.owed:
            for query_id, back in self._grants.take_owed().items():
                add_credit(parts, query_id, back.size_bytes, back.items)

    def _written(self, parcels: list[Parcel], began_s: float) -> None:
        size_bytes = 0
        for parcel in parcels:
            self._going.popleft()
            size_bytes += parcel.size_bytes
            self._on_sent(parcel.entry.message, parcel.size_bytes)
        if not self._shapes and size_bytes >= min(_FRAME_BYTES, self._lanes.chunk_bytes):
            now_s = self._clock.monotonic_s()
            self._learnt.written(size_bytes, now_s - began_s, now_s)
            self._lanes.chunk_bytes = _chunk_bytes(self._learnt.at_most_bytes_per_s(now_s))

    def _give_back_going(self) -> list[Input]:
        """What was picked and not written: outcomes wait again, items are lost."""
        last = [parcel.entry for _, parcel in self._going if parcel.last]
        self._going.clear()
        for entry in reversed(last):
            if isinstance(entry.message, Outcome):
                self._lanes.put_back(entry)
        return [entry.message for entry in last if isinstance(entry.message, Input)]

    def _send_credit(self) -> None:
        self._credit_timer = None
        self._credit_due = self._grants.owed
        self._rouse()

    def _stop_credit_timer(self) -> None:
        if self._credit_timer is not None:
            self._credit_timer.cancel()
            self._credit_timer = None
        self._credit_due = False


def _chunk_bytes(rate_bytes_per_s: float) -> int:
    return int(min(MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, rate_bytes_per_s * _CHUNK_S)))


def _add_parcel(parts: Parts, parcel: Parcel, now_s: float) -> None:
    message = parcel.entry.message
    payload: bytes | memoryview
    if parcel.first and parcel.last:
        payload = bytes(message.payload)
    elif isinstance(message.payload, bytes):
        payload = memoryview(message.payload)[parcel.start : parcel.start + parcel.size_bytes]
    else:
        payload = message.payload[parcel.start : parcel.start + parcel.size_bytes]
    if not parcel.first:
        add_chunk(parts, parcel.entry.stream, payload)
    elif isinstance(message, Input):
        add_item(parts, item_header(message, now_s, parcel.entry.stream), payload)
    else:
        add_outcome(parts, outcome_header(message, parcel.entry.stream), payload)
