"""Runs profile requests, one after the other, in processes of their own that yield to serving.

A request's parts are the memory of each operator in each setting, if it asks for it (one process), then the samples,
dealt out to as many processes as the request allows. What these find is passed on as it comes. The processes stay for
the next request of the same bundle and content: see profile_warm. Nothing that the bundle's code does can hurt the
agent: a process that dies, hangs or talks nonsense ends its request with the reason.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from circinus.clock import Clock, SystemClock
from circinus.errors import CircinusError, InvalidInput, TimedOut, Unreachable
from circinus.events import event, warning
from circinus.model.device import Digest
from circinus.model.pipeline import OperatorId, configuration_key, knobs_of
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check, configuration_from_message
from edge_agent.blobs import Blobs
from edge_agent.isolation.isolation import Isolation
from edge_agent.printed import Printed
from edge_agent.profile_reports import Progress, Reports
from edge_agent.profile_warm import Pool, WarmKey, WarmLimits, WarmPools, available_memory_bytes
from edge_agent.profile_work import CANCELLED

_MAX_WAITING = 256
_MAX_CONFIGURATIONS = 10_000
_MAX_SAMPLES = 100_000
_MAX_PARALLELISM = 64
_MAX_KNOWN_BUNDLES = 100
_FETCH_ATTEMPTS = 3
#: Bytes by operator and its knobs, of one bundle.
MemoryTable = dict[tuple[str, str], tuple[int, int]]


class Profiler:
    """The profile requests of one device. ``run`` works them off; results go to ``deliver``, progress to ``tell``."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        python_for: Callable[[Digest], Path],
        run_dir: Path,
        speed_ratio: float,
        providers: tuple[str, ...],
        deliver: Callable[[control_pb2.ConnectRequest], None],
        tell: Callable[[control_pb2.ConnectRequest], None],
        limits: WarmLimits | None = None,
        clock: Clock | None = None,
        available_bytes: Callable[[], int] = available_memory_bytes,
        isolation: Isolation | None = None,
        printed: Printed | None = None,
    ) -> None:
        self._isolation = isolation or Isolation()
        self._blobs = blobs
        self._python_for = python_for
        self._run_dir = run_dir
        self._deliver = deliver
        self._tell = tell
        self._limits = limits or WarmLimits()
        self._warm = WarmPools(
            printed=printed,
            run_dir=run_dir,
            speed_ratio=speed_ratio,
            providers=providers,
            limits=self._limits,
            clock=clock or SystemClock(),
            available_bytes=available_bytes,
            isolation=self._isolation,
        )
        self._waiting: asyncio.Queue[control_pb2.ProfileRequest] = asyncio.Queue(_MAX_WAITING)
        self._ids: set[str] = set()
        self._current: _Current | None = None
        self._memory: dict[str, MemoryTable] = {}

    def equip(self, providers: tuple[str, ...]) -> None:
        """The providers from the next request on."""
        self._warm.equip(providers)

    def submit(self, request: control_pb2.ProfileRequest) -> None:
        """Takes a request; one that is here already is not taken twice."""
        if request.id in self._ids:
            return
        try:
            check_request(request)
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(request.id, f"{_MAX_WAITING} profile requests wait already; ask again later")
        except CircinusError as error:
            self._refuse(request.id, error.message)
        else:
            self._ids.add(request.id)

    def cancel(self, request_id: str) -> None:
        """Ends a request, at the next sample or after a short while; what it found so far is sent."""
        if self._current is not None and self._current.request.id == request_id:
            self._current.call_off(self._limits.cancel_grace_s)
        elif request_id in self._ids:
            self._ids.discard(request_id)
            self._refuse(request_id, CANCELLED)

    async def run(self) -> None:
        """Works requests off until it is cancelled."""
        await asyncio.to_thread(shutil.rmtree, self._run_dir, True)
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._isolation.open()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._warm.watch())
                group.create_task(self._work())
        finally:
            await self._warm.end()
            self._isolation.close()

    async def _work(self) -> None:
        while True:
            request = await self._waiting.get()
            if request.id not in self._ids:
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    # A task of its own, so that `cancel` ends the request and not this loop.
                    current = _Current(request, Reports(request.id, self._deliver))
                    current.task = group.create_task(self._attempt(current))
                    self._current = current
            finally:
                self._current = None
                self._ids.discard(request.id)

    async def _attempt(self, current: _Current) -> None:
        request = current.request
        event("profile_started", id=request.id, configurations=len(request.configurations), score=request.score)
        error = CANCELLED
        try:
            error = await self._profile(current)
        except CircinusError as fault:
            error = fault.message
        except Exception as fault:
            # One request's trouble isn't the agent's end.
            error = f"{type(fault).__name__}: {fault}"
        finally:
            current.reports.end(error)
            event("profile_ended", id=request.id, error=error)

    def _refuse(self, request_id: str, error: str) -> None:
        Reports(request_id, self._deliver).end(error)

    async def _profile(self, current: _Current) -> str:
        request = current.request
        pool = await self._pool(request)
        try:
            current.pool = pool
            memory = await self._probe_memory(current, pool) if request.probe_memory else {}
            return await self._run_samples(current, pool, memory)
        finally:
            current.pool = None
            await self._warm.give_back(pool)

    async def _pool(self, request: control_pb2.ProfileRequest) -> Pool:
        environment = Digest(request.environment_digest)
        try:
            python = self._python_for(environment)
        except CircinusError:
            await self._warm.end_of(environment)
            raise
        bundle = await _patiently(lambda: self._blobs.bundle(Digest(request.bundle_digest)))
        samples = await _patiently(lambda: self._blobs.sample_set(Digest(request.content_digest)))
        key = WarmKey(
            bundle_digest=Digest(request.bundle_digest),
            environment_digest=environment,
            content_digest=Digest(request.content_digest),
            parallelism=_parallelism(request),
        )
        return await self._warm.take(
            key, pipeline_id=request.pipeline_id, python=python, bundle=bundle, samples=samples
        )

    async def _probe_memory(self, current: _Current, pool: Pool) -> dict[bytes, dict[str, tuple[int, int]]]:
        """Memory, main and accelerator's, by configuration and operator; asks a process for what isn't known yet.

        What fails here is left out: the samples will show why.
        """
        request = current.request
        if request.bundle_digest not in self._memory and len(self._memory) >= _MAX_KNOWN_BUNDLES:
            self._memory.clear()
        table = self._memory.setdefault(request.bundle_digest, {})
        keys = {
            _key(message): [
                (step.id, configuration_key(knobs_of(configuration_from_message(message), step.id)))
                for step in pool.pipeline.steps
            ]
            for message in request.configurations
        }

        def note(message: control_pb2.ConnectRequest) -> None:
            for part in message.profile_report.configurations:
                configuration = configuration_from_message(part.configuration)
                for operator_id, memory_bytes in part.memory_bytes.items():
                    key = (operator_id, configuration_key(knobs_of(configuration, OperatorId(operator_id))))
                    # Reading a map of protobuf's by a missing key would make the key.
                    held = dict(part.accelerator_memory_bytes)
                    table[key] = (memory_bytes, held.get(operator_id, 0))

        lacking = [entry for entry in request.configurations if not all(key in table for key in keys[_key(entry)])]
        if lacking and not current.called_off:
            asked = _part(request, request.sample_indices, lacking)
            try:
                prober = await pool.prober()
                hangs = "" if current.called_off else await prober.run(asked, note)
            except TimedOut:
                # The samples would be waited for as long, and everybody's profile behind them.
                raise
            except CircinusError as error:
                warning("memory_probe_failed", id=request.id, reason=error)
            else:
                if hangs and not current.called_off:
                    raise TimedOut(hangs)
        return {
            configuration: {
                operator_id: table[operator_id, knobs] for operator_id, knobs in entry if (operator_id, knobs) in table
            }
            for configuration, entry in keys.items()
        }

    async def _run_samples(self, current: _Current, pool: Pool, memory: dict[bytes, dict[str, tuple[int, int]]]) -> str:
        request = current.request
        progress = Progress(request, self._tell)
        count = pool.key.parallelism

        async def one(number: int, asked: control_pb2.ProfileRequest) -> str:
            def pass_on(message: control_pb2.ConnectRequest) -> None:
                if message.WhichOneof("message") == "profile_progress":
                    progress.note(number, message.profile_progress)
                    return
                for part in message.profile_report.configurations:
                    for operator_id, (memory_bytes, held_bytes) in memory.get(_key(part.configuration), {}).items():
                        part.memory_bytes[operator_id] = memory_bytes
                        if held_bytes:
                            part.accelerator_memory_bytes[operator_id] = held_bytes
                current.reports.add(message.profile_report)

            try:
                runner = await pool.runner(number)
                return CANCELLED if current.called_off else await runner.run(asked, pass_on)
            except CircinusError as error:
                return error.message

        async with asyncio.TaskGroup() as group:
            tasks = []
            for number in range(count):
                indices = [index for index in request.sample_indices if index % count == number]
                if indices and not current.called_off:
                    asked = _part(request, indices, request.configurations)
                    tasks.append(group.create_task(one(number, asked)))
        progress.tell()
        if not tasks:
            return CANCELLED
        return "; ".join(dict.fromkeys(error for error in (task.result() for task in tasks) if error))


class _Current:
    """The request that is worked off."""

    def __init__(self, request: control_pb2.ProfileRequest, reports: Reports) -> None:
        self.request = request
        self.reports = reports
        self.task: asyncio.Task[None] | None = None
        self.pool: Pool | None = None
        self.called_off = False

    def call_off(self, grace_s: float) -> None:
        """Has it end at the next sample; after so many seconds, or if nothing runs yet, wherever it is."""
        if self.called_off or self.task is None:
            return
        self.called_off = True
        if self.pool is None:
            self.task.cancel()
        else:
            self.pool.call_off(self.request.id)
            asyncio.get_running_loop().call_later(grace_s, self.task.cancel)


async def _patiently(fetch: Callable[[], Awaitable[Path]]) -> Path:
    """A blob, over short losses of the link."""
    for _ in range(_FETCH_ATTEMPTS - 1):
        try:
            return await fetch()
        except (Unreachable, TimedOut) as error:
            # The fetch itself waits for the link, so this is no busy loop.
            warning("blob_not_fetched", reason=error)
    return await fetch()


def check_request(request: control_pb2.ProfileRequest) -> None:
    """Whether a request from the wire is one.

    Raises:
        InvalidInput, TooLarge: it is not.
    """
    check.name("id", request.id)
    check.name("pipeline_id", request.pipeline_id)
    for field in ("bundle_digest", "environment_digest", "content_digest"):
        check.digest(field, getattr(request, field))
    check.size("configurations", request.configurations, _MAX_CONFIGURATIONS)
    check.size("sample_indices", request.sample_indices, _MAX_SAMPLES)
    check.number("budget_s", request.budget_s, high=1e7)
    for configuration in request.configurations:
        configuration_from_message(configuration)
    if request.HasField("reference"):
        configuration_from_message(request.reference)
    if not request.configurations or not request.sample_indices:
        raise InvalidInput("a profile request needs at least one configuration and one sample")
    if len(set(request.sample_indices)) != len(request.sample_indices):
        raise InvalidInput("sample_indices: an index stands there twice")


def _parallelism(request: control_pb2.ProfileRequest) -> int:
    return max(1, min(request.parallelism, _MAX_PARALLELISM))


def _part(
    request: control_pb2.ProfileRequest, indices: Sequence[int], configurations: Iterable[types_pb2.Configuration]
) -> control_pb2.ProfileRequest:
    """What one process is asked for: some samples, and its share of the budget."""
    part = control_pb2.ProfileRequest(
        id=request.id,
        configurations=configurations,
        sample_indices=indices,
        score=request.score,
        budget_s=request.budget_s * len(indices) / len(request.sample_indices),
        times=request.times,
    )
    if request.HasField("reference"):
        part.reference.CopyFrom(request.reference)
    return part


def _key(configuration: types_pb2.Configuration) -> bytes:
    return configuration.SerializeToString(deterministic=True)
