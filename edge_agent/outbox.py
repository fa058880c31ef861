"""What waits for the planner: telemetry, episodes of stand-bys and results, in a bounded queue on disk.

Each message has a number that rises for ever, restarts included, by which the planner drops repeats; so sending
twice is harmless and losing is not: a message is deleted only when the planner has acknowledged it. When the planner is
away for long the oldest telemetry goes first, and the planner is told which (TelemetryGap). Results, episodes and gaps
never go. The rules are in outbox_queue.py; here they run in a thread of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from circinus.clock import Clock, SystemClock
from circinus.v1 import control_pb2, types_pb2
from edge_agent.disk_guard import DiskGuard
from edge_agent.outbox_file import Kind
from edge_agent.outbox_queue import Limits, OutboxQueue, telemetry_of

_MAX_MESSAGE_BYTES = 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
P = ParamSpec("P")
T = TypeVar("T")


class Outbox:
    """The outbox of one device. Use as ``async with Outbox(path) as outbox``. It raises nothing for the disk's faults.

    ``ran_s``: how long the device has run, by a clock that never jumps and counts suspension; ``boot`` names its start.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits | None = None,
        guard: DiskGuard | None = None,
        clock: Clock | None = None,
        ran_s: Callable[[], float] | None = None,
        boot: str = "",
    ) -> None:
        self._now = (clock or SystemClock()).now
        self._ran_s = ran_s or device_ran_s
        self._queue = OutboxQueue(
            path,
            limits=limits or Limits(),
            guard=guard or DiskGuard(path.parent),
            now_s=lambda: self._now().timestamp(),
            ran_s=self._ran_s,
            boot=boot or boot_id(),
        )
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        await self._call(self._queue.open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._call(self._queue.close)
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)
                self._thread = None

    async def _call(self, function: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        if self._thread is None:
            raise RuntimeError("the outbox is not open")
        # One thread: calls that were given up by their callers end before the next begins.
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    @property
    def dropped(self) -> int:
        """Messages of telemetry that were let go, since there was no room."""
        return self._queue.dropped

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages that wait for the planner, and their bytes."""
        return self._queue.waiting

    @property
    def opened(self) -> int:
        """How often a file was opened; with each one messages with lower numbers may have come."""
        return self._queue.opened

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it."""
        full = f"outbox: {self._queue.refused} results had no room and were refused" if self._queue.refused else ""
        return tuple(filter(None, (self._queue.trouble, self._queue.damage, full)))

    async def put(
        self,
        queries: list[types_pb2.QueryWindow],
        operators: list[types_pb2.OperatorWindow],
        episodes: Sequence[control_pb2.StandByEpisode] = (),
    ) -> None:
        """Adds windows and episodes, in as many messages as their size asks for."""
        bodies = [(Kind.TELEMETRY, self._stamped(message)) for message in split(queries, operators)]
        if episodes:
            bodies.append((Kind.KEPT, self._stamped(control_pb2.Telemetry(stand_bys=episodes))))
        if bodies:
            await self._call(self._queue.put, bodies)

    def _stamped(self, message: control_pb2.Telemetry) -> bytes:
        message.made_at.FromDatetime(self._now())
        return message.SerializeToString()

    async def rest(self) -> None:
        """There is nothing to count now."""
        if self._queue.restless:
            await self._call(self._queue.rest)

    async def promise(self, message: control_pb2.ConnectRequest) -> bool:
        """Adds something that must get there. False: there is no room for it, and it is not kept."""
        return await self._call(self._queue.put, [(Kind.PROMISE, message.SerializeToString())])

    async def peek(self, after: int, limit: int = 64) -> list[control_pb2.Telemetry]:
        """The next messages of telemetry with numbers above ``after``."""
        rows = await self._call(self._queue.peek, after, limit)
        return [telemetry_of(row, self._ran_s()) for row in rows]

    async def promised(self, after: int, limit: int = 16) -> list[control_pb2.ConnectRequest]:
        """The next of what else must get there with numbers above ``after``."""
        messages: list[control_pb2.ConnectRequest] = []
        if not self._queue.owes_promises:
            return messages
        for row in await self._call(self._queue.promised, after, limit):
            message = control_pb2.ConnectRequest.FromString(row.body)
            message.outbox_sequence = row.sequence
            messages.append(message)
        return messages

    async def tell_gaps(self) -> None:
        """Adds a message that names what telemetry was lost, if any was since the last one."""
        if self._queue.owes_gaps:
            await self._call(self._queue.tell_gaps)

    async def forget(self, sequences: Collection[int]) -> None:
        """Deletes messages that have arrived."""
        if sequences:
            await self._call(self._queue.forget, sequences)


def device_ran_s() -> float:
    """How long this device has run, suspension included; the same for all its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def boot_id() -> str:
    """The name of this start of the device; empty: nobody can tell, and ages do not outlive the agent."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"unknown-{time.time_ns()}"


def split(
    queries: list[types_pb2.QueryWindow], operators: list[types_pb2.OperatorWindow]
) -> list[control_pb2.Telemetry]:
    """Windows packed into messages of about 1 MiB at most, in order; none if there are no windows."""
    messages: list[control_pb2.Telemetry] = []
    used_bytes = _MAX_MESSAGE_BYTES
    for window in (*queries, *operators):
        size_bytes = window.ByteSize()
        if used_bytes + size_bytes > _MAX_MESSAGE_BYTES:
            messages.append(control_pb2.Telemetry())
            used_bytes = 0
        if isinstance(window, types_pb2.QueryWindow):
            messages[-1].queries.append(window)
        elif isinstance(window, types_pb2.OperatorWindow):
            messages[-1].operators.append(window)
        used_bytes += size_bytes + 8
    return messages
