"""What the agent tells of a profile request: results gathered into few messages, progress added up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from circinus.v1 import control_pb2
from edge_agent.profile_work import MAX_PART_BYTES

_PROGRESS_PERIOD_S = 0.5
#: How long results may wait for others. With what a process waits it stays below a second.
_GATHERING_S = 0.4
_MAX_ERROR_CHARS = 1_000

Deliver = Callable[[control_pb2.ConnectRequest], None]


class Reports:
    """One request's results on their way. A short request's are one message, the last one."""

    def __init__(self, request_id: str, deliver: Deliver) -> None:
        self._deliver = deliver
        self._gathered = control_pb2.ProfileReport(id=request_id)
        self._used_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, report: control_pb2.ProfileReport) -> None:
        """What one process says."""
        size_bytes = report.ByteSize()
        if self._used_bytes and self._used_bytes + size_bytes > MAX_PART_BYTES:
            self._send()
        self._gathered.configurations.extend(report.configurations)
        self._gathered.operator_s += report.operator_s
        self._used_bytes += size_bytes
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHERING_S, self._send)

    def end(self, error: str) -> None:
        """Sends the rest, and why the request ended early, at once."""
        self._gathered.done = True
        self._gathered.error = error[:_MAX_ERROR_CHARS]
        self._send()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._deliver(control_pb2.ConnectRequest(profile_report=self._gathered))
        self._gathered = control_pb2.ProfileReport(id=self._gathered.id)
        self._used_bytes = 0


class Progress:
    """The progress of a request's processes, added up, told at most twice a second."""

    def __init__(self, request: control_pb2.ProfileRequest, tell: Deliver) -> None:
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
