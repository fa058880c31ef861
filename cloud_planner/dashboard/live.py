"""What changes by itself on open pages: rendered once for all who look, sent only where it is another.

Everybody who looks at the same part shares one topic; one stream a page carries all of its topics. A topic is rendered
when something happened in the planner, or some seconds went by (telemetry rings no bell), and what it gives is held
against what was sent before, element by element. However much happens, however many parts are open: after each round
the hub rests for so many times as long as it took, so that it never takes more than ``SHARE_RATIO`` of a core. Who
reads slowly gets the newest of each element, and nothing waits for them in line.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput, TooLarge
from circinus.events import warning
from cloud_planner.bell import Bell
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Part

#: Of one core, for all open pages together.
SHARE_RATIO = 0.015
#: Looked anew at least so often, though no bell rang.
IDLE_S = 2.0
_LEAST_REST_S = 0.5
_LONGEST_REST_S = 30.0
#: Streams of everybody, parts of one page, characters that say which.
MOST_STREAMS = 64
MOST_PARTS = 16
MOST_CHARS = 600
#: How often a quiet stream is shown to be alive, and its session looked at.
_ALIVE_S = 15.0
_LOOK_S = 1.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Stream:
    """One page that looks. ``waiting``: the newest of each element that wasn't sent yet."""

    waiting: dict[str, str] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, elements: Mapping[str, str]) -> None:
        """Has elements sent, in place of older ones."""
        if elements:
            self.waiting.update(elements)
            self.woken.set()


@dataclass(slots=True, kw_only=True, eq=False)
class _Topic:
    """A part with its argument. ``sent``: what everybody who looks has been sent."""

    part: Part
    argument: str
    streams: set[_Stream] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    due_s: float = 0.0
    failed: bool = False


class Hub:
    """The topics of all open pages. ``run`` renders them for ever."""

    def __init__(self, desk: Desk, parts: Sequence[Part], clock: Clock, bells: Sequence[Bell]) -> None:
        self._desk = desk
        self._parts = {part.name: part for part in parts}
        self._clock = clock
        self._bells = tuple(bells)
        self._topics: dict[tuple[str, str], _Topic] = {}
        self._streams: set[_Stream] = set()
        self._looked = asyncio.Event()
        self._closed = False

    def chosen(self, texts: Sequence[str]) -> list[tuple[Part, str]]:
        """The parts that a page asks for, as "name" or "name?argument".

        Raises:
            InvalidInput: there is no such part, or there are too many.
        """
        if not 0 < len(texts) <= MOST_PARTS:
            raise InvalidInput(f"{len(texts)} parts are none, or more than {MOST_PARTS}")
        found = []
        for text in dict.fromkeys(texts):
            name, _, argument = text.partition("?")
            part = self._parts.get(name)
            if part is None or len(text) > MOST_CHARS:
                raise InvalidInput(f"there is no live part {name[:60]!r}")
            found.append((part, argument))
        return found

    async def follow(
        self, chosen: Sequence[tuple[Part, str]], stands: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """What changes in these parts, as server-sent events, until ``stands`` says no or the hub is closed.

        Raises:
            TooLarge: there are too many streams.
        """
        if len(self._streams) >= MOST_STREAMS:
            raise TooLarge(f"{MOST_STREAMS} pages are live already: close some")
        stream = _Stream()
        self._streams.add(stream)
        topics = [self._topic(part, argument) for part, argument in chosen]
        try:
            for topic in topics:
                topic.streams.add(stream)
                stream.put(topic.sent)
            self._looked.set()
            yield b"retry: 3000\n\n"
            quiet_s = 0.0
            while not self._closed:
                if not stands():
                    yield _event("over", {})
                    return
                if await _rang(stream.woken, _LOOK_S):
                    stream.woken.clear()
                    waiting, stream.waiting = stream.waiting, {}
                    quiet_s = 0.0
                    yield _event("parts", waiting)
                elif (quiet_s := quiet_s + _LOOK_S) >= _ALIVE_S:
                    quiet_s = 0.0
                    yield b": alive\n\n"
        finally:
            self._streams.discard(stream)
            for topic in topics:
                topic.streams.discard(stream)
                if not topic.streams:
                    self._topics.pop((topic.part.name, topic.argument), None)

    def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        for stream in self._streams:
            stream.woken.set()

    async def run(self) -> None:
        """Renders what is due, for ever."""
        heard = [bell.rings for bell in self._bells]
        while True:
            if not self._topics:
                self._looked.clear()
                await self._looked.wait()
            began_s, cpu_began_s = self._clock.monotonic_s(), time.process_time()
            await self.round()
            # Neither is the hub's alone, and each is at least that: the planner works on, and other programs do.
            spent_s = min(self._clock.monotonic_s() - began_s, time.process_time() - cpu_began_s)
            rest_s = min(max(_LEAST_REST_S, spent_s / SHARE_RATIO), _LONGEST_REST_S)
            await self._clock.sleep(rest_s)
            self._looked.clear()
            heard = await self._something(heard, max(0.0, IDLE_S - rest_s))

    async def round(self) -> None:
        """Renders every topic that is due, and sends what is another than before."""
        for topic in tuple(self._topics.values()):
            now_s = self._clock.monotonic_s()
            if now_s < topic.due_s and topic.sent:
                continue
            topic.due_s = now_s + topic.part.period_s
            try:
                elements = await topic.part.render(self._desk, topic.argument)
                topic.failed = False
            except CircinusError:
                # What it is about is gone, say; the page says so when it is loaded anew.
                continue
            except Exception as error:  # one part's fault must not end the others
                if not topic.failed:
                    warning("dashboard_part_failed", part=topic.part.name, reason=f"{type(error).__name__}: {error}")
                topic.failed = True
                continue
            changed = {key: html for key, html in elements.items() if topic.sent.get(key) != html}
            topic.sent = dict(elements)
            for stream in topic.streams:
                stream.put(changed)

    def _topic(self, part: Part, argument: str) -> _Topic:
        return self._topics.setdefault((part.name, argument), _Topic(part=part, argument=argument))

    async def _something(self, heard: list[int], timeout_s: float) -> list[int]:
        """Waits until a bell rings, somebody new looks, or a while has passed."""
        waits = [asyncio.ensure_future(bell.wait(count)) for bell, count in zip(self._bells, heard, strict=True)]
        waits.append(asyncio.ensure_future(self._looked_at()))
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return [bell.rings for bell in self._bells]

    async def _looked_at(self) -> int:
        await self._looked.wait()
        return 0


async def _rang(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _event(name: str, elements: Mapping[str, str]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(elements, ensure_ascii=False)}\n\n".encode()


__all__ = ["IDLE_S", "MOST_PARTS", "MOST_STREAMS", "SHARE_RATIO", "Hub"]
