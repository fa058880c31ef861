"""PURE. Telemetry windows, added up since the agent started: what counters of Prometheus are.

The windows are cut and sent in any case; adding them up here costs nothing where items flow. A counter moves once a
window: every second, or, while the planner is away for long, every ten or sixty.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from circinus.exposition import Family, Histogram, Sample
from circinus.v1 import types_pb2
from edge_agent.metrics import metric_list as m

#: Queries, and operators, that are told at most; of more the ones that were silent for longest are forgotten.
MAX_PLACES = 500
_MS_PER_S = 1000.0
T = TypeVar("T")
S = TypeVar("S")


@dataclass(slots=True, kw_only=True)
class _Query:
    at_source: bool = False
    in_rate: int = 0
    excess: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    score: float = 0.0
    scored: int = 0
    stand_by: int = 0
    sent_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class _Operator:
    items: int = 0
    batches: int = 0
    failures: int = 0
    restarts: int = 0
    cpu_ms: float = 0.0
    output_bytes: int = 0
    memory_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    service: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)


class Totals:
    """The sums of one agent."""

    def __init__(self) -> None:
        self._queries: OrderedDict[tuple[str], _Query] = OrderedDict()
        self._operators: OrderedDict[tuple[str, str], _Operator] = OrderedDict()

    def take(self, queries: Iterable[types_pb2.QueryWindow], operators: Iterable[types_pb2.OperatorWindow]) -> None:
        """Adds windows that were cut."""
        for window in queries:
            self._take_query(window)
        for one in operators:
            self._take_operator(one)

    def _take_query(self, window: types_pb2.QueryWindow) -> None:
        sums = _place(self._queries, (window.query_id,), _Query)
        # Other devices tell of bytes alone.
        sums.at_source |= window.duration_s > 0.0
        sums.in_rate += window.emitted - window.excess_emitted
        sums.excess += window.excess_emitted
        for outcome, count in (("answered", window.answered), ("late", window.late)):
            if count:
                sums.ended[outcome, ""] += count
        for outcome, by_cause in (("dropped", window.dropped_by_cause), ("failed", window.failed_by_cause)):
            for cause, count in by_cause.items():
                sums.ended[outcome, cause] += count
        sums.latency.add(window.latency_ms)
        sums.score += window.on_time_score_sum
        sums.scored += window.on_time_scored
        sums.stand_by += window.stand_by_answered
        sums.sent_bytes += window.bytes_sent

    def _take_operator(self, window: types_pb2.OperatorWindow) -> None:
        sums = _place(self._operators, (window.query_id, window.operator_id), _Operator)
        sums.items += window.items
        sums.batches += window.batches
        sums.failures += window.failures
        sums.restarts += window.restarts
        sums.cpu_ms += window.cpu_ms_sum
        sums.output_bytes += window.output_bytes
        sums.memory_bytes = window.memory_bytes or sums.memory_bytes
        for cause, count in window.dropped_by_cause.items():
            sums.dropped[cause] += count
        sums.service.add(window.service_ms)
        sums.wait.add(window.queue_ms)

    def families(self) -> Iterator[Family]:
        """All of it, as it stands."""
        everywhere, operators = tuple(self._queries.items()), tuple(self._operators.items())
        queries = [(place, sums) for place, sums in everywhere if sums.at_source]
        yield m.EMITTED, _emitted(queries)
        yield m.ENDED, _ended(queries)
        yield m.LATENCY, ((place, sums.latency) for place, sums in queries)
        yield m.SCORE, ((place, sums.score) for place, sums in queries)
        yield m.SCORED, ((place, sums.scored) for place, sums in queries)
        yield m.STAND_BY, ((place, sums.stand_by) for place, sums in queries)
        yield m.SENT, ((place, sums.sent_bytes) for place, sums in everywhere)
        yield m.OPERATOR_ITEMS, ((place, sums.items) for place, sums in operators)
        yield m.OPERATOR_BATCHES, ((place, sums.batches) for place, sums in operators)
        yield (
            m.OPERATOR_DROPPED,
            (((*place, cause), n) for place, sums in operators for cause, n in sorted(sums.dropped.items())),
        )
        yield m.OPERATOR_FAILURES, ((place, sums.failures) for place, sums in operators)
        yield m.OPERATOR_RESTARTS, ((place, sums.restarts) for place, sums in operators)
        yield m.OPERATOR_SERVICE, ((place, sums.service) for place, sums in operators)
        yield m.OPERATOR_WAIT, ((place, sums.wait) for place, sums in operators)
        yield m.OPERATOR_CPU, ((place, sums.cpu_ms / _MS_PER_S) for place, sums in operators)
        yield m.OPERATOR_OUTPUT, ((place, sums.output_bytes) for place, sums in operators)
        yield m.OPERATOR_MEMORY, ((place, sums.memory_bytes) for place, sums in operators)


def _emitted(queries: Iterable[tuple[tuple[str], _Query]]) -> Iterator[Sample]:
    for (query_id,), sums in queries:
        yield (query_id, "0"), sums.in_rate
        yield (query_id, "1"), sums.excess


def _ended(queries: Iterable[tuple[tuple[str], _Query]]) -> Iterator[Sample]:
    for (query_id,), sums in queries:
        # The two that rates are made of are there from the start.
        for outcome, cause in sorted({("answered", ""), ("late", ""), *sums.ended}):
            yield (query_id, outcome, cause), sums.ended[outcome, cause]


def _place(sums: OrderedDict[T, S], place: T, made: type[S]) -> S:
    found = sums.get(place)
    if found is None:
        found = sums[place] = made()
        if len(sums) > MAX_PLACES:
            sums.popitem(last=False)
    sums.move_to_end(place)
    return found


__all__ = ["MAX_PLACES", "Totals"]
