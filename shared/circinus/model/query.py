"""A query: a pipeline bound to a source device, a rate, a weight and an SLO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId

QueryId = NewType("QueryId", str)

#: The percentile that a latency bound is for where none is given.
DEFAULT_PERCENTILE_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Bounds; None: no bound."""

    latency_ms: float | None = None
    percentile_ratio: float = DEFAULT_PERCENTILE_RATIO
    accuracy_ratio: float | None = None
    cost_per_h: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What somebody wants served."""

    id: QueryId
    pipeline_id: PipelineId
    content: str
    source_device_id: DeviceId
    rate_per_s: float
    weight: float = 1.0
    slo: Slo
