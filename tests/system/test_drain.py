"""Boxes that are drained and that leave while they serve: no item is lost, none is answered twice."""

import asyncio
import json
import sys

import psutil
import pytest
from box_processes import commands
from conftest import TOY

from circinus.errors import NotFound
from circinus.local_fleet import LocalFleet
from circinus.model.query import Query, Slo

pytestmark = [pytest.mark.slow, pytest.mark.system]

CAMERA = """
device_id = "camera"
tier = "edge"
site = "shop"
data_listen = ""
cores = 1.0
[sinks]
folders = ["outbox"]
"""
BOX = """
device_id = "{name}"
tier = "edge"
site = "shop"
data_listen = "127.0.0.1:0"
cores = 2.0
price_per_h = {price}
[labels]
shelf = "{shelf}"
"""
LINKS = """
[[links]]
peer = "{peer}"
bandwidth_mbit_per_s = 50
rtt_ms = 2
emulated = true
"""


def a_box(name, price, shelf):
    return BOX.format(name=name, price=price, shelf=shelf) + LINKS.format(peer="camera")


@pytest.fixture
async def fleet(tmp_path):
    """A planner, a camera and two boxes that serve it, with identities; nothing of them is left afterwards."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    agents = {
        "camera": CAMERA + LINKS.format(peer="b1") + LINKS.format(peer="b2"),
        "b1": a_box("b1", 1.0, "a"),
        "b2": a_box("b2", 9.0, "b"),
    }
    folder = tmp_path / "fleet"
    (folder / "outbox").mkdir(parents=True)
    async with LocalFleet(folder, agents, secure=True) as running:
        yield running
    assert [child for child in psutil.Process().children(recursive=True) if child.pid not in before] == []


async def until(condition, seconds=90.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
        return value


def a_query(tmp_path, **changes):
    values = {
        "id": "q1",
        "pipeline_id": "toy",
        "content": "plain",
        "source_device_id": "camera",
        "rate_per_s": 20.0,
        "slo": Slo(latency_ms=5_000.0),
        "selector": "site=shop,shelf",
        "sink": f"file:{tmp_path}/fleet/outbox/q1.jsonl",
    }
    return Query(**(values | changes))


def lines(tmp_path):
    """What was answered so far, an item each."""
    path = tmp_path / "fleet" / "outbox" / "q1.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def hosts(client):
    state = await client.query("q1")
    # With everything measured and rolled out, it stays there.
    if state.plan is None or not state.serving or not state.settled or (await client.status()).activity != "idle":
        return None
    return {placed.device_id for placed in state.plan.operators}


async def has_lines(tmp_path, count):
    return len(lines(tmp_path)) >= count


def workers(fleet, name):
    """Processes that serve on a box."""
    serve = ("edge_agent.worker", "edge_agent.source_process")
    return [pid for pid, command in commands(fleet, name).items() if any(word in command for word in serve)]


def check_items(found):
    """Every item from the first to the last is there once, and was answered."""
    sequences = [line["sequence"] for line in found]
    assert len(sequences) == len(set(sequences)), "an item ended twice"
    assert set(sequences) == set(range(min(sequences), max(sequences) + 1)), "an item was lost"
    assert {line["ending"] for line in found} <= {"answered", "late"}


async def last(progress):
    return [one async for one in progress][-1]


async def test_a_box_is_drained_under_load_without_the_loss_of_an_item(fleet, tmp_path):
    async with fleet.client() as client:
        await until(lambda: has_devices(client, 3))
        await client.add_pipeline(TOY)
        await client.submit((a_query(tmp_path),))
        assert await until(lambda: hosts(client)) == {"b1"}
        await until(lambda: has_lines(tmp_path, 50))
        assert workers(fleet, "b1")
        drained = await last(client.drain("b1", "a new fan"))
        assert drained.empty, drained
        assert await until(lambda: hosts(client)) == {"b2"}
        assert workers(fleet, "b1") == []
        before = len(lines(tmp_path))
        await until(lambda: has_lines(tmp_path, before + 50))
        await client.uncordon("b1")
        assert await until(lambda: back_on(client, {"b1"})) == {"b1"}
        before = len(lines(tmp_path))
        await until(lambda: has_lines(tmp_path, before + 50))
        # The source goes on: what ended last may stand before something that is on its way still.
        found = sorted(lines(tmp_path), key=lambda line: line["sequence"])[:-20]
        check_items(found)
        assert len({line["generation"] for line in found}) >= 3
        camera = await last(client.drain("camera"))
        assert [one.query_id for one in camera.staying if not one.operator_id] == ["q1"]


async def back_on(client, wanted):
    found = await hosts(client)
    return found if found == wanted else None


@pytest.mark.long
async def test_a_box_leaves_under_load_and_joins_again_three_times(fleet, tmp_path):
    async with fleet.client() as client:
        await until(lambda: has_devices(client, 3))
        await client.add_pipeline(TOY)
        await client.submit((a_query(tmp_path),))
        assert await until(lambda: hosts(client)) == {"b1"}
        await until(lambda: has_lines(tmp_path, 20))
        for number in range(3):
            if number == 1:
                assert await command(fleet, tmp_path, "b1") == (0, "b1 has left; its name is free")
            else:
                assert (await last(client.leave("b1", f"time {number}"))).gone
            # Its agent ended by itself, and has nothing left that makes it a part of the fleet.
            await until(lambda: has_ended(fleet, "b1"))
            assert await fleet.terminate("b1") == 0
            state = tmp_path / "fleet" / "b1"
            assert not (state / "identity").exists()
            assert not (state / "ledger.db").exists()
            with pytest.raises(NotFound):
                await client.device("b1")
            assert await until(lambda: hosts(client)) == {"b2"}
            await fleet.start_agent("b1")
            await until(lambda: has_devices(client, 3))
            assert await until(lambda: back_on(client, {"b1"})) == {"b1"}
        before = len(lines(tmp_path))
        await until(lambda: has_lines(tmp_path, before + 50))
        check_items(sorted(lines(tmp_path), key=lambda line: line["sequence"])[:-20])
        (entry,) = await client.ledger()
        assert entry.failed == entry.dropped == 0


async def command(fleet, tmp_path, name):
    """Has a box leave from where it stands; its exit code and what it said last."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_agent.daemon",
        "leave",
        "--config",
        str(tmp_path / "fleet" / f"{name}.toml"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode().splitlines()[-1]


async def has_ended(fleet, name):
    return name not in fleet.running()


async def has_devices(client, count):
    return (await client.status()).devices_connected >= count
