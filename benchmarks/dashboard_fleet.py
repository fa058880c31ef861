"""A large fleet for the dashboard: a state folder filled through the real store, and the planner's parts on top of it.

Devices and their queries are made up, plans and directives with them, so that no solver is needed; everything that
pages read is the planner's own. Telemetry of every query flows in as agents would send it. What plans does not run: the
figures are of the dashboard, beside the planner's book-keeping.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from circinus.bundle import environment_digest
from circinus.clock import SystemClock
from circinus.events import configure, event, warning
from circinus.model.device import Accelerator, Device, Environment, Tier
from circinus.model.directive import Generation
from circinus.model.pipeline import ContentRef
from circinus.model.query import Query, QueryId, Slo
from circinus.sketch import Sketch
from circinus.spec.pipeline import parse_pipeline
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.daemon import DASHBOARD_ADDRESS_FILE, Settings, assemble
from cloud_planner.dashboard.place import Place, bound
from cloud_planner.dashboard.server import serving
from cloud_planner.registry import AgentSession
from cloud_planner.services.planner import PlannerService
from cloud_planner.solving import PlanningProcess, SearchProcess
from cloud_planner.store import GenerationRecord, PipelineRecord, RolloutPhase, SqliteStore

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "examples" / "documents" / "pipeline.yaml"
OPERATORS = ("rectify", "encode", "denoise", "read")
#: How often a device tells what it did.
_WINDOW_S = 10.0
_ROUND_S = 0.25
_AT_SITE = 10
#: How late the event loop was.
LAG_FILE = "loop-lag.json"


def made_up_device(number: int, digest: str, chance: random.Random) -> Device:
    """Of ten at a site nine have a camera, the last is a gateway; of twenty the last is in the cloud."""
    cloud, gateway = number % 20 == 19, number % _AT_SITE == 8
    kind = "vm" if cloud else "gateway" if gateway else "camera"
    cores = 16.0 if cloud else 8.0 if gateway else chance.choice([2.0, 4.0])
    accelerator = Accelerator(
        kind="cuda", model="L4", provider="CUDAExecutionProvider", slots=4, memory_bytes=24 << 30, emulated=False
    )
    return Device(
        id=f"{kind}-{number:04}",
        tier=Tier.CLOUD if cloud else Tier.EDGE,
        site="cloud" if cloud else f"shop-{number // _AT_SITE:03}",
        device_class=f"class-{kind}-{cores:g}",
        cpu_model="Xeon Gold 6338" if cloud else "Cortex-A76",
        logical_cores=int(cores),
        max_frequency_mhz=2_400.0,
        cpu_flags=(),
        cores=cores,
        memory_bytes=int(cores) << 31,
        disk_free_bytes=64 << 30,
        accelerators=(accelerator,) if cloud else (),
        links=(),
        price_per_h=0.8 if cloud else 0.02,
        speed_ratio=1.0,
        environments=(Environment(digest=digest, ready=True),),
        data_address="",
        agent_version="0.1.0",
        labels={"shop": str(number // _AT_SITE)} if not cloud else {},
    )


async def fill(state_dir: Path, devices: int, queries: int, seed: int = 1) -> None:
    """Writes the state of a planner that has placed nearly all of its queries."""
    chance = random.Random(seed)
    store = await SqliteStore.open(state_dir / "planner.sqlite3")
    try:
        text = SPEC.read_text()
        pipeline = parse_pipeline(text)
        digest = environment_digest(pipeline.environment)
        contents = tuple(
            ContentRef(name=one.name, digest="sha256:" + f"{number:064x}", samples=100)
            for number, one in enumerate(pipeline.contents, start=1)
        )
        await store.put_pipeline(
            PipelineRecord(
                id=pipeline.id,
                spec_yaml=text,
                bundle_digest="sha256:" + "b" * 64,
                environment_digest=digest,
                contents=contents,
            )
        )
        fleet = [made_up_device(number, digest, chance) for number in range(devices)]
        for one in fleet:
            await store.put_device(one, datetime.now(UTC))
        sources = [one for one in fleet if one.id.startswith("camera")]
        clouds = [one for one in fleet if one.tier is Tier.CLOUD] or fleet[:1]
        found = [
            Query(
                id=QueryId(f"query-{number:05}"),
                pipeline_id=pipeline.id,
                content=chance.choice([one.name for one in pipeline.contents]),
                source_device_id=sources[number % len(sources)].id,
                rate_per_s=chance.choice([0.5, 1.0, 2.0]),
                slo=Slo(latency_ms=500.0, accuracy_ratio=0.9),
            )
            for number in range(queries)
        ]
        for start in range(0, len(found), 1_000):
            await store.put_queries(found[start : start + 1_000])
        summary, directives = _planned(found, clouds, chance)
        await store.put_decision(summary)
        await store.put_generation(
            GenerationRecord(
                generation=Generation(epoch=await store.epoch(), number=41),
                created_at=datetime.now(UTC),
                phase=RolloutPhase.SETTLED,
                selection=summary,
                directives=directives,
            )
        )
    finally:
        await store.close()


def _planned(
    queries: list[Query], clouds: list[Device], chance: random.Random
) -> tuple[planner_pb2.SelectionSummary, dict[str, types_pb2.Directive]]:
    summary = planner_pb2.SelectionSummary(solver_status="made up", solver_s=4.2)
    directives: dict[str, types_pb2.Directive] = {}

    def directive(device_id: str) -> types_pb2.Directive:
        return directives.setdefault(
            device_id, types_pb2.Directive(device_id=device_id, epoch=1, generation=41, digest="sha256:" + "d" * 64)
        )

    for query in queries:
        if chance.random() < 0.02:
            summary.unplaced.add(query_id=query.id, reason="accuracy 0.9 is out of reach at this cost: best is 0.87")
            continue
        cloud = chance.choice(clouds).id
        places = [query.source_device_id, query.source_device_id, cloud, cloud]
        plan = summary.plans.add(
            query_id=query.id,
            latency_ms=types_pb2.Interval(value=380.0, low=340.0, high=420.0),
            latency_p50_ms=260.0,
            accuracy_ratio=types_pb2.Interval(value=0.93, low=0.91, high=0.95),
            cost_per_h=round(chance.uniform(0.02, 0.2), 4),
            slo_probability_ratio=0.98,
            item_goodput_per_s=query.rate_per_s * 0.93,
        )
        plan.configuration.values["rectify.scale"].real = 0.6
        plan.configuration.values["read.engine"].text = "rapidocr"
        directive(query.source_device_id).sources.add(
            key=f"s-{query.id}", query_id=query.id, rate_per_s=query.rate_per_s
        )
        for name, device_id in zip(OPERATORS, places, strict=True):
            cores = 0.5 if name == "read" else 0.1
            plan.operators.add(
                operator_id=name,
                device_id=device_id,
                replicas=1,
                share_ratio=1.0,
                cores=cores,
                batch=1,
                service_ms=40.0,
            )
            directive(device_id).replica_sets.add(
                key=f"{query.id}/{name}",
                query_id=query.id,
                pipeline_id=query.pipeline_id,
                operator_id=name,
                replicas=1,
                cores=cores / 10,
                memory_bytes=40 << 20,
                batch=1,
            )
    summary.goodput_per_s = sum(plan.item_goodput_per_s for plan in summary.plans)
    summary.goodput_bound_per_s = summary.goodput_per_s * 1.02
    summary.gap_ratio = 0.02
    summary.cost_per_h = sum(plan.cost_per_h for plan in summary.plans)
    summary.cost_bound_per_h = summary.cost_per_h * 0.97
    return summary, directives


async def serve(state_dir: Path, seed: int = 1) -> None:
    """Serves the dashboard over such a state, with telemetry flowing, until standard input ends."""
    clock, chance = SystemClock(), random.Random(seed)
    settings = Settings(listen="127.0.0.1:0", state_dir=state_dir, insecure_loopback=True)
    store = await SqliteStore.open(state_dir / "planner.sqlite3")
    planning, steps = PlanningProcess(), SearchProcess()
    overview = await assemble(settings, clock, store, planning, planning, steps, None)
    for record in overview.registry.records():
        if chance.random() > 0.01:
            session = AgentSession(record.device.id, record.device.id, clock.monotonic_s())
            status = control_pb2.GenerationStatus(epoch=1, generation=41, active_generation=41)
            await overview.registry.join(record.device, session, status)
    with bound(Place(listen="127.0.0.1:0"), loopback_only=True) as listening:
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(overview.telemetry.run()),
                tasks.create_task(overview.chronicle.run()),
                tasks.create_task(_telemetry(overview, chance)),
                tasks.create_task(_lag(state_dir / LAG_FILE)),
            ]
            service = PlannerService(overview, started_at=clock.now())
            async with serving(listening, overview, service, tasks) as address:
                beside = state_dir / f"{DASHBOARD_ADDRESS_FILE}.new"
                beside.write_text(address)
                os.replace(beside, state_dir / DASHBOARD_ADDRESS_FILE)
                await asyncio.to_thread(sys.stdin.read)
            for part in parts:
                part.cancel()
    for one in (planning, steps, store):
        await one.close()


async def _lag(path: Path) -> None:
    """Writes down, once a second, how late the loop was since the file was last taken away: at most, in 99 of 100."""
    late_ms: list[float] = []
    while True:
        began_s = time.monotonic()
        await asyncio.sleep(0.01)
        late_ms.append((time.monotonic() - began_s - 0.01) * 1e3)
        if len(late_ms) % 100 == 0:
            late_ms = _told(path, late_ms)


def _told(path: Path, late_ms: list[float]) -> list[float]:
    found = late_ms if path.exists() else late_ms[-100:]
    ordered = sorted(found)
    path.write_text(json.dumps({"p99_ms": ordered[int(len(ordered) * 0.99)], "most_ms": ordered[-1]}))
    return found


async def _telemetry(overview: object, chance: random.Random) -> None:
    """Every device tells every ten seconds how its queries did; now and then something happens."""
    by_device: dict[str, list[Query]] = {}
    for query in overview.catalog.queries:  # type: ignore[attr-defined]
        by_device.setdefault(query.source_device_id, []).append(query)
    names = sorted(by_device)
    rounds = max(1, round(_WINDOW_S / _ROUND_S))
    number = 0
    while True:
        for name in names[number % rounds :: rounds]:
            message = control_pb2.Telemetry(sequence=number + 1)
            for query in by_device[name]:
                items = max(1, round(query.rate_per_s * _WINDOW_S))
                late = sum(chance.random() < 0.03 for _ in range(items))
                window = message.queries.add(
                    query_id=query.id,
                    generation=41,
                    duration_s=_WINDOW_S,
                    emitted=items,
                    answered=items - late,
                    late=late,
                    latency_ms=Sketch([chance.gauss(300.0, 40.0) for _ in range(items)]).message(),
                )
                window.start.FromSeconds(int(time.time() - _WINDOW_S))
            with contextlib.suppress(Exception):
                overview.telemetry.put(name, message)  # type: ignore[attr-defined]
        number += 1
        if number % 12 == 0:
            event("generation_phase", generation=41, phase="settled")
        if number % 50 == 0:
            warning("drift_found", query=f"query-{chance.randrange(1000):05}", kind="rate")
        await asyncio.sleep(_ROUND_S)


def main() -> int:
    """Fills, or serves."""
    parser = argparse.ArgumentParser(description="A large fleet for the dashboard.")
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=10_000)
    flags = parser.parse_args()
    configure("WARNING", name="dashboard-fleet")
    if flags.fill:
        flags.state_dir.mkdir(parents=True, exist_ok=True)
        asyncio.run(fill(flags.state_dir, flags.devices, flags.queries))
    else:
        asyncio.run(serve(flags.state_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
