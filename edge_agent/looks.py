"""Who looks at what this device prints and at items at its operators, and what they are sent.

A look is begun by the planner, for a person who asked it. It sends a chunk for each credit that it has, within a bound
of bytes a second for all looks of the device; where there is no credit nothing is made. It ends with what there was to
see, when it is told to, when its time is over, or when nothing has been heard of who looks for a while: their planner
may have gone. Nothing waits for a look: neither serving nor the link.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from circinus import events
from circinus.clock import Clock
from circinus.errors import AgainstPolicy, CircinusError, InvalidInput, TooLarge
from circinus.events import event, warning
from circinus.model.device import Digest
from circinus.model.pipeline import SOURCE, PipelineId
from circinus.model.policy import Policy, Tap
from circinus.v1 import control_pb2
from edge_agent import taps
from edge_agent.blobs import Blobs
from edge_agent.local_looks import listening
from edge_agent.log_look import LogLook
from edge_agent.printed import Printed
from edge_agent.site_inputs import read_site_inputs
from edge_agent.tasks import TaskSet

#: The messages of the planner that are about looks.
LOOK_KINDS = ("look", "look_credit", "end_look")
#: Looks at one device at a time.
MAX_LOOKS = 8
#: One chunk, and what all looks may send: little on a slow link, whose heartbeats go the same way.
CHUNK_BYTES = 12 * 1024
BYTES_PER_S = 256.0 * 1024
_BURST_BYTES = 256.0 * 1024
#: A line costs so many times what other bytes do: secrets are taken out of it.
_LINES_WEIGHT = 4
#: A look of which nothing is heard for so long ends.
SILENCE_S = 20.0
#: How often it is looked whether there is something new.
_POLL_S = 0.1
#: After a chunk a look rests so many times what that took, so that it never has more than a fifth of the time.
_REST = 4.0
_LONGEST_REST_S = 0.5
MAX_CREDIT = 64
#: A tap ends after so long.
MAX_TAP_S = 600.0
_USUAL_TAP_S = 30.0
#: Bundles of which it is known whether their data stay at the site.
_MAX_KNOWN = 256

Tell = Callable[[control_pb2.ConnectRequest], None]


class LookedAt(Protocol):
    """What is looked at of a device: what its processes print, and who looks at items."""

    printed: Printed
    taps: taps.Taps


@dataclass(slots=True, kw_only=True)
class _Look:
    id: str
    at: LogLook | taps.Tap
    credit: int
    heard_s: float
    until_s: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Task[None] | None = None


class Looks:
    """The looks at one device. ``tell`` sends a message to the planner, or forgets it if there is no link."""

    def __init__(self, serving: LookedAt, policy: Policy, blobs: Blobs, *, clock: Clock, tell: Tell) -> None:
        self.printed, self.taps = serving.printed, serving.taps
        self._policy = policy
        self._blobs = blobs
        self._clock = clock
        self._tell = tell
        self._looks: dict[str, _Look] = {}
        self._tasks = TaskSet()
        self._staying: dict[str, bool] = {}
        self._left_bytes = _BURST_BYTES
        self._filled_s = clock.monotonic_s()

    async def run(self, state_dir: Path) -> None:
        """Keeps the agent's own events, and the looks, also of who asks on the box, until it is cancelled."""
        try:
            with events.heard_by(self.printed.hear):
                async with listening(state_dir, self._here):
                    await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    def _here(self, tell: Tell) -> Looks:
        """Looks of somebody on the box, who reads its files anyway: the owner's policy is for others."""
        return Looks(self, replace(self._policy, logs=True), self._blobs, clock=self._clock, tell=tell)

    async def stop(self) -> None:
        """Ends all looks."""
        await self._tasks.stop()

    def take(self, message: control_pb2.ConnectResponse) -> None:
        """What the planner says of looks."""
        kind = message.WhichOneof("message")
        if kind == "look":
            try:
                self._begin(message.look)
            except CircinusError as error:
                said = control_pb2.LookChunk(
                    id=message.look.id, ended=True, why=error.message[:1_000], error=type(error).__name__
                )
                self._tell(control_pb2.ConnectRequest(look_chunk=said))
        elif kind == "look_credit":
            look = self._looks.get(message.look_credit.id)
            if look is not None:
                look.credit = min(MAX_CREDIT, look.credit + message.look_credit.chunks)
                look.heard_s = self._clock.monotonic_s()
                look.wake.set()
        elif kind == "end_look":
            look = self._looks.get(message.end_look.id)
            if look is not None and look.serving is not None:
                look.serving.cancel()

    def _begin(self, request: control_pb2.LookRequest) -> None:
        """Begins a look.

        Raises:
            TooLarge: there are too many.
            AgainstPolicy: the owner of the device doesn't show that.
            InvalidInput: it can't be.
        """
        if request.id in self._looks:
            return
        if len(self._looks) >= MAX_LOOKS:
            raise TooLarge(f"{MAX_LOOKS} people look at this device already, at most so many may: try again later")
        now_s = self._clock.monotonic_s()
        at: LogLook | taps.Tap
        match request.WhichOneof("at"):
            case "logs":
                at, for_s = self._logs(request.logs), math.inf
            case "tap":
                at, for_s = self._tap(request.tap)
            case other:
                raise InvalidInput(f"this agent can't show {other or 'nothing'}: it is older than its planner")
        look = _Look(id=request.id, at=at, credit=min(MAX_CREDIT, request.credit), heard_s=now_s, until_s=now_s + for_s)
        self._looks[look.id] = look
        if isinstance(at, taps.Tap):
            self.taps.open.append(at)
        # At once, so that the planner knows that there is somebody who understands.
        self._send(look, control_pb2.LookChunk())
        look.serving = self._tasks.spawn(self._serve(look), name=f"look {look.id}")
        look.serving.add_done_callback(lambda _: self._end(look))

    def _logs(self, wanted: control_pb2.LogsWanted) -> LogLook:
        if not self._policy.logs and not wanted.agent:
            raise AgainstPolicy("the owner of this device does not show what operators print ([policy] logs = false)")
        return LogLook(self.printed, wanted, self._clock, processes=self._policy.logs)

    def _tap(self, wanted: control_pb2.TapWanted) -> tuple[taps.Tap, float]:
        if self._policy.tap is Tap.OFF:
            raise AgainstPolicy('the owner of this device shows no items ([policy] tap = "off")')
        if wanted.operator_id == SOURCE and not wanted.output:
            raise InvalidInput("a source gets nothing; look at what it gives: --side out")
        rate_per_s = wanted.rate_per_s if math.isfinite(wanted.rate_per_s) and wanted.rate_per_s > 0.0 else 1.0
        wanted.rate_per_s = min(taps.MAX_RATE_PER_S, rate_per_s)
        wanted.whole_bytes = min(taps.MAX_WHOLE_BYTES, wanted.whole_bytes)
        for_s = wanted.for_s if math.isfinite(wanted.for_s) and wanted.for_s > 0.0 else _USUAL_TAP_S
        tap = taps.Tap(wanted, self._clock, withheld=self._withheld)
        event(
            "tap_began", query=wanted.query_id, operator=wanted.operator_id, values=wanted.values, rate_per_s=rate_per_s
        )
        return tap, min(MAX_TAP_S, for_s)

    def _withheld(self, pipeline_id: PipelineId, bundle_digest: str) -> str:
        """Why the values of a pipeline's items are not shown; empty: they are."""
        if self._policy.tap is not Tap.ITEMS:
            return "the owner of the device shows shapes alone ([policy] tap)"
        if pipeline_id in self._policy.data_stays:
            return "the owner of the device keeps them at its site ([policy] data_stays)"
        if bundle_digest not in self._staying:
            if len(self._staying) >= _MAX_KNOWN:
                self._staying.clear()
            self._staying[bundle_digest] = self._stays(bundle_digest)
        return "the pipeline keeps data at its site (data: site)" if self._staying[bundle_digest] else ""

    def _stays(self, bundle_digest: str) -> bool:
        """Whether a pipeline says `data: site` anywhere: what goes in there is in what comes out elsewhere."""
        try:
            return any(read_site_inputs(self._blobs.bundle_path(Digest(bundle_digest))).values())
        except CircinusError:
            return True

    async def _serve(self, look: _Look) -> None:
        try:
            await self._show(look)
        except Exception as error:  # a fault of ours is told to who looks, and ends their look alone
            warning("look_failed", error=repr(error))
            self._send(look, control_pb2.LookChunk(ended=True, why=f"a fault: {error!r}"[:500], error="Internal"))

    async def _show(self, look: _Look) -> None:
        while not (over := self._is_over(look)):
            look.wake.clear()
            began_s = self._clock.monotonic_s()
            chunk = look.at.next_chunk(CHUNK_BYTES) if look.credit > 0 and self._may_send() else None
            took_s = self._clock.monotonic_s() - began_s
            if chunk is None:
                await self._pause(look)
                continue
            self._send(look, chunk)
            if chunk.ended:
                return
            await self._clock.sleep(min(_LONGEST_REST_S, _REST * took_s))
        self._send(look, control_pb2.LookChunk(ended=True, why=over))

    def _end(self, look: _Look) -> None:
        """However it came to that; a task that is cancelled before it began never saw its own end."""
        del self._looks[look.id]
        if isinstance(look.at, taps.Tap):
            self.taps.open.remove(look.at)
            event("tap_ended", query=look.at.query_id, operator=look.at.operator_id)

    def _is_over(self, look: _Look) -> str:
        """Why a look is over; empty: it is not."""
        now_s = self._clock.monotonic_s()
        if now_s >= look.until_s:
            return "its time is over"
        return "nobody looks any more" if now_s - look.heard_s > SILENCE_S else ""

    async def _pause(self, look: _Look) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await look.wake.wait()
        except TimeoutError:
            pass

    def _may_send(self) -> bool:
        now_s = self._clock.monotonic_s()
        self._left_bytes = min(_BURST_BYTES, self._left_bytes + (now_s - self._filled_s) * BYTES_PER_S)
        self._filled_s = now_s
        return self._left_bytes > 0.0

    def _send(self, look: _Look, chunk: control_pb2.LookChunk) -> None:
        chunk.id = look.id
        look.credit -= 1
        self._left_bytes -= chunk.ByteSize() * (_LINES_WEIGHT if chunk.lines else 1)
        self._tell(control_pb2.ConnectRequest(look_chunk=chunk))
