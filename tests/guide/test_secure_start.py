"""docs/run.md: a planner with an identity, its first admin, a box that joins; and the same in the clear."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.system]

_STEP = re.compile(r"^```sh step=(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = (Path(__file__).parents[2] / "docs" / "run.md").read_text()
STEPS = {
    name: [line.partition("  #")[0].strip() for line in commands.splitlines()] for name, commands in _STEP.findall(PAGE)
}
AGENT = 'device_id = "camera-1"\nstate_dir = "state/camera-1"\ntier = "edge"\nbuild_environments = false\n'
WITHIN_S = 60.0
_PIPE = asyncio.subprocess.PIPE


class Terminal:
    """Where a reader of the page types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CIRCINUS_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**kept, "PATH": path, "CIRCINUS_CONTEXTS": str(folder / "contexts.toml")}

    async def start(self, command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_shell(
            f"exec {command}",
            cwd=self.folder,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=_PIPE,
            stderr=_PIPE,
            start_new_session=True,
        )

    async def ended(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and all that it said."""
        process = await self.start(command)
        out, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
        assert process.returncode is not None
        return process.returncode, out.decode() + errors.decode()

    @asynccontextmanager
    async def running(self, command: str) -> AsyncIterator[None]:
        process = await self.start(command)
        # What nobody reads would stop it in the end.
        reading = asyncio.ensure_future(process.communicate())
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(reading, WITHIN_S)

    async def written(self, name: str) -> str:
        """What stands in a file, once something does."""
        path = self.folder / name
        async with asyncio.timeout(WITHIN_S):
            while not path.exists() or not path.read_text().strip():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        return path.read_text().strip()

    async def until(self, command: str, said: str) -> None:
        async with asyncio.timeout(WITHIN_S):
            while said not in (await self.ended(command))[1]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)


def on_any_port(command: str) -> str:
    """The page's ports may be taken."""
    secure = "" if "--insecure-loopback" in command else " --enrol-listen 127.0.0.1:0"
    return command.replace("127.0.0.1:7400", "127.0.0.1:0") + secure


async def test_a_box_joins_as_the_page_says(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    planner, add = STEPS["planner"]
    create, join, run, fingerprint, check = STEPS["join"]
    async with terminal.running(on_any_port(planner)):
        planner_at = await terminal.written("state/planner/address")
        enrol_at = await terminal.written("state/planner/enrol-address")
        await terminal.written("state/planner/identity/admin.toml")
        (tmp_path / "camera-1.toml").write_text(f'{AGENT}planner = "{planner_at}"\nenrol = "{enrol_at}"\n')
        for command in (add, create, join):
            code, said = await terminal.ended(command)
            assert code == 0, said
        code, said = await terminal.ended(join)
        assert code != 0, "a token is good for one box, once"
        async with terminal.running(run):
            await terminal.until("circinus device ls", "connected")
            for command in (fingerprint, check):
                code, said = await terminal.ended(command)
                assert code == 0, said
            code, said = await terminal.ended("circinus doctor")
            assert code == 0, said


async def test_in_the_clear_it_is_asked_as_the_page_says(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    planner, export, status = STEPS["clear"]
    async with terminal.running(on_any_port(planner)):
        address = await terminal.written("state/planner/address")
        code, said = await terminal.ended(f"{status} --planner {address}")
        assert (code, "circinus context add FILE" in said) == (2, True)
        name, _, value = export.removeprefix("export ").partition("=")
        terminal.env[name] = value
        code, said = await terminal.ended(f"{status} --planner {address}")
        assert code == 0, said
