"""A pipeline over three tiers with its plan and figures, for the tests of the pages about queries."""

from __future__ import annotations

from datetime import UTC, datetime

from circinus.model.device import DeviceId, Tier
from circinus.model.pipeline import ContentSpec, EnvironmentSpec, Knob, OperatorSpec, Pipeline
from circinus.model.plan import Interval, OperatorPlan, Plan
from circinus.model.query import Query, Slo
from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from cloud_planner.core.plan_figures import HopFigures, OperatorFigures, PlanFigures
from cloud_planner.store import StoredWindow

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()
TIERS = {"camera-7": Tier.EDGE, "shop-box": Tier.EDGE, "cloud-1": Tier.CLOUD}
PIPELINE = Pipeline(
    id="plates",
    description="",
    environment=EnvironmentSpec(),
    source="plates:Source",
    scorer="plates:Same",
    operators=(
        OperatorSpec(
            id="decode",
            entry_point="plates:Decode",
            inputs=("source",),
            knobs=(Knob(name="size", values=(320, 640)),),
            pinned="source",
        ),
        OperatorSpec(
            id="detect",
            entry_point="plates:Detect",
            inputs=("decode",),
            knobs=(Knob(name="fast", values=(False, True)),),
        ),
        OperatorSpec(id="track", entry_point="plates:Track", inputs=("decode",)),
        OperatorSpec(id="read", entry_point="plates:Read", inputs=("detect", "track")),
    ),
    outputs=("read",),
    contents=(ContentSpec(name="day", seed=1, samples=4),),
)
QUERY = Query(
    id="gate",
    pipeline_id="plates",
    content="day",
    source_device_id="camera-7",
    rate_per_s=5.0,
    slo=Slo(latency_ms=300.0, accuracy_ratio=0.9),
)


def part(operator: str, device: str, **changes: object) -> OperatorPlan:
    values: dict[str, object] = {
        "operator_id": operator,
        "device_id": DeviceId(device),
        "replicas": 1,
        "share_ratio": 1.0,
        "cores": 0.5,
        "accelerator_slots": 0,
        "accelerator_memory_bytes": 0,
        "memory_bytes": 0,
        "batch": 1,
        "service_ms": 20.0,
    }
    return OperatorPlan(**(values | changes))  # type: ignore[arg-type]


def plan(*parts: OperatorPlan, query_id: str = "gate", **changes: object) -> Plan:
    values: dict[str, object] = {
        "query_id": query_id,
        "configuration": {"decode.size": 640, "detect.fast": True},
        "operators": parts
        or (part("decode", "camera-7"), part("detect", "shop-box"), part("track", "camera-7"), part("read", "cloud-1")),
        "latency_ms": Interval(value=200.0, low=180.0, high=220.0),
        "latency_p50_ms": 120.0,
        "accuracy_ratio": Interval(value=0.93, low=0.91, high=0.95),
        "cost_per_h": 0.36,
        "slo_probability_ratio": 0.97,
        "item_goodput_per_s": 4.6,
        "billed_per_h": 0.4,
    }
    return Plan(**(values | changes))  # type: ignore[arg-type]


def figures(found: Plan) -> PlanFigures:
    return PlanFigures(
        operators=tuple(
            OperatorFigures(
                operator_id=one.operator_id,
                device_id=one.device_id,
                service_p95_ms=Interval(value=30.0, low=27.0, high=33.0),
                service_ms=20.0,
                wait_ms=2.0,
                used_ratio=0.4,
                output_bytes=1_000.0,
                cost_per_h=0.05,
            )
            for one in found.operators
        ),
        hops=(
            HopFigures(
                producer="decode",
                here="camera-7",
                consumer="detect",
                there="shop-box",
                time_ms=12.5,
                item_bytes=48_000.0,
            ),
        ),
        traffic_per_h=0.16,
    )


def query_window(at_s: float, *latencies_ms: float, **changes: object) -> StoredWindow:
    values: dict[str, object] = {
        "query_id": "gate",
        "generation": 3,
        "duration_s": 1.0,
        "emitted": len(latencies_ms),
        "answered": len(latencies_ms),
        "latency_ms": Sketch(latencies_ms).message(),
    }
    window = types_pb2.QueryWindow(**(values | changes))  # type: ignore[arg-type]
    window.start.FromNanoseconds(round(at_s * 1e9))
    return StoredWindow(id=1, device_id=DeviceId("camera-7"), window=window)


def operator_window(device: str, operator: str, *service_ms: float, **changes: object) -> StoredWindow:
    values: dict[str, object] = {
        "query_id": "gate",
        "operator_id": operator,
        "items": len(service_ms),
        "service_ms": Sketch(service_ms).message(),
        "queue_ms_sum": 2.0 * len(service_ms),
    }
    window = types_pb2.OperatorWindow(**(values | changes))  # type: ignore[arg-type]
    return StoredWindow(id=2, device_id=DeviceId(device), window=window)
