"""Real daemons on loopback, in a folder of the test's own."""

from pathlib import Path

import psutil
import pytest

from circinus.local_fleet import LocalFleet

TOY = Path(__file__).parent / "toy"

CAMERA = """
device_id = "camera-1"
tier = "edge"
site = "shop-1"
data_listen = ""
cores = 1.0
price_per_h = 0.05
[emulation]
speed_ratio = 0.25
[[links]]
peer = "cloud-1"
bandwidth_mbit_per_s = 20
rtt_ms = 10
emulated = true
"""
CLOUD = """
device_id = "cloud-1"
tier = "cloud"
site = "cloud"
data_listen = "127.0.0.1:0"
cores = 4.0
price_per_h = 2.0
[[links]]
peer = "camera-1"
bandwidth_mbit_per_s = 20
rtt_ms = 10
emulated = true
"""


@pytest.fixture
async def fleet(tmp_path):
    """A planner, a slow camera box and a cloud machine; nothing of them is left afterwards."""
    async for running in running_fleet(tmp_path, secure=False):
        yield running


@pytest.fixture
async def secure_fleet(tmp_path):
    """The same with identities: mutual TLS everywhere."""
    async for running in running_fleet(tmp_path, secure=True):
        yield running


async def running_fleet(tmp_path, *, secure):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with LocalFleet(tmp_path / "fleet", {"camera-1": CAMERA, "cloud-1": CLOUD}, secure=secure) as running:
        yield running
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert left == []
    marker = str(tmp_path)
    assert [process.pid for process in psutil.process_iter() if marker in " ".join(cmdline_of(process))] == []


def cmdline_of(process):
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
