"""Cuts telemetry into windows, and keeps them until the planner has them.

While the planner hears, a window is a second: drift is to be seen at once. While it doesn't, nobody waits for them, so
they become longer with time, and a month of them fits into the outbox: sums and sketches lose nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from circinus.clock import Clock
from circinus.v1 import control_pb2, types_pb2
from edge_agent.outbox import Outbox

#: A step of a rate is to be answered within 10 s: two windows, a selection, and processes that start.
WINDOW_S = 1.0
#: From so many seconds without a planner on, windows of so many.
LONGER_S = ((86_400.0, 60.0), (600.0, 10.0))
AddUp = Callable[[Sequence[types_pb2.QueryWindow], Sequence[types_pb2.OperatorWindow]], None]


class Counted(Protocol):
    """What counts: the serving half of the agent."""

    def take_windows(self) -> tuple[list[types_pb2.QueryWindow], list[types_pb2.OperatorWindow]]:
        """Telemetry since the last call."""

    def take_episodes(self) -> list[control_pb2.StandByEpisode]:
        """Beginnings and ends of stand-bys since the last call."""


class Measuring:
    """The windows of one device. ``heard``: whether the planner hears; ``put``: something new waits for it."""

    def __init__(
        self,
        counted: Counted,
        *,
        outbox: Outbox,
        clock: Clock,
        heard: Callable[[], bool],
        put: Callable[[], None],
        add_up: AddUp | None = None,
    ) -> None:
        """``add_up`` gets every window, too."""
        self._add_up = add_up
        self._counted = counted
        self._outbox = outbox
        self._clock = clock
        self._heard = heard
        self._put = put
        self._cut_s = clock.monotonic_s()
        self._away_since_s: float | None = None

    async def run(self) -> None:
        """Cuts windows until it is cancelled."""
        while True:
            await self._clock.sleep(WINDOW_S)
            if self._due():
                await self.cut()

    async def cut(self) -> None:
        """Ends the present window."""
        self._cut_s = self._clock.monotonic_s()
        queries, operators = self._counted.take_windows()
        episodes = self._counted.take_episodes()
        if self._add_up is not None:
            self._add_up(queries, operators)
        if queries or operators or episodes:
            await self._outbox.put(queries, operators, episodes)
            self._put()
        else:
            await self._outbox.rest()

    def _due(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._heard():
            self._away_since_s = None
            return True
        if self._away_since_s is None:
            self._away_since_s = now_s
        away_s = now_s - self._away_since_s
        window_s = next((window_s for after_s, window_s in LONGER_S if away_s >= after_s), WINDOW_S)
        return window_s == WINDOW_S or now_s - self._cut_s >= window_s
