"""Telemetry on its way into the store: checked, stamped by the planner's clock, in batches, bounded.

An agent keeps a message until it is acknowledged, which is when it is in the store: what there was no room for, or what
could not be written, is not, and comes again.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check
from cloud_planner.ageing import Ageing
from cloud_planner.core.stamps import offset_s, shift
from cloud_planner.store import Store, TelemetryRecord

#: How many messages may wait to be written.
MAX_WAITING_RECORDS = 10_000
_FLUSH_S = 1.0
_MAX_WINDOWS = 10_000
_MAX_SCORES = 100_000
_MAX_CAUSES = 100
#: No count of one window, items or bytes, is larger: sums of them stay numbers that messages can hold.
_MAX_COUNT = 1e15
#: How long windows are kept, and how often older ones are forgotten.
_KEEP = timedelta(days=1)
_PRUNE_S = 600.0
#: Episodes of stand-bys are few.
_KEEP_EPISODES = timedelta(days=30)
_MAX_EPISODES = 10_000
_KEEP_GAPS = timedelta(days=30)
#: Windows that are kept at most, however many a day brings: about 3 GB.
_MAX_WINDOW_ROWS = 5_000_000
#: Nothing is older by a day.
_EVER = datetime(1971, 1, 1, tzinfo=UTC)
_MAX_GAPS = 10_000
_MAX_GAP_ROWS = 100_000
#: Of so many devices it is remembered how far their clocks are off.
_MAX_OFFSETS = 20_000
#: Told which of an agent's messages are stored.
Stored = Callable[[Sequence[int]], None]


class TelemetryWriter:
    """Takes telemetry messages and writes them once a second."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        epoch: int,
        heard: Callable[[DeviceId, control_pb2.Telemetry], None] = lambda device_id, message: None,
    ) -> None:
        """``heard`` gets every message that was found to be in order, at once."""
        self._store = store
        self._clock = clock
        self._epoch = epoch
        self._heard = heard
        self._waiting: list[tuple[TelemetryRecord, Stored | None]] = []
        self._offsets_s: dict[DeviceId, float] = {}
        self._dropped = 0
        self._lock = asyncio.Lock()
        self._ageing = Ageing(clock)

    def put(self, device_id: DeviceId, message: control_pb2.Telemetry, stored: Stored | None = None) -> None:
        """Takes one message; one that there is no room for is dropped and counted.

        ``stored`` is called with the numbers of messages once they are in the store.

        Raises:
            InvalidInput: a figure is no number, or negative.
            TooLarge: it has too many windows.
        """
        _check(message)
        self._stamp(device_id, message)
        self._heard(device_id, message)
        if len(self._waiting) >= MAX_WAITING_RECORDS:
            self._dropped += 1
            return
        record = TelemetryRecord(
            device_id=device_id,
            sequence=message.sequence,
            received_at=self._clock.now(),
            queries=tuple(message.queries),
            operators=tuple(message.operators),
            stand_bys=tuple(message.stand_bys),
            gaps=tuple(message.gaps),
        )
        self._waiting.append((record, stored))

    def _stamp(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        known_s = self._offsets_s.get(device_id, 0.0)
        by_s = offset_s(message, self._clock.now().timestamp(), known_s)
        if by_s != known_s and message.HasField("age_s"):
            event("device_clock", device=device_id, off_by_s=-by_s)
            if len(self._offsets_s) >= _MAX_OFFSETS:
                self._offsets_s.clear()
            self._offsets_s[device_id] = by_s
        if by_s:
            shift(message, by_s)

    async def flush(self) -> None:
        """Writes what waits. What can't be written now waits on."""
        async with self._lock:
            batch, self._waiting = self._waiting, []
            try:
                await self._store_all([record for record, _ in batch])
            except sqlite3.Error as error:
                # A disk that is full heals; until then agents keep what is theirs.
                warning("telemetry_not_stored", messages=len(batch), reason=error)
                self._waiting = [*batch, *self._waiting][:MAX_WAITING_RECORDS]
                return
            by_agent: dict[Stored, list[int]] = {}
            for record, stored in batch:
                if stored is not None:
                    by_agent.setdefault(stored, []).append(record.sequence)
            for stored, sequences in by_agent.items():
                stored(sequences)
            if self._dropped:
                warning("telemetry_dropped", messages=self._dropped)
                self._dropped = 0

    async def _store_all(self, batch: Sequence[TelemetryRecord]) -> None:
        if batch:
            await self._store.add_telemetry(batch, self._epoch)
        for record in batch:
            if record.stand_bys:
                await self._store.put_episodes(record.device_id, record.stand_bys)
            if record.gaps:
                await self._store.put_gaps(record.device_id, record.sequence, record.gaps)

    async def run(self) -> None:
        """Writes what waits once a second and forgets what is old, for ever."""
        pruned_s = -math.inf
        while True:
            await self._clock.sleep(_FLUSH_S)
            await self.flush()
            if self._clock.monotonic_s() - pruned_s >= _PRUNE_S:
                pruned_s = self._clock.monotonic_s()
                try:
                    await self._prune()
                except sqlite3.Error as error:
                    warning("telemetry_not_pruned", reason=error)

    async def _prune(self) -> None:
        now = self._clock.now() if self._ageing.believed() else _EVER
        await self._store.prune_telemetry(now - _KEEP, _MAX_WINDOW_ROWS)
        await self._store.prune_episodes(now - _KEEP_EPISODES)
        await self._store.prune_gaps(now - _KEEP_GAPS, _MAX_GAP_ROWS)


def _check(message: control_pb2.Telemetry) -> None:
    if message.sequence >= 2**63:
        raise InvalidInput(f"telemetry.sequence: {message.sequence} is beyond 2**63")
    check.size("telemetry.queries", message.queries, _MAX_WINDOWS)
    check.size("telemetry.operators", message.operators, _MAX_WINDOWS)
    check.size("telemetry.stand_bys", message.stand_bys, _MAX_EPISODES)
    for episode in message.stand_bys:
        _check_episode(episode)
        event(
            "stand_by_ended" if episode.HasField("end") else "stand_by_began",
            query=episode.query_id,
            generation=episode.generation,
            reason=episode.reason,
        )
    check.size("telemetry.gaps", message.gaps, _MAX_GAPS)
    check.number("telemetry.age_s", message.age_s)
    _check_start(0, message.made_at.seconds)
    for gap in message.gaps:
        _check_gap(gap)
    for window in message.queries:
        _check_query_window(window)
    for operator in message.operators:
        check.name("telemetry.operators.query_id", operator.query_id)
        check.name("telemetry.operators.operator_id", operator.operator_id)
        _check_start(operator.generation, operator.start.seconds)
        for value in (operator.duration_s, operator.service_ms_sum, operator.cpu_ms_sum, operator.queue_ms_sum):
            check.number("telemetry.operators", value)
        for count in (
            operator.items,
            operator.output_bytes,
            operator.failures,
            operator.restarts,
            operator.memory_bytes,
            operator.batches,
        ):
            check.number("telemetry.operators counts", count, high=_MAX_COUNT)
        Sketch.of(operator.service_ms, "telemetry.operators.service_ms")
        Sketch.of(operator.queue_ms, "telemetry.operators.queue_ms")
        _check_causes("telemetry.operators", operator.dropped_by_cause)


def _check_episode(episode: control_pb2.StandByEpisode) -> None:
    check.name("telemetry.stand_bys.query_id", episode.query_id)
    check.text("telemetry.stand_bys.reason", episode.reason)
    for moment in (episode.start, episode.end):
        _check_start(episode.generation, moment.seconds)
        check.number("telemetry.stand_bys", moment.nanos, high=999_999_999)


def _check_gap(gap: control_pb2.TelemetryGap) -> None:
    check.name("telemetry.gaps.query_id", gap.query_id, empty=True)
    check.name("telemetry.gaps.cause", gap.cause)
    for moment in (gap.start, gap.end):
        _check_start(gap.generation, moment.seconds)
        check.number("telemetry.gaps", moment.nanos, high=999_999_999)
    for count in (gap.messages, gap.emitted):
        check.number("telemetry.gaps counts", count, high=_MAX_COUNT)
    event(
        "telemetry_gap",
        query=gap.query_id,
        generation=gap.generation,
        cause=gap.cause,
        from_s=gap.start.seconds,
        to_s=gap.end.seconds,
        messages=gap.messages,
    )


def _check_query_window(window: types_pb2.QueryWindow) -> None:
    check.name("telemetry.queries.query_id", window.query_id)
    _check_start(window.generation, window.start.seconds)
    check.number("telemetry.queries.duration_s", window.duration_s, high=86_400.0)
    for count in (
        window.emitted,
        window.answered,
        window.late,
        window.on_time_scored,
        window.excess_emitted,
        window.excess_answered,
        window.shadow_scored,
        window.stand_by_answered,
        window.bytes_sent,
    ):
        check.number("telemetry.queries counts", count, high=_MAX_COUNT)
    check.number("telemetry.queries.on_time_score_sum", window.on_time_score_sum)
    check.number("telemetry.queries.shadow_score_sum", window.shadow_score_sum, high=window.shadow_scored)
    check.number(
        "telemetry.queries.shadow_score_square_sum", window.shadow_score_square_sum, high=window.shadow_score_sum
    )
    check.size("telemetry.queries.scores_ratio", window.scores_ratio, _MAX_SCORES)
    for by_cause in (window.dropped_by_cause, window.failed_by_cause, window.dropped_by_place):
        _check_causes("telemetry.queries", by_cause)
    Sketch.of(window.latency_ms, "telemetry.queries.latency_ms")
    for score_ratio in window.scores_ratio:
        check.ratio("telemetry.queries.scores_ratio", score_ratio)


def _check_causes(field: str, by_cause: Mapping[str, int]) -> None:
    check.size(f"{field} causes", by_cause, _MAX_CAUSES)
    for cause, count in by_cause.items():
        check.name(f"{field} cause", cause)
        check.number(f"{field} {cause}", count, high=_MAX_COUNT)


def _check_start(generation: int, seconds: int) -> None:
    if generation >= 2**63 or not 0 <= seconds < 2**40:
        raise InvalidInput(f"telemetry: generation {generation} or start {seconds} is no such thing")
