"""PURE. What waits to be sent to one peer, and what goes next.

1. Small outcomes: the only word that a source gets.
2. Items within their query's planned rate, and what is left of large outcomes.
3. Items above it (``excess``), when nothing of 2 can go.

Within 2 and 3 the queries take turns by bytes: start-time fair queueing (Goyal, Vin, Cheng 1997), so a burst of one
query waits behind itself and not before the others. Within a query, small items take turns with chunks of larger
ones, and of these the one with the earliest deadline goes first. What can't be through before its deadline is
given up at once: when it comes if what is ahead of it says so, and before each chunk.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from circinus.model.directive import Generation
from circinus.model.query import QueryId
from edge_agent.dataplane.credit import Account
from edge_agent.dataplane.item import Cause, Input, Outcome

#: Items and outcomes that wait for one peer at most, and their bytes (one is taken whatever its size).
MAX_ITEMS = 128
MAX_OUTCOMES = 256
MAX_BYTES = 64 * 1024 * 1024
MAX_OUTCOME_BYTES = 64 * 1024 * 1024
#: What is up to here is small: it takes turns with what is larger, and an outcome goes before all.
SMALL_BYTES = 64 * 1024
#: Items that are partly sent.
MAX_STARTED = 32
#: What a message has beside its payload, about; and a chunk that isn't the first.
ENVELOPE_BYTES = 160
CHUNK_ENVELOPE_BYTES = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """An item or outcome that waits, or is partly sent. ``stream`` 0: nothing of it was sent, or it goes whole."""

    message: Input | Outcome
    number: int
    deadline_s: float
    sent_bytes: int = 0
    stream: int = 0

    @property
    def left_bytes(self) -> int:
        """Payload bytes that are still to be sent."""
        return len(self.message.payload) - self.sent_bytes

    def __lt__(self, other: Entry) -> bool:
        return (self.deadline_s, self.number) < (other.deadline_s, other.number)


@dataclass(slots=True, kw_only=True, eq=False)
class Parcel:
    """A piece of an entry that is to be sent now: the whole of it, or one chunk."""

    entry: Entry
    start: int
    size_bytes: int

    @property
    def first(self) -> bool:
        """Whether it carries the header."""
        return self.start == 0

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.start + self.size_bytes >= len(self.entry.message.payload)

    @property
    def wire_bytes(self) -> int:
        """About what it takes on the link."""
        return self.size_bytes + (ENVELOPE_BYTES if self.first else CHUNK_ENVELOPE_BYTES)


@dataclass(slots=True, kw_only=True)
class _Flow:
    """What waits of one query. ``tag``: the bytes that it had its turns for, in the time of its lane."""

    tag: float
    small: deque[Entry] = field(default_factory=deque)
    large: list[Entry] = field(default_factory=list)
    size_bytes: int = 0
    large_was_last: bool = False

    def __len__(self) -> int:
        return len(self.small) + len(self.large)

    def entries(self) -> Iterator[Entry]:
        yield from self.small
        yield from self.large


class _Lane:
    """Queries that take turns."""

    def __init__(self) -> None:
        self.flows: dict[tuple[QueryId, bool], _Flow] = {}
        self.passed = 0.0
        self.count = 0
        self.size_bytes = 0
        #: Tags of queries that had more turns than the lane's time and of which nothing waits now.
        self._ahead: dict[tuple[QueryId, bool], float] = {}

    def flow(self, key: tuple[QueryId, bool]) -> _Flow:
        """What waits of a query. It starts no earlier than the lane's time: turns not taken are not saved up."""
        flow = self.flows.get(key)
        if flow is None:
            if not self.flows:
                self._ahead.clear()
            flow = self.flows[key] = _Flow(tag=max(self.passed, self._ahead.pop(key, 0.0)))
        return flow

    def end(self, key: tuple[QueryId, bool]) -> None:
        """Nothing of this query waits any more."""
        tag = self.flows.pop(key).tag
        if len(self._ahead) >= MAX_ITEMS:
            self._ahead = {one: ahead for one, ahead in self._ahead.items() if ahead > self.passed}
        if tag > self.passed and len(self._ahead) < 2 * MAX_ITEMS:
            self._ahead[key] = tag


class Lanes:
    """All that waits for one peer. ``given_up`` gets entries that can't be in time, when they are met."""

    def __init__(self, chunk_bytes: int) -> None:
        #: Most of a payload that goes at once; it may change.
        self.chunk_bytes = chunk_bytes
        self._small_bytes = min(SMALL_BYTES, chunk_bytes)
        self._outcomes: deque[Entry] = deque()
        self._in_rate = _Lane()
        self._excess = _Lane()
        self._large_outcomes = 0
        self._outcome_bytes = 0
        self._numbers = 0
        self._streams = 0
        self._started = 0
        self.given_up: list[Entry] = []

    def __bool__(self) -> bool:
        return bool(self._outcomes or self._in_rate.flows or self._excess.flows)

    @property
    def items(self) -> int:
        """Items that wait."""
        return self._in_rate.count + self._excess.count - self._large_outcomes

    @property
    def outcomes(self) -> int:
        """Outcomes that wait."""
        return len(self._outcomes) + self._large_outcomes

    def messages(self) -> Iterator[Input | Outcome]:
        """All that waits."""
        yield from (entry.message for entry in self._outcomes)
        for lane in (self._in_rate, self._excess):
            for flow in lane.flows.values():
                yield from (entry.message for entry in flow.entries())

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait."""
        return sum(1 for one in self.messages() if isinstance(one, Input) and one.generation < than)

    def put_item(self, one: Input, rate_bytes_per_s: float, left_s: float) -> tuple[Cause | None, list[Input]]:
        """Takes an item. ``left_s`` is the time that is left of its deadline less the link's delay.

        ``rate_bytes_per_s`` is what the link carries; inf: not known. Gives the cause if the item is refused, and
        those that had to go for it.
        """
        lane = self._excess if one.excess else self._in_rate
        size = len(one.payload) + ENVELOPE_BYTES
        if self._ahead_bytes(one, lane, size) / rate_bytes_per_s > left_s:
            return Cause.DEADLINE, []
        gone: list[Input] = []
        while self.items >= MAX_ITEMS or (self.items > 0 and self._item_bytes + len(one.payload) > MAX_BYTES):
            other = self._make_room(one)
            if other is None:
                return Cause.LINK_FULL, gone
            gone.append(other)
        self._join(lane, (one.query_id, False), self._entry(one, inf if one.deadline_s is None else one.deadline_s))
        return None, gone

    def put_outcome(self, outcome: Outcome) -> bool:
        """Takes an outcome; False: too many wait."""
        size = len(outcome.payload)
        if self.outcomes >= MAX_OUTCOMES or (self._outcome_bytes and self._outcome_bytes + size > MAX_OUTCOME_BYTES):
            return False
        self.put_back(self._entry(outcome, inf), at_end=True)
        return True

    def put_back(self, entry: Entry, *, at_end: bool = False) -> None:
        """An outcome that was picked and not sent waits again, first of all, as if nothing of it had been sent."""
        entry.sent_bytes = entry.stream = 0
        size = len(entry.message.payload)
        self._outcome_bytes += size
        if size > self._small_bytes:
            self._large_outcomes += 1
            self._join(self._in_rate, (entry.message.query_id, True), entry)
        elif at_end:
            self._outcomes.append(entry)
        else:
            self._outcomes.appendleft(entry)

    def pick(
        self, account: Account, now_s: float, rate_bytes_per_s: float, delay_s: float, at_most: int
    ) -> Parcel | None:
        """Takes out what goes next; None: nothing can go, or what is next has more than ``at_most`` bytes."""
        if self._outcomes:
            entry = self._outcomes[0]
            if len(entry.message.payload) > at_most:
                return None
            self._outcomes.popleft()
            self._outcome_bytes -= len(entry.message.payload)
            return Parcel(entry=entry, start=0, size_bytes=len(entry.message.payload))
        for lane in (self._in_rate, self._excess):
            flows = lane.flows
            for key in sorted(flows, key=lambda one: flows[one].tag) if len(flows) > 1 else tuple(flows):
                following = self._next_in_time(lane, key, account, now_s, rate_bytes_per_s, delay_s)
                if following is not None:
                    size = min(following.left_bytes, self.chunk_bytes)
                    return self._take(lane, key, following, size, account) if size <= at_most else None
        return None

    def restart(self) -> None:
        """Another stream takes over: what was partly sent begins anew."""
        for lane in (self._in_rate, self._excess):
            for flow in lane.flows.values():
                for entry in flow.large:
                    flow.size_bytes += entry.sent_bytes
                    lane.size_bytes += entry.sent_bytes
                    entry.sent_bytes = entry.stream = 0
        self._started = self._streams = 0

    def lose_items(self) -> list[Input]:
        """Takes all items out: the stream is gone. Outcomes stay, and begin anew."""
        lost: list[Input] = []
        again: list[Entry] = []
        for lane in (self._in_rate, self._excess):
            for flow in lane.flows.values():
                for entry in flow.entries():
                    if isinstance(entry.message, Input):
                        lost.append(entry.message)
                    else:
                        again.append(entry)
        self._in_rate, self._excess = _Lane(), _Lane()
        self._started = self._large_outcomes = self._streams = 0
        self._outcome_bytes = sum(len(entry.message.payload) for entry in self._outcomes)
        for entry in again:
            self.put_back(entry, at_end=True)
        return lost

    @property
    def _item_bytes(self) -> int:
        return self._in_rate.size_bytes + self._excess.size_bytes

    def _entry(self, message: Input | Outcome, deadline_s: float) -> Entry:
        self._numbers += 1
        return Entry(message=message, number=self._numbers, deadline_s=deadline_s)

    def _join(self, lane: _Lane, key: tuple[QueryId, bool], entry: Entry) -> None:
        flow = lane.flow(key)
        if len(entry.message.payload) > self._small_bytes:
            insort(flow.large, entry)
        else:
            flow.small.append(entry)
        flow.size_bytes += entry.left_bytes
        lane.count += 1
        lane.size_bytes += entry.left_bytes

    def _leave(self, lane: _Lane, key: tuple[QueryId, bool], entry: Entry) -> None:
        """An entry goes, sent or not."""
        flow = lane.flows[key]
        if len(entry.message.payload) > self._small_bytes:
            flow.large.remove(entry)
            self._started -= entry.stream > 0
        else:
            flow.small.remove(entry)
        if isinstance(entry.message, Outcome):
            self._large_outcomes -= 1
            self._outcome_bytes -= len(entry.message.payload)
        flow.size_bytes -= entry.left_bytes
        lane.count -= 1
        lane.size_bytes -= entry.left_bytes
        if not flow:
            lane.end(key)

    def _ahead_bytes(self, one: Input, lane: _Lane, size: int) -> int:
        """What goes before the end of this item at least: of its own query, and as much of each other."""
        if not lane.flows and not (one.excess and self._in_rate.flows):
            return size
        own = lane.flows.get((one.query_id, False))
        deadline_s = inf if one.deadline_s is None else one.deadline_s
        if own is not None:
            size += sum(entry.left_bytes for entry in own.entries() if entry.deadline_s <= deadline_s)
        ahead = size + sum(min(size, flow.size_bytes) for flow in lane.flows.values() if flow is not own)
        return ahead + self._in_rate.size_bytes if one.excess else ahead

    def _make_room(self, one: Input) -> Input | None:
        """Which item goes for this one: the last of the excess, else of the query that has most; None: itself."""
        by_items = self.items >= MAX_ITEMS
        if not one.excess and (other := self._last_of_most(self._excess, 0, by_items)) is not None:
            return other
        lane = self._excess if one.excess else self._in_rate
        own = lane.flows.get((one.query_id, False), _Flow(tag=0.0))
        over = len(own) + 1 if by_items else own.size_bytes + len(one.payload)
        return self._last_of_most(lane, over, by_items)

    def _last_of_most(self, lane: _Lane, over: int, by_items: bool) -> Input | None:
        flows = [(len(flow) if by_items else flow.size_bytes, key) for key, flow in lane.flows.items() if not key[1]]
        for most, key in sorted(flows, reverse=True):
            waiting = [entry for entry in lane.flows[key].entries() if entry.stream == 0]
            if most <= over:
                break
            if waiting:
                entry = max(waiting, key=lambda one: one.number)
                self._leave(lane, key, entry)
                return entry.message if isinstance(entry.message, Input) else None
        return None

    def _next_in_time(
        self,
        lane: _Lane,
        key: tuple[QueryId, bool],
        account: Account,
        now_s: float,
        rate_bytes_per_s: float,
        delay_s: float,
    ) -> Entry | None:
        """The entry of a query whose turn it is; those that can't be in time are given up."""
        while (flow := lane.flows.get(key)) is not None and (entry := self._next_of(flow, account)) is not None:
            if now_s + entry.left_bytes / rate_bytes_per_s + delay_s <= entry.deadline_s:
                return entry
            self._leave(lane, key, entry)
            self.given_up.append(entry)
        return None

    def _next_of(self, flow: _Flow, account: Account) -> Entry | None:
        """The entry of a query whose turn it is, if it may go."""
        small = flow.small[0] if flow.small and self._may_go(flow.small[0], account) else None
        if small is not None and (flow.large_was_last or not flow.large):
            return small
        large = next((entry for entry in flow.large if self._may_go(entry, account)), None)
        return large if large is not None else small

    def _may_go(self, entry: Entry, account: Account) -> bool:
        one = entry.message
        if entry.stream > 0:
            return True
        if len(one.payload) > self.chunk_bytes and self._started >= MAX_STARTED:
            return False
        return isinstance(one, Outcome) or account.fits(one.query_id, len(one.payload), excess=one.excess)

    def _take(self, lane: _Lane, key: tuple[QueryId, bool], entry: Entry, size: int, account: Account) -> Parcel:
        flow = lane.flows[key]
        large = len(entry.message.payload) > self._small_bytes
        if entry.sent_bytes == 0:
            if isinstance(entry.message, Input):
                account.take(entry.message.query_id, len(entry.message.payload))
            if size < entry.left_bytes:
                self._started += 1
                self._streams += 1
                entry.stream = self._streams
        parcel = Parcel(entry=entry, start=entry.sent_bytes, size_bytes=size)
        flow.large_was_last = large
        lane.passed = flow.tag = max(flow.tag, lane.passed)
        flow.tag += size + ENVELOPE_BYTES
        entry.sent_bytes += size
        flow.size_bytes -= size
        lane.size_bytes -= size
        if parcel.last:
            self._leave(lane, key, entry)
        return parcel
