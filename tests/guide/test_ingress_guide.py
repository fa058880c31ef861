"""docs/ingress.md, done as it says: a planner, one device, a folder in, lines out, a subscriber, Triton's client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from circinus.local_fleet import LocalFleet

pytestmark = [pytest.mark.slow, pytest.mark.system]

TEXT = (Path(__file__).parents[2] / "docs" / "ingress.md").read_text()
FILES = dict(re.findall(r"^```\w+ file=([\w./-]+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
STEPS = dict(re.findall(r"^```\w+ step=(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
OUTPUTS = dict(re.findall(r"^```\w+ output=(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
WITHIN_S = 120


class Reader:
    """Somebody who has the page's files in a folder, a planner, and the device of the page."""

    def __init__(self, folder: Path, fleet: LocalFleet) -> None:
        self.folder = folder
        self._fleet = fleet

    async def agent(self) -> str:
        """Where the device's ingress listens."""
        async with asyncio.timeout(WITHIN_S):
            while not (found := re.findall(r"ingress_listens.*?(127\.0\.0\.1:\d+)", self._fleet.log("box"))):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found[-1]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return await asyncio.create_subprocess_exec(
            *arguments,
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": path,
                "CIRCINUS_PLANNER": self._fleet.planner_address,
                "CIRCINUS_INSECURE_LOOPBACK": "1",
                "AGENT": await self.agent(),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def shell(self, commands: str) -> asyncio.subprocess.Process:
        return await self.start("bash", "-ec", commands)

    async def python(self, program: str) -> asyncio.subprocess.Process:
        return await self.start(sys.executable, "-W", "ignore", "-c", program, await self.agent())


async def said(process: asyncio.subprocess.Process) -> str:
    """What a step prints, once it has ended well."""
    out, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def stands(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    line = await asyncio.wait_for(process.stderr.readline(), WITHIN_S)
    assert b"subscribed" in line


def show(folder: Path, name: str, level: int) -> None:
    """Puts a picture into the inbox, whole at once."""
    made = folder / "inbox" / f".{name}.png"
    cv2.imwrite(str(made), np.full((48, 64), level, np.uint8))
    made.rename(folder / "inbox" / f"{name}.png")


async def test_the_page_is_true(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)))
    box = FILES["box.toml"].replace('"inbox"', f'"{tmp_path}/inbox"').replace('"outbox"', f'"{tmp_path}/outbox"')
    async with LocalFleet(tmp_path / "fleet", {"box": box}) as fleet:
        reader = Reader(tmp_path, fleet)
        await said(await reader.shell(STEPS["submit"]))
        # The folder is not there yet, which stops nothing, and is said.
        async with asyncio.timeout(WITHIN_S):
            while "No such file or directory" not in await said(await reader.shell("circinus device ls -o json")):
                pass
        (tmp_path / "outbox").mkdir()
        (tmp_path / "inbox").mkdir()
        watching = await reader.shell(STEPS["results"])
        await stands(watching)
        show(tmp_path, "first", 200)
        printed = json.loads(await said(watching))
        example = json.loads(OUTPUTS["line"])
        assert printed.keys() == example.keys()
        assert printed["outputs"] == example["outputs"]
        assert printed["ending"] == "answered"
        sink = tmp_path / "outbox" / "lamp.jsonl"
        async with asyncio.timeout(WITHIN_S):
            while not sink.exists() or not sink.read_text().endswith("\n"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert json.loads(sink.read_text()) == printed
        listening = await reader.python(STEPS["subscribe"])
        pushed = ""
        # Whether the subscription stood before the first push, only its end tells.
        while listening.returncode is None and not listening.stdout.at_eof():
            pushed = await said(await reader.python(STEPS["push"]))
            await asyncio.sleep(0.1)
        assert pushed == OUTPUTS["push"]
        assert await said(listening) == "answered dark\n"
