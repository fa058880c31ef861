"""A small fleet for tests: Serving instances on loopback, a bundle of toy operators, directives for them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from circinus.clock import SystemClock
from circinus.model.device import DeviceId, Digest, Link
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, Target
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from edge_agent.feeds.access import NOTHING, Access
from edge_agent.serving import Serving
from edge_agent.stand_by import Patience

BUNDLE = """
import os, sys, time
from itertools import count
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        for number in count(self.seed):
            yield Sample(payload={"number": number, "text": self.content}, truth={"number": number})

class Big(Source):
    def samples(self):
        while True:
            yield Sample(payload={"data": b"x" * 3_600_000})

class Same(Scorer):
    def score(self, outputs, truth):
        return float(all(one["number"] == truth["number"] + one.get("added", 0) for one in outputs.values()))

class Pass(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {**one, "pid": os.getpid()}

class Add(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {"number": one["number"] + self.knobs["step"], "added": one.get("added", 0) + self.knobs["step"]}

class Join(Operator):
    def process(self, inputs):
        numbers = {name: one["number"] - one.get("added", 0) for name, one in inputs.items()}
        assert len(set(numbers.values())) == 1, numbers
        return {"number": next(iter(numbers.values()))}

class Burn(Operator):
    def process(self, inputs):
        end = time.process_time() + self.knobs["cpu_ms"] / 1000
        while time.process_time() < end:
            pass
        return next(iter(inputs.values()))

class RaiseOnOdd(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        if one["number"] % 2:
            raise ValueError(f"{one['number']} is odd")
        return one

class DieOnThird(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        if one["number"] == 3:
            os._exit(7)
        return one

class HangOnThird(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        if one["number"] == 3:
            time.sleep(600)
        return one

class TooMuch(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {"data": b"x" * 34_000_000} if one["number"] % 2 else {"thing": object()}

class NeverUp(Operator):
    def setup(self):
        raise RuntimeError("the model file is missing")
    def process(self, inputs):
        return {}
"""

QUERY = QueryId("q1")
BUNDLE_DIGEST = Digest("sha256:b")
ENVIRONMENT_DIGEST = Digest("sha256:e")


def replica_set(operator: str, class_name: str, inputs: tuple[str, ...] = ("source",), **changes: object) -> ReplicaSet:
    values: dict[str, object] = {
        "key": f"{operator}-{class_name}-{sorted(changes.items())}",
        "query_id": QUERY,
        "pipeline_id": PipelineId("toy"),
        "operator_id": OperatorId(operator),
        "bundle_digest": BUNDLE_DIGEST,
        "environment_digest": ENVIRONMENT_DIGEST,
        "entry_point": f"toy_operators:{class_name}",
        "knobs": {},
        "replicas": 1,
        "cores": 1.0,
        "accelerator_slots": 0,
        "accelerator_memory_bytes": 0,
        "memory_bytes": 0,
        "batch": 1,
        "hang_ms": 30_000.0,
        "inputs": tuple(OperatorId(name) for name in inputs),
    }
    return ReplicaSet(**(values | changes))  # type: ignore[arg-type]


def source(outputs: tuple[str, ...], rate_per_s: float = 20.0, **changes: object) -> SourceSpec:
    values: dict[str, object] = {
        "key": "source",
        "query_id": QUERY,
        "pipeline_id": PipelineId("toy"),
        "bundle_digest": BUNDLE_DIGEST,
        "environment_digest": ENVIRONMENT_DIGEST,
        "entry_point": "toy_operators:Numbers",
        "scorer_entry_point": "toy_operators:Same",
        "content": "plain",
        "seed": 1,
        "rate_per_s": rate_per_s,
        "deadline_ms": 0.0,
        "output_operator_ids": tuple(OperatorId(name) for name in outputs),
    }
    return SourceSpec(**(values | changes))  # type: ignore[arg-type]


def route(operator: str, inputs: tuple[str, ...], *targets: str, query_id: QueryId = QUERY) -> Route:
    return Route(
        query_id=query_id,
        operator_id=OperatorId(operator),
        inputs=tuple(OperatorId(name) for name in inputs),
        targets=tuple(Target(device_id=DeviceId(one), share_ratio=1 / len(targets)) for one in targets),
    )


def directive(
    device: str,
    number: int,
    *,
    sets: tuple[ReplicaSet, ...] = (),
    routes: tuple[Route, ...] = (),
    sources: tuple[SourceSpec, ...] = (),
    peers: tuple[Peer, ...] = (),
) -> Directive:
    return Directive(
        device_id=DeviceId(device),
        generation=Generation(epoch=1, number=number),
        replica_sets=sets,
        routes=routes,
        sources=sources,
        peers=peers,
    )


def generation(number: int) -> Generation:
    return Generation(epoch=1, number=number)


class Fleet:
    """Serving instances that share a bundle; counts of what they reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        self.bundle.mkdir()
        (self.bundle / "toy_operators.py").write_text(BUNDLE)
        self.devices: dict[str, Serving] = {}
        self.addresses: dict[str, str] = {}
        self.queries: dict[tuple[str, int], types_pb2.QueryWindow] = {}
        self.operators: dict[tuple[str, int], types_pb2.OperatorWindow] = {}

    async def add(
        self,
        name: str,
        *,
        listen: str = "127.0.0.1:0",
        speed_ratio: float = 1.0,
        links: tuple[Link, ...] = (),
        ingress: str = "",
        access: Access = NOTHING,
        offered_ratio: Callable[[QueryId], float] = lambda _: 1.0,
    ) -> Serving:
        serving = Serving(
            device_id=DeviceId(name),
            speed_ratio=speed_ratio,
            links=links,
            run_dir=self.folder / f"run-{name}",
            python_for=lambda _: Path(sys.executable),
            bundle_path=lambda _: self.bundle,
            providers=("CPUExecutionProvider",),
            clock=SystemClock(),
            on_change=lambda: None,
            stand_by_patience=Patience(steady_s=0.5),
            ingress=ingress,
            access=access,
            offered_ratio=offered_ratio,
        )
        self.addresses[name] = await serving.start(listen)
        self.devices[name] = serving
        return serving

    def peer(self, name: str) -> Peer:
        return Peer(device_id=DeviceId(name), address=self.addresses[name])

    async def roll_out(self, *directives: Directive) -> None:
        """Applies, waits until all are ready, activates."""
        for one in directives:
            await self.devices[one.device_id].apply(one)
        await self.until(lambda: all(self.phase(one) == "ready" for one in directives))
        for one in directives:
            await self.devices[one.device_id].activate(one.generation)

    def phase(self, one: Directive) -> str:
        return self.devices[one.device_id].status().phase

    async def until(self, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        """Waits for something that happens in other processes."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.02)

    def collect(self) -> None:
        for device in self.devices.values():
            queries, operators = device.take_windows()
            for window in queries:
                total = self.queries.setdefault((window.query_id, window.generation), types_pb2.QueryWindow())
                add_query(total, window)
            for one in operators:
                sum_of = self.operators.setdefault((one.operator_id, one.generation), types_pb2.OperatorWindow())
                sum_of.items += one.items
                sum_of.batches += one.batches
                sum_of.failures += one.failures
                sum_of.restarts += one.restarts
                sum_of.service_ms_sum += one.service_ms_sum
                sum_of.cpu_ms_sum += one.cpu_ms_sum
                sum_of.memory_bytes = max(sum_of.memory_bytes, one.memory_bytes)

    def total(self, number: int, query_id: str = QUERY) -> types_pb2.QueryWindow:
        self.collect()
        return self.queries.get((query_id, number), types_pb2.QueryWindow())

    async def until_answered(self, number: int, count: int, query_id: str = QUERY) -> types_pb2.QueryWindow:
        await self.until(lambda: self.total(number, query_id).answered >= count)
        return self.total(number, query_id)

    async def stop(self) -> None:
        await asyncio.gather(*(device.stop(2.0) for device in self.devices.values()))


def add_query(total: types_pb2.QueryWindow, window: types_pb2.QueryWindow) -> None:
    total.emitted += window.emitted
    total.answered += window.answered
    total.late += window.late
    total.stand_by_answered += window.stand_by_answered
    total.excess_emitted += window.excess_emitted
    for place, number in window.dropped_by_place.items():
        total.dropped_by_place[place] += number
    for cause, number in window.dropped_by_cause.items():
        total.dropped_by_cause[cause] += number
    for cause, number in window.failed_by_cause.items():
        total.failed_by_cause[cause] += number
    latency_ms = Sketch.of(total.latency_ms)
    latency_ms.merge(Sketch.of(window.latency_ms))
    total.latency_ms.CopyFrom(latency_ms.message())
    total.scores_ratio.extend(window.scores_ratio)
    total.on_time_score_sum += window.on_time_score_sum


def ended(total: types_pb2.QueryWindow) -> int:
    """Items that have an outcome."""
    dropped = sum(total.dropped_by_cause.values())
    return total.answered + total.late + dropped + sum(total.failed_by_cause.values())
