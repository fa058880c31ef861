"""Offered load 1x, 2x and 5x of the plan: what becomes of a query's item goodput, and of its neighbour's.

    .venv/bin/python benchmarks/overload.py [--quick]

Two queries, A and B, are planned at the same rate and served by the agent's own serving half with real processes. A
then offers once, twice and five times its rate; B keeps to its own. They share, in turn: a device (each its own
process), a process in which each has its own cores, as the planner gives them, one queue of a process, and an emulated
link to a second device. The operator burns CPU time that varies from item to item
and is paced to its share of a core. Each round has all loads in it, and ratios are of medians over the rounds. Item
goodput: items a second that were answered in time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from circinus.clock import SystemClock
from circinus.model.device import DeviceId, Digest, Link
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, Target, Use
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from edge_agent.serving import Serving

OPERATORS = """
import random, time
from circinus.operator import Operator, Sample, Source

class Frames(Source):
    def samples(self):
        rng = random.Random(self.seed)
        while True:
            yield Sample(payload={"cpu_ms": 6.0 * rng.uniform(0.6, 1.4), "data": bytes(20_000)})

class Burn(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        end_s = time.process_time() + one["cpu_ms"] / 1000
        while time.process_time() < end_s:
            pass
        return {"done": 1}
"""
RATE_PER_S = 25.0
#: 6 ms of CPU an item and query: six tenths of this share of a core.
CORES = 0.25
DEADLINE_MS = 250.0
LOADS = (1.0, 2.0, 5.0)
#: Both queries at their rates take seven tenths of it.
LINK = {"bandwidth_bit_per_s": 11_500_000, "rtt_ms": 10.0}
SETTLE_S, QUICK_SETTLE_S = 4.0, 2.0
MEASURE_S, QUICK_MEASURE_S = 12.0, 4.0
ROUNDS = 5
GOODPUT_BAR_RATIO, NEIGHBOUR_BAR_RATIO = 0.90, 0.95
GENERATION = Generation(epoch=1, number=1)
BOX, HUB = DeviceId("box"), DeviceId("hub")
QUERIES = (QueryId("a"), QueryId("b"))
SETTINGS = ("device", "process", "queue", "link")


def say(text: str) -> None:
    """To whoever watches."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Seen:
    """What one query did at one load, summed over the rounds."""

    goodput_per_s: list[float] = field(default_factory=list)
    offered: int = 0
    late: int = 0
    latency_ms: Sketch = field(default_factory=Sketch)
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def document(self) -> dict[str, object]:
        """As JSON."""
        there = self.latency_ms.count > 0
        return {
            "goodput_per_s": round(statistics.median(self.goodput_per_s), 2),
            "goodput_of_rounds_per_s": [round(one, 2) for one in self.goodput_per_s],
            "mean_ms": round(self.latency_ms.mean, 1) if there else None,
            "p95_ms": round(self.latency_ms.quantile(0.95), 1) if there else None,
            "offered": self.offered,
            "late": self.late,
            "dropped": dict(sorted(self.dropped.items())),
            "failed": dict(sorted(self.failed.items())),
        }


def replica_set(key: str, queries: Sequence[QueryId], cores: float, own_cores: float = 0.0) -> ReplicaSet:
    """The processes of one operator, for one query or several, each of which may have cores of its own."""
    return ReplicaSet(
        key=key,
        query_id=queries[0],
        pipeline_id=PipelineId("burn"),
        operator_id=OperatorId("burn"),
        bundle_digest=Digest("sha256:b"),
        environment_digest=Digest("sha256:e"),
        entry_point="overload_operators:Burn",
        knobs={},
        replicas=1,
        cores=cores,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=0,
        batch=1,
        hang_ms=30_000.0,
        inputs=(SOURCE,),
        uses=tuple(
            Use(
                query_id=query_id,
                operator_id=OperatorId("burn"),
                inputs=(SOURCE,),
                rate_per_s=RATE_PER_S,
                after_ms=LINK["rtt_ms"],
                deadline_ms=DEADLINE_MS,
                cores=own_cores,
                replicas=1,
            )
            for query_id in queries
        ),
    )


def directives(setting: str, hub_address: str) -> list[Directive]:
    """What the devices run."""
    own = tuple(replica_set(query_id, (query_id,), CORES) for query_id in QUERIES)
    both = replica_set("both", QUERIES, 2 * CORES, CORES if setting == "process" else 0.0)
    sets = (both,) if setting in ("process", "queue") else own
    where = HUB if setting == "link" else BOX
    routes = tuple(
        Route(
            query_id=query_id,
            operator_id=OperatorId("burn"),
            inputs=(SOURCE,),
            targets=(Target(device_id=where, share_ratio=1.0),),
        )
        for query_id in QUERIES
    )
    sources = tuple(
        SourceSpec(
            key=f"source-{query_id}",
            query_id=query_id,
            pipeline_id=PipelineId("burn"),
            bundle_digest=Digest("sha256:b"),
            environment_digest=Digest("sha256:e"),
            entry_point="overload_operators:Frames",
            scorer_entry_point="",
            content="plain",
            seed=index,
            rate_per_s=RATE_PER_S,
            deadline_ms=DEADLINE_MS,
            output_operator_ids=(OperatorId("burn"),),
        )
        for index, query_id in enumerate(QUERIES)
    )
    apart = setting == "link"
    box = Directive(
        device_id=BOX,
        generation=GENERATION,
        replica_sets=() if apart else sets,
        routes=routes,
        sources=sources,
        peers=(Peer(device_id=HUB, address=hub_address),) if apart else (),
    )
    hub = Directive(device_id=HUB, generation=GENERATION, replica_sets=sets, routes=routes, sources=(), peers=())
    return [hub, box] if apart else [box]


class Devices:
    """One or two devices that serve; ``offered`` is how many times its rate each query offers."""

    def __init__(self, folder: Path, setting: str) -> None:
        self.offered: dict[QueryId, float] = {}
        self._folder = folder
        self._setting = setting
        self._devices: dict[DeviceId, Serving] = {}

    async def __aenter__(self) -> Devices:
        (self._folder / "overload_operators.py").write_text(OPERATORS)
        hub_address = await self._start(HUB, "127.0.0.1:0") if self._setting == "link" else ""
        await self._start(BOX, "")
        todo = directives(self._setting, hub_address)
        for one in todo:
            await self._devices[one.device_id].apply(one)
        async with asyncio.timeout(60):
            while any(self._devices[one.device_id].status().phase != "ready" for one in todo):  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.05)
        for one in todo:
            await self._devices[one.device_id].activate(one.generation)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(device.stop(2.0) for device in self._devices.values()))

    async def _start(self, device_id: DeviceId, listen: str) -> str:
        peer = BOX if device_id == HUB else HUB
        device = Serving(
            device_id=device_id,
            speed_ratio=1.0,
            links=(Link(peer=peer, emulated=True, **LINK),),  # type: ignore[arg-type]  # figures by name
            run_dir=self._folder / f"run-{device_id}",
            python_for=lambda _: Path(sys.executable),
            bundle_path=lambda _: self._folder,
            providers=("CPUExecutionProvider",),
            clock=SystemClock(),
            on_change=lambda: None,
            offered_ratio=lambda query_id: self.offered.get(query_id, 1.0),
        )
        self._devices[device_id] = device
        return await device.start(listen)

    async def measure(self, load: float, settle_s: float, measure_s: float, seen: Mapping[QueryId, Seen]) -> None:
        """Has A offer so much, lets that settle, and adds what then happens."""
        self.offered[QUERIES[0]] = load
        await asyncio.sleep(settle_s)
        for device in self._devices.values():
            device.take_windows()
        await asyncio.sleep(measure_s)
        for window in self._devices[BOX].take_windows()[0]:
            one = seen[QueryId(window.query_id)]
            one.goodput_per_s.append(window.answered / window.duration_s)
            one.offered += window.emitted
            one.late += window.late
            one.latency_ms.merge(Sketch.of(window.latency_ms))
            one.dropped.update(dict(window.dropped_by_place))
            one.failed.update(dict(window.failed_by_cause))


async def measured(setting: str, *, rounds: int, settle_s: float, measure_s: float) -> dict[str, object]:
    """One setting."""
    seen = {load: {query_id: Seen() for query_id in QUERIES} for load in LOADS}
    with tempfile.TemporaryDirectory(prefix="circinus-overload-") as folder:
        async with Devices(Path(folder), setting) as devices:
            await asyncio.sleep(settle_s)
            for number in range(rounds):
                # To and fro, so that what drifts does not favour a load.
                for load in LOADS if number % 2 == 0 else reversed(LOADS):
                    await devices.measure(load, settle_s, measure_s, seen[load])
    found: dict[str, object] = {"setting": setting}
    base = seen[LOADS[0]]
    for load in LOADS:
        line: dict[str, object] = {}
        for query_id in QUERIES:
            one, at_plan = seen[load][query_id], statistics.median(base[query_id].goodput_per_s)
            ratio = statistics.median(one.goodput_per_s) / max(1e-9, at_plan)
            line[query_id] = {**one.document(), "to_1x_ratio": round(ratio, 3)}
            say(told(setting, load, query_id, line[query_id]))
        found[f"{load:g}x"] = line
    return found


def told(setting: str, load: float, query_id: QueryId, line: object) -> str:
    """A query at one load, for people."""
    assert isinstance(line, dict)
    return (
        f"{setting:8} A at {load:g}x  {query_id.upper()}: {line['goodput_per_s']:6.2f} items/s in time "
        f"({line['to_1x_ratio']:.3f} of 1x), mean {line['mean_ms']} ms, p95 {line['p95_ms']} ms, "
        f"late {line['late']}, dropped {line['dropped']}, failed {line['failed']}"
    )


def bars(found: Sequence[Mapping[str, object]]) -> list[str]:
    """The bars, kept or missed."""
    lines = []
    for one in found:
        for query_id, bar_ratio, words in (
            ("a", GOODPUT_BAR_RATIO, "item goodput at 5x"),
            ("b", NEIGHBOUR_BAR_RATIO, "its neighbour's beside it"),
        ):
            ratio = one["5x"][query_id]["to_1x_ratio"]  # type: ignore[index]  # made above
            verdict = "kept" if ratio >= bar_ratio else "MISSED"
            lines.append(f"{one['setting']}: {words} {ratio:.3f} of that at 1x, at least {bar_ratio:.2f}: {verdict}")
    return lines


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="Item goodput under overload.")
    parser.add_argument("--quick", action="store_true", help="one round of short looks, about a minute")
    quick = parser.parse_args().quick
    rounds, settle_s, measure_s = (1, QUICK_SETTLE_S, QUICK_MEASURE_S) if quick else (ROUNDS, SETTLE_S, MEASURE_S)
    found = [
        asyncio.run(measured(setting, rounds=rounds, settle_s=settle_s, measure_s=measure_s)) for setting in SETTINGS
    ]
    verdicts = bars(found)
    for verdict in verdicts:
        say(verdict)
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    document = {"benchmark": "overload", "machine": machine, "rounds": rounds, "bars": verdicts, "settings": found}
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
