"""Windows of what was served: one per query (at its source device) and per operator (where it runs).

An item counts in the window in which its outcome is recorded, an emission in the window in which it happens, a score in
the one in which it becomes known. Generations are those of the items. Times are kept as sketches, which merge over
windows. Scores are raw, at most MAX_SCORES a window: when a window is full, every other one is let go and from then on
only every 2nd, 4th ... is kept, so that what stays is spread evenly over the window.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from circinus.clock import Clock
from circinus.model.directive import Generation
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from edge_agent.dataplane.book import Ended, Ending

#: Scores that one window holds at most.
MAX_SCORES = 2000
#: Places that one query's drops are told apart by at most; further ones are OTHER.
MAX_PLACES = 100
OTHER = "other/other"


@dataclass(slots=True)
class _Thinned:
    """Figures, thinned evenly when there are too many."""

    values: list[float] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, value: float) -> None:
        if self.seen % self.stride == 0:
            if len(self.values) >= MAX_SCORES:
                self.values = self.values[::2]
                self.stride *= 2
            if self.seen % self.stride == 0:
                self.values.append(value)
        self.seen += 1


@dataclass(slots=True)
class _QueryCounts:
    at_source: bool = False
    emitted: int = 0
    answered: int = 0
    late: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    dropped_at: Counter[str] = field(default_factory=Counter)
    latency_ms: Sketch = field(default_factory=Sketch)
    scores_ratio: _Thinned = field(default_factory=_Thinned)
    on_time_score_sum: float = 0.0
    on_time_scored: int = 0
    excess_emitted: int = 0
    excess_answered: int = 0
    shadow_score_sum: float = 0.0
    shadow_score_square_sum: float = 0.0
    shadow_scored: int = 0
    stand_by_answered: int = 0
    bytes_sent: int = 0


@dataclass(slots=True)
class _OperatorCounts:
    items: int = 0
    batches: int = 0
    service_ms: Sketch = field(default_factory=Sketch)
    queue_ms: Sketch = field(default_factory=Sketch)
    dropped: Counter[str] = field(default_factory=Counter)
    cpu_ms_sum: float = 0.0
    output_bytes: int = 0
    failures: int = 0
    restarts: int = 0
    memory_bytes: int = 0


_QueryPlace = tuple[QueryId, Generation]
_OperatorPlace = tuple[QueryId, OperatorId, Generation]


class Windows:
    """What is being counted in the present window."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queries: dict[_QueryPlace, _QueryCounts] = {}
        self._operators: dict[_OperatorPlace, _OperatorCounts] = {}
        self._start_s = clock.monotonic_s()

    def emitted(self, query_id: QueryId, generation: Generation, *, excess: bool = False) -> None:
        """An item was emitted; ``excess``: above the query's planned rate."""
        counts = self._at_source(query_id, generation)
        counts.emitted += 1
        counts.excess_emitted += excess

    def watch(self, query_id: QueryId, generation: Generation) -> None:
        """The query is served here: its window is sent even when nothing happened in it."""
        self._at_source(query_id, generation)

    def ended(self, ended: Ended) -> None:
        """An item's outcome."""
        counts = self._at_source(ended.emission.query_id, ended.emission.generation)
        if ended.ending is Ending.DROPPED:
            counts.dropped[ended.cause] += 1
            name = f"{ended.operator_id or SOURCE}/{ended.cause}"
            counts.dropped_at[name if name in counts.dropped_at or len(counts.dropped_at) < MAX_PLACES else OTHER] += 1
            return
        if ended.ending is Ending.FAILED:
            counts.failed[ended.cause] += 1
            return
        counts.latency_ms.add(ended.latency_ms)
        if ended.ending is Ending.ANSWERED:
            counts.answered += 1
            counts.excess_answered += ended.emission.excess
        else:
            counts.late += 1

    def scored(self, ended: Ended, score_ratio: float) -> None:
        """The score of an item that was answered, in time or late."""
        counts = self._query(ended.emission.query_id, ended.emission.generation)
        counts.scores_ratio.add(score_ratio)
        if ended.ending is Ending.ANSWERED:
            counts.on_time_score_sum += score_ratio
            counts.on_time_scored += 1

    def shadowed(self, query_id: QueryId, generation: Generation, score_ratio: float) -> None:
        """How far a live answer agrees with the reference configuration's answer to the same item."""
        counts = self._query(query_id, generation)
        counts.shadow_score_sum += score_ratio
        counts.shadow_score_square_sum += score_ratio**2
        counts.shadow_scored += 1

    def stand_by_answered(self, query_id: QueryId, generation: Generation) -> None:
        """An item was answered, in time or late, by the query's stand-by plan."""
        self._query(query_id, generation).stand_by_answered += 1

    def sent(self, query_id: QueryId, generation: Generation, size_bytes: int) -> None:
        """A payload of so many bytes went to another device."""
        self._query(query_id, generation).bytes_sent += size_bytes

    def dropped_at(self, place: _OperatorPlace, cause: str) -> None:
        """An item was dropped at the operator, on this device."""
        self._operator(place).dropped[cause] += 1

    def batched(self, place: _OperatorPlace) -> None:
        """A replica began a batch."""
        self._operator(place).batches += 1

    def queued(self, place: _OperatorPlace, queue_ms: float) -> None:
        """An item waited so long for a replica, which has it now."""
        self._operator(place).queue_ms.add(max(0.0, queue_ms))

    def served(
        self, place: _OperatorPlace, *, service_ms: float, cpu_ms: float, output_bytes: int, memory_bytes: int
    ) -> None:
        """A replica finished an item; times are its part of the batch."""
        counts = self._operator(place)
        counts.items += 1
        counts.service_ms.add(max(0.0, service_ms))
        counts.cpu_ms_sum += cpu_ms
        counts.output_bytes += output_bytes
        counts.memory_bytes = max(counts.memory_bytes, memory_bytes)

    def failure(self, place: _OperatorPlace) -> None:
        """An item failed at the operator."""
        self._operator(place).failures += 1

    def restarted(self, place: _OperatorPlace) -> None:
        """A replica is started again after it died or hung."""
        self._operator(place).restarts += 1

    def take(self) -> tuple[list[types_pb2.QueryWindow], list[types_pb2.OperatorWindow]]:
        """Cuts the window: what was counted since the last cut, in order of ids."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        # From the end back, so that a clock that is set meanwhile moves the whole window.
        duration_s = now_s - self._start_s
        start = now - timedelta(seconds=duration_s)
        queries = [
            _query_window(place, counts, start, duration_s)
            for place, counts in sorted(self._queries.items(), key=_place)
        ]
        operators = [
            _operator_window(place, counts, start, duration_s)
            for place, counts in sorted(self._operators.items(), key=_place)
        ]
        self._queries, self._operators = {}, {}
        self._start_s = now_s
        return queries, operators

    def _query(self, query_id: QueryId, generation: Generation) -> _QueryCounts:
        return self._queries.setdefault((query_id, generation), _QueryCounts())

    def _at_source(self, query_id: QueryId, generation: Generation) -> _QueryCounts:
        counts = self._query(query_id, generation)
        counts.at_source = True
        return counts

    def _operator(self, place: _OperatorPlace) -> _OperatorCounts:
        return self._operators.setdefault(place, _OperatorCounts())


def _query_window(
    place: _QueryPlace, counts: _QueryCounts, start: datetime, duration_s: float
) -> types_pb2.QueryWindow:
    query_id, generation = place
    window = types_pb2.QueryWindow(
        query_id=query_id,
        generation=generation.number,
        # Other devices tell of bytes alone: time counts once, where the query's source is.
        duration_s=duration_s if counts.at_source else 0.0,
        emitted=counts.emitted,
        answered=counts.answered,
        late=counts.late,
        dropped_by_cause=dict(counts.dropped),
        failed_by_cause=dict(counts.failed),
        latency_ms=counts.latency_ms.message(),
        scores_ratio=counts.scores_ratio.values,
        on_time_score_sum=counts.on_time_score_sum,
        on_time_scored=counts.on_time_scored,
        excess_emitted=counts.excess_emitted,
        excess_answered=counts.excess_answered,
        dropped_by_place=dict(counts.dropped_at),
        shadow_score_sum=counts.shadow_score_sum,
        shadow_score_square_sum=counts.shadow_score_square_sum,
        shadow_scored=counts.shadow_scored,
        stand_by_answered=counts.stand_by_answered,
        bytes_sent=counts.bytes_sent,
    )
    window.start.FromDatetime(start)
    return window


def _operator_window(
    place: _OperatorPlace, counts: _OperatorCounts, start: datetime, duration_s: float
) -> types_pb2.OperatorWindow:
    query_id, operator_id, generation = place
    window = types_pb2.OperatorWindow(
        query_id=query_id,
        operator_id=operator_id,
        generation=generation.number,
        duration_s=duration_s,
        items=counts.items,
        batches=counts.batches,
        service_ms_sum=counts.service_ms.sum,
        cpu_ms_sum=counts.cpu_ms_sum,
        queue_ms_sum=counts.queue_ms.sum,
        service_ms=counts.service_ms.message(),
        queue_ms=counts.queue_ms.message(),
        dropped_by_cause=dict(counts.dropped),
        output_bytes=counts.output_bytes,
        failures=counts.failures,
        restarts=counts.restarts,
        memory_bytes=counts.memory_bytes,
    )
    window.start.FromDatetime(start)
    return window


def _place(entry: tuple[Any, object]) -> Any:
    return entry[0]
