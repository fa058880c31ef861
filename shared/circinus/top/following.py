"""Keeps what is known of a planner fresh: a picture every other second, events as they come; back again by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.event_calls import PlannerEvent
from circinus.top.gathering import Source
from circinus.top.picture import Known, Picture, Wants

#: Between two pictures, if nothing else is said, and the least.
PERIOD_S = 2.0
LEAST_PERIOD_S = 0.5
#: Events that are kept, and those from before that are asked for.
MAX_EVENTS = 1_000
EARLIER_EVENTS = 200
#: Longest that an answer is waited for; a planner that is away for longer is said to be.
_ANSWER_S = 15.0
#: Between two tries to follow events again.
_AGAIN_S = 2.0


class Following:
    """What is known, from a first picture on. ``changed`` is called whenever it is another."""

    def __init__(
        self, source: Source, first: Picture, clock: Clock, changed: Callable[[], None], *, period_s: float = PERIOD_S
    ) -> None:
        self._source = source
        self._clock = clock
        self._changed = changed
        self._period_s = period_s
        self._wants: Wants = first.wants
        self._wanted_anew = asyncio.Event()
        self._events: deque[PlannerEvent] = deque(maxlen=MAX_EVENTS)
        self.known = Known(picture=first)

    def want(self, wants: Wants) -> None:
        """Has other lines asked for, at once."""
        if wants != self._wants:
            self._wants = wants
            self._wanted_anew.set()

    async def run(self) -> None:
        """Asks and follows, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pictures())
            group.create_task(self._follow())

    async def _pictures(self) -> None:
        while True:
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    await self._wanted_anew.wait()

    async def look(self) -> None:
        """One picture; what is known says so if there is none to be had."""
        self._wanted_anew.clear()
        try:
            async with asyncio.timeout(_ANSWER_S):
                picture = await self._source.picture(self._wants)
        except CircinusError as error:
            self._lost(error.message)
        except TimeoutError:
            self._lost(f"no answer within {_ANSWER_S:g} s")
        else:
            self.known = replace(self.known, picture=picture, trouble="", away_since=None)
        self._changed()

    def _lost(self, message: str) -> None:
        since = self.known.away_since or self._clock.now()
        self.known = replace(self.known, trouble=message, away_since=since)

    async def _follow(self) -> None:
        while True:
            # Whether it ended or failed: it is followed again, after the last that came.
            with suppress(CircinusError):
                await self.hear()
            await self._clock.sleep(_AGAIN_S)

    async def hear(self) -> None:
        """Takes in events until there are no more.

        Raises:
            CircinusError: they can't be asked for, or the planner went away.
        """
        after = self._events[-1].cursor if self._events else 0
        async for one in self._source.events(after=after, limit=EARLIER_EVENTS, follow=True):
            if self._events and one.cursor <= self._events[-1].cursor:
                # Another planner's: its cursors begin anew.
                self._events.clear()
            self._events.append(one)
            self.known = replace(self.known, events=tuple(self._events), missed=self.known.missed or one.missed)
            self._changed()


__all__ = ["EARLIER_EVENTS", "LEAST_PERIOD_S", "MAX_EVENTS", "PERIOD_S", "Following"]
