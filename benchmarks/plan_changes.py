"""Plan changes under load: what they lose, what they cost, and whether every step fits.

    .venv/bin/python benchmarks/plan_changes.py [--quick] [--changes 20]

Two boxes, three quarters full by the cores that are reserved, and a camera that feeds them; real serving halves with
real processes, and the planner's real rollout, in one process. Each change is proposed as the planning loop does:
queries change places between boxes, take another configuration, or are split over both. No box has room for the old
and the new side by side, so each takes several steps. From the books: every item with each outcome that was recorded of
it. Over capacity is what stands in the directives of two generations in a row, and what real processes had reserved.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import psutil
from plan_changes_fleet import Fleet, registered, running

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.plan import NO_PLANS, Interval, OperatorPlan, Plan, Selection
from circinus.model.query import Query, QueryId, Slo
from cloud_planner.core.decompose import Fleet as Known
from cloud_planner.core.directives import directives
from cloud_planner.core.transition import Detours, capacities, union_use
from cloud_planner.way import told
from edge_agent.dataplane.book import Ending

QUERIES, RATE_PER_S, DEADLINE_MS, CORES = 6, 8.0, 1000.0, 0.5
BOXES = ("box-1", "box-2")
#: Their cores: three queries of half a core on each box.
DEVICES = {"camera": 1.0, "box-1": 2.0, "box-2": 2.0}
STEADY_S = 8.0
RESULTS = Path(__file__).parent / "results" / "plan_changes.json"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def queries() -> list[Query]:
    return [
        Query(
            id=QueryId(f"q{index}"),
            pipeline_id=registered().pipeline.id,
            content="plain",
            source_device_id=DeviceId("camera"),
            rate_per_s=RATE_PER_S,
            weight=1.0 + index / 10,
            slo=Slo(latency_ms=DEADLINE_MS),
        )
        for index in range(QUERIES)
    ]


def plan(query: Query, boxes: Sequence[str], variant: int) -> Plan:
    """A plan on one box, or split over several."""
    return Plan(
        query_id=query.id,
        # Equal operators with equal knobs would share their processes, and move together.
        configuration={"work.cpu_ms": 4.0 + (int(query.id[1:]) + 10 * variant) / 10_000},
        operators=tuple(
            OperatorPlan(
                operator_id=OperatorId("work"),
                device_id=DeviceId(box),
                replicas=1,
                share_ratio=1.0 / len(boxes),
                cores=CORES / len(boxes),
                accelerator_slots=0,
                accelerator_memory_bytes=0,
                memory_bytes=256 * 2**20,
                batch=1,
                service_ms=4.0 / CORES * len(boxes),
            )
            for box in boxes
        ),
        latency_ms=Interval(value=50.0, low=30.0, high=100.0),
        latency_p50_ms=30.0,
        accuracy_ratio=Interval(value=1.0, low=1.0, high=1.0),
        cost_per_h=0.0,
        slo_probability_ratio=1.0,
        item_goodput_per_s=query.rate_per_s,
    )


def wanted(number: int) -> list[Plan]:
    """The plans of a change: places, configurations and splits, in turn."""
    found = []
    for index, query in enumerate(queries()):
        box = BOXES[(index + number // 2) % 2]
        split = number % 5 == 4 and index < 2
        found.append(plan(query, BOXES if split else (box,), number % 4))
    return found


def detours(known: Known) -> Detours:
    """Any query could run on the other box for a moment."""
    by_id = {query.id: query for query in queries()}

    def of(group: frozenset[QueryId]) -> list[Sequence[object]]:
        if len(group) != 1:
            return []
        (query_id,) = group
        query = by_id[query_id]
        return [directives(known, [query], [plan(query, (box,), 3)], Generation(epoch=0, number=0)) for box in BOXES]

    return of  # type: ignore[return-value]


def selection(plans: Sequence[Plan]) -> Selection:
    return replace(NO_PLANS, plans=tuple(plans), solver_status="forced")


async def change(fleet: Fleet, known: Known, number: int) -> tuple[float, float]:
    """One change, until all of it is in force and nothing older is left; when it began and ended."""
    began_s = time.monotonic()
    plans = wanted(number)
    told_devices = directives(known, queries(), plans, Generation(epoch=1, number=0))
    await fleet.rollout.propose(wire.selection_to_message(selection(plans)), told_devices, detours(known))
    async with asyncio.timeout(180):
        while not fleet.rollout.settled or lingers(fleet):  # noqa: ASYNC110 - other tasks get there
            await asyncio.sleep(0.02)
    return began_s, time.monotonic()


def lingers(fleet: Fleet) -> bool:
    newest = fleet.rollout.newest
    if newest is None:
        return True
    for name, box in fleet.boxes.items():
        message = newest.directives.get(DeviceId(name))
        keys = {one.key for one in (*message.replica_sets, *message.sources)} if message is not None else set()
        if box.status().pids.keys() - keys:
            return True
    return False


async def directed_ratio(fleet: Fleet) -> float:
    """The most that two generations in a row ask of a device, as part of what it has."""
    newest = fleet.rollout.newest
    have = capacities(fleet.devices.values())
    most = 0.0
    if newest is None:
        return most
    records = []
    for number in range(1, newest.generation.number + 1):
        record = await fleet.store.generation(replace(newest.generation, number=number))
        if record is not None:
            records.append(record)
    for one, other in pairwise(records):
        for device_id, used in union_use(chain(told(one), told(other))).items():
            most = max([most, *(mine / there for mine, there in zip(used, have[device_id], strict=True) if there)])
    return most


async def run(changes: int, folder: Path) -> dict[str, object]:
    pipeline = registered()
    async with running(folder, DEVICES) as fleet:
        known = Known(devices=tuple(fleet.devices.values()), pipelines={pipeline.pipeline.id: pipeline}, tables={})
        await change(fleet, known, 0)
        await asyncio.sleep(0.4 * STEADY_S)
        steady_s = time.monotonic()
        await asyncio.sleep(STEADY_S)
        before = [(steady_s, time.monotonic())]
        spans, took = [], []
        for number in range(1, changes + 1):
            first = fleet.rollout.newest.generation.number if fleet.rollout.newest else 0
            span = await change(fleet, known, number)
            last = fleet.rollout.newest.generation.number if fleet.rollout.newest else 0
            spans.append(span)
            took.append((round(span[1] - span[0], 2), last - first))
            say(f"change {number}: {span[1] - span[0]:.1f} s in {last - first} steps")
            await asyncio.sleep(1.0)
        ended_s = time.monotonic()
        for task in [task for _, task in fleet.boxes["camera"]._emitters.values()]:
            task.cancel()
        await asyncio.sleep(1.0)
        ratio = await directed_ratio(fleet)
        books = fleet.books
        outcomes = Counter(len(books.endings.get(request_id, ())) for request_id in books.emitted_s)
        emitted = sum(1 for at_s in books.emitted_s.values() if steady_s <= at_s < ended_s)
        dropped = sum(
            1
            for request_id, found in books.endings.items()
            if found[0][0] in (Ending.DROPPED, Ending.FAILED) and books.emitted_s[request_id] >= steady_s
        )
        p95_before_ms, p95_during_ms = books.p95_ms(before), books.p95_ms(spans)
        due = QUERIES * RATE_PER_S * sum(end_s - begin_s for begin_s, end_s in spans)
        made = sum(1 for at_s in books.emitted_s.values() if any(begin <= at_s < end for begin, end in spans))
        return {
            "changes": changes,
            "seconds_and_steps": took,
            "items": len(books.emitted_s),
            "outcomes_of_an_item": dict(outcomes),
            "answered_twice": sum(box.duplicates for box in fleet.boxes.values()),
            "dropped_ratio": dropped / max(1, emitted),
            "causes": dict(books.causes()),
            "emitted_over_due_during_changes": round(made / due, 4) if due else None,
            "p95_before_ms": round(p95_before_ms, 2),
            "p95_during_ms": round(p95_during_ms, 2),
            "p95_ratio": round(p95_during_ms / p95_before_ms, 3),
            "directed_most_of_capacity": round(ratio, 4),
            "running_most_of_capacity": {name: round(most, 4) for name, most in fleet.most_ratio.items()},
        }


def bars(found: dict[str, object]) -> dict[str, bool]:
    most = [float(str(found["directed_most_of_capacity"])), *map(float, found["running_most_of_capacity"].values())]  # type: ignore[attr-defined]
    return {
        "each_item_exactly_one_outcome": set(found["outcomes_of_an_item"]) == {1},  # type: ignore[call-overload]
        "none_answered_twice": found["answered_twice"] == 0,
        "dropped_at_most_0.1_percent": float(str(found["dropped_ratio"])) <= 0.001,
        "p95_during_at_most_twice": float(str(found["p95_ratio"])) <= 2.0,
        "never_over_capacity": max(most) <= 1.0 + 1e-6,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Plan changes under load.")
    parser.add_argument("--quick", action="store_true", help="6 changes")
    parser.add_argument("--changes", type=int, default=20)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="circinus-plan-changes-") as folder:
        found = asyncio.run(run(6 if given.quick else given.changes, Path(folder)))
    kept = bars(found)
    for name, value in found.items():
        print(f"{name}: {value}")
    for name, held in kept.items():
        print(f"{'kept' if held else 'MISSED'}: {name}")
    machine = {"cpus": psutil.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    document = {"benchmark": "plan_changes", "machine": machine, **found, "kept": kept}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
