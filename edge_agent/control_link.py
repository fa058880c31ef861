"""The agent's one stream to the planner: dialled by the agent, dialled again for as long as the agent lives.

Three kinds of messages go up. What says how things stand (``tell``) is sent if there is a link and forgotten if not,
since the Hello of the next session says it anew. What can't be made again cheaply (``deliver``: profile results)
waits for the link, and is sent again in the next session unless two heartbeats got through after it. Telemetry
comes from the outbox on disk, in the same way. All of these the planner takes twice without harm.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import TypeAlias

import grpc
import grpc.aio

from circinus.channel import open_channel
from circinus.clock import Clock
from circinus.errors import CircinusError, Internal, Unreachable, from_rpc
from circinus.events import event, warning
from circinus.model.device import Digest
from circinus.retry import Backoff
from circinus.v1 import control_pb2, control_pb2_grpc
from edge_agent.outbox import Outbox

_FIRST_RETRY_S = 0.2
#: A thousand agents that come back within ten seconds are no load for a planner; a person who waits for them is one.
_MAX_RETRY_S = 10.0
#: A session that lasted so long counts as a success: the next retry is soon.
_STEADY_S = 5.0
_WELCOME_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 30.0
_FETCH_TIMEOUT_S = 600.0
_FETCH_PATIENCE_S = 30.0
_MAX_TOLD = 1_000
_MAX_DELIVERED = 10_000
_HEARTBEAT_S = (0.05, 60.0)

Stream: TypeAlias = "grpc.aio.StreamStreamCall[control_pb2.ConnectRequest, control_pb2.ConnectResponse]"


class ControlLink:
    """The link of one agent. ``run`` keeps it up; everything else may be called at any time."""

    def __init__(
        self,
        address: str,
        *,
        hello: Callable[[], control_pb2.Hello],
        receive: Callable[[control_pb2.ConnectResponse], Awaitable[None]],
        outbox: Outbox,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._address = address
        self._hello = hello
        self._receive = receive
        self._outbox = outbox
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_S, _MAX_RETRY_S, rng)
        self._told: deque[control_pb2.ConnectRequest] = deque(maxlen=_MAX_TOLD)
        self._delivered: deque[control_pb2.ConnectRequest] = deque(maxlen=_MAX_DELIVERED)
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._stub: control_pb2_grpc.ControlServiceStub | None = None

    @property
    def connected(self) -> bool:
        """Whether the planner has welcomed this agent and the link still holds."""
        return self._up.is_set()

    def tell(self, message: control_pb2.ConnectRequest) -> None:
        """Sends how something stands now; without a link it is forgotten."""
        if self.connected:
            self._told.append(message)
            self._wake.set()

    def deliver(self, message: control_pb2.ConnectRequest) -> None:
        """Sends something that must get there, if not in this session then in a later one."""
        if len(self._delivered) == self._delivered.maxlen:
            warning("delivery_dropped", limit=_MAX_DELIVERED, kind=self._delivered[0].WhichOneof("message"))
        self._delivered.append(message)
        self._wake.set()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    async def fetch(self, digest: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes in chunks; waits a while for the link if it is down.

        Raises:
            NotFound: the planner has no such blob.
            Unreachable, TimedOut: it can't be had now.
        """
        try:
            async with asyncio.timeout(_FETCH_PATIENCE_S):
                await self._up.wait()
        except TimeoutError:
            raise Unreachable(f"blob {digest} can't be fetched: no link to the planner at {self._address}") from None
        stub = self._stub
        if stub is None:
            raise Unreachable(
                f"blob {digest} can't be fetched: the link to the planner at {self._address} has just gone"
            )
        try:
            async for answer in stub.FetchBlob(control_pb2.FetchBlobRequest(digest=digest), timeout=_FETCH_TIMEOUT_S):
                yield answer.chunk
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED:
                raise Unreachable(f"blob {digest} was cut off: the link to the planner has gone") from error
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            # grpc cancels its own calls when their channel closes; that isn't a cancel of this task.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unreachable(f"blob {digest} was cut off: the link to the planner has gone") from None

    async def run(self) -> None:
        """Keeps the link up until it is cancelled."""
        while True:
            started_s = self._clock.monotonic_s()
            # In a task of its own: a group of tasks that is ending by an error forgets that it is cancelled meanwhile.
            attempt = asyncio.create_task(self._attempt())
            try:
                reason = await asyncio.shield(attempt)
            finally:
                attempt.cancel()
                await asyncio.wait((attempt,))
            if self._clock.monotonic_s() - started_s >= _STEADY_S:
                self._backoff.reset()
            wait_s = self._backoff.next_s()
            warning("planner_unreachable", address=self._address, reason=reason, retry_in_s=wait_s)
            await self._clock.sleep(wait_s)

    async def _attempt(self) -> str:
        """One session, from dialling to its end. Gives the reason of the end."""
        reasons: list[str] = []
        try:
            await self._session()
        except* grpc.aio.AioRpcError as group:
            reasons.extend(
                from_rpc(error).message for error in _leaves(group) if isinstance(error, grpc.aio.AioRpcError)
            )
        # grpc.aio raises InvalidStateError for a write after the other side has ended the call.
        except* (CircinusError, TimeoutError, OSError, asyncio.InvalidStateError) as group:
            reasons.extend(str(error) or type(error).__name__ for error in _leaves(group))
        finally:
            self._up.clear()
            self._stub = None
            self._told.clear()
        return "; ".join(reasons)[:300] or "the planner closed the link"

    async def _session(self) -> None:
        async with open_channel(self._address) as channel:
            stub = control_pb2_grpc.ControlServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            stream: Stream = stub.Connect()
            try:
                welcome = await self._greet(stream)
                self._stub = stub
                self._up.set()
                event("planner_connected", address=self._address, epoch=welcome.epoch)
                period_s = welcome.heartbeat_period_s
                period_s = period_s if math.isfinite(period_s) else 1.0
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(stream))
                    group.create_task(self._write(stream, min(max(period_s, _HEARTBEAT_S[0]), _HEARTBEAT_S[1])))
            finally:
                stream.cancel()

    async def _greet(self, stream: Stream) -> control_pb2.Welcome:
        async with asyncio.timeout(_WELCOME_TIMEOUT_S):
            hello = self._hello()
            hello.session_id = secrets.token_hex(16)
            await stream.write(control_pb2.ConnectRequest(hello=hello))
            answer = await stream.read()
        if not isinstance(answer, control_pb2.ConnectResponse):
            raise Unreachable("the planner closed the link before its welcome")
        if answer.WhichOneof("message") != "welcome":
            raise Internal(f"the planner began with {answer.WhichOneof('message')}, not with its welcome")
        return answer.welcome

    async def _read(self, stream: Stream) -> None:
        while True:
            message = await stream.read()
            if not isinstance(message, control_pb2.ConnectResponse):
                # The end of the stream; raised so that the writer's side ends, too.
                raise Unreachable("the planner closed the link")
            await self._receive(message)

    async def _write(self, stream: Stream, heartbeat_period_s: float) -> None:
        sending = _Sending(stream, self._told, self._delivered, self._outbox)
        try:
            due_s = self._clock.monotonic_s()
            while True:
                self._wake.clear()
                await sending.send_all()
                if self._clock.monotonic_s() >= due_s:
                    await sending.heartbeat()
                    due_s = self._clock.monotonic_s() + heartbeat_period_s
                try:
                    async with asyncio.timeout(max(0.0, due_s - self._clock.monotonic_s())):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            # What may not have got there goes first in the next session.
            self._delivered.extendleft(reversed(sending.unconfirmed))


class _Sending:
    """What one session has sent, and what of it is known to be past."""

    def __init__(
        self,
        stream: Stream,
        told: deque[control_pb2.ConnectRequest],
        delivered: deque[control_pb2.ConnectRequest],
        outbox: Outbox,
    ) -> None:
        self._stream = stream
        self._told = told
        self._delivered = delivered
        self._outbox = outbox
        self._heartbeats = 0
        self._sent_up_to = 0
        self._marked_up_to = 0
        self._confirmed_up_to = 0
        self._marked = 0
        self.unconfirmed: deque[control_pb2.ConnectRequest] = deque()

    async def send_all(self) -> None:
        """Everything that waits, states first."""
        while self._told:
            await self._send(self._told.popleft())
        while self._delivered:
            message = self._delivered.popleft()
            self.unconfirmed.append(message)
            await self._send(message)
        while batch := await self._outbox.peek(self._sent_up_to):
            for telemetry in batch:
                await self._send(control_pb2.ConnectRequest(telemetry=telemetry))
                self._sent_up_to = telemetry.sequence

    async def heartbeat(self) -> None:
        """Sends a heartbeat; what went before the last one is then taken to have arrived."""
        self._heartbeats += 1
        await self._send(control_pb2.ConnectRequest(heartbeat=control_pb2.Heartbeat(sequence=self._heartbeats)))
        for _ in range(self._marked):
            self.unconfirmed.popleft()
        self._marked = len(self.unconfirmed)
        if self._marked_up_to > self._confirmed_up_to:
            await self._outbox.forget(self._marked_up_to)
            self._confirmed_up_to = self._marked_up_to
        self._marked_up_to = self._sent_up_to

    async def _send(self, message: control_pb2.ConnectRequest) -> None:
        async with asyncio.timeout(_WRITE_TIMEOUT_S):
            await self._stream.write(message)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
