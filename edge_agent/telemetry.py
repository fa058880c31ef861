"""Windows of what was served: one per query (at its source device) and per operator (where it runs).

An item counts in the window in which its outcome is recorded, an emission in the window in which it happens, a score in
the one in which it becomes known. Generations are those of the items. Latencies are raw, at most MAX_LATENCIES a
window: when a window is full, every other one is let go and from then on only every 2nd, 4th ... is kept, so that what
stays is spread evenly over the window. Scores likewise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from circinus.clock import Clock
from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.v1 import types_pb2
from edge_agent.dataplane.book import Ended, Ending

#: Latencies, and scores, that one window holds at most.
MAX_LATENCIES = 2000


@dataclass(slots=True)
class _Thinned:
    """Figures, thinned evenly when there are too many."""

    values: list[float] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, value: float) -> None:
        if self.seen % self.stride == 0:
            if len(self.values) >= MAX_LATENCIES:
                self.values = self.values[::2]
                self.stride *= 2
            if self.seen % self.stride == 0:
                self.values.append(value)
        self.seen += 1


@dataclass(slots=True)
class _QueryCounts:
    emitted: int = 0
    answered: int = 0
    late: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    latencies_ms: _Thinned = field(default_factory=_Thinned)
    scores_ratio: _Thinned = field(default_factory=_Thinned)
    on_time_score_sum: float = 0.0
    on_time_scored: int = 0


@dataclass(slots=True)
class _OperatorCounts:
    items: int = 0
    service_ms_sum: float = 0.0
    cpu_ms_sum: float = 0.0
    queue_ms_sum: float = 0.0
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
        self._start = clock.now()
        self._start_s = clock.monotonic_s()

    def emitted(self, query_id: QueryId, generation: Generation) -> None:
        """An item was emitted."""
        self._query(query_id, generation).emitted += 1

    def watch(self, query_id: QueryId, generation: Generation) -> None:
        """The query is served here: its window is sent even when nothing happened in it."""
        self._query(query_id, generation)

    def ended(self, ended: Ended) -> None:
        """An item's outcome."""
        counts = self._query(ended.emission.query_id, ended.emission.generation)
        if ended.ending is Ending.DROPPED:
            counts.dropped[ended.cause] += 1
            return
        if ended.ending is Ending.FAILED:
            counts.failed[ended.cause] += 1
            return
        counts.latencies_ms.add(ended.latency_ms)
        if ended.ending is Ending.ANSWERED:
            counts.answered += 1
        else:
            counts.late += 1

    def scored(self, ended: Ended, score_ratio: float) -> None:
        """The score of an item that was answered, in time or late."""
        counts = self._query(ended.emission.query_id, ended.emission.generation)
        counts.scores_ratio.add(score_ratio)
        if ended.ending is Ending.ANSWERED:
            counts.on_time_score_sum += score_ratio
            counts.on_time_scored += 1

    def queued(self, place: _OperatorPlace, queue_ms: float) -> None:
        """An item waited so long for a replica, which has it now."""
        self._operator(place).queue_ms_sum += queue_ms

    def served(
        self, place: _OperatorPlace, *, service_ms: float, cpu_ms: float, output_bytes: int, memory_bytes: int
    ) -> None:
        """A replica finished an item; times are its part of the batch."""
        counts = self._operator(place)
        counts.items += 1
        counts.service_ms_sum += service_ms
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
        start, duration_s = self._start, now_s - self._start_s
        queries = [
            _query_window(place, counts, start, duration_s)
            for place, counts in sorted(self._queries.items(), key=_place)
        ]
        operators = [
            _operator_window(place, counts, start, duration_s)
            for place, counts in sorted(self._operators.items(), key=_place)
        ]
        self._queries, self._operators = {}, {}
        self._start, self._start_s = now, now_s
        return queries, operators

    def _query(self, query_id: QueryId, generation: Generation) -> _QueryCounts:
        return self._queries.setdefault((query_id, generation), _QueryCounts())

    def _operator(self, place: _OperatorPlace) -> _OperatorCounts:
        return self._operators.setdefault(place, _OperatorCounts())


def _query_window(
    place: _QueryPlace, counts: _QueryCounts, start: datetime, duration_s: float
) -> types_pb2.QueryWindow:
    query_id, generation = place
    window = types_pb2.QueryWindow(
        query_id=query_id,
        generation=generation.number,
        duration_s=duration_s,
        emitted=counts.emitted,
        answered=counts.answered,
        late=counts.late,
        dropped_by_cause=dict(counts.dropped),
        failed_by_cause=dict(counts.failed),
        latencies_ms=counts.latencies_ms.values,
        scores_ratio=counts.scores_ratio.values,
        on_time_score_sum=counts.on_time_score_sum,
        on_time_scored=counts.on_time_scored,
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
        service_ms_sum=counts.service_ms_sum,
        cpu_ms_sum=counts.cpu_ms_sum,
        queue_ms_sum=counts.queue_ms_sum,
        output_bytes=counts.output_bytes,
        failures=counts.failures,
        restarts=counts.restarts,
        memory_bytes=counts.memory_bytes,
    )
    window.start.FromDatetime(start)
    return window


def _place(entry: tuple[Any, object]) -> Any:
    return entry[0]
