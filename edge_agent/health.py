"""What is wrong with the box itself, in words for the planner's people: its disk, its files, its clock, its outbox.

Nothing of it stops serving. It is looked for every few seconds, without a write, and told when it changes.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Awaitable, Callable

from circinus.clock import Clock
from circinus.events import event, warning
from edge_agent.disk_guard import DiskGuard

_PERIOD_S = 10.0
#: A wall clock that moves by so much against one that never jumps was set; it is told for so long.
_JUMP_S = 60.0
_JUMP_TOLD_S = 900.0
#: From here on a process is about to run out of files.
_FILES_RATIO = 0.9
_MAX_TROUBLES = 20
_MAX_TROUBLE_CHARS = 400


class Health:
    """Troubles of one box. ``others`` says what others know; ``on_change`` is called whenever the list has changed."""

    def __init__(
        self,
        *,
        guard: DiskGuard,
        others: Callable[[], tuple[str, ...]],
        clock: Clock,
        ran_s: Callable[[], float],
        on_change: Callable[[], None],
        heal: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``heal`` is to make an end of what can be ended, before each look."""
        self._healed = heal
        self._guard = guard
        self._others = others
        self._clock = clock
        self._ran_s = ran_s
        self._on_change = on_change
        self._wall_less_ran_s = clock.now().timestamp() - ran_s()
        self._jumped: tuple[float, float] | None = None
        self._found: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()

    def troubles(self) -> tuple[str, ...]:
        """What is wrong now; empty: nothing is known."""
        everything = (*self._found, *self._others())
        return tuple(one[:_MAX_TROUBLE_CHARS] for one in dict.fromkeys(everything))[:_MAX_TROUBLES]

    async def run(self) -> None:
        """Looks every few seconds, until it is cancelled."""
        while True:
            await self._heal()
            self.look()
            await self._clock.sleep(_PERIOD_S)

    async def _heal(self) -> None:
        if self._healed is not None:
            await self._healed()

    def look(self) -> None:
        """Looks once."""
        disk = self._guard.look()
        self._found = tuple(filter(None, (f"disk: {disk}" if disk else "", _files(), self._clock_trouble())))
        now = self.troubles()
        if now == self._told:
            return
        for gone in self._told:
            if gone not in now:
                event("trouble_over", what=gone)
        for new in now:
            if new not in self._told:
                warning("trouble", what=new)
        self._told = now
        self._on_change()

    def _clock_trouble(self) -> str:
        ran_s = self._ran_s()
        moved_s = self._clock.now().timestamp() - ran_s - self._wall_less_ran_s
        if abs(moved_s) > _JUMP_S:
            self._wall_less_ran_s += moved_s
            self._jumped = (ran_s, moved_s)
        if self._jumped is None or ran_s - self._jumped[0] > _JUMP_TOLD_S:
            self._jumped = None
            return ""
        return f"clock: it was set by {self._jumped[1]:+.0f} s; stamps go by the planner's"


def _files() -> str:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError as error:
        return f"files: no more can be opened ({error.strerror})"
    if limit != resource.RLIM_INFINITY and used > _FILES_RATIO * limit:
        return f"files: {used} of at most {limit} are open"
    return ""
