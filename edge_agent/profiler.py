"""Runs profile requests, one after the other, in processes of their own that yield to serving.

A request's parts are first the memory of each operator in each setting (one process), then the samples, dealt out
to as many processes as the request allows. What these find is passed on as it comes. Nothing that the bundle's
code does can hurt the agent: a process that dies, hangs or talks nonsense ends its request with the reason.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from circinus.errors import CircinusError, InvalidInput, TimedOut, Unreachable
from circinus.events import event, warning
from circinus.model.device import Digest
from circinus.model.pipeline import OperatorId, configuration_key, knobs_of
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check, configuration_from_message
from edge_agent.blobs import Blobs
from edge_agent.profile_child import ProfileRun
from edge_agent.profile_inputs import ProfiledPipeline, read_pipeline
from edge_agent.profile_process import ProfileConfig
from edge_agent.profile_watch import patience_s

_MAX_WAITING = 256
_MAX_CONFIGURATIONS = 10_000
_MAX_SAMPLES = 100_000
_MAX_PARALLELISM = 64
_MAX_KNOWN_BUNDLES = 100
#: Beside the longest time that an operator may take: starting Python and loading models.
_START_S = 120.0
_PROGRESS_PERIOD_S = 0.5
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
    ) -> None:
        self._blobs = blobs
        self._python_for = python_for
        self._run_dir = run_dir
        self._speed_ratio = speed_ratio
        self._providers = providers
        self._deliver = deliver
        self._tell = tell
        self._waiting: asyncio.Queue[control_pb2.ProfileRequest] = asyncio.Queue(_MAX_WAITING)
        self._ids: set[str] = set()
        self._current: tuple[str, asyncio.Task[None]] | None = None
        self._memory: dict[str, MemoryTable] = {}

    def submit(self, request: control_pb2.ProfileRequest) -> None:
        """Takes a request; one that is here already is not taken twice."""
        if request.id in self._ids:
            return
        try:
            check_request(request)
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            self._end(request.id, f"{_MAX_WAITING} profile requests wait already; ask again later")
        except CircinusError as error:
            self._end(request.id, error.message)
        else:
            self._ids.add(request.id)

    def cancel(self, request_id: str) -> None:
        """Ends a request; what it found so far has been sent."""
        if self._current is not None and self._current[0] == request_id:
            self._current[1].cancel()
        elif request_id in self._ids:
            self._ids.discard(request_id)
            self._end(request_id, "cancelled")

    async def run(self) -> None:
        """Works requests off until it is cancelled."""
        await asyncio.to_thread(shutil.rmtree, self._run_dir, True)
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            request = await self._waiting.get()
            if request.id not in self._ids:
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    # A task of its own, so that `cancel` ends the request and not this loop.
                    self._current = (request.id, group.create_task(self._attempt(request)))
            finally:
                self._current = None
                self._ids.discard(request.id)

    async def _attempt(self, request: control_pb2.ProfileRequest) -> None:
        event("profile_started", id=request.id, configurations=len(request.configurations), score=request.score)
        error = "cancelled"
        try:
            error = await self._profile(request)
        except CircinusError as fault:
            error = fault.message
        except Exception as fault:
            # One request's trouble isn't the agent's end.
            error = f"{type(fault).__name__}: {fault}"
        finally:
            self._end(request.id, error)
            event("profile_ended", id=request.id, error=error)

    def _end(self, request_id: str, error: str) -> None:
        report = control_pb2.ProfileReport(id=request_id, done=True, error=error[:1_000])
        self._deliver(control_pb2.ConnectRequest(profile_report=report))

    async def _profile(self, request: control_pb2.ProfileRequest) -> str:
        python = self._python_for(Digest(request.environment_digest))
        bundle = await _patiently(lambda: self._blobs.bundle(Digest(request.bundle_digest)))
        samples = await _patiently(lambda: self._blobs.sample_set(Digest(request.content_digest)))
        steps = (await asyncio.to_thread(_pipeline_of, bundle)).steps
        hang_ms = max((step.hang_ms for step in steps), default=0.0)
        folder = Path(tempfile.mkdtemp(dir=self._run_dir))
        try:
            request_file = folder / "request.pb"
            request_file.write_bytes(request.SerializeToString())
            run = ProfileRun(
                python=python,
                folder=folder,
                silence_s=patience_s(hang_ms) + _START_S,
                config=ProfileConfig(
                    bundle=bundle,
                    samples=samples,
                    request=request_file,
                    sample_indices=tuple(request.sample_indices),
                    speed_ratio=self._speed_ratio,
                    providers=self._providers,
                    budget_s=request.budget_s,
                    memory=False,
                ),
            )
            memory = await self._probe_memory(request, run, tuple(step.id for step in steps))
            return await self._run_samples(request, run, memory)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _probe_memory(
        self, request: control_pb2.ProfileRequest, run: ProfileRun, operator_ids: tuple[OperatorId, ...]
    ) -> list[dict[str, tuple[int, int]]]:
        """Memory, main and accelerator's, by operator for each configuration; asks a process for what isn't known yet.

        What fails here is left out: the samples will show why.
        """
        configurations = [configuration_from_message(message) for message in request.configurations]
        if request.bundle_digest not in self._memory and len(self._memory) >= _MAX_KNOWN_BUNDLES:
            self._memory.clear()
        table = self._memory.setdefault(request.bundle_digest, {})
        keys = [
            {
                operator_id: (operator_id, configuration_key(knobs_of(configuration, operator_id)))
                for operator_id in operator_ids
            }
            for configuration in configurations
        ]

        def note(message: control_pb2.ConnectRequest) -> None:
            for part in message.profile_report.configurations:
                configuration = configuration_from_message(part.configuration)
                for operator_id, memory_bytes in part.memory_bytes.items():
                    key = (operator_id, configuration_key(knobs_of(configuration, OperatorId(operator_id))))
                    # Reading a map of protobuf's by a missing key would make the key.
                    held = dict(part.accelerator_memory_bytes)
                    table[key] = (memory_bytes, held.get(operator_id, 0))

        if not all(key in table for entry in keys for key in entry.values()):
            try:
                hangs = await run.process("memory", run.config.sample_indices, memory=True, pass_on=note)
            except TimedOut:
                # The samples would be waited for as long, and everybody's profile behind them.
                raise
            except CircinusError as error:
                warning("memory_probe_failed", id=request.id, reason=error)
            else:
                if hangs:
                    raise TimedOut(hangs)
        return [{operator_id: table[key] for operator_id, key in entry.items() if key in table} for entry in keys]

    async def _run_samples(
        self, request: control_pb2.ProfileRequest, run: ProfileRun, memory: list[dict[str, tuple[int, int]]]
    ) -> str:
        indices = tuple(request.sample_indices)
        count = max(1, min(request.parallelism, len(indices), _MAX_PARALLELISM))
        progress = _Progress(request, self._tell)
        memory_of = {
            _key(message): memory_bytes for message, memory_bytes in zip(request.configurations, memory, strict=True)
        }

        async def one(number: int) -> str:
            def pass_on(message: control_pb2.ConnectRequest) -> None:
                if message.WhichOneof("message") == "profile_progress":
                    progress.note(number, message.profile_progress)
                    return
                for part in message.profile_report.configurations:
                    for operator_id, (memory_bytes, held_bytes) in memory_of.get(_key(part.configuration), {}).items():
                        part.memory_bytes[operator_id] = memory_bytes
                        if held_bytes:
                            part.accelerator_memory_bytes[operator_id] = held_bytes
                message.profile_report.id = request.id
                self._deliver(message)

            try:
                return await run.process(f"part-{number}", indices[number::count], parts=count, pass_on=pass_on)
            except CircinusError as error:
                return error.message

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(count)]
        progress.tell()
        return "; ".join(dict.fromkeys(error for error in (task.result() for task in tasks) if error))


class _Progress:
    """The progress of a request's processes, added up, told at most twice a second."""

    def __init__(self, request: control_pb2.ProfileRequest, tell: Callable[[control_pb2.ConnectRequest], None]) -> None:
        self._id = request.id
        self._total = len(request.sample_indices) * len(request.configurations)
        self._tell = tell
        self._parts: dict[int, control_pb2.ProfileProgress] = {}
        self._told_s = -math.inf

    def note(self, number: int, progress: control_pb2.ProfileProgress) -> None:
        """What one process says."""
        self._parts[number] = progress
        if asyncio.get_running_loop().time() - self._told_s >= _PROGRESS_PERIOD_S:
            self.tell()

    def tell(self) -> None:
        """The sum."""
        self._told_s = asyncio.get_running_loop().time()
        progress = control_pb2.ProfileProgress(
            id=self._id,
            samples_done=min(self._total, sum(part.samples_done for part in self._parts.values())),
            samples_total=self._total,
            operator_s=math.fsum(part.operator_s for part in self._parts.values()),
        )
        self._tell(control_pb2.ConnectRequest(profile_progress=progress))


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
    if not request.configurations or not request.sample_indices:
        raise InvalidInput("a profile request needs at least one configuration and one sample")
    if len(set(request.sample_indices)) != len(request.sample_indices):
        raise InvalidInput("sample_indices: an index stands there twice")


def _pipeline_of(bundle: Path) -> ProfiledPipeline:
    try:
        return read_pipeline(bundle)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the bundle's pipeline.json is damaged: {type(error).__name__}: {error}") from error


def _key(configuration: types_pb2.Configuration) -> bytes:
    return configuration.SerializeToString(deterministic=True)
