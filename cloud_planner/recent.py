"""What became of items lately, by query, and what devices were busy with: in memory, fed by telemetry as it comes.

Live views ask for this every other second; the store is never read for it. A planner that has just started knows of
nothing older than itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from circinus.burn_rate import SHORT_S, Count, RollingCounts, Spans
from circinus.clock import Clock
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2

#: What a device was busy with is told over so long.
_BUSY_S = 30.0
_MINUTE_S = 60.0
#: Minutes that figures which were seen are of, the running one with them.
_MINUTES = round(SHORT_S / _MINUTE_S) + 1
_REPEATED = 10_000
_MAX_DEVICES = 20_000
_MAX_QUERIES = 50_000
_NOTHING = Count(good=0, ended=0)
NO_SPANS = Spans(short=_NOTHING, long=_NOTHING, day=_NOTHING)


@dataclass(slots=True, kw_only=True)
class _Minute:
    """Sums over the windows that ended within one minute."""

    number: int
    duration_s: float = 0.0
    answered: int = 0
    on_time_score: float = 0.0
    on_time_scored: int = 0
    score: float = 0.0
    scored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """What was seen of a query over the last five minutes.

    ``goodput_per_s`` is weightless; None: nothing was told of it.
    """

    spans: Spans = NO_SPANS
    goodput_per_s: float | None = None
    accuracy_ratio: float | None = None


#: What is told of a query of which nothing was heard.
NOTHING_SEEN = Lately()


class _Query:
    __slots__ = ("_before", "_minutes", "_sketch", "_sketch_number", "counts")

    def __init__(self) -> None:
        self.counts = RollingCounts()
        self._minutes: list[_Minute] = []
        self._sketch, self._before = Sketch(), Sketch()
        self._sketch_number = -1

    def add(self, window: types_pb2.QueryWindow, end_s: float, now_s: float) -> None:
        lost = sum(window.dropped_by_cause.values()) + sum(window.failed_by_cause.values())
        ended = window.answered + window.late + lost
        if ended:
            self.counts.add(end_s, now_s, window.answered, ended)
        number = math.floor(min(end_s, now_s) / _MINUTE_S)
        if number <= math.floor(now_s / _MINUTE_S) - _MINUTES:
            return
        minute = next((one for one in self._minutes if one.number == number), None)
        if minute is None:
            minute = _Minute(number=number)
            self._minutes = [*self._minutes, minute][-_MINUTES:]
        minute.duration_s += window.duration_s
        minute.answered += window.answered
        minute.on_time_score += window.on_time_score_sum
        minute.on_time_scored += window.on_time_scored
        minute.score += sum(window.scores_ratio)
        minute.scored += len(window.scores_ratio)
        if number > self._sketch_number:
            self._before = self._sketch if number == self._sketch_number + 1 else Sketch()
            self._sketch, self._sketch_number = Sketch(), number
        if number == self._sketch_number:
            self._sketch.merge(Sketch.of(window.latency_ms))

    def lately(self, now_s: float) -> Lately:
        oldest = math.floor(now_s / _MINUTE_S) - _MINUTES
        found = [one for one in self._minutes if one.number > oldest]
        duration_s = sum(one.duration_s for one in found)
        on_time_scored = sum(one.on_time_scored for one in found)
        scored = sum(one.scored for one in found)
        mean_ratio = (
            sum(one.on_time_score for one in found) / on_time_scored if on_time_scored else 0.0 if scored else 1.0
        )
        return Lately(
            spans=self.counts.spans(now_s),
            goodput_per_s=sum(one.answered for one in found) * mean_ratio / duration_s if duration_s > 0.0 else None,
            accuracy_ratio=sum(one.score for one in found) / scored if scored else None,
        )

    def latency_ms(self, share_ratio: float, now_s: float) -> float | None:
        if self._sketch_number < math.floor(now_s / _MINUTE_S) - 1:
            return None
        latency = Sketch()
        latency.merge(self._sketch)
        latency.merge(self._before)
        return latency.quantile(share_ratio) if latency.count else None


class Recent:
    """The last day of outcomes by query, and the last seconds of work by device."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queries: dict[QueryId, _Query] = {}
        self._busy: dict[DeviceId, list[tuple[float, float]]] = {}
        self._sequences: dict[DeviceId, int] = {}

    def put(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        """Takes one checked message of telemetry; what a reconnecting agent sends again is left out."""
        behind = self._sequences.get(device_id, 0) - message.sequence
        if 0 <= behind < _REPEATED:
            return
        if device_id in self._sequences or len(self._sequences) < _MAX_DEVICES:
            self._sequences[device_id] = message.sequence
        now_s = self._clock.now().timestamp()
        for window in message.queries:
            found = self._queries.get(QueryId(window.query_id))
            if found is None:
                if len(self._queries) >= _MAX_QUERIES:
                    continue
                found = self._queries[QueryId(window.query_id)] = _Query()
            found.add(window, _end_s(window), now_s)
        if message.operators and (device_id in self._busy or len(self._busy) < _MAX_DEVICES):
            self._work(device_id, message.operators, now_s)

    def _work(self, device_id: DeviceId, windows: Iterable[types_pb2.OperatorWindow], now_s: float) -> None:
        spans = self._busy.setdefault(device_id, [])
        cpu_ms, end_s = 0.0, 0.0
        for window in windows:
            cpu_ms += window.cpu_ms_sum
            end_s = max(end_s, _end_s(window))
        oldest = now_s - _BUSY_S
        if end_s > oldest:
            spans.append((min(end_s, now_s), cpu_ms / 1_000.0))
        spans[:] = [one for one in spans if one[0] > oldest]

    def lately(self, query_id: QueryId) -> Lately:
        """What was seen of a query; of one that nothing was told of: nothing."""
        found = self._queries.get(query_id)
        return found.lately(self._clock.now().timestamp()) if found is not None else NOTHING_SEEN

    def latency_ms(self, query_id: QueryId, share_ratio: float) -> float | None:
        """The percentile (0..1) of latencies of the last one to two minutes; None: no item came back."""
        found = self._queries.get(query_id)
        return found.latency_ms(share_ratio, self._clock.now().timestamp()) if found is not None else None

    def spans(self, query_id: QueryId) -> Spans:
        """What ended of a query within five minutes, an hour, a day."""
        found = self._queries.get(query_id)
        return found.counts.spans(self._clock.now().timestamp()) if found is not None else NO_SPANS

    def busy_cores(self, device_id: DeviceId) -> float | None:
        """Cores' worth of CPU time that a device's operators took over the last half minute; None: it told nothing."""
        oldest = self._clock.now().timestamp() - _BUSY_S
        spans = [one for one in self._busy.get(device_id, ()) if one[0] > oldest]
        return sum(cpu_s for _, cpu_s in spans) / _BUSY_S if spans else None

    def forget(self, kept: Iterable[QueryId]) -> None:
        """Forgets all queries but these."""
        there = frozenset(kept)
        for gone in [query_id for query_id in self._queries if query_id not in there]:
            del self._queries[gone]


def _end_s(window: types_pb2.QueryWindow | types_pb2.OperatorWindow) -> float:
    return window.start.seconds + window.start.nanos / 1e9 + window.duration_s


__all__ = ["NOTHING_SEEN", "NO_SPANS", "Lately", "Recent"]
