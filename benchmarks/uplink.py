"""The uplink of a site is cut for a minute and comes back: what becomes of every item, with real daemons.

    .venv/bin/python benchmarks/uplink.py [--quick] [--seconds 60]

A planner, a cloud machine and a small box run as processes; all that the box says to either goes through relays in this
process. These cut it in both ways that uplinks die: connections reset, and connections that stay and carry nothing. Two
queries of the box run in the cloud as long as they can, and allow a stand-by. A second before the end they are removed,
so that every item has ended when it is counted; what was emitted is the box's own count.

Printed for each cut: the time to the switch and to the first local answer, and until the plan serves again; for the
whole run: outcomes, duplicates, the ledger against the box's count, and whether the plan stood as it was. The last line
is JSON, kept in results/uplink.json. --quick: 15 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import psutil

from circinus.client import Client
from circinus.local_fleet import LocalFleet
from circinus.local_relay import LocalRelay
from circinus.model.query import Query, Slo
from circinus.stand_by_reports import StandByEpisode
from circinus.v1 import types_pb2

PIPELINE = Path(__file__).parent / "uplink_pipeline"
RESULTS = Path(__file__).parent / "results" / "uplink.json"
RATES = {"gate-1": 5.0, "gate-2": 8.0}
#: The bar: local answers begin within so long.
LOCAL_WITHIN_S = 2.0
STEADY_S = 5.0
BOX = """
device_id = "box-1"
tier = "edge"
site = "shop-1"
data_listen = ""
cores = 2.0
price_per_h = 0.05
[emulation]
speed_ratio = 0.25
"""
CLOUD = """
device_id = "cloud-1"
tier = "cloud"
site = "cloud"
cores = 4.0
price_per_h = 2.0
data_listen = "127.0.0.1:{port}"
data_advertise = "{relay}"
"""
LINK = """
[[links]]
peer = "{peer}"
bandwidth_mbit_per_s = 50
rtt_ms = 10
emulated = true
"""

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Cut:
    """One cut, in seconds from it; ``back_s`` from the mending. By query."""

    way: str
    switched_s: dict[str, float] = field(default_factory=dict)
    answered_s: dict[str, float] = field(default_factory=dict)
    back_s: dict[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "way": self.way,
            "switched_s": self.switched_s,
            "first_local_answer_s": self.answered_s,
            "plan_serves_again_s": self.back_s,
        }


@dataclass(slots=True, kw_only=True)
class Run:
    """All that is going on."""

    fleet: LocalFleet
    client: Client
    relays: tuple[LocalRelay, ...]

    async def until(self, what: str, found: Callable[[], Awaitable[T | None]], within_s: float = 180.0) -> T:
        """Waits for what other processes do."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            value = await found()
            if value:
                return value
            await asyncio.sleep(0.1)
        raise SystemExit(f"waited {within_s:g} s for {what}; the box's log ends:\n{self.fleet.log('box-1')[-3000:]}")

    async def serving(self) -> bool:
        """Whether all queries are served and nothing more is measured for them."""
        states = await self.client.queries()
        return len(states) == len(RATES) and all(state.serving and state.settled for state in states)

    async def settled(self) -> bool:
        """Whether the planner has nothing to do."""
        status = await self.client.status()
        return status.devices_connected == 2 and status.activity == "idle"

    async def ended(self, count: int) -> dict[str, StandByEpisode] | None:
        """Each query's newest episode, once each has so many, and all have ended."""
        found: dict[str, StandByEpisode] = {}
        for query_id in RATES:
            state = (await self.client.query(query_id)).stand_by
            episodes = state.episodes if state is not None else ()
            if len(episodes) < count or any(one.end is None for one in episodes):
                return None
            found[query_id] = episodes[0]
        return found

    async def cut(self, way: str, seconds: float, count: int) -> Cut:
        """Cuts everything for so long, and waits until the planner was told that it is over."""
        result = Cut(way=way)
        began = time.time()
        for relay in self.relays:
            getattr(relay, way)()
        await asyncio.sleep(seconds)
        mended = time.time()
        for relay in self.relays:
            relay.mend()
        episodes = await self.until("both stand-bys to end", lambda: self.ended(count))
        for query_id, one in sorted(episodes.items()):
            result.switched_s[query_id] = round(one.start.timestamp() - began, 3)
            if one.end is not None:
                result.back_s[query_id] = round(one.end.timestamp() - mended, 3)
        for at, query_id in first_answers(self.fleet.log("box-1")):
            if at >= began and query_id not in result.answered_s:
                result.answered_s[query_id] = round(at - began, 3)
        return result


def first_answers(log: str) -> list[tuple[float, str]]:
    """When a stand-by answered first, and whose it was."""
    found = re.findall(r"^(\S+) INFO box-1 stand_by_answers query=(\S+)", log, re.MULTILINE)
    return [(datetime.fromisoformat(moment).timestamp(), query_id) for moment, query_id in found]


def own_count(log: str) -> dict[str, int]:
    """What the box says at its end of all its items."""
    line = re.findall(r"serving_stopped (.*)$", log, re.MULTILINE)[-1]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def ledger(folder: Path) -> tuple[int, Counter[str], int]:
    """Of all windows that the planner has: items emitted, outcomes, and those that stand-bys answered."""
    connection = sqlite3.connect(f"file:{folder}/planner/planner.sqlite3?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT message FROM windows WHERE kind = 'query'").fetchall()
    finally:
        connection.close()
    emitted, local, outcomes = 0, 0, Counter[str]()
    for (message,) in rows:
        window = types_pb2.QueryWindow.FromString(message)
        emitted += window.emitted
        local += window.stand_by_answered
        outcomes["answered"] += window.answered
        outcomes["late"] += window.late
        for name, by_cause in (("dropped", window.dropped_by_cause), ("failed", window.failed_by_cause)):
            for cause, count in by_cause.items():
                outcomes[f"{name}: {cause}"] += count
    return emitted, outcomes, local


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def measure(seconds: float) -> dict[str, object]:
    """One run with both cuts."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="circinus-uplink-") as name:
        folder = Path(name)
        async with LocalRelay(f"127.0.0.1:{port}") as data:
            cloud = CLOUD.format(port=port, relay=data.address) + LINK.format(peer="box-1")
            async with (
                LocalFleet(folder, {"cloud-1": cloud}) as fleet,
                LocalRelay(fleet.planner_address) as control,
                Client(fleet.planner_address) as client,
            ):
                box = BOX + LINK.format(peer="cloud-1")
                await fleet.start_agent("box-1", box, planner_address=control.address)
                return await measured(Run(fleet=fleet, client=client, relays=(data, control)), folder, seconds)


async def measured(run: Run, folder: Path, seconds: float) -> dict[str, object]:
    """Serves, cuts, counts."""
    await run.until("both devices", run.settled)
    await run.client.add_pipeline(PIPELINE)
    slo = Slo(latency_ms=110.0, accuracy_ratio=0.9)
    await run.client.submit(
        [
            Query(
                id=query_id,  # type: ignore[arg-type]
                pipeline_id="uplink",  # type: ignore[arg-type]
                content="plain",
                source_device_id="box-1",  # type: ignore[arg-type]
                rate_per_s=rate_per_s,
                slo=slo,
                stand_by=True,
            )
            for query_id, rate_per_s in RATES.items()
        ]
    )
    await run.until("both queries to be served", run.serving)
    await run.until("the planner to be idle", run.settled)
    for query_id in RATES:
        state = await run.client.query(query_id)
        where = {one.operator_id: one.device_id for one in state.plan.operators} if state.plan else {}
        print(f"{query_id}: plan {where}, stand-by {state.stand_by}", file=sys.stderr)
    await asyncio.sleep(STEADY_S)
    before = await standing(run)
    cuts = [await run.cut(way, seconds, count) for count, way in enumerate(("reset", "stall"), start=1)]
    await asyncio.sleep(STEADY_S)
    await run.until("the planner to be idle", run.settled)
    after = await standing(run)
    for query_id in RATES:
        await run.client.remove_query(query_id)
    await run.until("the box to have nothing", lambda: stopped(run))
    await asyncio.sleep(STEADY_S)
    await run.fleet.terminate("box-1")
    own = own_count(run.fleet.log("box-1"))
    emitted, outcomes, local = ledger(folder)
    return report(cuts, own, emitted, outcomes, local, before == after)


async def standing(run: Run) -> tuple[int, dict[str, Mapping[str, int]]]:
    """The generation, and which processes serve."""
    devices = await run.client.devices()
    return (await run.client.status()).generation, {one.device.id: dict(one.pids) for one in devices}


async def stopped(run: Run) -> bool:
    """Whether no query runs on the box any more."""
    return not any(one.pids for one in await run.client.devices() if one.device.id == "box-1")


def report(
    cuts: list[Cut], own: Mapping[str, int], emitted: int, outcomes: Counter[str], local: int, untouched: bool
) -> dict[str, object]:
    """All figures, and which bars are kept."""
    answered = [at for cut in cuts for at in cut.answered_s.values()]
    switched = sum(len(cut.switched_s) for cut in cuts)
    right = outcomes["answered"] / max(1, emitted)
    kept = {
        f"local answers begin within {LOCAL_WITHIN_S:g} s": len(answered) == switched == len(cuts) * len(RATES)
        and max(answered) <= LOCAL_WITHIN_S,
        "exactly one outcome each": own["emitted"] == own["ended"] == sum(outcomes.values()),
        "ledger complete": emitted == own["emitted"],
        "plan and processes untouched": untouched,
    }
    for cut in cuts:
        print(f"cut by {cut.way}: {json.dumps(cut.document())}")
    print(f"items: {own['emitted']} emitted by the box, {emitted} in the ledger; answered in time {right:.4f}")
    print(f"outcomes: {dict(outcomes)}; {local} answered by stand-bys; {own['duplicates']} late outcomes left out")
    for bar, is_kept in kept.items():
        print(f"{'kept  ' if is_kept else 'MISSED'} {bar}")
    return {
        "cuts": [cut.document() for cut in cuts],
        "emitted": own["emitted"],
        "in_ledger": emitted,
        "outcomes": dict(outcomes),
        "answered_in_time_ratio": round(right, 5),
        "answered_by_stand_bys": local,
        "late_outcomes_left_out": own["duplicates"],
        "kept": kept,
    }


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="An uplink that is cut and comes back.")
    parser.add_argument("--quick", action="store_true", help="15 s for each cut")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each cut lasts (default: 60)")
    given = parser.parse_args()
    seconds = 15.0 if given.quick else given.seconds
    # However it is stopped, its daemons are, too.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    figures = asyncio.run(measure(seconds))
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    document = {"benchmark": "uplink", "machine": machine, "cut_s": seconds, **figures}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
