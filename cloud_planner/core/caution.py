"""What a belief has to beat: a plan that runs, and whose times were measured. PURE.

The cheapest of many plans that rest on believed times is, more often than not, the one that was believed too cheap (the
winner's curse). Moving to it, measuring it, finding it dearer and moving on to the next such plan costs a profile run
and a rollout each time, and ends close to where it began. So a query that runs by measured times is planned with those
that are only believed as they would be one standard error worse: what still is cheaper is worth a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from circinus.model.device import DeviceClass, DeviceId
from circinus.model.pipeline import Pipeline
from circinus.model.plan import Plan
from cloud_planner.core.profiles import ClassStatistics


def cautious(known: ClassStatistics) -> ClassStatistics:
    """Statistics with believed times one standard error longer; measured ones stay."""
    return replace(
        known,
        services={
            place: replace(
                service,
                mean_ms=service.mean_ms * (1.0 + service.error_ratio),
                variance_ms2=service.variance_ms2 * (1.0 + service.error_ratio) ** 2,
            )
            if service.believed
            else service
            for place, service in known.services.items()
        },
    )


def runs_as_measured(
    pipeline: Pipeline,
    plan: Plan,
    classes: Mapping[DeviceId, DeviceClass],
    statistics: Mapping[DeviceClass, ClassStatistics],
) -> bool:
    """Whether the times of every operator of a plan were measured where it runs."""
    for placed in plan.operators:
        known = statistics.get(classes.get(placed.device_id, DeviceClass("")))
        service = known.service(pipeline, placed.operator_id, plan.configuration) if known is not None else None
        if service is None or service.believed:
            return False
    return bool(plan.operators)
