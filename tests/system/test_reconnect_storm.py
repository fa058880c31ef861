"""A planner that is killed and started again, with a fleet that comes back all at once."""

import asyncio
import contextlib
import sqlite3
from datetime import UTC, datetime
from random import Random

import pytest

from circinus.client import Client
from circinus.clock import SystemClock
from circinus.local_fleet import LocalFleet
from circinus.v1 import control_pb2, types_pb2
from edge_agent.control_link import ControlLink
from edge_agent.outbox import Outbox

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.long]

AGENTS = 40


def fingerprint(device_id):
    return types_pb2.Fingerprint(
        device_id=device_id,
        tier=types_pb2.TIER_EDGE,
        site="shop-1",
        device_class="class-1",
        cores=1.0,
        memory_bytes=2**30,
        speed_ratio=1.0,
        agent_version="1",
    )


@contextlib.asynccontextmanager
async def agents(address, folder):
    """Links of many agents, each with an outbox of its own."""

    async def receive(_):
        pass

    async with contextlib.AsyncExitStack() as stack:
        made = []
        tasks = []
        for number in range(AGENTS):
            outbox = await stack.enter_async_context(Outbox(folder / f"{number}.db"))
            name = f"box-{number}"
            link = ControlLink(
                address,
                hello=lambda name=name: control_pb2.Hello(fingerprint=fingerprint(name)),
                receive=receive,
                outbox=outbox,
                clock=SystemClock(),
                rng=Random(number),
            )
            tasks.append(asyncio.create_task(link.run()))
            made.append((link, outbox))
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def until(condition, seconds=90.0):
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)


def window(number):
    made = types_pb2.QueryWindow(query_id=f"q{number}", generation=1, emitted=1, answered=1, duration_s=1.0)
    made.start.FromDatetime(datetime.now(UTC))
    return made


async def test_everybody_is_back_and_every_window_is_stored_once(tmp_path):
    async with LocalFleet(tmp_path / "fleet", {}) as fleet, agents(fleet.planner_address, tmp_path) as made:

        async def connected():
            async with Client(fleet.planner_address) as client:
                return (await client.status()).devices_connected == AGENTS

        async def drained():
            return not any([await outbox.peek(0) for _, outbox in made])

        await until(connected)
        for number in range(5):
            for link, outbox in made:
                await outbox.put([window(number)], [])
                link.wake()
            if number == 1:
                # What is on its way now may be heard and not stored.
                await fleet.kill("planner")
        await fleet.start_planner()
        await until(connected)
        await until(drained)
    database = tmp_path / "fleet" / "planner" / "planner.sqlite3"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        counts = connection.execute("SELECT count(*), count(DISTINCT device_id) FROM windows").fetchone()
        most = connection.execute(
            "SELECT max(times) FROM (SELECT count(*) AS times FROM windows GROUP BY device_id, query_id)"
        ).fetchone()
    assert counts == (5 * AGENTS, AGENTS)
    assert most == (1,)
