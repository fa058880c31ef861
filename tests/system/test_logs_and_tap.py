"""Logs and taps of real daemons with identities: a pipeline of three operators, one of which dies now and then."""

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from circinus.admin import Role
from circinus.client import Client
from circinus.contexts import Bearer
from circinus.errors import NotAllowed, Unreachable
from circinus.local_fleet import LocalFleet
from circinus.model.query import Query, Slo

pytestmark = [pytest.mark.slow, pytest.mark.system]

CHATTY = Path(__file__).parent / "chatty"
BOX = """
device_id = "camera-1"
tier = "edge"
site = "shop"
data_listen = ""
cores = 2.0
[policy]
tap = "items"
"""


@pytest.fixture
async def fleet(tmp_path):
    """A planner and a box with identities; nothing of them is left afterwards."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with LocalFleet(tmp_path / "fleet", {"camera-1": BOX}, secure=True) as running:
        yield running
    assert [child for child in psutil.Process().children(recursive=True) if child.pid not in before] == []


async def until(condition, seconds=90.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.2)
        return value


async def logged(client, *subject, **wanted):
    return [line async for line in client.logs(*subject, **wanted)]


async def command(fleet, *arguments):
    """`circinus` as a person runs it: its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "circinus.cli.main", *arguments),
        env=fleet.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_what_operators_print_and_handle_is_seen_by_those_who_may(fleet):
    async with fleet.client() as client:
        await until(lambda: connected(client))
        await client.add_pipeline(CHATTY)
        query = Query(
            id="q1",
            pipeline_id="chatty",
            content="plain",
            source_device_id="camera-1",
            rate_per_s=10.0,
            slo=Slo(latency_ms=5_000.0),
        )
        await client.submit([query])
        async with asyncio.timeout(90):
            async for _ in client.watch_progress():
                pass
        await logs_outlive_their_process(client)
        await items_are_seen(client)
        await others_see_less(fleet, client)
        code, out = await command(fleet, "logs", "q1/prepare", "--tail", "3", "-o", "json")
        assert (code, {line["operator_id"] for line in json.loads(out)}) == (0, {"prepare"})
        await fleet.terminate("camera-1")
        with pytest.raises(Unreachable, match="camera-1 is not connected: `circinus device show camera-1`"):
            await until(lambda: logged(client, device_id="camera-1"))


async def connected(client):
    return (await client.status()).devices_connected == 1


async def logs_outlive_their_process(client):
    async def died():
        return [line for line in await logged(client, "q1/tell") if "ended with 3" in line.text]

    (death, *_) = await until(died)
    lines = await logged(client, "q1")
    assert {line.operator_id for line in lines} >= {"prepare", "read", "tell"}
    last = [line.text for line in lines if line.operator_id == "tell" and line.pid == death.pid]
    assert last[-2:] == ["the last words of tell", f"(process {death.pid} ended with 3)"]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    prepared = next(line.text for line in lines if line.operator_id == "prepare")
    assert prepared == "preparing with password=[redacted]"
    own = [line.text for line in await logged(client, device_id="camera-1") if not line.query_id]
    assert any(text.startswith("WARNING process_lost name=q1/tell#0") for text in own)
    profiled = await logged(client, "profile")
    assert {(line.query_id, line.operator_id) for line in profiled} == {("chatty", "profile")}
    assert any(line.text == "reading" for line in profiled)
    async with asyncio.timeout(30), aclosing(client.logs("q1/read", tail=1, follow=True)) as followed:
        assert [(await anext(followed)).text for _ in range(3)] == ["reading"] * 3


async def items_are_seen(client):
    found = [item async for item in client.tap("q1", "read", values=True, count=2, rate_per_s=10.0, for_s=30.0)]
    assert {item.operator_id for item in found} == {"read"}
    double, said = found[0].payloads[0].fields
    assert (double.type, int(double.preview) % 2, said.preview) == ("integer", 0, "so be it")
    assert 0.0 < found[0].remaining_ms <= 5_000.0
    # Large enough to lie in shared memory.
    (item,) = [one async for one in client.tap("q1", "prepare", count=1, whole_bytes=200_000, for_s=30.0)]
    image = next(field for field in item.payloads[0].fields if field.name == "image")
    assert image.data == bytes(100_000)
    (item,) = [one async for one in client.tap("q1", "read", output=False, count=1, for_s=30.0)]
    assert [payload.name for payload in item.payloads] == ["prepare"]
    assert {field.preview for field in item.payloads[0].fields} == {""}


async def others_see_less(fleet, client):
    issued = await client.admin.create_person("ann", Role.VIEWER)
    credentials = Bearer(root=fleet.context.root.encode(), token=issued.token)
    async with Client(fleet.enrol_address, credentials=credentials) as viewer:
        (item,) = [one async for one in viewer.tap("q1", "source", count=1, for_s=30.0)]
        assert [field.type for field in item.payloads[0].fields] == ["bytes", "integer"]
        with pytest.raises(NotAllowed, match="TapItems needs the role operator"):
            await anext(viewer.tap("q1", "read", values=True))
        with pytest.raises(NotAllowed, match="ReadLogs needs the role operator"):
            await logged(viewer, "q1")
    log = await client.admin.audit_log(limit=1_000)
    told = [(one.action, one.subject, one.outcome) for one in log.entries if one.actor == "person:admin"]
    assert ("TapItems", "q1/read", "done") in told
    assert ("ReadLogs", "q1", "done") in told
    assert ("ReadLogs", "NotAllowed") in [(one.action, one.outcome) for one in log.entries if one.actor == "person:ann"]
