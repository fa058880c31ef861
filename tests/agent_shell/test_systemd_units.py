"""The units: systemd understands them, they let the daemons do little, and the daemons tell what the units wait for."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).resolve().parents[2] / "scripts" / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
#: The promise; lower is better.
MAX_EXPOSURE = 3.0

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments):
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


def by_name(unit):
    return unit.stem


@needs_systemd
@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=by_name)
def test_systemd_understands_every_line(unit, tmp_path):
    # The command itself is wherever it was installed.
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(), flags=re.MULTILINE)
    (tmp_path / unit.name).write_text(text)
    found = analyze("verify", "--man=no", str(tmp_path / unit.name))
    assert (found.returncode, [line for line in found.stderr.splitlines() if unit.name in line]) == (0, [])


@needs_systemd
@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=by_name)
def test_little_is_open_to_the_daemons(unit):
    said = analyze("security", "--offline=true", "--no-pager", str(unit)).stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure.group(1)) <= MAX_EXPOSURE


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("name", ["edge_agent.daemon", "cloud_planner.command_line"])
async def test_a_daemon_tells_that_it_is_ready_that_it_lives_and_that_it_stops(name, tmp_path):
    (tmp_path / "agent.toml").write_text(
        'device_id = "box"\nstate_dir = "state"\ntier = "edge"\nplanner = "127.0.0.1:1"\ninsecure_loopback = true\n'
    )
    command = {
        "edge_agent.daemon": ("run", "--config", str(tmp_path / "agent.toml")),
        "cloud_planner.command_line": ("run", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "planner")),
    }[name]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
        incoming.bind(str(tmp_path / "notify"))
        incoming.setblocking(False)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", name, *command, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            heard = []
            async with asyncio.timeout(60):
                while not {b"READY=1", b"WATCHDOG=1"} <= set(heard):
                    heard.append(await asyncio.get_running_loop().sock_recv(incoming, 1000))
                process.send_signal(signal.SIGTERM)
                while heard[-1] != b"STOPPING=1":
                    heard.append(await asyncio.get_running_loop().sock_recv(incoming, 1000))
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
