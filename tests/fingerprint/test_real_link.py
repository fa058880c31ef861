"""A burst over a real TCP connection in a network namespace of its own, whose loopback the kernel holds to a rate."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.system]

SCRIPT = """
import asyncio
from types import SimpleNamespace

from circinus.clock import SystemClock
from edge_agent.dataplane.peer_stream import PeerStream
from edge_agent.dataplane.pipe import dial_pipe, listen_for_pipes
from edge_agent.fingerprint.links import burst


async def main():
    opened = asyncio.Queue()
    server, port = await listen_for_pipes("127.0.0.1:0", None, opened.put_nowait)
    ours = await dial_pipe(f"127.0.0.1:{port}", None, "peer")
    theirs = await opened.get()

    async def read():
        while await theirs.read() is not None:
            pass

    reading = asyncio.create_task(read())
    stream = PeerStream(SimpleNamespace(idle=True), ours)
    print(await burst(stream, 1024 * 1024, SystemClock()))
    ours.close()
    theirs.close()
    server.close()
    await reading


asyncio.run(main())
"""


def _in_namespace(command):
    return ("unshare", "-rn", "sh", "-c", f"ip link set lo up mtu 1500 && {command}")


def _shaped(rate):
    return f"tc qdisc add dev lo root tbf rate {rate} burst 16k latency 100ms"


def _can_shape():
    if not all(shutil.which(name) for name in ("unshare", "ip", "tc")):
        return False
    return subprocess.run(_in_namespace(_shaped("5mbit")), capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("rate", "bit_per_s"), [("2mbit", 2e6), ("20mbit", 2e7)])
async def test_a_burst_finds_what_the_kernel_lets_through(rate, bit_per_s):
    if not _can_shape():
        pytest.skip("no network namespace can be shaped here")
    child = await asyncio.create_subprocess_exec(
        *_in_namespace(f'{_shaped(rate)} && exec "$0" -c "$1"'), sys.executable, SCRIPT, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60.0):
            said, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert bit_per_s / 3 < float(said) < bit_per_s * 3
