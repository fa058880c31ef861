"""PURE. What waits at one replica set: who is next, who is let go of, and whether a batch waits for more.

Who is next. In-rate items go before those above the planned rate. Among the uses that share the processes, those in
rate are served by start-time fair queueing with the planned rates as weights, so a use that keeps to its rate has its
part whatever the others do; excess goes by value per second of service (weight x chance / time), and is only begun
where an in-rate item that came right then could still wait for it. Within a use nothing overtakes: what carries
state from item to item sees them in order. Items are only ever let go of.

Who is let go of. An item whose chance of being answered in time is next to nothing, even if it were served at once; and
an item whose going lets those behind it gain more than it is worth itself (weight x chance): the oldest excess, else
the oldest. While there is room nobody gains from that and nothing is dropped; under overload it leaves a short line of
fresh items that make it, rather than a long one of items that are all a little too late.

Whether a batch waits. Only where the planner gave a batch above 1, only while another item is expected, and not beyond
the moment from which the most urgent one would be at risk.

Prior art: SFQ (Goyal, Vin and Cheng, 1996) for fairness; Moore and Hodgson's rule (1968) for which late job to drop;
Clipper and Nexus for batches within the slack. Open: the normal approximation of chances is poor for service
times with several modes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from circinus.model.directive import Generation, Use
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.item import Cause, Work
from edge_agent.dataplane.use_queue import Busy, Other, Queued, UseQueue, hopeless_ratio

#: Bounds of what waits for one use; the time is that which the replicas would need for it.
MAX_ITEMS = 32
MAX_WORK_S = 4.0
#: Bytes that wait for all uses together; each has its part.
MAX_BYTES = 64 * 1024 * 1024
#: Bytes of one batch at most (unless a single item has more): it has to fit into one frame.
MAX_BATCH_BYTES = 32 * 1024 * 1024
#: Where every item has this chance there is nothing to gain by letting go of one.
_GOOD_RATIO = 0.99
#: Excess is only begun where an in-rate item that comes right then keeps so much of its chance.
_UNHARMED_RATIO = 0.95
#: Where so many items in a row looked hopeless, one in so long is served all the same: or a wrong service time would
#: never be found out.
PROBE_ITEMS = 3
PROBE_S = 0.5
#: No item is expected any more after so many usual gaps without one.
_PATIENCE_GAPS = 2.0
_GAP_SMOOTHING = 0.2
#: Deviations that a batch leaves between its predicted end and the most urgent deadline.
_SAFE_DEVIATIONS = 2.0
#: Items of several parts that were let go of, whose other parts may still come.
_MAX_BROKEN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An item that was let go of, and why."""

    work: Work
    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a replica gets: a batch, or nothing and when to ask again at the latest (None: when something changes)."""

    batch: tuple[Queued, ...] = ()
    number: int = 0
    again_at_s: float | None = None


_Place = tuple[QueryId, OperatorId]


class WaitingLine:
    """What waits for the replicas of one set. All times are seconds of one monotonic clock."""

    def __init__(self, uses: Sequence[Use], *, replicas: int, batch: int) -> None:
        self._replicas = max(1, replicas)
        self._batch = max(1, batch)
        self._queues: dict[_Place, UseQueue] = {}
        #: What replicas are at: when each began, how long it should take and the variance of that.
        self._running: dict[int, tuple[float, float, float]] = {}
        self._number = 0
        self._virtual = self._excess_virtual = 0.0
        self._begun_at_s = -inf
        self._hopeless_since = 0
        self._came_at_s: float | None = None
        self._gap_s: float | None = None
        self._broken: OrderedDict[tuple[QueryId, str], None] = OrderedDict()
        self._dropped: list[Dropped] = []
        self.update(uses, batch=batch)

    def __len__(self) -> int:
        return sum(len(queue.items) for queue in self._queues.values())

    def update(self, uses: Sequence[Use], *, batch: int) -> None:
        """The uses from now on; what is known of those that stay is kept, and what waits for others is served."""
        self._batch = max(1, batch)
        wanted = {(use.query_id, use.operator_id): use for use in uses}
        for place, queue in tuple(self._queues.items()):
            if place in wanted:
                queue.use = wanted[place]
            elif not queue.items:
                del self._queues[place]
        for place, use in wanted.items():
            self._queues.setdefault(place, UseQueue(use=use))

    def put(self, work: Work, now_s: float) -> list[Dropped]:
        """Takes an item; gives those that are let go of for it, itself perhaps."""
        if (work.query_id, work.request_id) in self._broken:
            return []
        self._expect(now_s)
        queue = self._queue(work)
        while self._full(queue, work):
            excess = queue.oldest_excess()
            if excess is None:
                self._let_go(work, Cause.QUEUE_FULL, f"{len(queue.items)} items wait")
                return self._take_dropped()
            self._remove(queue, excess, Cause.SHED, "it is above the planned rate and the queue is full")
        queue.add(Queued(work=work, since_s=now_s))
        self._thin(queue, now_s)
        return self._take_dropped()

    def take(self, limit: int, now_s: float) -> tuple[Taken, list[Dropped]]:
        """What a free replica serves next, at most ``limit`` items, and what is let go of on the way."""
        for queue in self._queues.values():
            self._thin(queue, now_s)
        again_at_s = self._hold_until_s(limit, now_s)
        if again_at_s is not None:
            return Taken(again_at_s=again_at_s), self._take_dropped()
        batch: list[Queued] = []
        batch_bytes = 0
        while len(batch) < limit:
            first = self._next(batch, now_s)
            if first is None:
                break
            size_bytes = first.items[0].work.size_bytes
            if batch and batch_bytes + size_bytes > MAX_BATCH_BYTES:
                break
            batch_bytes += size_bytes
            batch.append(self._pop(first))
        if not batch:
            return Taken(), self._take_dropped()
        return self._begin(batch, now_s), self._take_dropped()

    def done(self, number: int, batch: Sequence[Queued], wall_s: float | None) -> None:
        """A batch is through, or failed (``wall_s`` None): its replica is free again. Said twice, the first holds."""
        if self._running.pop(number, None) is None or wall_s is None:
            return
        for place in {(queued.work.query_id, queued.work.operator_id) for queued in batch}:
            if place in self._queues:
                self._queues[place].service.learn(len(batch), wall_s)

    def clear(self) -> list[Work]:
        """Takes everything out."""
        left = [queued.work for queue in self._queues.values() for queued in queue.items]
        for queue in self._queues.values():
            queue.items.clear()
            queue.size_bytes = 0
        return left

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait."""
        return sum(queued.work.generation < than for queue in self._queues.values() for queued in queue.items)

    def service_s(self, query_id: QueryId, operator_id: OperatorId) -> float:
        """Time of one item of a use as learnt; 0: nothing is known."""
        queue = self._queues.get((query_id, operator_id))
        return 0.0 if queue is None else queue.service.batch_s(1)

    def _queue(self, work: Work) -> UseQueue:
        place = (work.query_id, work.operator_id)
        queue = self._queues.get(place)
        if queue is None:
            # Of a generation that is on its way out.
            use = Use(query_id=work.query_id, operator_id=work.operator_id, inputs=())
            queue = self._queues[place] = UseQueue(use=use)
        return queue

    def _full(self, queue: UseQueue, work: Work) -> bool:
        waiting = len(queue.items)
        if waiting < self._replicas:
            return False  # less than one item for each replica is no queue, however slow they are
        return (
            waiting >= MAX_ITEMS
            or queue.size_bytes + work.size_bytes > MAX_BYTES / len(self._queues)
            or waiting * self._each_s(queue) / self._replicas > MAX_WORK_S
        )

    def _each_s(self, queue: UseQueue) -> float:
        return queue.service.batch_s(self._batch) / self._batch

    def _rate_per_s(self, queue: UseQueue) -> float:
        """Planned; where that is not known, a use counts as much as the mean of the others."""
        if queue.use.rate_per_s > 0:
            return queue.use.rate_per_s
        known = [one.use.rate_per_s for one in self._queues.values() if one.use.rate_per_s > 0]
        return sum(known) / len(known) if known else 1.0

    # Who is let go of.

    def _thin(self, queue: UseQueue, now_s: float, turn_ratio: float = 0.5) -> None:
        """Lets go of what is hopeless, and of what the rest gains more without than it is worth."""
        if not queue.items:
            return
        busy = self._busy(queue, now_s, turn_ratio)
        for index in range(len(queue.items) - 1, -1, -1):
            if index < len(queue.items) and self._hopeless(queue, queue.items[index].work, busy, now_s):
                self._hopeless_since += 1
                self._remove(queue, index, Cause.DEADLINE, "it would be answered too late")
        while len(queue.items) > 1 and self._thin_once(queue, busy, now_s):
            pass

    def _thin_once(self, queue: UseQueue, busy: Busy, now_s: float) -> bool:
        items = queue.items
        chances = queue.chances_ratio(items, busy, self._batch, now_s)
        if min(chances) >= _GOOD_RATIO:
            return False
        worth = queue.worth(items, chances)
        for index in dict.fromkeys((queue.oldest_excess(), 0)):
            if index is None:
                continue
            rest = items[:index] + items[index + 1 :]
            if queue.worth(rest, queue.chances_ratio(rest, busy, self._batch, now_s)) > worth + 1e-9:
                excess = items[index].work.excess
                cause = Cause.SHED if excess else Cause.DEADLINE
                self._remove(queue, index, cause, "those behind it gain more by its going than it is worth")
                return True
        return False

    def _hopeless(self, queue: UseQueue, work: Work, busy: Busy, now_s: float) -> bool:
        if work.deadline_s is None:
            return False
        if work.deadline_s <= now_s:
            return True
        if queue.chance_next_ratio(work, busy, now_s) >= hopeless_ratio(work):
            return False
        probe = self._hopeless_since >= PROBE_ITEMS and now_s - self._begun_at_s >= PROBE_S
        return not probe or len(self._running) >= self._replicas or work.deadline_s <= now_s + queue.after_s

    def _busy(self, queue: UseQueue, now_s: float, turn_ratio: float) -> Busy:
        free = [
            (max(0.0, began_s + took_s - now_s), variance_s2) for began_s, took_s, variance_s2 in self._running.values()
        ]
        idle = max(0, self._replicas - len(free))
        rate_per_s = self._rate_per_s(queue) if queue.in_rate else 0.0
        others = tuple(
            Other(
                waiting=other.in_rate,
                rate_per_s=other.use.rate_per_s,
                turns_ratio=self._rate_per_s(other) / rate_per_s if rate_per_s else inf,
                each_s=self._each_s(other),
            )
            for other in self._queues.values()
            if other is not queue and other.in_rate
        )
        return Busy(free_s=(*free, *([(0.0, 0.0)] * idle)), others=others, turn_ratio=turn_ratio)

    def _remove(self, queue: UseQueue, index: int, cause: Cause, detail: str) -> None:
        self._let_go(queue.remove(index).work, cause, detail)

    def _let_go(self, work: Work, cause: Cause, detail: str) -> None:
        self._dropped.append(Dropped(work=work, cause=cause, detail=detail))
        self.forget(work)

    def forget(self, work: Work) -> None:
        """An item that lacks one part is lost: nobody is to work for the others."""
        if work.parts == 1:
            return
        self._broken[work.query_id, work.request_id] = None
        if len(self._broken) > _MAX_BROKEN:
            self._broken.popitem(last=False)
        for queue in self._queues.values():
            for index in range(len(queue.items) - 1, -1, -1):
                other = queue.items[index].work
                if (other.query_id, other.request_id) == (work.query_id, work.request_id):
                    queue.remove(index)

    def _take_dropped(self) -> list[Dropped]:
        dropped, self._dropped = self._dropped, []
        return dropped

    # Who is next.

    def _next(self, batch: Sequence[Queued], now_s: float) -> UseQueue | None:
        """The use whose first item is next."""
        while urgent := [queue for queue in self._queues.values() if queue.in_rate]:
            queue = min(urgent, key=lambda one: (max(one.finish, self._virtual), one.use.query_id, one.use.operator_id))
            waiting = len(queue.items)
            if not batch and len(self._queues) > 1:
                # Now that it is its turn, more is known of when its items are served.
                self._thin(queue, now_s, turn_ratio=1.0)
            if len(queue.items) < waiting:
                continue
            if queue.items[0].work.excess and (len(urgent) > 1 or not self._may_begin_excess(queue, batch, now_s)):
                while queue.items[0].work.excess:
                    self._remove(queue, 0, Cause.SHED, "it is above the planned rate and in the way of others")
            return queue
        spare = [
            queue for queue in self._queues.values() if queue.items and self._may_begin_excess(queue, batch, now_s)
        ]
        return max(spare, key=lambda queue: self._value(queue, now_s), default=None)

    def _value(self, queue: UseQueue, now_s: float) -> tuple[float, float, str, str]:
        """What a second of service for the use's first item brings; among equals they take turns."""
        chance = queue.chance_next_ratio(queue.items[0].work, Busy(free_s=((0.0, 0.0),)), now_s)
        # In steps: between a chance of 0.99 and one of 0.98 fairness is worth more.
        value = queue.use.weight * round(chance, 1) / max(1e-6, self._each_s(queue))
        return value, -max(queue.excess_finish, self._excess_virtual), queue.use.query_id, queue.use.operator_id

    def _may_begin_excess(self, queue: UseQueue, batch: Sequence[Queued], now_s: float) -> bool:
        """Whether the first item of this use may go next although it is above the planned rate."""
        if batch:
            return self._latest_start_s(batch, len(batch) + 1) >= now_s
        if len(self._running) + 1 < self._replicas:
            return True
        took_s = queue.service.expected_s(1)
        variance_s2 = (queue.service.spread_ratio * took_s) ** 2
        for other in self._queues.values():
            if other.slack_s is None or other.use.rate_per_s <= 0:
                continue
            each_s = other.service.expected_s(1)
            alone_s2 = (other.service.spread_ratio * each_s) ** 2
            alone = other.chance_left_ratio(each_s, alone_s2)
            if other.chance_left_ratio(took_s + each_s, variance_s2 + alone_s2) < _UNHARMED_RATIO * alone:
                return False
        return True

    def _pop(self, queue: UseQueue) -> Queued:
        queued = queue.remove(0)
        turn = 1.0 / self._rate_per_s(queue) / queued.work.parts
        if queued.work.excess:
            self._excess_virtual = max(queue.excess_finish, self._excess_virtual)
            queue.excess_finish = self._excess_virtual + turn
        else:
            self._virtual = max(queue.finish, self._virtual)
            queue.finish = self._virtual + turn
        return queued

    def _begin(self, batch: list[Queued], now_s: float) -> Taken:
        took_s = variance_s2 = 0.0
        for queued in batch:
            service = self._queue(queued.work).service
            took_s += service.expected_s(len(batch)) / len(batch)
            variance_s2 = max(variance_s2, (service.spread_ratio * service.expected_s(len(batch))) ** 2)
        self._number += 1
        self._running[self._number] = (now_s, took_s, variance_s2)
        self._begun_at_s = now_s
        self._hopeless_since = 0
        return Taken(batch=tuple(batch), number=self._number)

    # Whether a batch waits.

    def _expect(self, now_s: float) -> None:
        if self._came_at_s is not None:
            gap_s = now_s - self._came_at_s
            self._gap_s = gap_s if self._gap_s is None else self._gap_s + _GAP_SMOOTHING * (gap_s - self._gap_s)
        self._came_at_s = now_s

    def _hold_until_s(self, limit: int, now_s: float) -> float | None:
        """Until when a batch may wait for more; None: it goes now, or there is none."""
        waiting = [queued for queue in self._queues.values() for queued in queue.items]
        if not 0 < len(waiting) < limit or self._gap_s is None or self._came_at_s is None:
            return None
        services = [self._queue(queued.work).service for queued in waiting]
        if not all(service.settled for service in services) or not any(one.batching_gains for one in services):
            return None
        latest_s = self._latest_start_s(waiting, len(waiting) + 1)
        if self._came_at_s + self._gap_s > latest_s:
            return None  # the next one is not expected before it would be too late
        until_s = min(latest_s, self._came_at_s + _PATIENCE_GAPS * self._gap_s)
        return until_s if until_s > now_s else None

    def _latest_start_s(self, items: Sequence[Queued], size: int) -> float:
        """When a batch of these and others, ``size`` in all, has to begin at the latest."""
        latest_s = inf
        for queued in items:
            if queued.work.deadline_s is not None:
                queue = self._queue(queued.work)
                took_s = queue.service.expected_s(size) * (1.0 + _SAFE_DEVIATIONS * queue.service.spread_ratio)
                latest_s = min(latest_s, queued.work.deadline_s - queue.after_s - took_s)
        return latest_s
