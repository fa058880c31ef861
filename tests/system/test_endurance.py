"""Real daemons through power cuts, stopped planners and full disks: serving goes on, and what is lost is said."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from box_processes import workers
from conftest import CAMERA, CLOUD, cmdline_of

from circinus.client import Client
from circinus.local_fleet import LocalFleet
from circinus.model.query import Query, Slo
from circinus.v1 import control_pb2

TOY = Path(__file__).parent / "toy"
BOXES = ("camera-1", "cloud-1")
pytestmark = [pytest.mark.slow, pytest.mark.system]


async def until(condition, seconds=60.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
        return value


def a_query(query_id, **slo):
    return Query(
        id=query_id, pipeline_id="toy", content="plain", source_device_id="camera-1", rate_per_s=5.0, slo=Slo(**slo)
    )


async def serve(fleet, *queries):
    """Has the fleet serve these, at rest."""

    async def settled():
        states = {state.query.id: state for state in await client.queries()}
        return all(states[one.id].serving and states[one.id].settled for one in queries) and (
            (await client.status()).activity == "idle"
        )

    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client, 2))
        await client.add_pipeline(TOY)
        await client.submit(queries)
        await until(settled)
        for one in queries:
            await until(lambda one=one: answered(client, one.id, 5))
        return (await client.status()).generation


async def connected(client, count):
    return (await client.status()).devices_connected >= count


async def answered(client, query_id, count):
    return any(entry.query_id == query_id and entry.answered >= count for entry in await client.ledger())


def kill_all(fleet, name):
    """As when the power goes: the agent and all its processes at once."""
    agent = psutil.Process(fleet.pid(name))
    everyone = [agent, *agent.children(recursive=True)]
    for process in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return everyone


def waiting(path):
    """The telemetry in an agent's outbox, as another process sees it."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        bodies = connection.execute("SELECT body FROM waiting WHERE kind < 2 ORDER BY sequence").fetchall()
    return [control_pb2.Telemetry.FromString(body) for (body,) in bodies]


async def answers_waiting(path, more_than=0):
    return sum(window.answered for message in waiting(path) for window in message.queries) > more_than


async def test_a_power_cut_without_a_planner_serves_again_and_the_ledger_names_what_it_lacks(fleet, tmp_path):
    generation = await serve(fleet, a_query("right", latency_ms=80.0, accuracy_ratio=0.9))
    began = datetime.now(UTC)
    await fleet.kill("planner")
    for name in ("camera-1", "cloud-1"):
        killed = kill_all(fleet, name)
        await fleet.kill(name)
        psutil.wait_procs(killed, timeout=10)
    for name in ("cloud-1", "camera-1"):
        await fleet.start_agent(name)
    outbox = tmp_path / "fleet" / "camera-1" / "outbox.db"
    # No planner: what is served now is in the outbox alone.
    await until(lambda: answers_waiting(outbox, 10))
    pids = workers(fleet, *BOXES)
    served = sum(window.answered for message in waiting(outbox) for window in message.queries)
    await fleet.start_planner()
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client, 2))
        await until(lambda: drained(outbox))

        async def told():
            (entry,) = await client.ledger(began)
            return entry if entry.answered >= served else None

        entry = await until(told)
        assert (await client.status()).generation == generation
    assert workers(fleet, *BOXES) == pids
    assert entry.failed == 0, entry.causes
    assert {gap.cause for gap in entry.gaps} == {"restart"}
    recorded = entry.answered + entry.late + entry.dropped + entry.failed
    assert 0 <= entry.emitted - recorded <= 10
    assert windows_overlap(tmp_path / "fleet" / "planner" / "planner.sqlite3") == []


async def drained(path):
    # The last second's windows are always on their way.
    return len(waiting(path)) <= 10


def windows_overlap(path):
    """Windows of one query on one device, under one generation, that tell of the same time twice."""
    from circinus.v1 import types_pb2

    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT device_id, generation, query_id, start_at_s, message FROM windows WHERE kind = 'query' "
            "ORDER BY device_id, generation, query_id, start_at_s"
        ).fetchall()
    found, ended = [], {}
    for device_id, generation, query_id, start_s, message in rows:
        key, duration_s = (device_id, generation, query_id), types_pb2.QueryWindow.FromString(message).duration_s
        if duration_s and start_s < ended.get(key, 0.0) - 0.05:
            found.append((*key, start_s))
        ended[key] = max(ended.get(key, 0.0), start_s + duration_s)
    return found


@pytest.mark.long
async def test_a_planner_that_stands_still_is_noticed_and_taken_back_with_nothing_lost(fleet, tmp_path):
    await serve(fleet, a_query("cheap", latency_ms=400.0, accuracy_ratio=0.5))
    pids, began = workers(fleet, *BOXES), datetime.now(UTC)
    before = fleet.log("camera-1").count("planner_connected")
    os.kill(fleet.pid("planner"), signal.SIGSTOP)
    try:
        # Half open: nobody says that the planner is gone. Keepalive finds out.
        await until(lambda: logged(fleet, "camera-1", "planner_unreachable"), 40.0)
    finally:
        os.kill(fleet.pid("planner"), signal.SIGCONT)
    await until(lambda: logged(fleet, "camera-1", "planner_connected", before + 1))
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client, 2))
        await until(lambda: drained(tmp_path / "fleet" / "camera-1" / "outbox.db"))
        (entry,) = await client.ledger(began)
        assert entry.gaps == ()
        assert entry.failed == 0
    assert workers(fleet, *BOXES) == pids
    assert windows_overlap(tmp_path / "fleet" / "planner" / "planner.sqlite3") == []


async def logged(fleet, name, what, times=1):
    return fleet.log(name).count(what) >= times


def mounted(disk):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False).returncode == 0


def remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def unmount(disk):
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
async def fleet_on_small_disk(tmp_path):
    """As `fleet`, with the camera's state on a file system of 24 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "fleet" / "camera-1"
    disk.mkdir(parents=True)
    if not mounted(disk):
        pytest.skip("no file system can be mounted here")
    try:
        async with LocalFleet(tmp_path / "fleet", {"camera-1": CAMERA, "cloud-1": CLOUD}) as running:
            yield running, disk
    finally:
        unmount(disk)
    marker = str(tmp_path)
    assert [process.pid for process in psutil.process_iter() if marker in " ".join(cmdline_of(process))] == []


def fill(disk):
    """Takes all that is left."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (1_048_576, 4_096, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))


async def trouble(client, device_id, word):
    return any(
        word in text for state in await client.devices() if state.device.id == device_id for text in state.troubles
    )


@pytest.mark.long
async def test_a_full_disk_is_told_and_served_through_and_healed(fleet_on_small_disk):
    fleet, disk = fleet_on_small_disk
    await serve(fleet, a_query("right", latency_ms=80.0, accuracy_ratio=0.9))
    pids = workers(fleet, *BOXES)
    async with Client(fleet.planner_address) as client:
        fill(disk)
        await until(lambda: trouble(client, "camera-1", "no space left"))
        began = datetime.now(UTC)
        await until(lambda: answered_since(client, began, 20))
        assert workers(fleet, *BOXES) == pids
        (disk / "filler").unlink()
        await until(lambda: no_trouble(client, "camera-1"))
        (entry,) = await client.ledger(began)
        assert entry.gaps == ()
        assert entry.failed == 0


async def answered_since(client, moment, count):
    return any(entry.answered >= count for entry in await client.ledger(moment))


async def no_trouble(client, device_id):
    return all(not state.troubles for state in await client.devices() if state.device.id == device_id)


@pytest.mark.long
async def test_a_box_boots_from_a_disk_that_has_become_read_only(fleet_on_small_disk):
    fleet, disk = fleet_on_small_disk
    await serve(fleet, a_query("right", latency_ms=80.0, accuracy_ratio=0.9))
    killed = kill_all(fleet, "camera-1")
    await fleet.kill("camera-1")
    psutil.wait_procs(killed, timeout=10)
    remount(disk, "ro")
    await fleet.start_agent("camera-1")
    began = datetime.now(UTC)
    async with Client(fleet.planner_address) as client:
        await until(lambda: answered_since(client, began, 20))
        assert await trouble(client, "camera-1", "read-only")
        remount(disk, "rw")
        await until(lambda: no_trouble(client, "camera-1"))


@pytest.mark.long
async def test_files_that_run_out_are_named_and_healed(fleet):
    await serve(fleet, a_query("cheap", latency_ms=400.0, accuracy_ratio=0.5))
    pids = workers(fleet, *BOXES)
    agent = psutil.Process(fleet.pid("camera-1"))
    before = agent.rlimit(psutil.RLIMIT_NOFILE)
    async with Client(fleet.planner_address) as client:
        agent.rlimit(psutil.RLIMIT_NOFILE, (agent.num_fds(), before[1]))
        await until(lambda: trouble(client, "camera-1", "files"))
        began = datetime.now(UTC)
        await until(lambda: answered_since(client, began, 20))
        agent.rlimit(psutil.RLIMIT_NOFILE, before)
        await until(lambda: no_trouble(client, "camera-1"))
    assert workers(fleet, *BOXES) == pids
