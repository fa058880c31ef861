"""PURE. The items of one use that wait at a replica set, in order, and each one's chance of being answered in time.

A chance is that of a normal variable: the mean is what is ahead of the item, its own batch and what comes after this
operator; the variance is that of the batches on the way. Times are seconds of this device's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import erf, sqrt

from circinus.model.directive import Use
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.service_times import ServiceTime

MS_PER_S = 1000.0
#: Below this an item is let go of. The estimate's own error is of this size, so a smaller chance is as good as none; a
#: larger one is worth a replica's time when nothing better waits (what is better is weighed item by item).
HOPELESS_RATIO = 0.05
#: The same for an item above the planned rate: work that more often than not is in vain is not begun.
HOPELESS_EXCESS_RATIO = 0.5
#: What an excess item counts beside an in-rate one of its query: it must never cost one, yet order among them stays.
EXCESS_VALUE_RATIO = 0.01
#: Spread of the time after this operator over that time, and of the clock and the event loop.
_AFTER_SPREAD_RATIO = 0.1
_LOOP_SPREAD_S = 0.001
_SLACK_SMOOTHING = 0.1
_SQRT_2 = sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An item and when it came."""

    work: Work
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another use of the same processes: its in-rate items wait, and more come.

    ``turns_ratio``: so many of them go before each of ours.
    """

    waiting: int
    rate_per_s: float
    turns_ratio: float
    each_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """When each replica is free again, in seconds from now, and the variance of that."""

    free_s: tuple[tuple[float, float], ...]
    others: tuple[Other, ...] = ()
    #: How much of its turn the use has waited for: 1, it is its turn now; a half where that is not known.
    turn_ratio: float = 0.5

    def others_s(self, items: float, begin_s: float) -> float:
        """Time of the others' items that go before so many of ours, the last of which begins about then."""
        return sum(
            min(other.waiting + other.rate_per_s * begin_s, items * other.turns_ratio) * other.each_s
            for other in self.others
            if items > 0
        )


@dataclass(slots=True, kw_only=True, eq=False)
class UseQueue:
    """What waits for one use, in the order in which it is served; items are let go of, never put in another order."""

    use: Use
    items: list[Queued] = field(default_factory=list)
    service: ServiceTime = field(default_factory=ServiceTime)
    size_bytes: int = 0
    #: Finish tag of fair queueing: how far the use has come, in its own planned seconds.
    finish: float = 0.0
    #: The same of its excess.
    excess_finish: float = 0.0
    #: What an in-rate item usually has left when it comes, after what follows; None: none with a deadline came yet.
    slack_s: float | None = None

    @property
    def after_s(self) -> float:
        """From the operator's output to the answer."""
        return self.use.after_ms / MS_PER_S

    @property
    def in_rate(self) -> int:
        """How many in-rate items wait."""
        return sum(1 for queued in self.items if not queued.work.excess)

    def add(self, queued: Queued) -> None:
        """Takes an item into its place: that of its number, where one source counts its items."""
        source, number = _number(queued.work.request_id)
        place = len(self.items)
        while place > 0 and number is not None:
            other_source, other = _number(self.items[place - 1].work.request_id)
            if other is None or other_source != source or other <= number:
                break
            place -= 1
        self.items.insert(place, queued)
        self.size_bytes += queued.work.size_bytes
        if not queued.work.excess and queued.work.deadline_s is not None:
            slack_s = queued.work.deadline_s - queued.since_s - self.after_s
            known_s = self.slack_s
            self.slack_s = slack_s if known_s is None else known_s + _SLACK_SMOOTHING * (slack_s - known_s)

    def remove(self, index: int) -> Queued:
        """Takes an item out."""
        queued = self.items.pop(index)
        self.size_bytes -= queued.work.size_bytes
        return queued

    def oldest_excess(self) -> int | None:
        """Where the oldest excess item is."""
        return next((index for index, queued in enumerate(self.items) if queued.work.excess), None)

    def chance_ratio(self, work: Work, answered_at_s: float, variance_s2: float) -> float:
        """Chance that an item is in time, if it leaves this operator then: 0..1."""
        if work.deadline_s is None:
            return 1.0
        return self._in_time_ratio(work.deadline_s - answered_at_s - self.after_s, variance_s2)

    def chance_left_ratio(self, took_s: float, variance_s2: float) -> float:
        """Chance of an in-rate item that comes with what it usually has left and is through in this time."""
        return 1.0 if self.slack_s is None else self._in_time_ratio(self.slack_s - took_s, variance_s2)

    def chance_next_ratio(self, work: Work, busy: Busy, now_s: float) -> float:
        """Chance of an item that is the very next to be served."""
        free_s, variance_s2 = min(busy.free_s)
        each_s = self.service.expected_s(1)
        variance_s2 += (self.service.spread_ratio * each_s) ** 2
        return self.chance_ratio(work, now_s + free_s + each_s, variance_s2)

    def chances_ratio(self, items: Sequence[Queued], busy: Busy, batch: int, now_s: float) -> list[float]:
        """The chance of each of these items if they are served in this order. Hopeless ones are passed over.

        O(n log replicas).
        """
        free = sorted(busy.free_s)
        chances: list[float] = []
        served = 0
        others_s = 0.0
        while len(chances) < len(items):
            start_s, variance_s2 = heappop(free)
            size = min(batch, len(items) - len(chances))
            took_s = self.service.expected_s(size)
            done_variance_s2 = variance_s2 + (self.service.spread_ratio * took_s) ** 2
            before = served + size * (1.0 - busy.turn_ratio)
            others_s = busy.others_s(before, start_s + others_s) / len(busy.free_s)
            done_s = start_s + took_s + others_s
            room = size
            while room and len(chances) < len(items):
                work = items[len(chances)].work
                chance_ratio = self.chance_ratio(work, now_s + done_s, done_variance_s2)
                room -= chance_ratio >= hopeless_ratio(work)
                chances.append(chance_ratio)
            if room < size:
                served += size - room
                heappush(free, (start_s + took_s, done_variance_s2))
            else:
                heappush(free, (start_s, variance_s2))
        return chances

    def worth(self, items: Sequence[Queued], chances_ratio: Sequence[float]) -> float:
        """What these items are expected to bring: weight x chance, those above the planned rate next to nothing."""
        return sum(
            chance_ratio * (EXCESS_VALUE_RATIO if queued.work.excess else 1.0) / queued.work.parts
            for queued, chance_ratio in zip(items, chances_ratio, strict=True)
            if chance_ratio >= hopeless_ratio(queued.work)
        )

    def _in_time_ratio(self, left_s: float, variance_s2: float) -> float:
        variance_s2 += (_AFTER_SPREAD_RATIO * self.after_s) ** 2 + _LOOP_SPREAD_S**2
        return 0.5 * (1.0 + erf(left_s / (sqrt(variance_s2) * _SQRT_2)))


def hopeless_ratio(work: Work) -> float:
    """The chance below which an item is let go of."""
    return HOPELESS_EXCESS_RATIO if work.excess else HOPELESS_RATIO


def _number(request_id: str) -> tuple[str, int | None]:
    source, _, number = request_id.rpartition("-")
    if not (number.isascii() and number.isdigit() and len(number) <= 15):
        return source, None
    return source, int(number)
