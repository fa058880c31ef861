"""What one session with the planner has sent, and what of it the planner has.

A planner that acknowledges says by number what it has stored; only then a message leaves the outbox. So many are on
their way at most, and what nothing is heard of is sent again: the planner takes all of it twice without harm. For a
planner that does not acknowledge, what two heartbeats have followed counts as arrived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, TypeAlias

from circinus.clock import Clock
from circinus.events import warning
from circinus.v1 import control_pb2
from edge_agent.outbox import Outbox

if TYPE_CHECKING:
    import grpc.aio

Stream: TypeAlias = "grpc.aio.StreamStreamCall[control_pb2.ConnectRequest, control_pb2.ConnectResponse]"

_WRITE_TIMEOUT_S = 30.0
#: What may be on its way: on a link of 64 kbit/s half a minute's worth.
_MAX_UNDERWAY = 256
_MAX_UNDERWAY_BYTES = 256 * 1024
#: Nothing that is on its way was heard of for so long: it got lost.
_RESEND_S = 60.0


class Sending:
    """One session's. ``told``: what says how things stand, which is not kept."""

    def __init__(
        self,
        stream: Stream,
        told: deque[control_pb2.ConnectRequest],
        outbox: Outbox,
        clock: Clock,
        *,
        acknowledged: bool,
    ) -> None:
        self._stream = stream
        self._told = told
        self._outbox = outbox
        self._clock = clock
        self._acknowledged = acknowledged
        self._heartbeats = 0
        self._promised_up_to = 0
        self._sent_up_to = 0
        self._opened = outbox.opened
        #: Numbers and bytes of what is on its way, and when something of it was last heard of.
        self._underway: dict[int, int] = {}
        self._heard_s = 0.0
        #: Of a planner that doesn't acknowledge: what the last heartbeat followed.
        self._marked: list[int] = []

    async def send_all(self) -> None:
        """Everything that waits, states first."""
        while self._told:
            await self._send(self._told.popleft())
        self._begin_again()
        while self._room and (promised := await self._outbox.promised(self._promised_up_to)):
            for message in promised:
                self._promised_up_to = message.outbox_sequence
                await self._send_kept(message)
        await self._outbox.tell_gaps()
        while self._room and (batch := await self._outbox.peek(self._sent_up_to)):
            for telemetry in batch:
                self._sent_up_to = telemetry.sequence
                await self._send_kept(
                    control_pb2.ConnectRequest(telemetry=telemetry, outbox_sequence=telemetry.sequence)
                )

    @property
    def _room(self) -> bool:
        return not self._acknowledged or (
            len(self._underway) < _MAX_UNDERWAY and sum(self._underway.values()) < _MAX_UNDERWAY_BYTES
        )

    def _begin_again(self) -> None:
        """Goes through the outbox from its beginning if something got lost, or has come that stands before."""
        late = self._acknowledged and self._clock.monotonic_s() - self._heard_s > _RESEND_S and bool(self._underway)
        if late:
            warning("not_acknowledged", messages=len(self._underway), after_s=_RESEND_S)
            self._underway.clear()
        if late or self._outbox.opened != self._opened:
            self._opened = self._outbox.opened
            self._promised_up_to = self._sent_up_to = 0

    async def arrived(self, sequences: Collection[int]) -> None:
        """The planner has these."""
        await self._outbox.forget(sequences)
        self._heard_s = self._clock.monotonic_s()
        for sequence in sequences:
            self._underway.pop(sequence, None)

    async def heartbeat(self) -> None:
        """Sends a heartbeat."""
        self._heartbeats += 1
        await self._send(control_pb2.ConnectRequest(heartbeat=control_pb2.Heartbeat(sequence=self._heartbeats)))
        if not self._acknowledged:
            await self.arrived(self._marked)
            self._marked = list(self._underway)

    async def _send_kept(self, message: control_pb2.ConnectRequest) -> None:
        if message.outbox_sequence in self._underway:
            return
        if not self._underway:
            self._heard_s = self._clock.monotonic_s()
        self._underway[message.outbox_sequence] = message.ByteSize()
        await self._send(message)

    async def _send(self, message: control_pb2.ConnectRequest) -> None:
        async with asyncio.timeout(_WRITE_TIMEOUT_S):
            await self._stream.write(message)
