"""PURE. Which items a query's source lets in, and which of them are above its planned rate.

Items up to the planned rate are always let in; a token bucket with a small burst says which these are. Those above it
are `excess`: they live on capacity that nobody planned for. How much of it there is, no single device knows, so the
source finds out as TCP does: a little more for each second in which its excess was answered in time, a good part less
for each item that was not. What is not let in is shed before its payload is made, so hopeless items cost nothing: not
the source's CPU, not a link, not the operators before the bottleneck.

Prior art: token buckets (policing, RFC 2697); additive increase and multiplicative decrease (Chiu and Jain, 1989);
DAGOR (WeChat's overload control, 2018), which sheds at the entry by what happens downstream.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum

from circinus.model.query import QueryId
from edge_agent.dataplane.book import Ended, Ending

MS_PER_S = 1000.0
#: Items that may come at once: so many, or those of so many seconds. Callers are seldom evenly spaced, and with less
#: a good part of what keeps to its rate would count as above it.
BURST_ITEMS = 4.0
BURST_S = 0.5
#: Excess that is let in at first, at most and at least, as a multiple of the planned rate; the least keeps asking
#: whether there is room again.
_FIRST_RATIO = 1.0
_MOST_RATIO = 20.0
_LEAST_RATIO = 0.02
_EXCESS_BURST_ITEMS = 2.0
#: So much more in a second, as a ratio of the planned rate; and so much less for an item that was in vain, times the
#: planned rate, within bounds: at a few items a second one in six that are let in is in vain, at more it is fewer.
_MORE_PER_S = 0.03
_LESS_PER_S = 0.7
_LESS_BOUNDS = (0.1, 0.5)
_LEAST_RATE_PER_S = 1e-6
#: A pause says nothing of room.
_MAX_PAUSE_S = 1.0
#: Queries that are remembered at most; the one that was asked for longest ago is forgotten first.
_MAX_QUERIES = 10_000


class Ticket(StrEnum):
    """What an item is, as it is offered."""

    IN_RATE = "in_rate"
    EXCESS = "excess"
    SHED = "shed"


class TokenBucket:
    """So many a second, and a few at once. It is full at first."""

    def __init__(self, rate_per_s: float, burst_items: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst_items = max(1.0, burst_items)
        self._tokens = self.burst_items
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Takes a token, if there is one."""
        if self._at_s is not None:
            self._tokens = min(self.burst_items, self._tokens + max(0.0, now_s - self._at_s) * self.rate_per_s)
        self._at_s = now_s
        # Sums of a thousand periods are a little off; an item that is on time must not be excess for that.
        if self._tokens < 1.0 - 1e-6:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        """A token that was taken was not used."""
        self._tokens = min(self.burst_items, self._tokens + 1.0)


class Admission:
    """What one query's source lets in. ``rate_per_s`` is planned; what is not above 0 counts as next to nothing."""

    def __init__(self, rate_per_s: float) -> None:
        rate_per_s = max(_LEAST_RATE_PER_S, rate_per_s)
        self._planned = TokenBucket(rate_per_s, _burst(rate_per_s))
        self._spare = TokenBucket(rate_per_s * _FIRST_RATIO, _EXCESS_BURST_ITEMS)
        self._told_at_s: float | None = None

    @property
    def excess_per_s(self) -> float:
        """Excess that is let in at most."""
        return self._spare.rate_per_s

    def plan(self, rate_per_s: float) -> None:
        """The planned rate from now on."""
        rate_per_s = max(_LEAST_RATE_PER_S, rate_per_s)
        if rate_per_s == self._planned.rate_per_s:
            return
        self._planned.rate_per_s, self._planned.burst_items = rate_per_s, _burst(rate_per_s)
        self._bound(self._spare.rate_per_s)

    def admit(self, now_s: float) -> Ticket:
        """An item is offered. Times never go back."""
        if self._planned.take(now_s):
            return Ticket.IN_RATE
        return Ticket.EXCESS if self._spare.take(now_s) else Ticket.SHED

    def refund(self, ticket: Ticket) -> None:
        """The item that was let in could not be made."""
        if ticket is not Ticket.SHED:
            (self._planned if ticket is Ticket.IN_RATE else self._spare).give_back()

    def told(self, ending: Ending, now_s: float, *, excess: bool) -> None:
        """How an item ended, now. Failures say nothing of room."""
        planned_per_s = self._planned.rate_per_s
        if excess and ending is Ending.ANSWERED:
            pause_s = 0.0 if self._told_at_s is None else min(_MAX_PAUSE_S, max(0.0, now_s - self._told_at_s))
            self._bound(self._spare.rate_per_s + pause_s * _MORE_PER_S * planned_per_s)
        elif ending in (Ending.DROPPED, Ending.LATE):
            # Also for an in-rate item: the room that the excess takes may be what it lacked.
            least, most = _LESS_BOUNDS
            self._bound(self._spare.rate_per_s * (1.0 - max(least, min(most, _LESS_PER_S / planned_per_s))))
        if excess:
            self._told_at_s = now_s

    def _bound(self, excess_per_s: float) -> None:
        planned = self._planned.rate_per_s
        self._spare.rate_per_s = min(_MOST_RATIO * planned, max(_LEAST_RATIO * planned, excess_per_s))
        self._spare.burst_items = max(_EXCESS_BURST_ITEMS, BURST_S * self._spare.rate_per_s)


class Admissions:
    """The admission of each query of this device's sources."""

    def __init__(self) -> None:
        self._of: OrderedDict[QueryId, Admission] = OrderedDict()

    def admit(self, query_id: QueryId, rate_per_s: float, now_s: float) -> Ticket:
        """An item of this query is offered; ``rate_per_s`` is planned now."""
        admission = self._of.get(query_id)
        if admission is None:
            admission = self._of[query_id] = Admission(rate_per_s)
            if len(self._of) > _MAX_QUERIES:
                self._of.popitem(last=False)
        self._of.move_to_end(query_id)
        admission.plan(rate_per_s)
        return admission.admit(now_s)

    def refund(self, query_id: QueryId, ticket: Ticket) -> None:
        """The item that was let in could not be made."""
        if query_id in self._of:
            self._of[query_id].refund(ticket)

    def told(self, ended: Ended) -> None:
        """How an item of one of the queries ended."""
        admission = self._of.get(ended.emission.query_id)
        if admission is not None:
            ended_at_s = ended.emission.emitted_at_s + ended.latency_ms / MS_PER_S
            admission.told(ended.ending, ended_at_s, excess=ended.emission.excess)

    def excess_per_s(self, query_id: QueryId) -> float:
        """Excess of a query that is let in at most; 0: nothing is known of it."""
        admission = self._of.get(query_id)
        return 0.0 if admission is None else admission.excess_per_s


def _burst(rate_per_s: float) -> float:
    return max(BURST_ITEMS, BURST_S * rate_per_s)
