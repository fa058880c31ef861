"""What an idle agent takes of a box: memory, CPU and disk, beside the bounds that are promised.

    .venv/bin/python benchmarks/idle_agent.py [--minutes 5] [--insecure] [--no-install] [--quick]

A planner and one agent as real processes, with mutual TLS unless told otherwise. Idle means: registered, heartbeats,
signs of life and everything periodic at work, no query. Memory is the resident memory of all of the agent's processes,
the highest that was seen; CPU is that of all of them, ended ones included, per second of one core, after the agent has
come to rest. The installed size is that of a fresh virtual environment with the base install, no extras. The last line
is JSON; exit code 1: a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from circinus.local_fleet import LocalFleet

ROOT = Path(__file__).resolve().parents[1]
MOST_RSS_MB = 60.0
AIMED_RSS_MB = 50.0
MOST_CPU_RATIO = 0.005
MOST_INSTALLED_MB = 120.0
#: The agent starts, calibrates itself once, and comes to rest.
SETTLE_S = 30.0
_SAMPLE_S = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
AGENT = """
device_id = "box-1"
tier = "edge"
site = "shop-1"
data_listen = "127.0.0.1:0"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Of all processes of an agent. ``cpu_s`` counts those that ended, too."""

    rss_bytes: int
    pss_bytes: int
    cpu_s: float
    processes: tuple[str, ...]


def used(pid: int) -> Used:
    """What an agent and its children take now."""
    agent = psutil.Process(pid)
    everyone = [agent, *agent.children(recursive=True)]
    rss = pss = 0
    ticks = 0
    names = []
    for process in everyone:
        try:
            memory = process.memory_full_info()
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except (psutil.Error, OSError):
            continue
        rss, pss = rss + memory.rss, pss + memory.pss
        # utime, stime and those of children that were waited for.
        ticks += sum(int(one) for one in fields[11:15])
        names.append(" ".join(process.cmdline()[-3:])[:80])
    return Used(rss_bytes=rss, pss_bytes=pss, cpu_s=ticks / _TICKS_PER_S, processes=tuple(names))


async def idle(seconds: float, settle_s: float, *, secure: bool) -> dict[str, object]:
    """An agent at rest, for so long."""
    with tempfile.TemporaryDirectory(prefix="circinus-idle-") as folder:
        async with LocalFleet(Path(folder), {"box-1": AGENT}, secure=secure) as fleet:
            async with asyncio.timeout(60):
                while "planner_connected" not in fleet.log("box-1"):  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.2)
            await asyncio.sleep(settle_s)
            pid = fleet.pid("box-1")
            before, highest = used(pid), 0
            left_s = seconds
            while left_s > 0.0:
                await asyncio.sleep(min(_SAMPLE_S, left_s))
                left_s -= _SAMPLE_S
                last = used(pid)
                highest = max(highest, last.rss_bytes)
            return {
                "rss_mb": round(highest / 1e6, 1),
                "pss_mb": round(last.pss_bytes / 1e6, 1),
                "cpu_of_one_core_ratio": round((last.cpu_s - before.cpu_s) / seconds, 5),
                "processes": last.processes,
                "seconds": seconds,
                "mutual_tls": secure,
            }


def installed() -> dict[str, object]:
    """The size of a fresh base install."""
    with tempfile.TemporaryDirectory(prefix="circinus-install-") as folder:
        environment = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", str(ROOT)], check=True)
        # As it is after the first start.
        subprocess.run([str(environment / "bin" / "python"), "-m", "compileall", "-q", str(environment)], check=False)
        sizes: dict[str, int] = {}
        site = next((environment / "lib").glob("python*/site-packages"))
        for path in environment.rglob("*"):
            if path.is_file() and not path.is_symlink():
                part = path.relative_to(site).parts[0] if path.is_relative_to(site) else "venv"
                sizes[part] = sizes.get(part, 0) + path.lstat().st_blocks * 512
        largest = sorted(sizes.items(), key=lambda entry: -entry[1])[:8]
        return {
            "installed_mb": round(sum(sizes.values()) / 1e6, 1),
            "largest_mb": {name: round(size / 1e6, 1) for name, size in largest},
        }


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="Memory, CPU and disk of an idle agent, beside their bounds.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to watch it (default: 5)")
    parser.add_argument("--insecure", action="store_true", help="in the clear, without an identity")
    parser.add_argument("--no-install", action="store_true", help="leave the installed size out")
    parser.add_argument("--quick", action="store_true", help="20 seconds, without the installed size: no figures")
    options = parser.parse_args()
    seconds, settle_s = (20.0, 5.0) if options.quick else (options.minutes * 60.0, SETTLE_S)
    found = asyncio.run(idle(seconds, settle_s, secure=not options.insecure))
    if not (options.no_install or options.quick):
        found |= installed()
    bounds = {
        "rss_mb": MOST_RSS_MB,
        "cpu_of_one_core_ratio": MOST_CPU_RATIO,
        "installed_mb": MOST_INSTALLED_MB,
    }
    missed = [name for name, most in bounds.items() if name in found and float(str(found[name])) > most]
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    for name, most in bounds.items():
        if name in found:
            print(f"{name:24} {found[name]!s:>10}   at most {most:g}{'   MISSED' if name in missed else ''}")
    print(
        json.dumps(
            {
                "benchmark": "idle_agent",
                "machine": machine,
                **found,
                "bounds": bounds,
                "aimed_rss_mb": AIMED_RSS_MB,
                "missed": missed,
            }
        )
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
