"""Kinds of queries on a site of boxes with a gateway, and their templates, from the measured tables of the examples.

A site has boxes of three speeds, one gateway and an uplink to a capped cloud. A query's operators may run on its box,
on the gateway and in the cloud; items move up, never down. What is the same for two queries (pipeline, content, rate,
SLO, class of the box) makes them one kind: they share the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from search_queries import PRICE_PER_GB, SPEEDS, draw_content, draw_rate, multiple_slo, witness_slo
from search_tables import NAMES, PROFILING

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import Interval
from circinus.model.query import QueryId, Slo
from cloud_planner.baselines.plan_space import Figures, PlanSpace, Shape, TierClass
from cloud_planner.baselines.world import MeasuredTable
from cloud_planner.core.decompose import CORE_SHARES
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step, Wire
from cloud_planner.core.resources import Resource
from cloud_planner.core.templates import Enumeration, Template, TemplateLimits, admissible, template

BOX, GATEWAY, CLOUD = DeviceId("box"), DeviceId("gateway"), DeviceId("cloud")
MACHINES = (BOX, GATEWAY, CLOUD)
#: Cores of each, and what one costs per hour; boxes cost by their speed.
CORES = {BOX: 4.0, GATEWAY: 8.0, CLOUD: 64.0}
PER_CORE_H = {GATEWAY: 0.18, CLOUD: 0.25}
GATEWAY_SPEED = 1.0
LAN_BIT_PER_S, LAN_RTT_MS = 1e9, 1.0
UPLINK_BIT_PER_S, UPLINK_RTT_MS = 100e6, 30.0
#: What a kind's plans compete for: cores of the machines, and the uplink by each way into it.
RESOURCES: tuple[Resource, ...] = (
    *(("cores", name) for name in MACHINES),
    *(("bits", name, CLOUD) for name in (BOX, GATEWAY)),
)
_LIMITS = TemplateLimits(partial_rows=12_000, routes=2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryKind:
    """One kind: the problem of one query of it, its template, and the speed of its box."""

    problem: Problem
    template: Template
    speed_ratio: float


def draw_kinds(seed: int, count: int) -> tuple[QueryKind, ...]:
    """So many kinds that can be served, pipelines in turn; a function of its arguments.

    Half a second each: the templates are whole, nothing is thinned or cut off.
    """
    found: list[QueryKind] = []
    number = 0
    while len(found) < count:
        rng = np.random.default_rng([seed, 6, number])
        kind = _draw_kind(rng, NAMES[number % len(NAMES)], number)
        if kind is not None:
            found.append(kind)
        number += 1
    return tuple(found)


def _draw_kind(rng: np.random.Generator, pipeline: str, number: int) -> QueryKind | None:
    """One kind; None: no configuration keeps up, no plan meets the SLO, or there are too many."""
    content = draw_content(rng, pipeline, number, PROFILING)
    table, figures = content.table, content.figures
    speed = float(rng.choice(SPEEDS[:3]))
    rate = 0.5 * draw_rate(rng, table.shape, figures)
    space = PlanSpace(table.shape, _tiers(speed), rate, 0.95)
    scored = tuple(space.score(figures))
    if not any(np.isfinite(one.latency_ms).any() for one in scored):
        return None
    draw = multiple_slo if rng.random() < 0.5 else witness_slo
    slo = draw(rng, table.scores.mean(axis=0), scored)
    if rng.random() < 0.5:
        slo = replace(slo, cost_per_h=None)
    problem = _problem(table, figures, rate, slo, speed)
    query = problem.queries[0]
    # Plans are measured against whole machines; how many of them there are is an instance's to say.
    left = dict.fromkeys(RESOURCES, 1.0)
    wanted = Enumeration(candidates=admissible(problem, query), slo=slo, limits=_LIMITS)
    listed = template(Network.of(problem), problem, query, left, wanted)
    usable = listed.routes and listed.complete
    return QueryKind(problem=problem, template=listed, speed_ratio=speed) if usable else None


def _tiers(speed: float) -> Sequence[TierClass]:
    box = TierClass(name="box", speed_ratio=speed, price_per_core_h=_box_price(speed), cores=CORES[BOX])
    cloud = TierClass(
        name="cloud",
        speed_ratio=1.0,
        price_per_core_h=PER_CORE_H[CLOUD],
        cores=32.0,
        rtt_ms=UPLINK_RTT_MS,
        bandwidth_bit_per_s=UPLINK_BIT_PER_S,
        price_per_gb=PRICE_PER_GB,
    )
    return (box, cloud)


def _box_price(speed: float) -> float:
    """Currency per core and hour: a slow box costs less, but more for what it does."""
    return 0.10 * float(speed**0.7)


def _problem(table: MeasuredTable, figures: Sequence[Figures], rate: float, slo: Slo, speed: float) -> Problem:
    prices = {BOX: _box_price(speed), **PER_CORE_H}
    speeds = {BOX: speed, GATEWAY: GATEWAY_SPEED, CLOUD: 1.0}
    machines = tuple(
        Machine(
            id=name,
            tier=Tier.CLOUD if name == CLOUD else Tier.EDGE,
            site=SiteId("cloud" if name == CLOUD else "site"),
            cores=CORES[name],
            memory_bytes=2**40,
            price_per_h=prices[name] * CORES[name],
        )
        for name in MACHINES
    )
    wires = (
        Wire(source=BOX, target=GATEWAY, bandwidth_bit_per_s=LAN_BIT_PER_S, rtt_ms=LAN_RTT_MS),
        *(
            Wire(
                source=source,
                target=CLOUD,
                bandwidth_bit_per_s=UPLINK_BIT_PER_S,
                rtt_ms=UPLINK_RTT_MS,
                price_per_gb=PRICE_PER_GB,
            )
            for source in (BOX, GATEWAY)
        ),
    )
    accuracy = table.scores.mean(axis=0)
    query = QueryProblem(
        id=QueryId("query"),
        rate_per_s=rate,
        weight=1.0,
        slo=slo,
        source=BOX,
        candidates=tuple(
            Candidate(
                configuration=configuration,
                accuracy=Interval(value=float(right), low=float(right), high=float(right)),
                steps=_steps(table.shape, one, speeds),
                source_bytes=float(np.asarray(one.source_bytes)),
                outputs=tuple(OperatorId(table.shape.operators[at]) for at in table.shape.outputs),
            )
            for configuration, one, right in zip(table.configurations, figures, accuracy, strict=True)
        ),
    )
    return Problem(machines=machines, wires=wires, queries=(query,))


def _steps(shape: Shape, figures: Figures, speeds: dict[DeviceId, float]) -> tuple[Step, ...]:
    return tuple(
        Step(
            operator_id=OperatorId(name),
            inputs=tuple(OperatorId(SOURCE if source < 0 else shape.operators[source]) for source in shape.inputs[at]),
            output_bytes=float(figures.output_bytes[at]),
            options=tuple(
                Option(
                    machine=machine,
                    cores=cores,
                    service=Delay(
                        mean_ms=float(figures.mean_ms[at]) / (speed * cores),
                        variance_ms2=float(figures.variance_ms2[at]) / (speed * cores) ** 2,
                    ),
                    capacity_per_s=min(1e9, 1e3 * speed * cores / max(float(figures.mean_ms[at]), 1e-6)),
                )
                for machine, speed in speeds.items()
                for cores in CORE_SHARES
            ),
            single=shape.stateful[at],
        )
        for at, name in enumerate(shape.operators)
    )
