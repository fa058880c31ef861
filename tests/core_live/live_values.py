"""A small pipeline, devices and tables for the tests of the live fleet's core."""

from circinus.model.device import Accelerator, Device, Environment, Link, Tier
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
from circinus.model.plan import Interval, OperatorPlan, Plan
from circinus.model.profile import ConfigurationProfile, OperatorSample, ProfileTable, SampleResult
from circinus.model.query import Query, Slo
from cloud_planner.core.decompose import Choice, Fleet

BUNDLE, ENVIRONMENT, CONTENT = "sha256:b", "sha256:e", "sha256:c"


def operator(operator_id, inputs, knobs=(), **changes):
    return OperatorSpec(
        id=operator_id, entry_point=f"words:{operator_id.title()}", inputs=tuple(inputs), knobs=tuple(knobs), **changes
    )


def pipeline(*operators, outputs=("read",)):
    return Pipeline(
        id="words",
        description="",
        environment=EnvironmentSpec(),
        source="words:Words",
        scorer="words:Same",
        operators=operators
        or (
            operator("cut", ["source"], [Knob(name="length", values=(1, 2))]),
            operator("read", ["cut"], [Knob(name="fast", values=(False, True))]),
        ),
        outputs=outputs,
        contents=(ContentSpec(name="plain", seed=1, samples=4),),
    )


def registered(spec=None, *, samples=4):
    return RegisteredPipeline(
        pipeline=spec or pipeline(),
        bundle_digest=BUNDLE,
        environment_digest=ENVIRONMENT,
        contents=(ContentRef(name="plain", digest=CONTENT, samples=samples),),
    )


def device(device_id, *, links=(), ready=True, **changes):
    values = {
        "id": device_id,
        "tier": Tier.EDGE,
        "site": "home",
        "device_class": "fast",
        "cpu_model": "cpu",
        "logical_cores": 2,
        "max_frequency_mhz": 0.0,
        "cpu_flags": (),
        "cores": 2.0,
        "memory_bytes": 8 * 2**30,
        "disk_free_bytes": 0,
        "accelerators": (),
        "links": tuple(Link(peer=peer, bandwidth_bit_per_s=1_000_000, rtt_ms=10.0) for peer in links),
        "price_per_h": 0.0,
        "speed_ratio": 1.0,
        "environments": (Environment(digest=ENVIRONMENT, ready=True),) if ready else (),
        "data_address": "",
        "agent_version": "1",
    }
    return Device(**(values | changes))


def accelerator():
    return Accelerator(kind="cuda", model="gpu", provider="CUDA", slots=4, memory_bytes=8 * 2**30)


def measured(operator_id, wall_ms, *, output_bytes=100, cached=False):
    return OperatorSample(
        operator_id=operator_id, cpu_ms=wall_ms, wall_ms=wall_ms, output_bytes=output_bytes, cached=cached
    )


def profile(configuration, samples, *, memory_bytes=None, source_bytes=1000):
    """``samples``: by index, (score or None, {operator: ms})."""
    return ConfigurationProfile(
        configuration=configuration,
        samples=tuple(
            SampleResult(
                sample_index=index,
                score_ratio=score,
                operators=tuple(measured(name, wall_ms) for name, wall_ms in times.items()),
            )
            for index, (score, times) in samples.items()
        ),
        memory_bytes=memory_bytes or {"cut": 10 * 2**20, "read": 100 * 2**20},
        source_bytes=source_bytes,
    )


def table(spec, *, classes=("fast",), samples=4, scores=True, time_ms=20.0):
    configurations = list(spec.configurations())
    return ProfileTable(
        bundle_digest=BUNDLE,
        content_digest=CONTENT,
        scores={configuration_key(found): dict.fromkeys(range(samples), 0.9) for found in configurations}
        if scores
        else {},
        times={
            name: tuple(
                profile(
                    found,
                    {index: (None, {step.id: time_ms + index for step in spec.operators}) for index in range(samples)},
                )
                for found in configurations
            )
            for name in classes
        },
    )


def fleet(*devices, spec=None, tables=None, samples=4, **changes):
    found = registered(spec, samples=samples)
    known = table(found.pipeline, samples=samples) if tables is None else tables
    return Fleet(devices=devices, pipelines={"words": found}, tables={(BUNDLE, CONTENT): known}, **changes)


def choices(spec=None, *, low=0.85, **changes):
    """Every configuration of a pipeline as a choice."""
    accuracy = Interval(value=0.9, low=low, high=0.95)
    return tuple(
        Choice(configuration=found, accuracy=accuracy, **changes) for found in (spec or pipeline()).configurations()
    )


def a_plan(query_id, configuration, *, item_goodput_per_s=2.0, **where):
    """A plan with one replica of each operator; ``where``: operator -> device."""
    return Plan(
        query_id=query_id,
        configuration=configuration,
        operators=tuple(
            OperatorPlan(
                operator_id=name,
                device_id=device_id,
                replicas=1,
                share_ratio=1.0,
                cores=1.0,
                accelerator_slots=0,
                accelerator_memory_bytes=0,
                memory_bytes=0,
                batch=1,
                service_ms=20.0,
            )
            for name, device_id in where.items()
        ),
        latency_ms=Interval(value=50.0, low=40.0, high=60.0),
        latency_p50_ms=40.0,
        accuracy_ratio=Interval(value=0.9, low=0.85, high=0.95),
        cost_per_h=0.1,
        slo_probability_ratio=1.0,
        item_goodput_per_s=item_goodput_per_s,
    )


def query(query_id="q", *, source="camera", rate_per_s=2.0, **slo):
    return Query(
        id=query_id,
        pipeline_id="words",
        content="plain",
        source_device_id=source,
        rate_per_s=rate_per_s,
        slo=Slo(**slo),
    )
