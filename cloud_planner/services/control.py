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
from circinus.events import event, warning
from circinus.model.device import DeviceId, Digest, Environment
from circinus.model.directive import Generation
from circinus.v1 import control_pb2, control_pb2_grpc
from circinus.wire import check
from cloud_planner.profiling import Profiling
from cloud_planner.refusals import refusal_text
from cloud_planner.registry import AgentSession, Registry
from cloud_planner.services.identities import Identities
from cloud_planner.services.leaving import LeaveCall
from cloud_planner.store import BlobStore
from cloud_planner.telemetry import TelemetryWriter

_HELLO_WITHIN_S = 10.0
#: No honest fleet comes near; numbers above would not fit where they are kept.
_MAX_GENERATION = 2**53

Context = grpc.aio.ServicerContext[Any, Any]


class ControlService(LeaveCall, control_pb2_grpc.ControlServiceServicer):
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
        identities: Identities | None = None,
    ) -> None:
        self._registry = registry
        self._profiling = profiling
        self._telemetry = telemetry
        self._blobs = blobs
        self._clock = clock
        self._epoch = epoch
        self._heartbeat_period_s = heartbeat_period_s
        self._identities = identities if identities is not None else Identities(registry, clock)

    async def Connect(self, request_iterator: AsyncIterator[control_pb2.ConnectRequest], context: Context) -> None:
        """An agent's stream, until one side ends it."""
        try:
            session, spoken = await self._welcome(request_iterator, context)
        except CircinusError as error:
            await abort(context, error)
            return
        try:
            await self._identities.joined(session)
            if spoken is not None:
                await self._take(session, spoken)
            await self._converse(session, request_iterator, context)
        except CircinusError as error:
            warning("agent_refused", device=session.device_id, reason=error.message)
            await self._identities.refused(session.device_id, "Connect", session.device_id, error)
            await abort(context, error)
        finally:
            self._identities.left(session)
            self._registry.leave(session)

    async def _welcome(
        self, requests: AsyncIterator[control_pb2.ConnectRequest], context: Context
    ) -> tuple[AgentSession, control_pb2.ConnectRequest | None]:
        """Takes an agent in; gives what it has said beyond its hello, if that had to be waited for."""
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
        process_id = check.name("process_id", first.hello.process_id, empty=True)
        await self._identities.check_name(device.id)
        session = AgentSession(device.id, session_id, self._clock.monotonic_s())
        await context.write(
            control_pb2.ConnectResponse(
                welcome=control_pb2.Welcome(
                    epoch=self._epoch, heartbeat_period_s=self._heartbeat_period_s, acknowledges=True
                )
            )
        )
        # Whoever lives says something in each period.
        spoken = await self._identities.single(device.id, process_id, requests, 1.3 * self._heartbeat_period_s)
        await self._registry.join(device, session, status)
        self._profiling.forget_failures(device.id)
        return session, spoken

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
        if session.refusal is not None:
            raise session.refusal
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
            self._identities.check(session)
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
                await self._take_answer(device_id, request.directive_answer)
            case "generation_status":
                self._registry.note_status(device_id, _status(request.generation_status))
                await self._identities.note_status(device_id, request.generation_status)
            case "telemetry":
                self._take_telemetry(session, request.telemetry)
            case "profile_progress":
                self._profiling.note_progress(device_id, request.profile_progress)
            case "profile_report":
                await self._profiling.note_report(device_id, request.profile_report)
                await self._identities.note_report(device_id, request.profile_report)
                if request.outbox_sequence:
                    session.acknowledge((request.outbox_sequence,))
            case "environment_status":
                environment = _environment(request.environment_status)
                await self._registry.note_environment(device_id, environment)
                await self._identities.note_environment(device_id, environment)
            case "fingerprint":
                device = wire.device_from_message(request.fingerprint)
                if device.id != device_id:
                    raise InvalidInput(f"device {device_id} sent the fingerprint of {device.id}")
                await self._registry.update(device)
            case "look_chunk":
                if self.overview is not None:
                    self.overview.looking.note(session, request.look_chunk)
            case other:
                raise InvalidInput(f"an agent sent {other or 'an empty message'} where it may not")

    async def _take_answer(self, device_id: DeviceId, answer: control_pb2.DirectiveAnswer) -> None:
        if answer.verdict != control_pb2.DIRECTIVE_VERDICT_ACCEPTED:
            number = int(check.number("directive_answer.generation", answer.generation, high=_MAX_GENERATION))
            generation = Generation(epoch=answer.epoch, number=number)
            reason = refusal_text(answer)
            warning("directive_refused", device=device_id, generation=generation.number, reason=reason)
            self._registry.note_refusal(device_id, generation, reason)
            await self._identities.note_answer(device_id, answer)
        else:
            event("directive_accepted", device=device_id, generation=answer.generation)

    def _take_telemetry(self, session: AgentSession, telemetry: control_pb2.Telemetry) -> None:
        try:
            self._telemetry.put(session.device_id, telemetry, session.acknowledge)
        except CircinusError as error:
            # Acknowledged all the same: an agent would send it again, and one bad window must not cut it off for ever.
            warning("telemetry_refused", device=session.device_id, reason=error.message)
            session.acknowledge((telemetry.sequence,))

    async def FetchBlob(self, request: control_pb2.FetchBlobRequest, context: Context) -> None:
        """A blob in chunks."""
        digest = Digest(request.digest)
        try:
            total_bytes = await asyncio.to_thread(self._blobs.size_bytes, digest)
            for offset in range(0, total_bytes, CHUNK_BYTES):
                self._identities.check_call()
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
    check.size("generation_status.troubles", message.troubles, 100)
    for trouble in message.troubles:
        check.text("generation_status.troubles", trouble)
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
