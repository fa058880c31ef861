"""The agent's one stream to the planner: dialled by the agent, dialled again for as long as the agent lives.

Three kinds of messages go up. What says how things stand (``tell``) is sent if there is a link and forgotten if not,
since the Hello of the next session says it anew. What can't be made again cheaply (``deliver``: profile results) is
written down in the outbox, and leaves it when the planner has acknowledged it: neither a cut nor a kill of either side
loses it. Telemetry goes the same way. All of these the planner takes twice without harm.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import grpc
import grpc.aio

from circinus.channel import open_channel, open_secure_channel
from circinus.clock import Clock
from circinus.errors import CircinusError, Internal, Unreachable, from_rpc
from circinus.events import event, warning
from circinus.model.device import Digest
from circinus.retry import MAX_RECONNECT_S, Backoff
from circinus.v1 import control_pb2, control_pb2_grpc
from edge_agent.deliveries import Deliveries
from edge_agent.identity.credentials import Credentials
from edge_agent.outbox import Outbox
from edge_agent.sending import Sending, Stream

#: With full jitter: of ten thousand agents that lost their planner at one moment few come back in the same one.
_FIRST_RETRY_S = 0.5
#: A session that lasted so long counts as a success: the next retry is soon.
_STEADY_S = 5.0
_WELCOME_TIMEOUT_S = 10.0
_FETCH_TIMEOUT_S = 600.0
_FETCH_PATIENCE_S = 30.0
_MAX_TOLD = 1_000
_HEARTBEAT_S = (0.05, 60.0)


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
        credentials: Credentials | None = None,
        explain: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """``credentials`` None: in the clear. ``explain``: what is known of why a session could not begin."""
        self._address = address
        self._credentials = credentials
        self._explain = explain
        self._renewed = asyncio.Event()
        self._fetching = 0
        self._fetched = asyncio.Event()
        self._greeted = False
        if credentials is not None:
            credentials.on_renewed(self._renewed.set)
        self._hello = hello
        self._receive = receive
        self._outbox = outbox
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_S, MAX_RECONNECT_S, rng)
        self._told: deque[control_pb2.ConnectRequest] = deque(maxlen=_MAX_TOLD)
        self._wake = asyncio.Event()
        self._deliveries = Deliveries(outbox, self._wake.set)
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
        self._deliveries.hand(message)

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
        self._fetching += 1
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
        finally:
            self._fetching -= 1
            self._fetched.set()

    async def run(self) -> None:
        """Keeps the link up until it is cancelled; what was to be delivered is written down when it returns."""
        keeping = asyncio.create_task(self._deliveries.run())
        try:
            await self._keep_up()
        finally:
            keeping.cancel()
            await asyncio.wait((keeping,))
            await self._deliveries.keep()

    async def _keep_up(self) -> None:
        while True:
            started_s = self._clock.monotonic_s()
            self._greeted = False
            # In a task of its own: a group of tasks that is ending by an error forgets that it is cancelled meanwhile.
            attempt = asyncio.create_task(self._attempt())
            try:
                reason = await asyncio.shield(attempt)
            finally:
                attempt.cancel()
                await asyncio.wait((attempt,))
            if self._clock.monotonic_s() - started_s >= _STEADY_S:
                self._backoff.reset()
            if self._greeted and self._renewed.is_set():
                event("planner_link_renewed", address=self._address)
                continue
            if not self._greeted and self._explain is not None and (why := await self._explain()):
                reason = f"{why} ({reason})"
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
        self._renewed.clear()
        async with self._channel() as channel:
            stub = control_pb2_grpc.ControlServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            stream: Stream = stub.Connect()
            try:
                welcome = await self._greet(stream)
                self._stub = stub
                self._up.set()
                self._greeted = True
                event("planner_connected", address=self._address, epoch=welcome.epoch)
                period_s = welcome.heartbeat_period_s
                period_s = period_s if math.isfinite(period_s) else 1.0
                sending = Sending(stream, self._told, self._outbox, self._clock, acknowledged=welcome.acknowledges)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._until_renewed())
                    group.create_task(self._read(stream, sending))
                    group.create_task(self._write(sending, min(max(period_s, _HEARTBEAT_S[0]), _HEARTBEAT_S[1])))
            finally:
                stream.cancel()

    def _channel(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return open_channel(self._address)
        return open_secure_channel(self._address, self._credentials.tls)

    async def _until_renewed(self) -> None:
        """Ends the session when there is a new certificate and no blob is being fetched: the next one shows it."""
        await self._renewed.wait()
        while self._fetching:
            self._fetched.clear()
            await self._fetched.wait()
        raise Unreachable("this box has a new certificate")

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

    async def _read(self, stream: Stream, sending: Sending) -> None:
        while True:
            message = await stream.read()
            if not isinstance(message, control_pb2.ConnectResponse):
                # The end of the stream; raised so that the writer's side ends, too.
                raise Unreachable("the planner closed the link")
            if message.WhichOneof("message") == "acknowledgement":
                await sending.arrived(message.acknowledgement.sequences)
                self._wake.set()
            else:
                await self._receive(message)

    async def _write(self, sending: Sending, heartbeat_period_s: float) -> None:
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


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
