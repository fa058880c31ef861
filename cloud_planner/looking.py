"""Looks at devices, passed on to the people who asked for them: nothing is kept, nothing waits, all is bounded.

A look is begun at an agent over its control stream, with credit for a few chunks. A chunk that was passed on gives new
credit; so whoever reads slowly makes the agent leave things out, and the planner holds no more than the credit. A look
that ends here is ended there; should that get lost, the agent hears no more of it and ends it by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from circinus.clock import Clock
from circinus.errors import TooLarge, Unreachable
from circinus.model.device import DeviceId
from circinus.v1 import control_pb2
from cloud_planner.registry import AgentSession, Registry

#: Chunks of one look that may be under way.
CREDIT = 4
#: Larger ones no honest agent sends.
MAX_CHUNK_BYTES = 128 * 1024
#: People who look at a time, devices that one of them looks at, and all looks.
MAX_VIEWERS = 64
MAX_DEVICES = 64
MAX_LOOKS = 1_000
#: How often an agent is told that somebody still looks.
_SIGN_S = 5.0
#: An agent says at once that a look has begun.
_BEGUN_WITHIN_S = 10.0


@dataclass(slots=True, kw_only=True)
class Look:
    """One person's look at one device."""

    id: str
    device_id: DeviceId
    session: AgentSession
    began_s: float
    signed_s: float
    heard: bool = False
    caught_up: bool = False
    #: It has ended, and why, for people; ``error``: the class of the error, if it was one.
    ended: bool = False
    why: str = ""
    error: str = ""


@dataclass(slots=True)
class Viewing:
    """All looks of one person's call, and the chunks that wait to be passed on: as many as there was credit for."""

    looks: dict[str, Look] = field(default_factory=dict)
    chunks: asyncio.Queue[tuple[Look, control_pb2.LookChunk]] = field(
        default_factory=lambda: asyncio.Queue(MAX_DEVICES * (CREDIT + 2))
    )

    @property
    def is_over(self) -> bool:
        """Whether every look has ended and all of it was passed on."""
        return all(look.ended for look in self.looks.values()) and self.chunks.empty()

    @property
    def caught_up(self) -> bool:
        """Whether no device has anything left of what there was, as far as it was passed on."""
        return all(look.caught_up or look.ended for look in self.looks.values()) and self.chunks.empty()


class Looking:
    """The looks of one planner."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._viewings: list[Viewing] = []
        self._looks: dict[str, tuple[Viewing, Look]] = {}

    @property
    def count(self) -> int:
        """How many looks there are."""
        return len(self._looks)

    def open(self) -> Viewing:
        """Somebody begins to look; whoever calls this closes it.

        Raises:
            TooLarge: too many do.
        """
        if len(self._viewings) >= MAX_VIEWERS:
            raise TooLarge(f"{MAX_VIEWERS} people look at logs or items already, at most so many may: try again later")
        viewing = Viewing()
        self._viewings.append(viewing)
        return viewing

    def close(self, viewing: Viewing) -> None:
        """They look no more."""
        self._viewings.remove(viewing)
        for look in viewing.looks.values():
            if self._looks.pop(look.id, None) is not None and not look.ended:
                self._send(look, control_pb2.ConnectResponse(end_look=control_pb2.EndLook(id=look.id)))

    def begin(self, viewing: Viewing, device_id: DeviceId, fill: Callable[[control_pb2.LookRequest], None]) -> Look:
        """Begins a look at a device; ``fill`` says at what.

        Raises:
            Unreachable: its agent is not connected.
            TooLarge: there are too many looks.
        """
        session = self._registry.session(device_id)
        if session is None:
            raise Unreachable(
                f"{device_id} is not connected: `circinus device show {device_id}` says since when; on the box itself "
                "there is `edge-agent logs`"
            )
        if len(viewing.looks) >= MAX_DEVICES or len(self._looks) >= MAX_LOOKS:
            raise TooLarge(f"more than {MAX_DEVICES} devices can't be looked at at once: name a device, or a query")
        now_s = self._clock.monotonic_s()
        look = Look(id=secrets.token_hex(8), device_id=device_id, session=session, began_s=now_s, signed_s=now_s)
        request = control_pb2.LookRequest(id=look.id, credit=CREDIT)
        fill(request)
        viewing.looks[look.id] = look
        self._looks[look.id] = (viewing, look)
        self._send(look, control_pb2.ConnectResponse(look=request))
        return look

    def note(self, session: AgentSession, chunk: control_pb2.LookChunk) -> None:
        """An agent sent a chunk."""
        viewing, look = self._looks.get(chunk.id, (None, None))
        if viewing is None or look is None or look.session is not session:
            if not chunk.ended:
                end = control_pb2.EndLook(id=chunk.id[:100])
                session.send(control_pb2.ConnectResponse(end_look=end))
            return
        if chunk.ByteSize() > MAX_CHUNK_BYTES:
            self._end(
                look, f"it sent a chunk of {chunk.ByteSize()} bytes, at most {MAX_CHUNK_BYTES} may be", "TooLarge"
            )
            return
        look.heard, look.caught_up = True, look.caught_up or chunk.caught_up
        try:
            viewing.chunks.put_nowait((look, chunk))
        except asyncio.QueueFull:
            # It sends without credit.
            self._end(look, "it sent more than it was asked for", "TooLarge")
            return
        if chunk.ended:
            self._end(look, chunk.why[:1_000], chunk.error[:60])

    async def next(self, viewing: Viewing, within_s: float) -> tuple[Look, control_pb2.LookChunk] | None:
        """What is to be passed on next; None: nothing came within so long."""
        try:
            async with asyncio.timeout(within_s):
                return await viewing.chunks.get()
        except TimeoutError:
            return None

    def passed_on(self, look: Look) -> None:
        """A chunk has gone to whoever looks."""
        if not look.ended:
            look.signed_s = self._clock.monotonic_s()
            credit = control_pb2.LookCredit(id=look.id, chunks=1)
            self._send(look, control_pb2.ConnectResponse(look_credit=credit))

    def tick(self, viewing: Viewing) -> None:
        """Ends looks whose agents have gone; tells the others that somebody still looks."""
        now_s = self._clock.monotonic_s()
        for look in viewing.looks.values():
            if look.ended:
                continue
            if self._registry.session(look.device_id) is not look.session:
                self._end(look, "its agent has gone, or has come back: look again", Unreachable.__name__)
            elif not look.heard and now_s - look.began_s > _BEGUN_WITHIN_S:
                self._end(look, "its agent does not answer: it may be older than the planner", Unreachable.__name__)
            elif now_s - look.signed_s > _SIGN_S:
                look.signed_s = now_s
                credit = control_pb2.LookCredit(id=look.id, chunks=0)
                self._send(look, control_pb2.ConnectResponse(look_credit=credit))

    def _end(self, look: Look, why: str, error: str = "") -> None:
        look.ended, look.why, look.error = True, why, error
        self._looks.pop(look.id, None)

    def _send(self, look: Look, message: control_pb2.ConnectResponse) -> None:
        if not look.session.ended.is_set():
            look.session.send(message)
