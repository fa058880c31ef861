"""The only place where serving processes start; each ends through its own ``stop``.

A process is an interpreter of the bundle's environment that runs ``edge_agent.worker`` or
``edge_agent.source_process`` with one file of configuration. It connects back over a Unix socket in a folder
that only this user can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from circinus.clock import Clock, SystemClock
from circinus.errors import CircinusError, NotRunnable
from circinus.knobs import set_knobs
from circinus.model.device import Accelerator, Digest
from circinus.model.directive import ReplicaSet, SourceSpec
from circinus.model.pipeline import SOURCE
from circinus.model.query import is_fed, scheme_of
from circinus.v1 import worker_pb2
from circinus.wire.feed import feed_to_message
from edge_agent.accelerator_parts import AcceleratorParts
from edge_agent.dataplane.shared import SharedMemory
from edge_agent.feeds.access import NOTHING, Access
from edge_agent.fingerprint.accelerators import providers_of
from edge_agent.isolation.declared import needs_network
from edge_agent.isolation.enclosed import family
from edge_agent.isolation.isolation import OOM_SHADOW, OOM_SOURCE, Isolation, Traits
from edge_agent.memory_files import file_sockets
from edge_agent.printed import Printed, Printer
from edge_agent.process import LastWords, ProcessDied, ServingProcess

#: Longest time from start to ready: models are loaded in it.
START_TIMEOUT_S = 180.0
#: A socket's path holds 107 bytes (sun_path).
_MAX_SOCKET_FOLDER_CHARS = 90
_READ_BUFFER_BYTES = 4 * 1024 * 1024
#: Pacing keeps the share; the quota only stops what runs away. With no slack, its short period throttles one
#: honest thread.
_QUOTA_SLACK_CORES = 0.5
_CPU_PROVIDER = "CPUExecutionProvider"
#: What the process is called that scores a share of a source's items.
_SHADOW = "shadow"
#: As source and shadow make themselves; see there.
_SOURCE_NICE, _SHADOW_NICE = 5, 19
#: The kernel's struct ucred: process, user and group at the other end of a socket.
_CREDENTIALS = struct.Struct("=iII")


class Runtime:
    """Starts the processes of one device. ``speed_ratio`` below 1: the device is emulated to be so much slower."""

    def __init__(
        self,
        *,
        run_dir: Path,
        speed_ratio: float,
        python_for: Callable[[Digest], Path],
        bundle_path: Callable[[Digest], Path],
        providers: tuple[str, ...],
        memory: SharedMemory | None = None,
        access: Access = NOTHING,
        isolation: Isolation | None = None,
        accelerators: tuple[Accelerator, ...] = (),
        clock: Clock | None = None,
    ) -> None:
        #: What its processes print, for a while.
        self.printed = Printed(clock or SystemClock())
        #: What the payloads between this device's processes may have of shared memory.
        self.memory = memory or SharedMemory()
        self._access = access
        self._run_dir = run_dir
        self._speed_ratio = speed_ratio
        self._python_for = python_for
        self._bundle_path = bundle_path
        self._providers = providers
        self._numbers: Iterator[int] = count(1)
        self._socket_dir: Path | None = None
        self._isolation = isolation or Isolation()
        self.accelerators = AcceleratorParts(accelerators)

    def open(self) -> None:
        """Makes the folders; what an earlier agent left in them goes."""
        shutil.rmtree(self._run_dir, ignore_errors=True)
        self._run_dir.mkdir(parents=True, mode=0o700)
        self._socket_dir = self._run_dir
        if len(str(self._run_dir).encode()) > _MAX_SOCKET_FOLDER_CHARS:
            self._socket_dir = Path(tempfile.mkdtemp(prefix="circinus-"))
        self._isolation.open()

    def close(self) -> None:
        """Takes the folders away."""
        for folder in {self._run_dir, self._socket_dir} - {None}:
            shutil.rmtree(folder, ignore_errors=True)  # type: ignore[arg-type]  # None was taken out
        if self._socket_dir is not None:
            self._socket_dir = None
            self._isolation.close()

    async def start_replica(self, spec: ReplicaSet, replica: int = 0) -> ServingProcess:
        """Starts one replica, which of them, and waits until it can serve.

        Raises:
            CircinusError: it can't be started; the message has its last words.
        """
        threads = max(1, round(spec.cores))
        config = worker_pb2.WorkerConfig(
            entry_point=spec.entry_point,
            operator_id=spec.operator_id,
            pace_ratio=self.pace_ratio(spec),
            providers=self._providers_for(spec),
            memory_limit_bytes=memory_limit_bytes(spec),
            threads=threads,
        )
        set_knobs(config.knobs, spec.knobs)
        traits = Traits(
            threads=threads,
            network=needs_network(self._bundle_path(spec.bundle_digest), spec.operator_id),
            memory_bytes=config.memory_limit_bytes,
            accelerator=spec.accelerator_slots > 0,
        )
        reserved = self.accelerators.reserve(spec.accelerator_slots, spec.accelerator_memory_bytes)
        traits = replace(traits, set_variables=reserved.variables)
        try:
            printer = Printer(
                key=spec.key,
                query_id=spec.query_id,
                operator_id=spec.operator_id,
                replica=replica,
                uses=frozenset(uses_of(spec)),
            )
            process = await self._start(
                "edge_agent.worker", config, traits, spec.bundle_digest, spec.environment_digest, printer
            )
        except BaseException:
            self.accelerators.release(reserved)
            raise
        process.gone.add_done_callback(lambda _: self.accelerators.release(reserved))
        # Not before: loading a model is no item, and may take all that is idle.
        process.enclosed.limit_cores(max(1.0, spec.cores) + _QUOTA_SLACK_CORES)
        return process

    async def start_source(self, spec: SourceSpec) -> ServingProcess:
        """Starts a source and waits until its first item is made.

        Raises:
            CircinusError: it can't be started; the message has its last words.
        """
        config = worker_pb2.WorkerConfig(
            entry_point=spec.entry_point,
            scorer_entry_point=spec.scorer_entry_point,
            content=spec.content,
            seed=spec.seed,
            clip=spec.clip,
            threads=1,
        )
        module = "edge_agent.source_process"
        traits = Traits(threads=1, network=False, oom_score_adj=OOM_SOURCE, nice=_SOURCE_NICE)
        if spec.feed is not None and is_fed(spec.input):
            module = "edge_agent.feeds.process"
            config.input = spec.input
            config.feed.CopyFrom(feed_to_message(spec.feed))
            config.folders.extend(self._access.folders)
            config.cameras.extend(self._access.cameras)
            # A camera on the network, which the owner has named.
            traits = replace(
                traits,
                network=scheme_of(spec.input) == "camera" and "://" in spec.input,
                reads=self._access.folders,
                reads_all=True,
            )
        printer = Printer(key=spec.key, query_id=spec.query_id, operator_id=SOURCE)
        return await self._start(module, config, traits, spec.bundle_digest, spec.environment_digest, printer)

    async def start_shadow(self, spec: SourceSpec) -> ServingProcess:
        """Starts what runs a source's items through its reference configuration.

        Raises:
            CircinusError: it can't be started, or the pipeline's items can't be run so; the message says why.
        """
        config = worker_pb2.WorkerConfig(providers=[_CPU_PROVIDER], threads=1)
        set_knobs(config.knobs, spec.reference)
        traits = Traits(
            threads=1,
            network=needs_network(self._bundle_path(spec.bundle_digest)),
            oom_score_adj=OOM_SHADOW,
            nice=_SHADOW_NICE,
        )
        module = "edge_agent.shadow_process"
        printer = Printer(key=f"{_SHADOW} {spec.key}", query_id=spec.query_id, operator_id=_SHADOW)
        return await self._start(module, config, traits, spec.bundle_digest, spec.environment_digest, printer)

    def equip(self, accelerators: tuple[Accelerator, ...]) -> None:
        """The accelerators from now on; what runs keeps what it has."""
        self.accelerators.update(accelerators)
        self._providers = providers_of(accelerators)

    def pace_ratio(self, spec: ReplicaSet) -> float:
        """CPU seconds that a replica may take of each second."""
        return self._speed_ratio * spec.cores

    def _providers_for(self, spec: ReplicaSet) -> list[str]:
        if spec.accelerator_slots == 0:
            return [_CPU_PROVIDER]
        return [*(one for one in self._providers if one != _CPU_PROVIDER), _CPU_PROVIDER]

    async def _start(
        self,
        module: str,
        config: worker_pb2.WorkerConfig,
        traits: Traits,
        bundle_digest: Digest,
        environment_digest: Digest,
        printer: Printer,
    ) -> ServingProcess:
        if self._socket_dir is None:
            raise NotRunnable("the runtime is not open")
        number = next(self._numbers)
        python = self._python_for(environment_digest)
        bundle = self._bundle_path(bundle_digest)
        # Of its own: what the process makes where it works is nobody else's.
        folder = self._socket_dir / str(number)
        folder.mkdir(mode=0o700)
        started = False
        config.bundle_path = str(bundle)
        config.socket_path = str(folder / "socket")
        config_path = folder / "config"
        connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        connected = asyncio.get_running_loop().create_future()

        process: ServingProcess | None = None

        def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # It goes on only when it was told to, and then it is known: who comes before is another.
            if process is None or _pid_at(writer) not in family(process.pid) or connected.done():
                writer.close()
            else:
                connected.set_result((reader, writer))

        try:
            server = await asyncio.start_unix_server(
                on_connection, config.socket_path, limit=_READ_BUFFER_BYTES, start_serving=False
            )
            try:
                await server.start_serving()
                process = await self._spawn(python, module, config_path, config, traits, bundle, printer)
                started = True  # from here on the folder goes with the process
                return await _until_ready(process, connected)
            finally:
                server.close()  # not waited for: that would wait for the connection, too
        except OSError as error:
            raise NotRunnable(f"can't start {module} with {python}: {error}") from error
        finally:
            for leftover in (config_path, Path(config.socket_path)):
                with contextlib.suppress(OSError):
                    leftover.unlink()
            if not started:
                shutil.rmtree(folder, ignore_errors=True)

    async def _spawn(
        self,
        python: Path,
        module: str,
        config_path: Path,
        config: worker_pb2.WorkerConfig,
        traits: Traits,
        bundle: Path,
        printer: Printer,
    ) -> ServingProcess:
        last_words = LastWords(self.printed.voice(printer))
        files, inherited = file_sockets()
        config.files_fd = inherited.fileno()
        try:
            _write_config(config_path, config)
            process, enclosed = await self._isolation.start(
                python,
                module,
                config_path,
                traits,
                bundle=bundle,
                folder=config_path.parent,
                stdout=last_words.write_fd,
                stderr=last_words.write_fd,
                pass_fds=(inherited.fileno(),),
                owns_folder=True,
            )
        except BaseException:
            last_words.close()
            files.close()
            raise
        finally:
            inherited.close()
        last_words.close_write()
        if last_words.voice is not None:
            last_words.voice.pid = process.pid
        return ServingProcess(process, last_words, enclosed, files)


def uses_of(spec: ReplicaSet) -> list[tuple[str, str]]:
    """All operators of all queries that processes serve, by their ids."""
    return [(use.query_id, use.operator_id) for use in spec.served]


def memory_limit_bytes(spec: ReplicaSet) -> int:
    """What a replica may have before it counts as leaking: twice the plan and some; 0: the plan doesn't say."""
    return 0 if spec.memory_bytes == 0 else 2 * spec.memory_bytes + 256 * 1024 * 1024


def _pid_at(connection: asyncio.StreamWriter) -> int:
    """The process at the other end, by the kernel's word."""
    found = connection.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[0])


def _write_config(path: Path, config: worker_pb2.WorkerConfig) -> None:
    path.write_bytes(config.SerializeToString())


async def _until_ready(
    process: ServingProcess, connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
) -> ServingProcess:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await asyncio.wait((connected, process.gone), return_when=asyncio.FIRST_COMPLETED)
            if not connected.done():
                raise ProcessDied(process.cause or f"it ended before it was ready: {process.last_words()}")
            process.attach(*connected.result())
            await process.first_reply()
    except TimeoutError:
        await process.stop(0.0)
        raise NotRunnable(f"not ready within {START_TIMEOUT_S:g} s: {process.last_words()}") from None
    except CircinusError as error:
        last_words = process.last_words()
        await process.stop(0.0)
        if last_words and last_words not in str(error):
            raise NotRunnable(f"{error}; it said: {last_words}") from None
        raise
    except BaseException:
        await process.stop(0.0)
        raise
    return process
