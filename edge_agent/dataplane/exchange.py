"""The streams between devices: one bidirectional stream per pair, dialled by the one that can.

Both ends say who they are first. A stream that breaks is dialled again with back-off; meanwhile items for
that peer fail at once and by name. gRPC's own flow control holds back a sender whose peer doesn't read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol

import grpc
import grpc.aio

from circinus import channel
from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput, Unreachable, abort
from circinus.events import debug, event, warning
from circinus.model.device import DeviceId
from circinus.model.directive import Peer
from circinus.retry import Backoff
from circinus.v1 import dataplane_pb2, dataplane_pb2_grpc
from edge_agent.dataplane.item import MAX_ID_CHARS, Input, Outcome
from edge_agent.dataplane.messages import input_of, item_message, outcome_message, outcome_of
from edge_agent.dataplane.peers import PeerLink

_HELLO_TIMEOUT_S = 5.0
_FIRST_BACKOFF_S = 0.2
_CAP_BACKOFF_S = 5.0

_Message = dataplane_pb2.ExchangeRequest | dataplane_pb2.ExchangeResponse


class Receiver(Protocol):
    """Who gets what comes in."""

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        """An item for an operator on this device."""

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        """An outcome on its way to the source device."""


class Exchange(dataplane_pb2_grpc.DataPlaneServiceServicer):
    """All streams of one device."""

    def __init__(
        self,
        *,
        device_id: DeviceId,
        link_to: Callable[[DeviceId], PeerLink],
        receiver: Receiver,
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._device_id = device_id
        self._link_to = link_to
        self._receiver = receiver
        self._clock = clock
        self._rng = rng
        self._on_change = on_change

    async def Exchange(self, request_iterator: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Serves a peer that dialled."""
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                link = self._link_to(self._peer_of(await context.read()))
        except (TimeoutError, CircinusError) as error:
            reason = error if isinstance(error, CircinusError) else InvalidInput("no hello came; say who you are first")
            await abort(context, reason)
            return
        await context.write(dataplane_pb2.ExchangeResponse(hello=self._hello()))
        await self._run_stream(link, context.read, context.write, dataplane_pb2.ExchangeResponse)

    async def dial(self, peer: Peer) -> None:
        """Keeps a stream to a peer until it is cancelled."""
        backoff = Backoff(_FIRST_BACKOFF_S, _CAP_BACKOFF_S, self._rng)
        while True:
            try:
                await self._dial_once(peer, backoff.reset)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, CircinusError, OSError, TimeoutError) as error:
                reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else error
                warning("peer_lost", peer=peer.device_id, address=peer.address, reason=reason)
            await self._clock.sleep(backoff.next_s())

    async def _dial_once(self, peer: Peer, on_connected: Callable[[], None]) -> None:
        async with channel.open_channel(peer.address) as connection:
            stub = dataplane_pb2_grpc.DataPlaneServiceStub(connection)  # type: ignore[no-untyped-call]  # generated
            call = stub.Exchange()
            try:
                async with asyncio.timeout(_HELLO_TIMEOUT_S):
                    await call.write(dataplane_pb2.ExchangeRequest(hello=self._hello()))
                    answered = self._peer_of(await call.read())
                if answered != peer.device_id:
                    raise InvalidInput(f"at {peer.address} there is {answered!r}, not {peer.device_id!r}")
                on_connected()
                await self._run_stream(self._link_to(answered), call.read, call.write, dataplane_pb2.ExchangeRequest)
                raise Unreachable("the stream ended")
            finally:
                call.cancel()

    async def _run_stream(
        self,
        link: PeerLink,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[Any], Awaitable[None]],
        wrap: type[dataplane_pb2.ExchangeRequest] | type[dataplane_pb2.ExchangeResponse],
    ) -> None:
        """Sends and receives until the stream ends."""

        async def write_one(message: Input | Outcome) -> None:
            if isinstance(message, Input):
                await write(wrap(item=item_message(message, self._clock.monotonic_s())))
            else:
                await write(wrap(outcome=outcome_message(message)))

        number = link.attach()
        event("peer_connected", peer=link.peer)
        self._on_change()
        try:
            # A sender that fails ends the reading, too: half a stream is none.
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(link.pump(number, write_one))
                try:
                    while (message := await read()) is not grpc.aio.EOF:
                        self._receive(message, link.peer)
                finally:
                    sender.cancel()
        except* (grpc.aio.AioRpcError, grpc.aio.UsageError) as errors:
            debug("stream_broken", peer=link.peer, reason=errors.exceptions[0])
        finally:
            link.detach(number)
            self._on_change()

    def _receive(self, message: _Message, peer: DeviceId) -> None:
        try:
            kind = message.WhichOneof("message")
            if kind == "item":
                self._receiver.receive_input(input_of(message.item, self._clock.monotonic_s()), peer)
            elif kind == "outcome":
                self._receiver.receive_outcome(outcome_of(message.outcome), peer)
            else:
                raise InvalidInput(f"a message of kind {kind} has no place here")
        except CircinusError as error:
            # One bad message must not end the stream for all the others.
            warning("message_refused", peer=peer, reason=error)

    def _peer_of(self, message: object) -> DeviceId:
        hello = message.hello if isinstance(message, _Message) and message.WhichOneof("message") == "hello" else None
        if hello is None:
            raise InvalidInput("the first message is not a hello")
        if not hello.device_id or len(hello.device_id) > MAX_ID_CHARS or hello.device_id == self._device_id:
            raise InvalidInput(f"a peer can't be called {hello.device_id[:MAX_ID_CHARS]!r}")
        return DeviceId(hello.device_id)

    def _hello(self) -> dataplane_pb2.PeerHello:
        return dataplane_pb2.PeerHello(device_id=self._device_id)
