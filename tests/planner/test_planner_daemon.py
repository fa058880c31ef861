import asyncio
import contextlib
import os
import signal
import sys

import psutil
import pytest
from planner_fleet import FakeAgent, People, device, query

from circinus.v1 import planner_pb2
from cloud_planner.command_line import main

pytestmark = [pytest.mark.slow, pytest.mark.system]


@contextlib.asynccontextmanager
async def daemon(state_dir, *flags):
    (state_dir / "address").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cloud_planner.command_line",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--insecure-loopback",
        "--state-dir",
        state_dir,
        *flags,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            while b"listening_on" not in await process.stderr.readline():
                pass
        yield process, (state_dir / "address").read_text().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def settled(people):
    async with asyncio.timeout(60):
        return [progress async for progress in people.stub.WatchProgress(planner_pb2.WatchProgressRequest())][-1]


async def test_a_killed_planner_comes_back_with_the_same_generation(tmp_path):
    flags = ("--profile-time-samples", "2")
    async with (
        daemon(tmp_path, *flags) as (process, address),
        People(address) as people,
        FakeAgent(address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(latency_ms=500.0))
        before = (await settled(people)).generation
        await agent.until("retire", lambda retire: retire.below_generation == before)
        known, kept = agent.device, agent.status
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await process.wait()
    _gone, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=20)
    assert not alive
    async with (
        daemon(tmp_path, *flags) as (process, address),
        People(address) as people,
        FakeAgent(address, known, generation_status=kept) as agent,
    ):
        assert (await settled(people)).generation == before
        await agent.until("retire")
        state = (await people.queries())["q1"]
        assert state.phase == planner_pb2.QUERY_PHASE_PLACED
        assert state.serving
        assert agent.count("directive") == agent.count("profile") == 0


async def test_sigterm_ends_it_cleanly_with_nothing_left(tmp_path):
    async with daemon(tmp_path) as (process, address), FakeAgent(address, device("camera")):
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        _gone, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=20)
        assert not alive


def test_an_address_beyond_loopback_is_refused(tmp_path, capsys):
    assert main(["run", "--listen", "0.0.0.0:7400", "--insecure-loopback", "--state-dir", os.fspath(tmp_path)]) == 1
    assert "not on loopback" in capsys.readouterr().err
