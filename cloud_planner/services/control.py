"""ControlService: the agents' side. One stream for each agent; what comes is handed on, what waits is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from circinus import wire
from circinus.channel import CHUNK_BYTES
from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput, abort
from circinus.events import warning
from circinus.model.device import DeviceId, Digest, Environment
from circinus.model.directive import Generation
from circinus.v1 import control_pb2, control_pb2_grpc
from circinus.wire import check
from cloud_planner.profiling import Profiling
from cloud_planner.registry import AgentSession, Registry
from cloud_planner.rollout import refusal_text
from cloud_planner.store import BlobStore
from cloud_planner.telemetry import TelemetryWriter

_HELLO_WITHIN_S = 10.0
#: No honest fleet comes near; numbers above would not fit where they are kept.
_MAX_GENERATION = 2**53

Context = grpc.aio.ServicerContext[Any, Any]


class ControlService(control_pb2_grpc.ControlServiceServicer):
    """Serves agents."""

    def __init__(
        self,
        registry: Registry,
        profiling: Profiling,
        telemetry: TelemetryWriter,
        blobs: BlobStore,
        clock: Clock,
        *,
        epoch: int,
        heartbeat_period_s: float = 5.0,
    ) -> None:
        self._registry = registry
        self._profiling = profiling
        self._telemetry = telemetry
        self._blobs = blobs
        self._clock = clock
        self._epoch = epoch
        self._heartbeat_period_s = heartbeat_period_s

    async def Connect(self, request_iterator: AsyncIterator[control_pb2.ConnectRequest], context: Context) -> None:
        """An agent's stream, until one side ends it."""
        try:
            session = await self._welcome(request_iterator, context)
        except CircinusError as error:
            await abort(context, error)
            return
        try:
            await self._converse(session, request_iterator, context)
        except CircinusError as error:
            warning("agent_refused", device=session.device_id, reason=error.message)
            await abort(context, error)
        finally:
            self._registry.leave(session)

    async def _welcome(self, requests: AsyncIterator[control_pb2.ConnectRequest], context: Context) -> AgentSession:
        try:
            async with asyncio.timeout(_HELLO_WITHIN_S):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            first = None
        if first is None or first.WhichOneof("message") != "hello":
            raise InvalidInput("the first message of an agent must be its hello")
        device = wire.device_from_message(first.hello.fingerprint)
        session_id = check.name("session_id", first.hello.session_id)
        status = _status(first.hello.generation_status)
        session = AgentSession(device.id, session_id, self._clock.monotonic_s())
        await context.write(
            control_pb2.ConnectResponse(
                welcome=control_pb2.Welcome(epoch=self._epoch, heartbeat_period_s=self._heartbeat_period_s)
            )
        )
        await self._registry.join(device, session, status)
        self._profiling.forget_failures(device.id)
        return session

    async def _converse(
        self, session: AgentSession, requests: AsyncIterator[control_pb2.ConnectRequest], context: Context
    ) -> None:
        """Reads and writes until the agent hangs up or the session ends."""
        reading = asyncio.create_task(self._read(session, requests))
        writing = asyncio.create_task(_write(session, context))
        ending = asyncio.create_task(session.ended.wait())
        tasks: tuple[asyncio.Task[Any], ...] = (reading, writing, ending)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = task.exception()
            if isinstance(error, CircinusError):
                raise error
            if error is not None and not isinstance(error, grpc.RpcError | grpc.aio.UsageError):
                raise error

    async def _read(self, session: AgentSession, requests: AsyncIterator[control_pb2.ConnectRequest]) -> None:
        async for request in requests:
            if session.ended.is_set():
                return
            await self._registry.seen(session.device_id)
            await self._take(session, request)

    async def _take(self, session: AgentSession, request: control_pb2.ConnectRequest) -> None:
        """One message of an agent.

        Raises:
            InvalidInput: it can't be; the connection ends.
        """
        device_id = session.device_id
        match request.WhichOneof("message"):
            case "heartbeat":
                pass
            case "directive_answer":
                self._take_answer(device_id, request.directive_answer)
            case "generation_status":
                self._registry.note_status(device_id, _status(request.generation_status))
            case "telemetry":
                self._take_telemetry(device_id, request.telemetry)
            case "profile_progress":
                self._profiling.note_progress(device_id, request.profile_progress)
            case "profile_report":
                await self._profiling.note_report(device_id, request.profile_report)
            case "environment_status":
                await self._registry.note_environment(device_id, _environment(request.environment_status))
            case "fingerprint":
                device = wire.device_from_message(request.fingerprint)
                if device.id != device_id:
                    raise InvalidInput(f"device {device_id} sent the fingerprint of {device.id}")
                await self._registry.update(device)
            case other:
                raise InvalidInput(f"an agent sent {other or 'an empty message'} where it may not")

    def _take_answer(self, device_id: DeviceId, answer: control_pb2.DirectiveAnswer) -> None:
        if answer.verdict != control_pb2.DIRECTIVE_VERDICT_ACCEPTED:
            number = int(check.number("directive_answer.generation", answer.generation, high=_MAX_GENERATION))
            generation = Generation(epoch=answer.epoch, number=number)
            reason = refusal_text(answer)
            warning("directive_refused", device=device_id, generation=generation.number, reason=reason)
            self._registry.note_refusal(device_id, generation, reason)

    def _take_telemetry(self, device_id: DeviceId, telemetry: control_pb2.Telemetry) -> None:
        try:
            self._telemetry.put(device_id, telemetry)
        except CircinusError as error:
            # An agent would send it again after a reconnect: one bad window must not cut it off for ever.
            warning("telemetry_refused", device=device_id, reason=error.message)

    async def FetchBlob(self, request: control_pb2.FetchBlobRequest, context: Context) -> None:
        """A blob in chunks."""
        digest = Digest(request.digest)
        try:
            total_bytes = await asyncio.to_thread(self._blobs.size_bytes, digest)
            for offset in range(0, total_bytes, CHUNK_BYTES):
                chunk = await asyncio.to_thread(self._blobs.read, digest, offset, CHUNK_BYTES)
                await context.write(
                    control_pb2.FetchBlobResponse(chunk=chunk, total_bytes=total_bytes if offset == 0 else 0)
                )
        except CircinusError as error:
            await abort(context, error)


async def _write(session: AgentSession, context: Context) -> None:
    while True:
        await context.write(await session.next_message())


def _status(message: control_pb2.GenerationStatus) -> control_pb2.GenerationStatus:
    """A generation status whose figures are in bounds.

    Raises:
        InvalidInput: one is not.
        TooLarge: it has too many processes.
    """
    for number in (message.epoch, message.generation, message.active_generation):
        check.number("generation_status", number, high=_MAX_GENERATION)
    check.text("generation_status.reason", message.reason)
    check.size("generation_status.pids", message.pids)
    for replicas in message.pids.values():
        check.size("generation_status.pids", replicas.pids, 1_000)
    return message


def _environment(message: control_pb2.EnvironmentStatus) -> Environment:
    return Environment(
        digest=Digest(check.digest("environment.digest", message.environment.digest)),
        ready=message.environment.ready,
        reason=check.text("environment.reason", message.environment.reason),
    )
