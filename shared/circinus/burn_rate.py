"""How an error budget is spent: attainment, burn rates over two windows, what is left of a day's budget. PURE.

A bound on latency at a percentile allows the rest of the items to be late or lost: that is the error budget. An item is
good if it was answered in time; late, dropped and failed ones are not. The burn rate of a window says how many times as
fast as allowed the budget was spent in it: at 1 a day's items spend a day's budget, at 6 it is gone within four hours.

One window says too little: a short one is alarmed by a hiccup, a long one goes on being so for long after the fault is
over. So two are looked at, five minutes and an hour, and it burns only where both say so (Beyer et al., The Site
Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"; their threshold of 6, with a day for their 30).
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import StrEnum

#: The windows of the two burn rates, and the period that the budget is of.
SHORT_S = 300.0
LONG_S = 3_600.0
BUDGET_S = 86_400.0
#: Above this the budget shrinks; above that a quarter of a day's budget is gone within an hour.
SPENT_RATIO = 1.0
FAST_RATIO = 6.0

_MINUTE_S = 60.0
_SHORT_MINUTES = round(SHORT_S / _MINUTE_S)
_LONG_MINUTES = round(LONG_S / _MINUTE_S)
_HOURS = round(BUDGET_S / LONG_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Items that ended, and the good among them."""

    good: int
    ended: int

    @property
    def attained_ratio(self) -> float | None:
        """Which part of them was good (0..1); None: none ended."""
        return self.good / self.ended if self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """What ended within five minutes, within an hour, within a day, until now."""

    short: Count
    long: Count
    day: Count


class Burning(StrEnum):
    """How the budget fares.

    KEPT: both windows are within it. RISING: the last minutes are not, the hour is. RECOVERING: the hour is not, the
    last minutes are again. BURNING: neither is. FAST: neither is, by far. IDLE: nothing ended within an hour.
    """

    IDLE = "idle"
    KEPT = "kept"
    RECOVERING = "recovering"
    RISING = "rising"
    BURNING = "burning"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """How an SLO fares; None: nothing ended in that window.

    ``attained_ratio`` and ``budget_left_ratio`` are of the day: 1 is an untouched budget, 0 one that is spent, below 0
    one that is overspent. The burn rates are infinite where an SLO allows nothing and something was not good.
    """

    attained_ratio: float | None
    wanted_ratio: float
    budget_left_ratio: float | None
    short_ratio: float | None
    long_ratio: float | None
    state: Burning


def burn_ratio(attained_ratio: float, wanted_ratio: float) -> float:
    """How many times as fast as allowed the budget is spent, where this part of the items is good (both 0..1)."""
    allowed = 1.0 - wanted_ratio
    if allowed > 0.0:
        return (1.0 - attained_ratio) / allowed
    return 0.0 if attained_ratio >= 1.0 else math.inf


def burn_of(spans: Spans, wanted_ratio: float) -> Burn:
    """How an SLO that asks for this part of the items (0..1) fares."""
    short, long, day = (_burn(count, wanted_ratio) for count in (spans.short, spans.long, spans.day))
    return Burn(
        attained_ratio=spans.day.attained_ratio,
        wanted_ratio=wanted_ratio,
        budget_left_ratio=None if day is None else 1.0 - day,
        short_ratio=short,
        long_ratio=long,
        state=_state(short, long),
    )


def _burn(count: Count, wanted_ratio: float) -> float | None:
    attained = count.attained_ratio
    return None if attained is None else burn_ratio(attained, wanted_ratio)


def _state(short: float | None, long: float | None) -> Burning:
    if long is None:
        return Burning.IDLE
    # Nothing ended lately: nothing was lost lately either.
    lately = 0.0 if short is None else short
    if min(lately, long) > FAST_RATIO:
        return Burning.FAST
    if lately > SPENT_RATIO:
        return Burning.BURNING if long > SPENT_RATIO else Burning.RISING
    return Burning.RECOVERING if long > SPENT_RATIO else Burning.KEPT


class RollingCounts:
    """Items of one query over the last day, in minutes and hours: about 1.4 kB, however many there are.

    Windows are as exact as that: five minutes are the running one and the five before it. Times are seconds since any
    fixed moment; one that is later than ``now_s`` counts as now.
    """

    __slots__ = ("_hours", "_minutes")

    def __init__(self) -> None:
        self._minutes = _Ring(_LONG_MINUTES + 1, _MINUTE_S)
        self._hours = _Ring(_HOURS + 1, LONG_S)

    def add(self, at_s: float, now_s: float, good: int, ended: int) -> None:
        """Counts items that ended at a moment; what is older than a window is not in it."""
        for ring in (self._minutes, self._hours):
            ring.advance(now_s)
            ring.add(min(at_s, now_s), good, ended)

    def spans(self, now_s: float) -> Spans:
        """What ended in each window until now."""
        self._minutes.advance(now_s)
        self._hours.advance(now_s)
        return Spans(
            short=self._minutes.newest(_SHORT_MINUTES + 1),
            long=self._minutes.newest(_LONG_MINUTES + 1),
            day=self._hours.newest(_HOURS + 1),
        )


class _Ring:
    """Counts of the last so many periods; a place is emptied when a new period takes it."""

    __slots__ = ("_ended", "_good", "_last", "_period_s", "_places")

    def __init__(self, places: int, period_s: float) -> None:
        self._places = places
        self._period_s = period_s
        self._last: int | None = None
        # As real numbers: sums of counts from outside may be larger than any integer type of an array.
        self._good = array("d", bytes(8 * places))
        self._ended = array("d", bytes(8 * places))

    def advance(self, now_s: float) -> None:
        number = math.floor(now_s / self._period_s)
        if self._last is None:
            self._last = number
        for fresh in range(max(self._last, number - self._places) + 1, number + 1):
            self._good[fresh % self._places] = self._ended[fresh % self._places] = 0.0
        self._last = max(self._last, number)

    def add(self, at_s: float, good: int, ended: int) -> None:
        number = math.floor(at_s / self._period_s)
        if self._last is not None and self._last - self._places < number <= self._last:
            self._good[number % self._places] += good
            self._ended[number % self._places] += ended

    def newest(self, periods: int) -> Count:
        if self._last is None:
            return Count(good=0, ended=0)
        if periods >= self._places:
            return Count(good=int(sum(self._good)), ended=int(sum(self._ended)))
        places = [number % self._places for number in range(self._last - periods + 1, self._last + 1)]
        return Count(
            good=int(sum(self._good[place] for place in places)), ended=int(sum(self._ended[place] for place in places))
        )


__all__ = [
    "BUDGET_S",
    "FAST_RATIO",
    "LONG_S",
    "SHORT_S",
    "SPENT_RATIO",
    "Burn",
    "Burning",
    "Count",
    "RollingCounts",
    "Spans",
    "burn_of",
    "burn_ratio",
]
