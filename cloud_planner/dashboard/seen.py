"""What was seen of one query, from its windows: latency beside the promise, times and losses by operator. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Interval
from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from cloud_planner.core.calibration import Account, judge
from cloud_planner.core.estimate import Z95
from cloud_planner.core.promises import Z90
from cloud_planner.store import AccountRecord, StoredWindow

#: Points of a chart, at most.
POINTS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSeen:
    """One operator on one device over some windows; percentiles are of service, None without items."""

    items: int = 0
    p95_ms: float | None = None
    wait_ms: float | None = None
    failures: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Items that were lost at one place for one cause. ``kind``: dropped, failed or late."""

    place: str
    cause: str
    kind: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySeen:
    """A query over some windows. ``latency_ms`` is at the percentile that was asked for; None without items."""

    items: int = 0
    emitted: int = 0
    in_time: int = 0
    excess: int = 0
    rate_per_s: float | None = None
    latency_ms: float | None = None
    operators: Mapping[tuple[OperatorId, DeviceId], OperatorSeen] = field(default_factory=dict)
    losses: tuple[Loss, ...] = ()

    @property
    def p95_ms(self) -> dict[tuple[OperatorId, DeviceId], float]:
        """The p95 of service by operator and device, where it was seen."""
        return {key: one.p95_ms for key, one in self.operators.items() if one.p95_ms is not None}


def seen_of(windows: Iterable[StoredWindow], percentile_ratio: float) -> QuerySeen:
    """What these windows of one query say of it."""
    queries = []
    by_place: dict[tuple[OperatorId, DeviceId], list[types_pb2.OperatorWindow]] = {}
    for stored in windows:
        if isinstance(stored.window, types_pb2.QueryWindow):
            queries.append(stored.window)
        else:
            key = (OperatorId(stored.window.operator_id), stored.device_id)
            by_place.setdefault(key, []).append(stored.window)
    latency = _merged(window.latency_ms for window in queries)
    duration_s = sum(window.duration_s for window in queries)
    answered, late = sum(window.answered for window in queries), sum(window.late for window in queries)
    return QuerySeen(
        items=answered + late,
        emitted=sum(window.emitted for window in queries),
        in_time=answered,
        excess=sum(window.excess_emitted for window in queries),
        rate_per_s=sum(window.emitted for window in queries) / duration_s if duration_s > 0.0 else None,
        latency_ms=latency.quantile(percentile_ratio) if latency.count else None,
        operators={key: _operator(found) for key, found in sorted(by_place.items())},
        losses=_losses(queries),
    )


def _operator(windows: Sequence[types_pb2.OperatorWindow]) -> OperatorSeen:
    service = _merged(window.service_ms for window in windows)
    items = sum(window.items for window in windows)
    return OperatorSeen(
        items=items,
        p95_ms=service.quantile(0.95) if service.count else None,
        wait_ms=sum(window.queue_ms_sum for window in windows) / items if items else None,
        failures=sum(window.failures for window in windows),
        restarts=sum(window.restarts for window in windows),
    )


def _merged(sketches: Iterable[types_pb2.Sketch]) -> Sketch:
    found = Sketch()
    for message in sketches:
        found.merge(Sketch.of(message))
    return found


def _losses(windows: Iterable[types_pb2.QueryWindow]) -> tuple[Loss, ...]:
    """Dropped items by place and cause, failed ones by cause, late ones; the most first."""
    counts: dict[tuple[str, str, str], int] = {}

    def add(place: str, cause: str, kind: str, items: int) -> None:
        if items > 0:
            counts[place, cause, kind] = counts.get((place, cause, kind), 0) + items

    for window in windows:
        placed = dict(window.dropped_by_cause)
        for where, items in window.dropped_by_place.items():
            place, _, cause = where.rpartition("/")
            add(place or "source", cause, "dropped", items)
            placed[cause] = placed.get(cause, 0) - items
        for cause, items in placed.items():
            add("", cause, "dropped", items)
        for cause, items in window.failed_by_cause.items():
            add("", cause, "failed", items)
        add("", "after its deadline", "late", window.late)
    found = [Loss(place=place, cause=cause, kind=kind, items=items) for (place, cause, kind), items in counts.items()]
    return tuple(sorted(found, key=lambda one: (-one.items, one.place, one.cause)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What a generation promised from a moment on: the percentile's 90% interval."""

    since_s: float
    generation: int
    latency_ms: Interval


def promised_of(records: Iterable[AccountRecord]) -> tuple[Promised, ...]:
    """The promises of one query's accounts, oldest first."""
    found = [
        Promised(
            since_s=record.created_at.timestamp(),
            generation=record.generation.number,
            latency_ms=_promise(record),
        )
        for record in records
    ]
    return tuple(sorted(found, key=lambda one: (one.since_s, one.generation)))


def _promise(record: AccountRecord) -> Interval:
    account = Account(promise=record.promise, seen=record.seen)
    if not account.open:
        return judge(account).latency_ms
    # Too few items for an interval over them: the plan's own, which is of 95%.
    plan, value = record.promise.plan.latency_ms, record.promise.latency_ms
    ratio = value / plan.value if plan.value > 0.0 else 1.0
    shrunk = Z90 / Z95 * ratio
    return Interval(
        value=value,
        low=max(0.0, value - (plan.value - plan.low) * shrunk),
        high=value + (plan.high - plan.value) * shrunk,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A chart's data, one column each: moments (s since 1970), what was seen, what was promised; None: nothing."""

    at_s: tuple[float, ...]
    seen_ms: tuple[float | None, ...]
    promised_ms: tuple[float | None, ...]
    low_ms: tuple[float | None, ...]
    high_ms: tuple[float | None, ...]
    generations: tuple[int, ...]


def series_of(
    windows: Iterable[StoredWindow],
    promises: Sequence[Promised],
    *,
    from_s: float,
    until_s: float,
    percentile_ratio: float,
    points: int = POINTS,
) -> Series:
    """The latency at a percentile over time, in pieces of equal length, beside the promise in force at each."""
    step_s = max(1.0, (until_s - from_s) / points)
    count = max(1, math.ceil((until_s - from_s) / step_s))
    buckets: dict[int, Sketch] = {}
    for stored in windows:
        if not isinstance(stored.window, types_pb2.QueryWindow):
            continue
        sketch = Sketch.of(stored.window.latency_ms)
        at_s = stored.window.start.seconds + stored.window.start.nanos / 1e9 + stored.window.duration_s / 2.0
        place = math.floor((at_s - from_s) / step_s)
        if sketch.count and 0 <= place < count:
            buckets.setdefault(place, Sketch()).merge(sketch)
    moments = [from_s + (place + 0.5) * step_s for place in range(count)]
    held = [_in_force(promises, moment + step_s / 2.0) for moment in moments]
    return Series(
        at_s=tuple(round(moment, 3) for moment in moments),
        seen_ms=tuple(
            buckets[place].quantile(percentile_ratio) if place in buckets else None for place in range(count)
        ),
        promised_ms=tuple(one.latency_ms.value if one is not None else None for one in held),
        low_ms=tuple(one.latency_ms.low if one is not None else None for one in held),
        high_ms=tuple(one.latency_ms.high if one is not None else None for one in held),
        generations=tuple(one.generation if one is not None else 0 for one in held),
    )


def _in_force(promises: Sequence[Promised], moment_s: float) -> Promised | None:
    return next((one for one in reversed(promises) if one.since_s <= moment_s), None)


__all__ = [
    "POINTS",
    "Loss",
    "OperatorSeen",
    "Promised",
    "QuerySeen",
    "Series",
    "promised_of",
    "seen_of",
    "series_of",
]
