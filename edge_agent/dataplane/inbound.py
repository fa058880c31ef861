"""What comes in on one stream: payloads put together, credit kept, and what is wrong refused and counted.

One bad message, however bad, must not end the stream for all the others; but a peer that sends bad ones must not fill
memory or the log either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput, TooLarge
from circinus.events import warning
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.chunks import Assembly
from edge_agent.dataplane.credit import Amount, Grants
from edge_agent.dataplane.frames import decode
from edge_agent.dataplane.item import Input, Outcome
from edge_agent.dataplane.messages import input_of, outcome_of
from edge_agent.dataplane.peers import PeerLink


class Receiver(Protocol):
    """Who gets what comes in."""

    def receive_input(self, one: Input, peer: DeviceId) -> asyncio.Future[None] | None:
        """An item for an operator on this device. Its credit goes back at once, or when the future is done."""

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        """An outcome on its way to the source device."""


class Inbound:
    """The receiving half of one stream."""

    def __init__(self, link: PeerLink, grants: Grants, receiver: Receiver, clock: Clock) -> None:
        self._link = link
        self._grants = grants
        self._receiver = receiver
        self._clock = clock
        self._assembly: Assembly[tuple[Input | Outcome, int]] = Assembly()

    def receive(self, data: bytes | bytearray) -> None:
        """Takes one message of the stream; what is wrong with it is counted at the link."""
        if not data:
            return  # a sign of life
        now_s = self._clock.monotonic_s()
        try:
            frame = decode(data)
        except CircinusError as error:
            self._refuse(error)
            return
        if frame.hello is not None:
            self._refuse(InvalidInput("a second hello came"))
        for back in frame.credits:
            self._attempt(self._take_credit, back)
        for outcome, payload in frame.outcomes:
            self._attempt(self._take_outcome, outcome, payload, now_s)
        for item, payload in frame.items:
            self._attempt(self._take_item, item, payload, now_s)
        for chunk, payload in frame.chunks:
            self._attempt(self._take_chunk, chunk, payload, now_s)
        for message, size_bytes in self._assembly.expire(now_s):
            self._forget(message, size_bytes)
            self._refuse(InvalidInput(f"the rest of item {message.request_id!r} did not come"))

    def _attempt(self, take: Callable[..., None], *given: object) -> None:
        try:
            take(*given)
        except CircinusError as error:
            self._refuse(error)

    def _refuse(self, reason: CircinusError) -> None:
        self._link.refused += 1
        if self._link.refused & (self._link.refused - 1) == 0:  # ever more rarely: 1, 2, 4, 8 ...
            warning("message_refused", peer=self._link.peer, count=self._link.refused, reason=reason)

    def _take_credit(self, back: dataplane_pb2.CreditReturn) -> None:
        if not self._link.returned(QueryId(back.query_id), Amount(size_bytes=back.bytes, items=back.items)):
            raise InvalidInput(f"{back.items} items of query {back.query_id[:50]!r} are given back, which are not out")

    def _take_outcome(self, header: dataplane_pb2.OutcomeMessage, payload: bytes | memoryview, now_s: float) -> None:
        if header.stream or header.size_bytes:
            outcome = outcome_of(header, b"")
            self._assembly.begin(header.stream, (outcome, 0), header.size_bytes, payload, now_s)
        else:
            self._receiver.receive_outcome(outcome_of(header, bytes(payload)), self._link.peer)

    def _take_item(self, header: dataplane_pb2.ItemMessage, payload: bytes | memoryview, now_s: float) -> None:
        cut = bool(header.stream or header.size_bytes)
        size_bytes = header.size_bytes if cut else len(payload)
        one = input_of(header, b"" if cut else bytes(payload), now_s)
        if not self._grants.account.take(one.query_id, size_bytes):
            raise TooLarge(f"an item of {size_bytes} bytes came, for which there is no credit")
        if not cut:
            self._deliver(one, size_bytes)
            return
        try:
            self._assembly.begin(header.stream, (one, size_bytes), size_bytes, payload, now_s)
        except CircinusError:
            self._forget(one, size_bytes)
            raise

    def _take_chunk(self, chunk: dataplane_pb2.Chunk, data: bytes | memoryview, now_s: float) -> None:
        try:
            whole = None if chunk.abandoned else self._assembly.add(chunk.stream, data, now_s)
        except CircinusError:
            self._drop(chunk.stream)
            raise
        if chunk.abandoned:
            self._drop(chunk.stream)
        elif whole is not None:
            (message, size_bytes), payload = whole
            if isinstance(message, Outcome):
                self._receiver.receive_outcome(replace(message, payload=payload), self._link.peer)
            else:
                self._deliver(replace(message, payload=payload), size_bytes)

    def _deliver(self, one: Input, size_bytes: int) -> None:
        """Hands an item over; its credit is free when the receiver says so."""
        try:
            taken = self._receiver.receive_input(one, self._link.peer)
        except CircinusError:
            self._forget(one, size_bytes)
            raise
        if taken is None:
            self._forget(one, size_bytes)
        else:
            taken.add_done_callback(lambda _: self._forget(one, size_bytes))

    def _drop(self, stream: int) -> None:
        if (gone := self._assembly.drop(stream)) is not None:
            self._forget(*gone)

    def _forget(self, message: Input | Outcome, size_bytes: int) -> None:
        """A message needs its credit no more; an outcome had none."""
        if isinstance(message, Input):
            self._grants.release(message.query_id, size_bytes)
            self._link.credit_ready(self._grants)
