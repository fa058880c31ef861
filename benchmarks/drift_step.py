"""A step of a rate, for real: a planner and two agents in this process, a small pipeline, a source that offers more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from circinus.client import Client
from circinus.clock import SystemClock
from circinus.model.device import DeviceId
from circinus.model.query import Query, QueryId, Slo
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.daemon import Settings
from cloud_planner.daemon import running as planner_running
from cloud_planner.overview import Overview
from edge_agent.agent import Agent
from edge_agent.config import parse_config
from edge_agent.serving import Serving

STATED_PER_S, TIMES = 5.0, 3.0
CODE = """
import time
from itertools import count
from circinus.operator import Operator, Sample, Scorer, Source

def burn(cpu_ms):
    end = time.process_time() + cpu_ms / 1000.0
    while time.process_time() < end:
        pass

class Numbers(Source):
    def samples(self):
        for number in count(self.seed):
            yield Sample(payload={"number": number, "image": bytes(20_000)}, truth={"double": 2 * number})

class Read(Operator):
    def process(self, inputs):
        burn(20.0)
        return {"double": 2 * inputs["source"]["number"]}

class Exact(Scorer):
    metric = "share of right answers"
    def score(self, outputs, truth):
        return float(outputs["read"]["double"] == truth["double"])
"""
SPEC = """
pipeline: step
description: Doubles numbers.
source: step_operators:Numbers
scorer: step_operators:Exact
operators:
  - id: read
    class: step_operators:Read
    inputs: [source]
outputs: [read]
contents:
  plain: {seed: 1, samples: 20}
"""
BOX = """
device_id = "{name}"
planner = "{planner}"
state_dir = "{state}"
tier = "edge"
site = "home"
cores = {cores}
price_per_h = {price}
[[links]]
peer = "{peer}"
bandwidth_mbit_per_s = 100
rtt_ms = 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Seconds from the step to the finding and to a plan in force; and of a new query from its submission."""

    stated_per_s: float
    planned_per_s: float
    found_s: float
    in_force_s: float
    arrival_planned_s: float
    arrival_in_force_s: float


class Offer:
    """How much more than planned a source offers; in items a second it stays the same when the plan follows."""

    def __init__(self) -> None:
        self.rates_per_s: dict[str, float] = {}
        self.planned: Callable[[str], float] = lambda _: STATED_PER_S

    def __call__(self, query_id: QueryId) -> float:
        wanted_per_s = self.rates_per_s.get(query_id)
        return 1.0 if wanted_per_s is None else wanted_per_s / self.planned(query_id)


async def measure(folder: Path) -> Step:
    """One step in one fleet."""
    pipeline = folder / "pipeline"
    pipeline.mkdir()
    (pipeline / "pipeline.yaml").write_text(SPEC)
    (pipeline / "step_operators.py").write_text(CODE)
    offer, stop, servings = Offer(), asyncio.Event(), []

    def make(**given: object) -> Serving:
        servings.append(Serving(offered_ratio=offer, **given))  # type: ignore[arg-type]
        return servings[-1]

    def planned(query_id: str) -> float:
        for serving in servings:
            emitter = serving._emitters.get(QueryId(query_id))
            if emitter is not None and emitter[0]._assigned is not None:
                return float(emitter[0]._assigned[0].rate_per_s)
        return STATED_PER_S

    offer.planned = planned
    settings = Settings(listen="127.0.0.1:0", state_dir=folder / "planner", insecure_loopback=True)
    async with planner_running(settings, SystemClock()) as (address, parts), asyncio.TaskGroup() as agents:
        try:
            for name, peer, cores, price in (("camera", "server", 1.0, 0.1), ("server", "camera", 2.0, 0.3)):
                text = BOX.format(name=name, peer=peer, cores=cores, price=price, planner=address, state=folder / name)
                agent = Agent(parse_config(text), clock=SystemClock(), rng=Random(name), make_serving=make)  # type: ignore[arg-type]
                agents.create_task(agent.run(stop))
            async with Client(address) as client:
                return await _measured(client, parts, offer, planned, pipeline)
        finally:
            stop.set()


async def _measured(
    client: Client, parts: Overview, offer: Offer, planned: Callable[[str], float], pipeline: Path
) -> Step:
    await _until(lambda: len(parts.registry.connected()) == 2)
    await client.add_pipeline(pipeline)
    await client.submit([_query("q1"), _query("q2")])
    await _until(partial(_serving, parts, "q1", "q2"), 120.0)
    # Enough windows to know the noise of a quiet source; and no process is cold any more.
    await asyncio.sleep(20.0)
    began_s = time.monotonic()
    offer.rates_per_s["q1"] = TIMES * STATED_PER_S
    await _until(lambda: bool(parts.watching.findings), 60.0)
    found_s = time.monotonic() - began_s
    await _until(lambda: planned("q1") > 2.0 * STATED_PER_S, 60.0)
    in_force_s = time.monotonic() - began_s
    await _until(lambda: parts.rollout.settled and parts.loop.up_to_date, 60.0)
    submitted_s = time.monotonic()
    await client.submit([_query("q3")])
    await _until(lambda: _placed(parts, "q3"), 60.0)
    arrival_planned_s = time.monotonic() - submitted_s
    await _until(partial(_serving, parts, "q3"), 60.0)
    return Step(
        stated_per_s=STATED_PER_S,
        planned_per_s=planned("q1"),
        found_s=found_s,
        in_force_s=in_force_s,
        arrival_planned_s=arrival_planned_s,
        arrival_in_force_s=time.monotonic() - submitted_s,
    )


def _query(query_id: str) -> Query:
    return Query(
        id=QueryId(query_id),
        pipeline_id="step",  # type: ignore[arg-type]  # ids are texts
        content="plain",
        source_device_id=DeviceId("camera"),
        rate_per_s=STATED_PER_S,
        slo=Slo(latency_ms=1000.0, accuracy_ratio=0.5),
    )


def _plan(parts: Overview, query_id: str) -> types_pb2.Plan | None:
    summary: planner_pb2.SelectionSummary = parts.loop.decision.summary
    return next((plan for plan in summary.plans if plan.query_id == query_id), None)


def _placed(parts: Overview, query_id: str) -> bool:
    return _plan(parts, query_id) is not None


def _serving(parts: Overview, *query_ids: str) -> bool:
    """Whether all have plans, and nothing is left of what was before."""
    newest = parts.rollout.newest
    served = {plan.query_id for plan in newest.selection.plans} if newest is not None else set()
    return parts.rollout.settled and set(query_ids) <= served


async def _until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.01)
