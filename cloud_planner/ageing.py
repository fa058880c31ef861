"""Whether the planner's wall clock may say what is old.

A clock that is set a year ahead, by a person or by a bad time server, would have everything forgotten at once. So after
a jump nothing is forgotten for a day: by then a mistake is mended, or what was there before it is a day old anyhow.
"""

from __future__ import annotations

import math

from circinus.clock import Clock
from circinus.events import warning

_JUMP_S = 3_600.0
_WAIT_S = 86_400.0


class Ageing:
    """Watches the wall clock beside one that never jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_less_steady_s = self._difference_s()
        self._not_before_s = -math.inf

    def _difference_s(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic_s()

    def believed(self) -> bool:
        """Whether what is old by the wall clock now may be forgotten."""
        moved_s = self._difference_s() - self._wall_less_steady_s
        if abs(moved_s) > _JUMP_S:
            self._wall_less_steady_s += moved_s
            self._not_before_s = self._clock.monotonic_s() + _WAIT_S
            warning("clock_jumped", by_s=moved_s, nothing_forgotten_for_s=_WAIT_S)
        return self._clock.monotonic_s() >= self._not_before_s
