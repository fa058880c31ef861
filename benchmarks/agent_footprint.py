"""What an idle agent takes of a box: resident memory and CPU of all its processes, connected to a real planner.

    .venv/bin/python benchmarks/agent_footprint.py [--seconds 60]

Prints one line of JSON with the machine it ran on. Idle means: registered, heartbeats and telemetry running, no query.
"""

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from pathlib import Path

import psutil

from circinus.client import Client
from circinus.local_fleet import LocalFleet

AGENT = """
device_id = "box-1"
tier = "edge"
site = "shop-1"
data_listen = "127.0.0.1:0"
"""


def processes_of(pid: int) -> list[psutil.Process]:
    """An agent's process and all its children."""
    agent = psutil.Process(pid)
    return [agent, *agent.children(recursive=True)]


def cpu_s(pid: int) -> float:
    """CPU seconds that they took so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes_of(pid))


async def measure(seconds: float) -> dict[str, object]:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="circinus-footprint-") as folder:
        async with LocalFleet(Path(folder), {"box-1": AGENT}) as fleet, Client(fleet.planner_address) as client:
            async with asyncio.timeout(30):
                while (await client.status()).devices_connected < 1:  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.1)
            pid = fleet.pid("box-1")
            before_s = cpu_s(pid)
            await asyncio.sleep(seconds)
            used_s = cpu_s(pid) - before_s
            return {
                "benchmark": "agent_footprint",
                "machine": f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}",
                "seconds": seconds,
                "processes": len(processes_of(pid)),
                "rss_mb": round(sum(process.memory_info().rss for process in processes_of(pid)) / 1e6, 1),
                "cpu_of_one_core_ratio": round(used_s / seconds, 4),
            }


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="Memory and CPU of an idle agent.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch it (default: 60)")
    print(json.dumps(asyncio.run(measure(parser.parse_args().seconds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
