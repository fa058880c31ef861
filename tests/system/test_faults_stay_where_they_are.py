"""Faulty operators, killed processes, and outputs that are read as well as answered: with real daemons."""

import asyncio
import shutil
from pathlib import Path

import psutil
import pytest
from box_processes import workers

from circinus.client import Client
from circinus.model.query import Query, Slo

TOY = Path(__file__).parent / "toy"
pytestmark = [pytest.mark.slow, pytest.mark.system]

#: Only in serving: in the profile it does as it should.
FAULTS = """
        if "edge_agent.worker" in sys.orig_argv:
            fault = number % 16
            if fault < 5:
                raise RuntimeError("no good item")
            if fault == 5:
                os._exit(3)
            if fault == 6:
                time.sleep(3600)
"""


def variant(folder, name, *, spec=(), code=()):
    """A copy of the toy pipeline with another id and other text in its files."""
    shutil.copytree(TOY, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, changes in (("pipeline.yaml", (("pipeline: toy", f"pipeline: {name}"), *spec)), ("toy.py", code)):
        text = (folder / name / file).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / name / file).write_text(text)
    return folder / name


def query(query_id, pipeline_id, **slo):
    return Query(
        id=query_id,
        pipeline_id=pipeline_id,
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


async def connected(client):
    return (await client.status()).devices_connected == 2


async def entry_of(client, query_id):
    return next((entry for entry in await client.ledger() if entry.query_id == query_id), None)


async def serving(client, *query_ids):
    states = {state.query.id: state for state in await client.queries()}
    return all(states[query_id].serving and states[query_id].settled for query_id in query_ids)


async def test_an_output_that_others_read_is_answered_from_a_device_far_from_the_source(fleet, tmp_path):
    folder = variant(
        tmp_path,
        "both",
        spec=(
            ("class: toy:Prepare", "class: toy:Prepare\n    pinned: cloud-1"),
            ("class: toy:Read", "class: toy:Read\n    pinned: cloud-1"),
            ("outputs: [read]", "outputs: [prepare, read]"),
        ),
    )
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client))
        await client.add_pipeline(folder)
        await client.submit((query("both", "both", latency_ms=2000.0),))

        async def answered():
            entry = await entry_of(client, "both")
            return entry if entry is not None and entry.answered >= 20 else None

        entry = await until(answered)
        assert entry.failed == 0, entry.causes
        assert {found.operator_id for found in entry.plan.operators} == {"prepare", "read"}


async def test_what_breaks_is_counted_started_again_and_harms_nobody_else(fleet, tmp_path):
    folder = variant(
        tmp_path,
        "faulty",
        spec=(("class: toy:Read", "class: toy:Read\n    hang_ms: 300"),),
        code=(
            ("import itertools", "import itertools\nimport os\nimport sys"),
            ('        wrong = size == "small"', FAULTS + '        wrong = size == "small"'),
        ),
    )
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client))
        await client.add_pipeline(TOY)
        await client.add_pipeline(folder)
        await client.submit((query("good", "toy", latency_ms=400.0), query("bad", "faulty")))
        agents = {name: fleet.pid(name) for name in ("camera-1", "cloud-1")}

        async def all_causes():
            entry = await entry_of(client, "bad")
            wanted = {"operator_raised", "operator_died", "operator_hung"}
            return entry if entry is not None and wanted <= entry.causes.keys() and entry.answered else None

        await until(all_causes)
        good = await entry_of(client, "good")
        assert (good.failed, good.dropped) == (0, 0), good.causes
        assert all(psutil.pid_exists(pid) for pid in agents.values())
        await client.remove_query("bad")
        before = good.answered

        # One of the good query's own processes is killed: it is started again, and items are answered again.
        async def settled():
            return (await client.status()).activity == "idle"

        await until(settled)
        host = (await client.query("good")).plan.operators[0].device_id
        victims = [pid for pid, line in workers(fleet, host).items() if "edge_agent.worker" in line]
        psutil.Process(victims[0]).kill()

        async def more_answers():
            entry = await entry_of(client, "good")
            return entry is not None and entry.answered >= before + 20 and victims[0] not in workers(fleet, host)

        await until(more_answers)


async def test_a_killed_agent_leaves_nothing_and_boots_into_its_directive_without_a_planner(fleet):
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client))
        await client.add_pipeline(TOY)
        await client.submit((query("good", "toy", latency_ms=400.0),))
        await until(lambda: serving(client, "good"))
        generation = (await client.status()).generation
    before = workers(fleet, "camera-1")
    await fleet.kill("planner")
    await fleet.kill("camera-1")

    async def gone():
        return not any(psutil.pid_exists(pid) for pid in before)

    await until(gone, 10.0)
    await fleet.start_agent("camera-1")

    async def as_many_again():
        return len(workers(fleet, "camera-1")) == len(before)

    await until(as_many_again)
    await fleet.start_planner()
    async with Client(fleet.planner_address) as client:
        await until(lambda: connected(client))
        count = await entry_of(client, "good")

        async def goes_on():
            entry = await entry_of(client, "good")
            return entry is not None and entry.answered >= (count.answered if count else 0) + 10

        await until(goes_on)
        assert (await client.status()).generation == generation
    assert set((await fleet.stop()).values()) == {0}
