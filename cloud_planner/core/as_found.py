"""Service times that are others than profiled: as drift and the ledger found them, or all stretched. PURE."""

from __future__ import annotations

from dataclasses import replace

from circinus.model.pipeline import PipelineId
from cloud_planner.core.problem import Candidate, Delay, Option
from cloud_planner.core.profiles import ClassStatistics
from cloud_planner.core.revisions import Revisions


def as_found(candidate: Candidate, pipeline_id: PipelineId, revisions: Revisions) -> Candidate:
    """A candidate with the service times that were found; the very same if none were."""
    if not any(place[0] == pipeline_id for place in revisions.service_ratio):
        return candidate
    return replace(
        candidate,
        steps=tuple(
            replace(
                step,
                options=tuple(
                    _slower(option, revisions.service_ratio.get((pipeline_id, step.operator_id, option.machine), 1.0))
                    for option in step.options
                ),
            )
            for step in candidate.steps
        ),
    )


def _slower(option: Option, ratio: float) -> Option:
    if ratio == 1.0:
        return option
    service = Delay(mean_ms=option.service.mean_ms * ratio, variance_ms2=option.service.variance_ms2 * ratio**2)
    return replace(option, service=service, capacity_per_s=option.capacity_per_s / ratio)


def stretched(known: ClassStatistics, time_ratio: float) -> ClassStatistics:
    """Statistics with all times so many times as long."""
    services = {
        place: replace(service, mean_ms=service.mean_ms * time_ratio, variance_ms2=service.variance_ms2 * time_ratio**2)
        for place, service in known.services.items()
    }
    return replace(known, services=services)
