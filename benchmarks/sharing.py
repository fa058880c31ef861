"""What queries save when they share: nothing shared, processes, and everything that they have in common.

    .venv/bin/python benchmarks/sharing.py [--quick] [--seconds 8]

First planned: one box, more and more queries with the same pipeline and configuration, by the live planner's own
functions. Not shared: each query has a bundle of its own, with the same code. Processes: one bundle. Prefix: one
bundle, and all read `stream:door`. Then four queries are served for real on this machine, from the directives of their
plans: CPU and memory of all their processes, and what was answered. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from table_text import table

from circinus.clock import SystemClock
from circinus.model.device import Device, DeviceClass, DeviceId, Digest, Environment, SiteId, Tier
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import (
    ContentRef,
    ContentSpec,
    EnvironmentSpec,
    OperatorId,
    OperatorSpec,
    Pipeline,
    PipelineId,
    RegisteredPipeline,
    configuration_key,
)
from circinus.model.plan import Interval, Selection
from circinus.model.profile import ConfigurationProfile, OperatorSample, ProfileTable, SampleResult
from circinus.model.query import Query, QueryId, Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.audit_directives import audit_directives
from cloud_planner.core.decompose import Choice, Fleet, decompose
from cloud_planner.core.directives import directives
from cloud_planner.core.select import select
from cloud_planner.core.shares import shares_of
from cloud_planner.solver import CbcSolver
from edge_agent.serving import Serving

BOX = DeviceId("box")
MODES = ("nothing", "processes", "prefix")
#: CPU ms of an item at each of the two operators, and what each allocates when it starts.
LOOK_MS, READ_MS = 12.0, 6.0
HELD_BYTES = 96 * 2**20
RATE_PER_S = 6.0
LATENCY_MS = 600.0
CODE = f"""
import time
from itertools import count
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        for number in count(self.seed):
            yield Sample(payload={{"number": number}}, truth={{"number": number}})

class Same(Scorer):
    def score(self, outputs, truth):
        return float(all(one["number"] == truth["number"] for one in outputs.values()))

class Burn(Operator):
    ms = 0.0
    def setup(self):
        self.held = bytearray(b"x" * {HELD_BYTES})
    def process(self, inputs):
        end = time.process_time() + self.ms / 1000
        while time.process_time() < end:
            pass
        return next(iter(inputs.values()))

class Look(Burn):
    ms = {LOOK_MS}

class Read(Burn):
    ms = {READ_MS}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What was planned for so many queries in one mode."""

    mode: str
    fleet: Fleet
    queries: tuple[Query, ...]
    selection: Selection
    told: tuple[Directive, ...]

    @property
    def cores(self) -> float:
        """Cores of all processes."""
        return sum(one.replicas * one.cores for found in self.told for one in found.replica_sets)

    @property
    def memory_bytes(self) -> int:
        """Memory that is planned for all processes."""
        return sum(one.replicas * one.memory_bytes for found in self.told for one in found.replica_sets)

    @property
    def processes(self) -> int:
        """How many processes serve operators."""
        return sum(one.replicas for found in self.told for one in found.replica_sets)

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "mode": self.mode,
            "queries": len(self.queries),
            "served": len(self.selection.plans),
            "goodput_per_s": round(self.selection.goodput_per_s, 3),
            "cost_per_h": round(self.selection.cost_per_h, 4),
            "cores": round(self.cores, 3),
            "memory_mib": round(self.memory_bytes / 2**20),
            "processes": self.processes,
        }


def plan(mode: str, count: int, cores: float, memory_bytes: int) -> Planned:
    """The plan of so many queries on one box.

    Raises:
        RuntimeError: an audit found something.
    """
    digests = [Digest("sha256:" + f"{number if mode == 'nothing' else 0:064x}") for number in range(count)]
    pipelines = {PipelineId(f"cam-{digest[-8:]}"): registered(digest) for digest in dict.fromkeys(digests)}
    queries = tuple(
        Query(
            id=QueryId(f"q{number:02d}"),
            pipeline_id=PipelineId(f"cam-{digest[-8:]}"),
            content="day",
            source_device_id=BOX,
            rate_per_s=RATE_PER_S,
            slo=Slo(latency_ms=LATENCY_MS),
            input="stream:door" if mode == "prefix" else "",
        )
        for number, digest in enumerate(digests)
    )
    accuracy = Interval(value=0.9, low=0.9, high=0.9)
    fleet = Fleet(
        devices=(box(cores, memory_bytes),),
        pipelines=pipelines,
        tables={(one.bundle_digest, one.contents[0].digest): profiles(one) for one in pipelines.values()},
        choices={query.id: (Choice(configuration={}, accuracy=accuracy),) for query in queries},
    )
    problem = decompose(fleet, queries)
    selection = select(problem, CbcSolver()).selection
    told = directives(
        fleet, queries, selection.plans, Generation(epoch=1, number=1), shares_of(problem, selection.plans)
    )
    if found := (*audit(problem, selection), *audit_directives(selection, told, {}, problem)):
        raise RuntimeError(f"an audit found: {found[0].subject}: {found[0].message}")
    return Planned(mode=mode, fleet=fleet, queries=queries, selection=selection, told=told)


def registered(digest: Digest) -> RegisteredPipeline:
    """The pipeline under a bundle's digest."""
    pipeline = Pipeline(
        id=PipelineId(f"cam-{digest[-8:]}"),
        description="",
        environment=EnvironmentSpec(),
        source="shared_toy:Numbers",
        scorer="shared_toy:Same",
        operators=(
            OperatorSpec(
                id=OperatorId("look"), entry_point="shared_toy:Look", inputs=(OperatorId("source"),), knobs=()
            ),
            OperatorSpec(id=OperatorId("read"), entry_point="shared_toy:Read", inputs=(OperatorId("look"),), knobs=()),
        ),
        outputs=(OperatorId("read"),),
        contents=(ContentSpec(name="day", seed=1, samples=8),),
    )
    content = ContentRef(name="day", digest=Digest("sha256:" + "c" * 64), samples=8)
    environment = Digest("sha256:" + "e" * 64)
    return RegisteredPipeline(
        pipeline=pipeline, bundle_digest=digest, environment_digest=environment, contents=(content,)
    )


def box(cores: float, memory_bytes: int) -> Device:
    """The one device."""
    return Device(
        id=BOX,
        tier=Tier.EDGE,
        site=SiteId("door"),
        device_class=DeviceClass("host"),
        cpu_model="cpu",
        logical_cores=max(1, int(cores)),
        max_frequency_mhz=0.0,
        cpu_flags=(),
        cores=cores,
        memory_bytes=memory_bytes,
        disk_free_bytes=0,
        accelerators=(),
        links=(),
        price_per_h=1.0,
        speed_ratio=1.0,
        environments=(Environment(digest=Digest("sha256:" + "e" * 64), ready=True),),
        data_address="",
        agent_version="1",
    )


def profiles(one: RegisteredPipeline) -> ProfileTable:
    """What a profile would have measured."""
    times = {"look": LOOK_MS, "read": READ_MS}
    samples = tuple(
        SampleResult(
            sample_index=index,
            score_ratio=None,
            operators=tuple(
                OperatorSample(operator_id=OperatorId(name), cpu_ms=ms, wall_ms=ms, output_bytes=100, cached=False)
                for name, ms in times.items()
            ),
        )
        for index in range(8)
    )
    memory = dict.fromkeys((OperatorId("look"), OperatorId("read")), HELD_BYTES + 30 * 2**20)
    profile = ConfigurationProfile(configuration={}, samples=samples, memory_bytes=memory, source_bytes=100)
    return ProfileTable(
        bundle_digest=one.bundle_digest,
        content_digest=one.contents[0].digest,
        scores={configuration_key({}): dict.fromkeys(range(8), 0.9)},
        times={DeviceClass("host"): (profile,)},
    )


async def serve(planned: Planned, seconds: float) -> dict[str, object]:
    """Serves a plan for real for so long."""
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / "bundle"
        bundle.mkdir()
        (bundle / "shared_toy.py").write_text(CODE)
        serving = Serving(
            device_id=BOX,
            speed_ratio=1.0,
            links=(),
            run_dir=Path(name) / "run",
            python_for=lambda _: Path(sys.executable),
            bundle_path=lambda _: bundle,
            providers=("CPUExecutionProvider",),
            clock=SystemClock(),
            on_change=lambda: None,
        )
        await serving.start("")
        try:
            (told,) = planned.told
            await serving.apply(told)
            async with asyncio.timeout(60.0):
                while serving.status().phase != "ready":  # noqa: ASYNC110 - nobody tells when
                    await asyncio.sleep(0.05)
            await serving.activate(told.generation)
            await asyncio.sleep(1.0)
            serving.take_windows()
            sources = {source.key for source in told.sources}
            before_s = _cpu_s(serving, sources)
            await asyncio.sleep(seconds)
            cpu_s = _cpu_s(serving, sources) - before_s
            memory = _memory_bytes(serving, sources)
            windows, operators = serving.take_windows()
            totals: Counter[str] = Counter()
            for window in windows:
                totals.update(emitted=window.emitted, answered=window.answered)
            totals["runs"] = sum(one.items for one in operators)
            return {
                "mode": planned.mode,
                "queries": len(planned.queries),
                "processes": sum(len(pids) for key, pids in serving.status().pids.items() if key not in sources),
                "cores_used": round(cpu_s / seconds, 3),
                "memory_mib": round(memory / 2**20),
                "answered_per_s": round(totals["answered"] / seconds, 2),
                "answered_ratio": round(totals["answered"] / max(1, totals["emitted"]), 3),
                "operator_runs_per_s": round(totals["runs"] / seconds, 2),
            }
        finally:
            await serving.stop(2.0)


def _operators(serving: Serving, sources: set[str]) -> list[psutil.Process]:
    pids = serving.status().pids.items()
    return [psutil.Process(pid) for key, found in pids if key not in sources for pid in found]


def _cpu_s(serving: Serving, sources: set[str]) -> float:
    times = [one.cpu_times() for one in _operators(serving, sources)]
    return sum(one.user + one.system for one in times)


def _memory_bytes(serving: Serving, sources: set[str]) -> int:
    return sum(one.memory_info().rss for one in _operators(serving, sources))


def main(arguments: Sequence[str]) -> int:
    """Runs it and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer queries, and shorter")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each mode is served")
    options = parser.parse_args(arguments)
    counts = (2, 4, 12) if options.quick else (2, 4, 8, 16, 24)
    seconds = min(options.seconds, 4.0) if options.quick else options.seconds
    print(
        f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    )
    plans = [plan(mode, count, 4.0, 2**30) for count in counts for mode in MODES]
    print(f"\nPlanned on a box of 4 cores and 1 GiB, {RATE_PER_S:g} items/s for each query:")
    head = ("queries", "shared", "served", "goodput/s", "cost/h", "cores", "memory MiB", "processes")
    names = ("queries", "mode", "served", "goodput_per_s", "cost_per_h", "cores", "memory_mib", "processes")
    print(table(head, [[str(one.document()[name]) for name in names] for one in plans]))
    four = [plan(mode, 4, 4.0, 8 * 2**30) for mode in MODES]
    served = [asyncio.run(serve(one, seconds)) for one in four]
    print(f"\nFour queries served for {seconds:g} s:")
    titles = ("shared", "processes", "cores used", "memory MiB", "answered/s", "answered", "operator runs/s")
    fields = (
        "mode",
        "processes",
        "cores_used",
        "memory_mib",
        "answered_per_s",
        "answered_ratio",
        "operator_runs_per_s",
    )
    print(table(titles, [[str(one[name]) for name in fields] for one in served]))
    ratios = {
        one["mode"]: {
            "cores_ratio": round(float(str(one["cores_used"])) / float(str(served[0]["cores_used"])), 3),
            "memory_ratio": round(float(str(one["memory_mib"])) / float(str(served[0]["memory_mib"])), 3),
        }
        for one in served[1:]
    }
    print("\nAgainst nothing shared:", ", ".join(f"{mode} {found}" for mode, found in ratios.items()))
    print(json.dumps({"planned": [one.document() for one in plans], "served": served, "ratios": ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
