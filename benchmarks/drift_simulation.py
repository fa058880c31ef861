"""Two hours of constant load in simulated time: real detection, real planning, windows drawn at random.

Nothing changes: rates are as stated (evenly spaced, Poisson, or in clumps), service times wander as they do on a
machine with other guests, answers are right as often as was measured. Every change of a plan is one too many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp
from random import Random

from circinus.model.device import Device, DeviceClass, DeviceId, Digest, Environment, Link, SiteId, Tier
from circinus.model.pipeline import (
    ContentRef,
    ContentSpec,
    EnvironmentSpec,
    Knob,
    OperatorSpec,
    Pipeline,
    RegisteredPipeline,
    configuration_key,
)
from circinus.model.plan import Interval, Plan
from circinus.model.profile import ConfigurationProfile, OperatorSample, ProfileTable, SampleResult
from circinus.model.query import Query, QueryId, Slo
from cloud_planner.core.decompose import Choice, Fleet
from cloud_planner.core.drift import DriftState, step
from cloud_planner.core.drift_terms import AccuracySample, RateSample, Sample, ServiceSample
from cloud_planner.core.needs import Circumstances
from cloud_planner.core.planning import Snapshot, draft, plan, revised
from cloud_planner.core.revisions import NOTHING_REVISED, Revisions
from cloud_planner.core.select import SelectLimits
from cloud_planner.solver import CbcSolver

HOURS, WINDOW_S = 2.0, 1.0
RATE_PER_S, ACCURACY = 8.0, 0.9
_BUNDLE, _ENVIRONMENT, _CONTENT = Digest("sha256:b"), Digest("sha256:e"), Digest("sha256:c")
#: How far a service time wanders from its mean, and for how many windows it remembers.
_WANDER, _MEMORY = 0.06, 60.0
_SERVICE_CV, _TIMES_MS = 0.3, {"cut": 12.0, "read": 30.0}

Arrivals = Callable[[Random], int]


def poisson(rng: Random, mean: float) -> int:
    """By inversion; means here are small."""
    bound, count, product_of = exp(-mean), 0, rng.random()
    while product_of > bound:
        count, product_of = count + 1, product_of * rng.random()
    return count


LOADS: dict[str, Arrivals] = {
    "even": lambda rng: int(RATE_PER_S * WINDOW_S),
    "Poisson": lambda rng: poisson(rng, RATE_PER_S * WINDOW_S),
    "clumps of 4": lambda rng: 4 * poisson(rng, RATE_PER_S * WINDOW_S / 4.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one seed: how often something was found, and how often plans changed for it."""

    load: str
    seed: int
    findings: int
    plan_changes: int


def snapshot(queries: int = 3) -> Snapshot:
    """Queries of one pipeline on a camera and a server."""
    pipeline = Pipeline(
        id="words",
        description="",
        environment=EnvironmentSpec(),
        source="words:Words",
        scorer="words:Same",
        operators=(
            OperatorSpec(id="cut", entry_point="words:Cut", inputs=("source",)),
            OperatorSpec(
                id="read", entry_point="words:Read", inputs=("cut",), knobs=(Knob(name="fast", values=(False, True)),)
            ),
        ),
        outputs=("read",),
        contents=(ContentSpec(name="plain", seed=1, samples=8),),
    )
    configurations = tuple(pipeline.configurations())
    profiles = tuple(
        ConfigurationProfile(
            configuration=configuration,
            samples=tuple(
                SampleResult(
                    sample_index=index,
                    score_ratio=None,
                    operators=tuple(
                        OperatorSample(operator_id=name, cpu_ms=ms, wall_ms=ms, output_bytes=1000, cached=False)
                        for name, ms in _TIMES_MS.items()
                    ),
                )
                for index in range(8)
            ),
            memory_bytes=dict.fromkeys(_TIMES_MS, 50 * 2**20),
            source_bytes=2000,
        )
        for configuration in configurations
    )
    table = ProfileTable(
        bundle_digest=_BUNDLE,
        content_digest=_CONTENT,
        scores={configuration_key(one): dict.fromkeys(range(8), ACCURACY) for one in configurations},
        times={DeviceClass("box"): profiles},
    )
    found = RegisteredPipeline(
        pipeline=pipeline,
        bundle_digest=_BUNDLE,
        environment_digest=_ENVIRONMENT,
        contents=(ContentRef(name="plain", digest=_CONTENT, samples=8),),
    )
    wanted = tuple(
        Query(
            id=QueryId(f"q{index}"),
            pipeline_id=pipeline.id,
            content="plain",
            source_device_id=DeviceId("camera"),
            rate_per_s=RATE_PER_S,
            slo=Slo(latency_ms=600.0, accuracy_ratio=0.8),
        )
        for index in range(queries)
    )
    accuracy = Interval(value=ACCURACY, low=ACCURACY - 0.05, high=ACCURACY + 0.05)
    return Snapshot(
        fleet=Fleet(
            devices=(_device("camera", 2.0, "server"), _device("server", 4.0, "camera")),
            pipelines={pipeline.id: found},
            tables={(_BUNDLE, _CONTENT): table},
            choices={query.id: (Choice(configuration=configurations[0], accuracy=accuracy),) for query in wanted},
        ),
        queries=wanted,
        circumstances=Circumstances(connected=frozenset({DeviceId("camera"), DeviceId("server")})),
    )


def _device(name: str, cores: float, peer: str) -> Device:
    return Device(
        id=DeviceId(name),
        tier=Tier.EDGE,
        site=SiteId("home"),
        device_class=DeviceClass("box"),
        cpu_model="cpu",
        logical_cores=4,
        max_frequency_mhz=0.0,
        cpu_flags=(),
        cores=cores,
        memory_bytes=8 * 2**30,
        disk_free_bytes=0,
        accelerators=(),
        links=(Link(peer=DeviceId(peer), bandwidth_bit_per_s=100_000_000, rtt_ms=2.0),),
        price_per_h=0.1,
        speed_ratio=1.0,
        environments=(Environment(digest=_ENVIRONMENT, ready=True),),
        data_address=f"{name}:1",
        agent_version="1",
    )


def solved(base: Snapshot, revisions: Revisions, running: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans with what was found, beside what runs."""
    made = draft(revised(replace(base, running=tuple(running)), revisions))
    return plan(made.problem, CbcSolver(), SelectLimits()).selection.plans


def constant(base: Snapshot, first: Sequence[Plan], load: str, seed: int) -> Outcome:
    """Two hours of one seed."""
    rng, arrivals = Random(f"{load}-{seed}"), LOADS[load]
    running, state, findings, changes = tuple(first), DriftState(), 0, 0
    places = [
        (query.pipeline_id, operator, DeviceId(device))
        for query in base.queries[:1]
        for operator, device in product(_TIMES_MS, ("camera", "server"))
    ]
    wander = dict.fromkeys(places, 0.0)
    keep = 1.0 - 1.0 / _MEMORY
    configuration = configuration_key(base.fleet.choices[base.queries[0].id][0].configuration)
    for number in range(int(HOURS * 3600.0 / WINDOW_S)):
        samples: list[Sample] = [
            RateSample(query_id=query.id, emitted=arrivals(rng), duration_s=WINDOW_S, stated_per_s=query.rate_per_s)
            for query in base.queries
        ]
        items = round(RATE_PER_S * WINDOW_S)
        for place in places:
            wander[place] = keep * wander[place] + rng.gauss(0.0, _WANDER * (1.0 - keep**2) ** 0.5)
            noise = rng.gauss(0.0, _SERVICE_CV / items**0.5)
            profiled_ms = _TIMES_MS[place[1]]
            mean_ms = profiled_ms * exp(wander[place] + noise)
            samples.append(ServiceSample(place=place, items=items, mean_ms=mean_ms, profiled_ms=profiled_ms))
        right = sum(rng.random() < ACCURACY for _ in range(items))
        where = (base.queries[0].pipeline_id, "plain", configuration)
        samples.append(AccuracySample(place=where, scored=items, score_sum=float(right), measured_ratio=ACCURACY))
        made = step(state, samples, (number + 1) * WINDOW_S)
        state = made.state
        if made.findings:
            findings += len(made.findings)
            plans = solved(base, made.revisions, running)
            changes += _content(plans) != _content(running)
            running = plans
    return Outcome(load=load, seed=seed, findings=findings, plan_changes=changes)


def first_plans(base: Snapshot) -> tuple[Plan, ...]:
    """What is in force before anything drifted."""
    return solved(base, NOTHING_REVISED, ())


def _content(plans: Sequence[Plan]) -> list[tuple[QueryId, object, object]]:
    return [(one.query_id, sorted(one.configuration.items()), one.operators) for one in plans]
