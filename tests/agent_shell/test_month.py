"""A month of an agent's life in simulated time: what it holds in memory and on disk stays level."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import deque
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from circinus.model.directive import Generation
from circinus.model.query import QueryId
from circinus.v1 import control_pb2
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.disk_guard import DiskGuard
from edge_agent.health import Health
from edge_agent.measuring import Measuring
from edge_agent.outbox import Outbox
from edge_agent.outbox_queue import Limits
from edge_agent.sending import Sending
from edge_agent.telemetry import Windows

pytestmark = pytest.mark.slow

_DAY_S = 86_400.0
#: Longer steps than seconds: what would grow grows by the window.
_STEP_S = 3_600.0
_GENERATIONS = tuple(Generation(epoch=1, number=number) for number in range(1, 31))


class MonthClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.ran_s = 50.0
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.wall

    def monotonic_s(self) -> float:
        return self.ran_s

    def go(self, seconds: float) -> None:
        self.ran_s += seconds
        self.wall += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.go(seconds)
        await asyncio.sleep(0)


class FakeStream:
    """A planner that acknowledges everything at once, while it is there."""

    def __init__(self) -> None:
        self.telemetry = 0
        self.arrived: list[int] = []

    async def write(self, message: control_pb2.ConnectRequest) -> None:
        if message.outbox_sequence:
            self.telemetry += 1
            self.arrived.append(message.outbox_sequence)


class Serving:
    """Counts items of three queries as serving does; their generations change daily."""

    def __init__(self, clock: MonthClock) -> None:
        self.windows = Windows(clock)
        self._clock = clock
        self._rng = Random(3)
        self._number = 0

    def work(self, generation: Generation) -> None:
        for name in ("q1", "q2", "q3"):
            self._number += 1
            emission = Emission(
                request_id=f"r{self._number}",
                query_id=QueryId(name),
                generation=generation,
                source_key=f"{name}/source",
                sequence=self._number,
                output_operator_ids=("read",),
                emitted_at_s=self._clock.monotonic_s(),
                deadline_ms=1_000.0,
            )
            latency_ms = self._rng.lognormvariate(3.0, 1.0)
            ended = Ended(emission=emission, ending=Ending.ANSWERED, latency_ms=latency_ms)
            self.windows.emitted(QueryId(name), generation)
            self.windows.ended(ended)
            self.windows.scored(ended, self._rng.random())

    def take_windows(self):
        return self.windows.take()

    def take_episodes(self):
        return []


@pytest.mark.long
async def test_a_month_with_and_without_a_planner_holds_no_more_than_a_day(tmp_path):
    clock = MonthClock()
    guard = DiskGuard(tmp_path)
    told: list[int] = []
    limits = Limits(telemetry=100, telemetry_bytes=2_000_000, age_s=5 * _DAY_S)
    async with Outbox(tmp_path / "o.db", limits=limits, guard=guard, clock=clock, ran_s=clock.monotonic_s) as outbox:
        serving, stream, connected = Serving(clock), FakeStream(), True
        measuring = Measuring(serving, outbox=outbox, clock=clock, heard=lambda: connected, put=lambda: None)
        health = Health(
            guard=guard,
            others=lambda: outbox.troubles,
            clock=clock,
            ran_s=clock.monotonic_s,
            on_change=lambda: told.append(1),
        )
        sending = Sending(stream, deque(), outbox, clock, acknowledged=True)
        held: list[int] = []
        disk: list[int] = []
        tracemalloc.start()
        try:
            for day in range(30):
                # Out of reach on every third day, and for a whole week in the middle.
                connected = not (day % 3 == 2 or 12 <= day < 19)
                for _ in range(int(_DAY_S / _STEP_S)):
                    clock.go(_STEP_S)
                    serving.work(_GENERATIONS[day])
                    await measuring.cut()
                    health.look()
                    if connected:
                        await sending.send_all()
                        await sending.arrived(stream.arrived)
                        stream.arrived.clear()
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
                disk.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        finally:
            tracemalloc.stop()
        assert outbox.dropped > 0
    # The week without a planner fills what is to be filled; from then on nothing grows.
    assert max(held[25:]) < max(held[19:25]) + 100_000, held
    assert max(held) < 3_000_000, held
    assert max(disk) < 12_000_000, disk
    assert stream.telemetry > 300


async def test_windows_grow_while_nobody_hears_and_are_short_again_at_once(tmp_path):
    clock = MonthClock()
    heard = False
    async with Outbox(tmp_path / "o.db", clock=clock, ran_s=clock.monotonic_s) as outbox:
        serving = Serving(clock)
        measuring = Measuring(serving, outbox=outbox, clock=clock, heard=lambda: heard, put=lambda: None)
        running = asyncio.create_task(measuring.run())

        async def windows_of(seconds: float) -> int:
            before = len(await outbox.peek(0, 10_000))
            until_s = clock.ran_s + seconds
            while clock.ran_s < until_s:
                serving.work(_GENERATIONS[0])
                await asyncio.sleep(0.0)
            return len(await outbox.peek(0, 10_000)) - before

        assert await windows_of(300.0) > 250
        await windows_of(400.0)
        assert 20 <= await windows_of(300.0) <= 45
        heard = True
        assert await windows_of(60.0) > 50
        running.cancel()
        await asyncio.wait((running,))
    longest = 0.0
    async with Outbox(tmp_path / "o.db", clock=clock, ran_s=clock.monotonic_s) as outbox:
        for message in await outbox.peek(0, 10_000):
            longest = max([longest, *(window.duration_s for window in message.queries)])
    assert 9.0 <= longest <= 12.0
