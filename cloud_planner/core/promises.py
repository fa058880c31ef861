"""A plan and the problem that it solves -> what is promised of it. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt

from scipy.special import ndtri

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId
from circinus.model.plan import OperatorPlan, Plan
from circinus.model.query import Query
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.calibration import Belief
from cloud_planner.core.estimate import Z95, items_ratio, percentile_ms, stay_of
from cloud_planner.core.problem import Candidate, Option, Problem, QueryProblem
from cloud_planner.core.revisions import ServicePlace

#: Half-width of a 90% interval of a normal variable, in standard deviations.
Z90 = 1.6448536269514722
#: The percentile of a query that names none.
PERCENTILE_RATIO = 0.95


def promise_of(
    query: Query, plan: Plan, problem: Problem, belief: Belief, service_ratio: Mapping[ServicePlace, float]
) -> planner_pb2.Promise:
    """What is promised of a query. ``service_ratio``: corrections that are in the problem's service times."""
    percentile = query.slo.percentile_ratio or PERCENTILE_RATIO
    latency_ms, median_ms = plan.latency_ms.value, plan.latency_p50_ms
    message = wire.query_to_message(query)
    found = planner_pb2.Promise(
        pipeline_id=query.pipeline_id,
        content=query.content,
        rate_per_s=query.rate_per_s,
        slo=message.slo,
        plan=wire.plan_to_message(plan),
        latency_ms=latency_ms * belief.bias_ratio,
        latency_p50_ms=median_ms * belief.bias_ratio,
        spread_ratio=belief.spread_ratio,
        sampling_ratio=sampling_ratio(median_ms, latency_ms, percentile),
        freedom=belief.freedom,
        accuracy_error_ratio=max(0.0, plan.accuracy_ratio.value - plan.accuracy_ratio.low) / Z95,
    )
    asked = next((one for one in problem.queries if one.id == query.id), None)
    candidate = _candidate(asked, plan) if asked is not None else None
    if asked is not None and candidate is not None:
        found.operators.extend(_operators(query.pipeline_id, problem, asked, candidate, plan, service_ratio))
    return found


def sampling_ratio(median_ms: float, latency_ms: float, percentile: float) -> float:
    """Relative deviation of a percentile of n items, times the square root of n.

    sqrt(p (1 - p)) / (density x percentile), with the density of a gamma that has this median and percentile, found
    numerically: a quantile's asymptotic deviation (H. Cramer, Mathematical Methods of Statistics, 28.5).
    """
    z = float(ndtri(percentile))
    if not (0.0 < median_ms < latency_ms) or z <= 0.0:
        return 0.0
    deviation = (latency_ms - median_ms) / z
    step = 0.01
    # The mean lies above the median; by how much hardly matters to the slope at the percentile.
    high = float(percentile_ms(median_ms, deviation**2, min(0.999, percentile + step * (1.0 - percentile))))
    low = float(percentile_ms(median_ms, deviation**2, percentile - step * (1.0 - percentile)))
    slope = (high - low) / (2.0 * step * (1.0 - percentile))
    return sqrt(percentile * (1.0 - percentile)) * slope / latency_ms


def _candidate(asked: QueryProblem, plan: Plan) -> Candidate | None:
    return next((one for one in asked.candidates if one.configuration == plan.configuration), None)


def _operators(
    pipeline_id: PipelineId,
    problem: Problem,
    asked: QueryProblem,
    candidate: Candidate,
    plan: Plan,
    service_ratio: Mapping[ServicePlace, float],
) -> list[planner_pb2.OperatorPromise]:
    found = []
    leaves: dict[OperatorId, float] = {SOURCE: asked.arrival_cv2}
    for step in candidate.steps:
        came = max((leaves.get(name, 1.0) for name in step.inputs), default=1.0)
        for placed in (one for one in plan.operators if one.operator_id == step.operator_id):
            option = _option(step.options, placed)
            if option is None:
                continue
            rate_per_s = asked.rate_per_s * step.items_per_item * placed.share_ratio
            stay = stay_of(
                option,
                max(rate_per_s / placed.replicas, 1e-9),
                problem.waiting,
                replicas=placed.replicas,
                items_ratio=items_ratio(candidate, step),
            )
            at, departs = stay.moment(came)
            leaves[step.operator_id] = float(departs)
            mean_ms = option.service.mean_ms
            half = Z90 * hypot(candidate.latency_uncertainty_ratio, 1e-3) * mean_ms
            found.append(
                planner_pb2.OperatorPromise(
                    operator_id=step.operator_id,
                    device_id=placed.device_id,
                    replicas=placed.replicas,
                    cores=placed.cores,
                    share_ratio=placed.share_ratio,
                    rate_per_s=rate_per_s,
                    service_ms=types_pb2.Interval(value=mean_ms, low=max(0.0, mean_ms - half), high=mean_ms + half),
                    queue_ms=max(0.0, min(1e9, float(at.mean_ms) - mean_ms)),
                    output_bytes=step.output_bytes,
                    corrected_ratio=service_ratio.get((pipeline_id, step.operator_id, DeviceId(placed.device_id)), 1.0),
                )
            )
    return found


def _option(options: tuple[Option, ...], placed: OperatorPlan) -> Option | None:
    key = (placed.device_id, placed.cores, placed.batch)
    return next((one for one in options if (one.machine, one.cores, one.batch) == key), None)
