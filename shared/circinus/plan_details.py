"""What a planner tells of what plans are made up from, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Interval
from circinus.model.query import QueryId
from circinus.v1 import planner_pb2
from circinus.wire.explanation import rival_from_message


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOperator:
    """An operator on a device. ``service_p95_ms`` holds with 90%; None: it is not known.

    ``samples``: items that were measured with these knobs on this class of device; 0: its time is worked out from
    others. ``measured_at``: when profiling on this class was last done; None: never, or nobody wrote it down.
    """

    operator_id: OperatorId
    device_id: DeviceId
    service_p95_ms: Interval | None
    wait_ms: float
    cost_per_h: float
    samples: int
    measured_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDetail:
    """What a plan's figures are made up from. ``rivals``: the next three that were not chosen (docs/explain.md)."""

    query_id: QueryId
    rate_per_s: float
    operators: tuple[PlannedOperator, ...]
    traffic_per_h: float
    why: str = ""
    rivals: tuple[Mapping[str, Any], ...] = ()


def plan_detail_from_message(message: planner_pb2.PlanDetail) -> PlanDetail:
    """The detail in a message.

    Raises:
        InvalidInput: a knob is bad.
    """
    return PlanDetail(
        query_id=QueryId(message.query_id),
        rate_per_s=message.rate_per_s,
        operators=tuple(map(_operator, message.operators)),
        traffic_per_h=message.traffic_per_h,
        why=message.why,
        rivals=tuple(map(rival_from_message, message.rivals)),
    )


def _operator(message: planner_pb2.PlannedOperator) -> PlannedOperator:
    told, p95 = message.HasField("service_p95_ms"), message.service_p95_ms
    return PlannedOperator(
        operator_id=OperatorId(message.operator_id),
        device_id=DeviceId(message.device_id),
        service_p95_ms=Interval(value=p95.value, low=p95.low, high=p95.high) if told else None,
        wait_ms=message.wait_ms,
        cost_per_h=message.cost_per_h,
        samples=message.samples,
        measured_at=message.measured_at.ToDatetime(UTC) if message.HasField("measured_at") else None,
        why=message.why,
    )


__all__ = ["PlanDetail", "PlannedOperator", "plan_detail_from_message"]
