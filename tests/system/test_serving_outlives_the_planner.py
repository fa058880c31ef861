"""kill -9 of the planner in the middle of serving: no item lost, same generation, same processes."""

import asyncio
from pathlib import Path

import psutil
import pytest
from box_processes import workers

from circinus.client import Client
from circinus.model.query import Query, Slo

TOY = Path(__file__).parent / "toy"
pytestmark = [pytest.mark.slow, pytest.mark.system]


def a_query(query_id, **slo):
    return Query(
        id=query_id,
        pipeline_id="toy",
        content="plain",
        source_device_id="camera-1",
        rate_per_s=5.0,
        slo=Slo(**slo),
    )


async def until(condition, seconds=60.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
        return value


async def serving(client, wanted):
    """The states once these queries are served and nothing more is measured for them."""
    states = {state.query.id: state for state in await client.queries()}
    if all(query_id in states and states[query_id].serving and states[query_id].settled for query_id in wanted):
        return states
    return None


async def test_main_job_and_planner_crash(fleet):
    async with Client(fleet.planner_address) as client:
        await until(lambda: has_devices(client, 2))
        await client.add_pipeline(TOY)
        # On a quarter of a slow core the large one takes 150 ms and more: the cheap query would pay for half a core.
        await client.submit(
            (
                a_query("cheap", latency_ms=130.0, accuracy_ratio=0.5),
                a_query("right", latency_ms=80.0, accuracy_ratio=0.9),
                a_query("impossible", latency_ms=5.0, accuracy_ratio=0.9),
            )
        )
        states = await until(lambda: serving(client, ("cheap", "right")))
        assert states["cheap"].plan.configuration["read.size"] == "small"
        assert states["right"].plan.configuration["read.size"] == "large"
        assert states["impossible"].plan is None
        assert "latency" in states["impossible"].reason
        await until(lambda: idle(client))
        generation = (await client.status()).generation
        await until(lambda: answered(client, "right", 5))
        pids_before = worker_pids(fleet)
        assert pids_before

    await fleet.kill("planner")
    # Long enough that items are surely emitted and answered with no planner there.
    await asyncio.sleep(4.0)
    assert worker_pids(fleet) == pids_before
    await fleet.start_planner()

    async with Client(fleet.planner_address) as client:
        await until(lambda: has_devices(client, 2))
        assert (await client.status()).generation == generation
        await until(lambda: answered(client, "right", 40))
        assert worker_pids(fleet) == pids_before
        assert (await client.status()).generation == generation
        for entry in await client.ledger():
            assert entry.failed == 0, entry.causes
            # What is neither answered, late nor dropped is still on its way: a window's worth at most.
            recorded = entry.answered + entry.late + entry.dropped + entry.failed
            assert 0 <= entry.emitted - recorded <= 10

    codes = await fleet.stop()
    assert set(codes.values()) == {0}


async def test_a_removed_query_stops_and_the_others_keep_their_processes(fleet):
    async with Client(fleet.planner_address) as client:
        await until(lambda: has_devices(client, 2))
        await client.add_pipeline(TOY)
        await client.submit((a_query("stays", latency_ms=400.0), a_query("goes", latency_ms=80.0, accuracy_ratio=0.9)))
        await until(lambda: serving(client, ("stays", "goes")))
        before = worker_pids(fleet)
        await client.remove_query("goes")
        await until(lambda: fewer_workers(fleet, before))
        await until(lambda: serving(client, ("stays",)))
        after = worker_pids(fleet)
        assert after < before
        (entry,) = [entry for entry in await client.ledger() if entry.query_id == "stays"]
        assert entry.failed == 0


async def test_idle_agents_are_light(fleet):
    async with Client(fleet.planner_address) as client:
        await until(lambda: has_devices(client, 2))
    for name in ("camera-1", "cloud-1"):
        agent = psutil.Process(fleet.pid(name))
        rss_bytes = sum(process.memory_info().rss for process in [agent, *agent.children(recursive=True)])
        assert rss_bytes <= 60 * 1024 * 1024, f"{name}: {rss_bytes / 2**20:.1f} MiB"


async def has_devices(client, count):
    return (await client.status()).devices_connected >= count


async def idle(client):
    return (await client.status()).activity == "idle"


async def answered(client, query_id, count):
    return any(entry.query_id == query_id and entry.answered >= count for entry in await client.ledger())


async def fewer_workers(fleet, before):
    return worker_pids(fleet) < before


def worker_pids(fleet):
    """Pids of operator and source processes of all agents."""
    return set(workers(fleet, "camera-1", "cloud-1"))
