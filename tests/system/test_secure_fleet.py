"""With identities: boxes enrol, serve over mutual TLS, and come back as themselves; people need a context."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from circinus.model.query import Query, Slo

TOY = Path(__file__).parent / "toy"
pytestmark = [pytest.mark.slow, pytest.mark.system]
_PIPE = asyncio.subprocess.PIPE


async def circinus(fleet, *arguments):
    """The command as a person runs it: its exit code, its output, what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIRCINUS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "circinus.cli.main",
        *arguments,
        env={**kept, **fleet},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=_PIPE,
        stderr=_PIPE,
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def until(condition, seconds=90.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
        return value


async def connected(client, wanted):
    return (await client.status()).devices_connected == wanted


async def served(client):
    """The entry of the query once it was answered across devices."""
    entries = {entry.query_id: entry for entry in await client.ledger()}
    return entries.get("right") if "right" in entries and entries["right"].answered >= 5 else None


async def test_boxes_enrol_and_serve_over_mutual_tls_and_come_back_as_themselves(secure_fleet, tmp_path):
    async with secure_fleet.client() as client:
        await until(lambda: connected(client, 2))
        await client.add_pipeline(TOY)
        query = Query(
            id="right",
            pipeline_id="toy",
            content="plain",
            source_device_id="camera-1",
            rate_per_s=5.0,
            slo=Slo(latency_ms=80.0, accuracy_ratio=0.9),
        )
        await client.submit((query,))
        entry = await until(lambda: served(client))
        assert entry.failed == 0
        # Between the boxes, too.
        assert entry.bytes_sent > 0
        before = {one.device_id: one.serial for one in await client.admin.identities()}
        assert sorted(before) == ["camera-1", "cloud-1"]
        await secure_fleet.kill("camera-1")
        await secure_fleet.start_agent("camera-1")
        await secure_fleet.kill("planner")
        await secure_fleet.start_planner()
        await until(lambda: connected(client, 2))
        assert {one.device_id: one.serial for one in await client.admin.identities()} == before
        assert await client.admin.tokens()
    code, out, errors = await circinus(secure_fleet.environment, "doctor", "-o", "json")
    found = {(one["subject"], one["grade"]) for one in json.loads(out)}
    assert ("connection", "ok") in found, errors
    assert ("certificate", "ok") in found
    code, _, errors = await circinus({"CIRCINUS_CONTEXTS": str(tmp_path / "none")}, "status")
    assert code == 2
    assert "circinus context add FILE" in errors
    clear = {"CIRCINUS_PLANNER": secure_fleet.planner_address, "CIRCINUS_INSECURE_LOOPBACK": "1"}
    code, _, errors = await circinus(clear, "status")
    assert code == 4
    assert "leave --insecure-loopback out" in errors
    assert len(errors.splitlines()) == 1
    code, _, errors = await circinus({**secure_fleet.environment, "CIRCINUS_PLANNER": "127.0.0.1:1"}, "status")
    assert (code, "no planner answers" in errors) == (4, True)
