"""Delivery to a planner that acknowledges: nothing leaves the outbox before, nothing is lost by cuts or bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest
from shell_fakes import DEADLINE_S, ScriptedPlanner

from circinus.clock import SystemClock
from circinus.retry import MAX_RECONNECT_S, Backoff
from circinus.v1 import control_pb2, types_pb2
from edge_agent.control_link import ControlLink
from edge_agent.outbox import Outbox
from edge_agent.outbox_queue import Limits
from edge_agent.telemetry_gaps import MAX_GAPS, Gap, Gaps


class Quick(SystemClock):
    """Waits for reconnecting take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Acknowledging(ScriptedPlanner):
    """Acknowledges only what it is told to."""

    def __init__(self, heartbeat_period_s: float = 0.05) -> None:
        super().__init__(heartbeat_period_s=heartbeat_period_s)
        self.first_answer = control_pb2.ConnectResponse(
            welcome=control_pb2.Welcome(epoch=1, heartbeat_period_s=heartbeat_period_s, acknowledges=True)
        )

    def acknowledge(self, *sequences: int) -> None:
        self.send(acknowledgement=control_pb2.Acknowledgement(sequences=sequences))

    def numbers(self) -> list[int]:
        return [message.outbox_sequence for message in self.heard if message.outbox_sequence]


@contextlib.asynccontextmanager
async def linked(planner, outbox) -> AsyncIterator[ControlLink]:
    link = ControlLink(
        planner.address,
        hello=lambda: control_pb2.Hello(fingerprint=types_pb2.Fingerprint(device_id="camera")),
        receive=lambda _: asyncio.sleep(0),
        outbox=outbox,
        clock=Quick(),
        rng=Random(1),
    )
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def report(name, size=0):
    part = control_pb2.ProfileReport(id=name, done=True, error="x" * size)
    return control_pb2.ConnectRequest(profile_report=part)


def window(name):
    return types_pb2.QueryWindow(query_id=name, generation=1, emitted=2, duration_s=1.0)


async def waiting(outbox):
    return [
        *(message.outbox_sequence for message in await outbox.promised(0)),
        *(message.sequence for message in await outbox.peek(0, 10_000)),
    ]


async def until_gone(outbox):
    async with asyncio.timeout(DEADLINE_S):
        while await waiting(outbox):
            pass


@pytest.mark.slow
async def test_heartbeats_confirm_nothing_where_the_planner_acknowledges(tmp_path):
    async with Acknowledging() as planner, Outbox(tmp_path / "o.db") as outbox, linked(planner, outbox) as link:
        await outbox.put([window("q")], [])
        link.deliver(report("r"))
        await planner.hear("telemetry")
        await planner.hear("profile_report")
        await planner.hear("heartbeat", lambda beat: beat.sequence >= 10)
        numbers = planner.numbers()
        assert sorted(await waiting(outbox)) == sorted(numbers)
        planner.acknowledge(*numbers)
        await until_gone(outbox)
        # Each was sent once.
        assert planner.numbers() == numbers


async def test_what_was_not_acknowledged_is_sent_again_in_the_next_session(tmp_path):
    async with Acknowledging() as planner, Outbox(tmp_path / "o.db") as outbox, linked(planner, outbox) as link:
        await outbox.put([window("q")], [])
        link.deliver(report("r"))
        await planner.hear("telemetry")
        await planner.hear("profile_report")
        planner.hang_up()
        await planner.until(lambda: len(planner.numbers()) >= 4)
        first, second = planner.numbers()[:2], planner.numbers()[2:4]
        assert sorted(first) == sorted(second)


async def test_results_survive_a_stop_of_the_agent_with_the_planner_away(tmp_path):
    planner = Acknowledging()
    await planner.start()
    await planner.stop()
    async with Outbox(tmp_path / "o.db") as outbox, linked(planner, outbox) as link:
        # The link is at work when results come.
        await asyncio.sleep(0)
        for number in range(20):
            link.deliver(report(f"r{number}"))
    await planner.start()
    async with Outbox(tmp_path / "o.db") as outbox, linked(planner, outbox):
        await planner.until(lambda: len(planner.all_of("profile_report")) >= 20)
        assert [one.id for one in planner.all_of("profile_report")] == [f"r{number}" for number in range(20)]
    await planner.stop()


async def test_a_result_without_room_is_told_as_an_error_in_its_place(tmp_path):
    planner = Acknowledging()
    await planner.start()
    await planner.stop()
    async with (
        Outbox(tmp_path / "o.db", limits=Limits(promised_bytes=20_000)) as outbox,
        linked(planner, outbox) as link,
    ):
        large = control_pb2.ProfileReport(id="first", done=True)
        large.configurations.add().samples.add(sample_index=1).tally["x" * 15_000] = 1.0
        link.deliver(control_pb2.ConnectRequest(profile_report=large))
        large.id = "second"
        link.deliver(control_pb2.ConnectRequest(profile_report=large))
        await planner.start()
        await planner.until(lambda: len(planner.all_of("profile_report")) >= 2)
        first, second = planner.all_of("profile_report")
        assert first.configurations
        assert not first.error
        assert not second.configurations
        assert "no room" in second.error
        assert second.done
    await planner.stop()


@pytest.mark.slow
async def test_only_so_much_is_underway_at_a_time(tmp_path):
    async with Acknowledging() as planner, Outbox(tmp_path / "o.db") as outbox:
        for number in range(1_000):
            await outbox.put([window(f"q{number}")], [])
        async with linked(planner, outbox):
            beats = 0
            while await waiting(outbox):
                beats += 2
                await planner.hear("heartbeat", lambda beat, beats=beats: beat.sequence >= beats)
                unacknowledged = set(planner.numbers()) & set(await waiting(outbox))
                assert len(unacknowledged) <= 256 + 64
                planner.acknowledge(*unacknowledged)
            assert len(planner.numbers()) == len(set(planner.numbers())) == 1_000


async def test_gaps_are_told_and_kept_until_acknowledged(tmp_path):
    async with Outbox(tmp_path / "o.db", limits=Limits(telemetry=2)) as outbox:
        for _ in range(5):
            await outbox.put([window("q")], [])
        async with Acknowledging() as planner, linked(planner, outbox):
            told = await planner.hear("telemetry", lambda part: part.gaps)
            assert [(gap.query_id, gap.messages, gap.emitted) for gap in told.gaps] == [("q", 3, 6)]
            assert told.sequence in await waiting(outbox)


def test_a_reconnect_waits_for_half_a_minute_at_most_and_anything_below():
    backoff = Backoff(0.5, MAX_RECONNECT_S, Random(4))
    waits = [backoff.next_s() for _ in range(1_000)]
    assert MAX_RECONNECT_S == 30.0
    assert max(waits) <= 30.0
    late = waits[20:]
    # Full jitter: spread evenly from nothing on, so that a fleet does not come back at one moment.
    assert min(late) < 1.0
    assert sum(late) / len(late) == pytest.approx(15.0, abs=1.0)


def test_gaps_are_bounded_and_nothing_of_them_is_lost():
    gaps = Gaps()
    for number in range(2 * MAX_GAPS):
        gaps.add((f"q{number}", 1, "number"), Gap(start_s=number, end_s=number + 1.0, messages=1, emitted=2))
    assert len(gaps.items()) <= MAX_GAPS + 1
    message = gaps.message()
    assert sum(gap.messages for gap in message.gaps) == 2 * MAX_GAPS
    assert sum(gap.emitted for gap in message.gaps) == 4 * MAX_GAPS
