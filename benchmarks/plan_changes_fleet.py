"""Devices of one process for benchmarks/plan_changes.py: real serving halves, a real rollout, and no wire between."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circinus import wire
from circinus.clock import SystemClock
from circinus.errors import CircinusError
from circinus.model.device import Device, DeviceClass, DeviceId, Digest, Environment, Link, SiteId, Tier
from circinus.model.directive import Generation
from circinus.model.pipeline import (
    ContentRef,
    ContentSpec,
    EnvironmentSpec,
    Knob,
    OperatorSpec,
    Pipeline,
    RegisteredPipeline,
)
from circinus.v1 import control_pb2
from cloud_planner.bell import Bell
from cloud_planner.registry import AgentSession, Registry
from cloud_planner.rollout import Rollout
from cloud_planner.store import SqliteStore
from edge_agent.dataplane.book import Ended, Ending
from edge_agent.serving import Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUNDLE, ENVIRONMENT, CONTENT = Digest("sha256:" + "b" * 64), Digest("sha256:" + "e" * 64), Digest("sha256:" + "c" * 64)
CODE = """
import time
from itertools import count
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        for number in count(self.seed):
            yield Sample(payload={"number": number, "image": b"x" * 20_000}, truth={"number": number})

class Same(Scorer):
    def score(self, outputs, truth):
        return float(all(one["number"] == truth["number"] for one in outputs.values()))

class Work(Operator):
    def process(self, inputs):
        end = time.process_time() + self.knobs["cpu_ms"] / 1000
        while time.process_time() < end:
            pass
        return {"number": inputs["source"]["number"]}
"""
_PHASES = {
    "starting": control_pb2.GENERATION_PHASE_STARTING,
    "ready": control_pb2.GENERATION_PHASE_READY,
    "active": control_pb2.GENERATION_PHASE_ACTIVE,
    "drained": control_pb2.GENERATION_PHASE_DRAINED,
    "failed": control_pb2.GENERATION_PHASE_FAILED,
}


def registered() -> RegisteredPipeline:
    """One operator that burns so much CPU; settings differ by next to nothing, so that a change can be forced."""
    pipeline = Pipeline(
        id="work",
        description="",
        environment=EnvironmentSpec(),
        source="plan_change_operators:Numbers",
        scorer="plan_change_operators:Same",
        operators=(
            OperatorSpec(
                id="work",
                entry_point="plan_change_operators:Work",
                inputs=("source",),
                knobs=(Knob(name="cpu_ms", values=(4.0, 4.01)),),
            ),
        ),
        outputs=("work",),
        contents=(ContentSpec(name="plain", seed=1, samples=4),),
    )
    return RegisteredPipeline(
        pipeline=pipeline,
        bundle_digest=BUNDLE,
        environment_digest=ENVIRONMENT,
        contents=(ContentRef(name="plain", digest=CONTENT, samples=4),),
    )


@dataclass(slots=True)
class Books:
    """Every item by its id: when it was emitted, and each outcome that was recorded of it."""

    emitted_s: dict[str, float] = field(default_factory=dict)
    endings: dict[str, list[tuple[Ending, float, str]]] = field(default_factory=lambda: defaultdict(list))

    def p95_ms(self, spans: list[tuple[float, float]]) -> float:
        """Of the items that were emitted in these spans; what was not answered is infinitely late."""
        found = [
            outcomes[0][1] if outcomes[0][0] in (Ending.ANSWERED, Ending.LATE) else float("inf")
            for request_id, outcomes in self.endings.items()
            if any(begin_s <= self.emitted_s[request_id] < end_s for begin_s, end_s in spans)
        ]
        return sorted(found)[min(len(found) - 1, int(0.95 * len(found)))] if found else float("nan")

    def causes(self) -> Counter[str]:
        """Of what was dropped or failed."""
        return Counter(
            f"{ending}/{cause}"
            for outcomes in self.endings.values()
            for ending, _, cause in outcomes
            if ending in (Ending.DROPPED, Ending.FAILED)
        )


class Box(Serving):
    """A serving half that writes down every emission and every outcome."""

    books: Books

    def _settle(self, ended: Ended) -> None:
        self.books.endings[ended.emission.request_id].append((ended.ending, ended.latency_ms, ended.cause))
        super()._settle(ended)

    def note_emissions(self) -> None:
        """From now on emissions are written down."""
        emit = self._plane.book.emit

        def noted(emission: Any) -> None:
            self.books.emitted_s[emission.request_id] = time.monotonic()
            emit(emission)

        self._plane.book.emit = noted  # type: ignore[method-assign]  # this is what the benchmark looks at

    @property
    def duplicates(self) -> int:
        """Outcomes of items that had one."""
        return self._plane.book.duplicates

    def held(self) -> Iterator[tuple[float, int]]:
        """Cores and bytes of memory that are reserved for every process of an operator that is really there."""
        units = self._units
        for runner in [*units._runners.values(), *units._leaving]:
            for supervisor in runner.supervisors:
                if supervisor.process is not None and hasattr(runner.spec, "cores"):
                    yield runner.spec.cores, runner.spec.memory_bytes


@dataclass(slots=True)
class Fleet:
    """Boxes, the rollout that directs them, and the most that was ever reserved by real processes."""

    boxes: dict[str, Box]
    devices: dict[str, Device]
    registry: Registry
    rollout: Rollout
    store: SqliteStore
    books: Books
    most_ratio: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def look(self) -> None:
        """Notes what is reserved now."""
        for name, box in self.boxes.items():
            held = list(box.held())
            cores = sum(one for one, _ in held) / self.devices[name].cores
            memory = sum(one for _, one in held) / self.devices[name].memory_bytes
            self.most_ratio[name] = max(self.most_ratio[name], cores, memory)


def device(name: str, cores: float, links: tuple[str, ...], address: str = "") -> Device:
    """An edge device that reaches these others."""
    return Device(
        id=DeviceId(name),
        tier=Tier.EDGE,
        site=SiteId("home"),
        device_class=DeviceClass("box"),
        cpu_model="cpu",
        logical_cores=2,
        max_frequency_mhz=0.0,
        cpu_flags=(),
        cores=cores,
        memory_bytes=8 * 2**30,
        disk_free_bytes=0,
        accelerators=(),
        links=tuple(Link(peer=DeviceId(peer), bandwidth_bit_per_s=0, rtt_ms=0.1) for peer in links),
        price_per_h=0.0,
        speed_ratio=1.0,
        environments=(Environment(digest=ENVIRONMENT, ready=True),),
        data_address=address,
        agent_version="1",
    )


@asynccontextmanager
async def running(folder: Path, cores: Mapping[str, float]) -> AsyncIterator[Fleet]:
    """A fleet at work; nothing of it is left afterwards."""
    bundle = folder / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "plan_change_operators.py").write_text(CODE)
    clock, progressed, replan, watched, books = SystemClock(), Bell(), Bell(), Bell(), Books()
    store = await SqliteStore.open(folder / "planner.sqlite3")
    registry = Registry(store, clock, replan=replan, progressed=progressed)
    rollout = Rollout(store, registry, clock, changed=progressed, replan=replan, watched=watched)
    await registry.load()
    await rollout.load()
    fleet = Fleet({}, {}, registry, rollout, store, books)
    tasks: list[asyncio.Task[None]] = []
    try:
        for name in cores:
            changed = asyncio.Event()
            box = Box(
                device_id=DeviceId(name),
                speed_ratio=1.0,
                links=(),
                run_dir=folder / f"run-{name}",
                python_for=lambda _: Path(sys.executable),
                bundle_path=lambda _: bundle,
                providers=("CPUExecutionProvider",),
                clock=clock,
                on_change=changed.set,
            )
            box.books = books
            box.note_emissions()
            address = await box.start("127.0.0.1:0")
            others = tuple(other for other in cores if other != name)
            found = fleet.devices[name] = device(name, cores[name], others, address)
            fleet.boxes[name] = box
            session = AgentSession(found.id, name, clock.monotonic_s())
            await registry.join(found, session, control_pb2.GenerationStatus())
            tasks += [
                asyncio.create_task(_obey(box, session, changed)),
                asyncio.create_task(_report(box, registry, found.id, changed)),
            ]
        tasks += [asyncio.create_task(rollout.run()), asyncio.create_task(_look(fleet))]
        yield fleet
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(box.stop(2.0) for box in fleet.boxes.values()))
        await store.close()


async def _look(fleet: Fleet) -> None:
    while True:
        fleet.look()
        await asyncio.sleep(0.02)


async def _obey(box: Box, session: AgentSession, changed: asyncio.Event) -> None:
    while True:
        message = await session.next_message()
        try:
            match message.WhichOneof("message"):
                case "directive":
                    await box.apply(wire.directive_from_message(message.directive))
                case "activate":
                    order = message.activate
                    await box.activate(Generation(epoch=order.epoch, number=order.generation))
                case "retire":
                    retired = message.retire
                    await box.retire(Generation(epoch=retired.epoch, number=retired.below_generation))
        except CircinusError as error:
            print(f"{session.device_id}: {error.message}", file=sys.stderr)
        changed.set()


async def _report(box: Box, registry: Registry, device_id: DeviceId, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        status = box.status()
        if status.newest is None:
            continue
        message = control_pb2.GenerationStatus(
            epoch=status.newest.epoch,
            generation=status.newest.number,
            phase=_PHASES[str(status.phase)],
            reason=status.reason,
            active_generation=status.active.number if status.active is not None else 0,
        )
        for key, pids in status.pids.items():
            message.pids[key].pids.extend(pids)
        registry.note_status(device_id, message)
