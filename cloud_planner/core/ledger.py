"""Telemetry windows -> what was observed of each query. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from circinus.v1 import types_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was observed of one query over the windows given.

    Every emitted item ends as answered, late, dropped or failed; ``causes`` counts the last two by their cause.
    Percentiles are of answered and late items (within 1%; 0 without any). ``item_goodput_per_s`` is weightless:
    the number of items answered in time times their mean score, where anything is scored, per second.
    """

    duration_s: float
    emitted: int
    answered: int
    late: int
    dropped: int
    failed: int
    causes: Mapping[str, int]
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    accuracy_ratio: float | None
    scored: int
    item_goodput_per_s: float
    agreement_ratio: float | None
    agreement_items: int
    bytes_sent: int


@dataclass(slots=True, kw_only=True)
class _Sums:
    duration_s: float = 0.0
    emitted: int = 0
    answered: int = 0
    late: int = 0
    dropped: int = 0
    failed: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    latency_ms: Sketch = field(default_factory=Sketch)
    scores_ratio: list[float] = field(default_factory=list)
    on_time_score: float = 0.0
    on_time_scored: int = 0
    shadow_score: float = 0.0
    shadow_scored: int = 0
    bytes_sent: int = 0


def observed(windows: Iterable[types_pb2.QueryWindow]) -> dict[QueryId, Observed]:
    """What these windows say of each query that they are of."""
    sums: dict[QueryId, _Sums] = {}
    for window in windows:
        entry = sums.setdefault(QueryId(window.query_id), _Sums())
        entry.duration_s += window.duration_s
        entry.emitted += window.emitted
        entry.answered += window.answered
        entry.late += window.late
        entry.dropped += sum(window.dropped_by_cause.values())
        entry.failed += sum(window.failed_by_cause.values())
        for by_cause in (window.dropped_by_cause, window.failed_by_cause):
            for cause, count in by_cause.items():
                entry.causes[cause] = entry.causes.get(cause, 0) + count
        entry.latency_ms.merge(Sketch.of(window.latency_ms))
        entry.scores_ratio.extend(window.scores_ratio)
        entry.on_time_score += window.on_time_score_sum
        entry.on_time_scored += window.on_time_scored
        entry.shadow_score += window.shadow_score_sum
        entry.shadow_scored += window.shadow_scored
        entry.bytes_sent += window.bytes_sent
    return {query_id: _observed(entry) for query_id, entry in sums.items()}


def _observed(sums: _Sums) -> Observed:
    scored = len(sums.scores_ratio)
    # Scores may become known in another window than outcomes: their mean stands for all.
    mean_ratio = sums.on_time_score / sums.on_time_scored if sums.on_time_scored else 0.0 if scored else 1.0
    return Observed(
        duration_s=sums.duration_s,
        emitted=sums.emitted,
        answered=sums.answered,
        late=sums.late,
        dropped=sums.dropped,
        failed=sums.failed,
        causes=dict(sorted(sums.causes.items())),
        latency_p50_ms=sums.latency_ms.quantile(0.5),
        latency_p95_ms=sums.latency_ms.quantile(0.95),
        latency_p99_ms=sums.latency_ms.quantile(0.99),
        accuracy_ratio=sum(sums.scores_ratio) / scored if scored else None,
        scored=scored,
        item_goodput_per_s=sums.answered * mean_ratio / sums.duration_s if sums.duration_s > 0.0 else 0.0,
        agreement_ratio=sums.shadow_score / sums.shadow_scored if sums.shadow_scored else None,
        agreement_items=sums.shadow_scored,
        bytes_sent=sums.bytes_sent,
    )


def operators(windows: Iterable[types_pb2.OperatorWindow]) -> dict[QueryId, tuple[types_pb2.OperatorWindow, ...]]:
    """One summed window for each operator of each query, by operator; memory is the largest that was seen."""
    sums: dict[tuple[QueryId, OperatorId], types_pb2.OperatorWindow] = {}
    for window in windows:
        key = (QueryId(window.query_id), OperatorId(window.operator_id))
        total = sums.get(key)
        if total is None:
            total = sums[key] = types_pb2.OperatorWindow(
                query_id=window.query_id, operator_id=window.operator_id, generation=window.generation
            )
            total.start.CopyFrom(window.start)
        total.duration_s += window.duration_s
        total.items += window.items
        total.service_ms_sum += window.service_ms_sum
        total.cpu_ms_sum += window.cpu_ms_sum
        total.queue_ms_sum += window.queue_ms_sum
        total.output_bytes += window.output_bytes
        total.failures += window.failures
        total.restarts += window.restarts
        total.memory_bytes = max(total.memory_bytes, window.memory_bytes)
    found: dict[QueryId, tuple[types_pb2.OperatorWindow, ...]] = {}
    for query_id, operator_id in sorted(sums):
        found[query_id] = (*found.get(query_id, ()), sums[query_id, operator_id])
    return found
