from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest
from shell_fakes import DEADLINE_S, ScriptedPlanner, toy_samples

from circinus.bundle import digest_of
from circinus.clock import SystemClock
from circinus.errors import NotFound
from circinus.model.device import Digest
from circinus.v1 import control_pb2, types_pb2
from edge_agent.control_link import ControlLink
from edge_agent.outbox import Outbox


class Quick(SystemClock):
    """Waits for reconnecting take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def linked(planner: ScriptedPlanner, tmp_path, received=None) -> AsyncIterator[tuple[ControlLink, Outbox]]:
    async def receive(message):
        if received is not None:
            received.put_nowait(message)

    async with Outbox(tmp_path / "outbox.db") as outbox:
        link = ControlLink(
            planner.address,
            hello=lambda: control_pb2.Hello(fingerprint=types_pb2.Fingerprint(device_id="camera")),
            receive=receive,
            outbox=outbox,
            clock=Quick(),
            rng=Random(1),
        )
        task = asyncio.create_task(link.run())
        try:
            yield link, outbox
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def report(name):
    return control_pb2.ConnectRequest(profile_report=control_pb2.ProfileReport(id=name, done=True))


async def test_hello_goes_first_and_heartbeats_follow(tmp_path):
    async with ScriptedPlanner() as planner, linked(planner, tmp_path):
        await planner.hear("heartbeat", lambda beat: beat.sequence >= 3)
        (hello,) = planner.hellos
        assert hello.fingerprint.device_id == "camera"
        assert len(hello.session_id) == 32


async def test_what_the_planner_says_is_received_in_order(tmp_path):
    received: asyncio.Queue = asyncio.Queue()
    async with ScriptedPlanner() as planner, linked(planner, tmp_path, received):
        for number in (1, 2, 3):
            planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=number))
        async with asyncio.timeout(DEADLINE_S):
            assert [(await received.get()).activate.generation for _ in range(3)] == [1, 2, 3]


async def test_a_planner_that_goes_and_comes_back_is_found_again(tmp_path):
    planner = ScriptedPlanner()
    await planner.start()
    async with linked(planner, tmp_path) as (link, _):
        await planner.until(lambda: planner.hellos)
        await planner.stop()
        link.deliver(report("made-while-it-was-away"))
        await planner.start()
        await planner.until(lambda: len(planner.hellos) > 1)
        await planner.hear("profile_report", lambda part: part.id == "made-while-it-was-away")
        assert planner.hellos[0].session_id != planner.hellos[1].session_id
    await planner.stop()


async def test_a_hang_up_is_followed_by_a_new_session(tmp_path):
    async with ScriptedPlanner() as planner, linked(planner, tmp_path):
        planner.hang_up()
        await planner.until(lambda: len(planner.hellos) > 1)


async def test_a_planner_that_does_not_begin_with_welcome_is_left(tmp_path):
    async with ScriptedPlanner() as planner:
        planner.first_answer = control_pb2.ConnectResponse(retire=control_pb2.RetireRequest())
        async with linked(planner, tmp_path) as (link, _):
            await planner.until(lambda: len(planner.hellos) > 1)
            assert not link.connected


async def test_states_told_without_a_link_are_forgotten_and_deliveries_are_not(tmp_path):
    planner = ScriptedPlanner()
    await planner.start()
    address = planner.address
    await planner.stop()
    planner.address = address
    async with linked(planner, tmp_path) as (link, _):
        link.tell(control_pb2.ConnectRequest(generation_status=control_pb2.GenerationStatus(generation=1)))
        link.deliver(report("kept"))
        await planner.start()
        await planner.hear("profile_report")
        await planner.hear("heartbeat", lambda beat: beat.sequence >= 2)
        assert planner.all_of("generation_status") == []
    await planner.stop()


async def test_a_delivery_that_may_be_lost_is_sent_again(tmp_path):
    # With a period this long no heartbeat confirms anything before the hang-up.
    async with (
        ScriptedPlanner(heartbeat_period_s=60.0) as planner,
        linked(planner, tmp_path) as (link, _),
    ):
        await planner.hear("heartbeat")
        link.deliver(report("once"))
        await planner.hear("profile_report")
        planner.hang_up()
        await planner.until(lambda: len(planner.all_of("profile_report")) >= 2)


async def test_telemetry_is_sent_and_then_forgotten(tmp_path):
    async with ScriptedPlanner() as planner, linked(planner, tmp_path) as (link, outbox):
        await outbox.put([types_pb2.QueryWindow(query_id="q1")], [])
        link.wake()
        telemetry = await planner.hear("telemetry")
        assert telemetry.queries[0].query_id == "q1"
        beats = len(planner.all_of("heartbeat"))
        await planner.hear("heartbeat", lambda beat: beat.sequence >= beats + 3)
        assert await outbox.peek(0) == []
        assert len(planner.all_of("telemetry")) == 1


async def test_blobs_are_fetched(tmp_path):
    samples = toy_samples(100)
    async with ScriptedPlanner(samples) as planner, linked(planner, tmp_path) as (link, _):
        assert b"".join([chunk async for chunk in link.fetch(digest_of(samples))]) == samples
        with pytest.raises(NotFound):
            await anext(link.fetch(Digest("sha256:" + "0" * 64)))


class Held:
    """An outbox that takes its time when what reads it is cancelled."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.let_go = asyncio.Event()
        self.opened = 1

    async def promised(self, _: int) -> list[control_pb2.ConnectRequest]:
        return []

    async def tell_gaps(self) -> None:
        pass

    async def peek(self, _: int) -> list[types_pb2.TelemetryWindow]:
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.let_go.wait()


async def test_a_stop_in_the_moment_in_which_the_planner_goes_is_a_stop(tmp_path):
    held = Held()
    async with ScriptedPlanner() as planner:
        link = ControlLink(
            planner.address,
            hello=lambda: control_pb2.Hello(fingerprint=types_pb2.Fingerprint(device_id="camera")),
            receive=lambda _: asyncio.sleep(0),
            outbox=held,
            clock=Quick(),
            rng=Random(1),
        )
        task = asyncio.create_task(link.run())
        await planner.until(lambda: planner.hellos)
        planner.hang_up()
        async with asyncio.timeout(DEADLINE_S):
            # The session is ending: its reader has raised, its writer is being cancelled.
            await held.ending.wait()
            task.cancel()
            await asyncio.sleep(0)
            held.let_go.set()
        await asyncio.wait((task,), timeout=DEADLINE_S)
        assert task.cancelled()
