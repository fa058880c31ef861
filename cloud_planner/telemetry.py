"""Telemetry on its way into the store: checked, in batches, bounded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import timedelta

from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check
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
        self._waiting: list[TelemetryRecord] = []
        self._dropped = 0
        self._lock = asyncio.Lock()

    def put(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        """Takes one message; one that there is no room for is dropped and counted.

        Raises:
            InvalidInput: a figure is no number, or negative.
            TooLarge: it has too many windows.
        """
        _check(message)
        self._heard(device_id, message)
        if len(self._waiting) >= MAX_WAITING_RECORDS:
            self._dropped += 1
            return
        self._waiting.append(
            TelemetryRecord(
                device_id=device_id,
                sequence=message.sequence,
                received_at=self._clock.now(),
                queries=tuple(message.queries),
                operators=tuple(message.operators),
                stand_bys=tuple(message.stand_bys),
            )
        )

    async def flush(self) -> None:
        """Writes what waits."""
        async with self._lock:
            batch, self._waiting = self._waiting, []
            if batch:
                await self._store.add_telemetry(batch, self._epoch)
            for record in batch:
                if record.stand_bys:
                    await self._store.put_episodes(record.device_id, record.stand_bys)
            if self._dropped:
                warning("telemetry_dropped", messages=self._dropped)
                self._dropped = 0

    async def run(self) -> None:
        """Writes what waits once a second and forgets what is old, for ever."""
        pruned_s = -math.inf
        while True:
            await self._clock.sleep(_FLUSH_S)
            await self.flush()
            if self._clock.monotonic_s() - pruned_s >= _PRUNE_S:
                pruned_s = self._clock.monotonic_s()
                await self._store.prune_telemetry(self._clock.now() - _KEEP)
                await self._store.prune_episodes(self._clock.now() - _KEEP_EPISODES)


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
