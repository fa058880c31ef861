"""PURE. When a query is served by its stand-by, and when by its plan again.

A peer that is needed is out of reach: the stand-by serves at once, since every item that goes the plan's way is lost.
Back is slow on purpose: the peers must have been in reach for ``steady_s`` in a row, and each time that the stand-by
is needed again soon after a return that time doubles, so that a link that comes and goes is left alone. After a quiet
time it is forgiven.

Peers that the source device does not talk to itself are only heard of by what becomes of items. Those say that a peer
of a peer is out of reach (``blame``); whether it is back can only be tried, with the same patience.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Serves(StrEnum):
    """What a query is served by."""

    PLAN = "plan"
    STAND_BY = "stand_by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times of the return.

    ``steady_s``: how long peers must have been in reach, at first and after each relapse at most. ``relapse_s``: an
    outage so soon after a return doubles it, ``forgive_s`` without any makes it short again. ``greet_s``: how long
    peers may take to be in reach at first.
    """

    steady_s: float = 3.0
    most_steady_s: float = 120.0
    relapse_s: float = 60.0
    forgive_s: float = 300.0
    greet_s: float = 1.0


class Switch:
    """One query's switch. Times are seconds of one monotonic clock and never go back."""

    def __init__(self, now_s: float, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._began_s = now_s
        self._was_reached = False
        self._steady_s = self._patience.steady_s
        self._reached_since_s: float | None = None
        self._returned_s: float | None = None
        self.serves = Serves.PLAN

    @property
    def steady_s(self) -> float:
        """How long peers must have been in reach before the plan serves again."""
        return self._steady_s

    def look(self, now_s: float, reached: bool) -> Serves:
        """What serves from now on, given whether all that the plan needs is in reach now."""
        if not reached:
            self._reached_since_s = None
            greeting = not self._was_reached and now_s - self._began_s < self._patience.greet_s
            if self.serves is Serves.PLAN and not greeting:
                self._begin(now_s)
            return self.serves
        self._was_reached = True
        if self._reached_since_s is None:
            self._reached_since_s = now_s
        if self.serves is Serves.STAND_BY and now_s - self._reached_since_s >= self._steady_s:
            self.serves, self._returned_s = Serves.PLAN, now_s
        return self.serves

    def blame(self, now_s: float) -> Serves:
        """An item of the plan was lost on a link of another device: something that the plan needs is out of reach."""
        self._reached_since_s = None
        self._was_reached = True
        if self.serves is Serves.PLAN:
            self._begin(now_s)
        return self.serves

    def _begin(self, now_s: float) -> None:
        self.serves = Serves.STAND_BY
        if self._returned_s is None:
            return
        quiet_s = now_s - self._returned_s
        if quiet_s < max(self._patience.relapse_s, self._steady_s):
            self._steady_s = min(2.0 * self._steady_s, self._patience.most_steady_s)
        elif quiet_s >= self._patience.forgive_s:
            self._steady_s = self._patience.steady_s
