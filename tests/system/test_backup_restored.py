"""A backup of a planner at work, more plans, then the restore: real agents take the older state's new directives."""

import asyncio
import sys
from dataclasses import replace

import pytest
from test_identity import TOY, a_query, answered, connected, said, until

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def planner_command(fleet_folder, *words):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cloud_planner.command_line",
        *words,
        "--state-dir",
        str(fleet_folder / "planner"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_agents_obey_a_restored_planner_and_go_on_serving(secure_fleet, tmp_path):
    folder, file = tmp_path / "fleet", str(tmp_path / "backup.tar.gz")
    async with secure_fleet.client() as client:
        await until(lambda: connected(client, 2))
        await client.add_pipeline(TOY)
        await client.submit((a_query(),))
        await until(lambda: answered(client, 5))
        code, told = await planner_command(folder, "backup", "--to", file)
        assert code == 0, told
        before = await client.status()
        # What the backup does not know: a query comes, and both are planned anew.
        await client.submit((replace(a_query(rate_per_s=2.0), id="later"),))
        async for _ in client.watch_progress(timeout_s=60):
            pass
        since = await client.status()
        assert since.generation > before.generation
        code, told = await planner_command(folder, "restore", file, "--yes")
        assert code == 1
        assert "a planner runs on" in told
    await secure_fleet.terminate("planner")
    code, told = await planner_command(folder, "restore", file, "--yes")
    assert code == 0, told
    await secure_fleet.start_planner()
    async with secure_fleet.client() as client:
        # By themselves, with the identity that they have.
        await until(lambda: connected(client, 2))

        async def obeyed():
            status = await client.status()
            devices = await client.devices()
            there = {state.active_generation for state in devices if state.active_generation}
            return status if there == {status.generation} and status.generation > since.generation else None

        status = await until(obeyed)
        assert status.epoch > since.epoch
        assert [state.query.id for state in await client.queries()] == ["right"]
        await until(lambda: answered(client, 5))
    assert not await said(secure_fleet, "camera-1", "directive_refused")
