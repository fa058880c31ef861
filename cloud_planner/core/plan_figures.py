"""A plan's figures, part by part: each operator's p95 with its interval and what it costs, each hop's time. PURE.

A plan says what holds end to end. These are the figures that it was made up from, read off the problem that it solves,
for people who look at one operator. They are of the same model (estimate.py), and of nothing else: service is the time
at the share that the plan gives, a hop is half a round trip and the item's bytes at the link's bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import Interval, OperatorPlan, Plan
from cloud_planner.core.estimate import dominant_share_ratio, items_ratio, percentile_ms, stay_of
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Step
from cloud_planner.core.promises import Z90

#: The percentile that operators are told by.
OPERATOR_PERCENTILE_RATIO = 0.95
#: The other end of a hop that brings an answer to where its query's items come from.
ANSWER = OperatorId("answer")
#: No interval is narrower, relatively.
_LEAST_ERROR_RATIO = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFigures:
    """One operator on one device, at the share that the plan gives it.

    ``service_p95_ms`` with its 90% interval; ``wait_ms`` is the mean wait of an item before it. ``used_ratio``: the
    part of its capacity that is planned to be in use. ``cost_per_h``: price x share of the device.
    """

    operator_id: OperatorId
    device_id: DeviceId
    service_p95_ms: Interval
    service_ms: float
    wait_ms: float
    used_ratio: float
    output_bytes: float
    cost_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HopFigures:
    """A way that items take: from an operator (or SOURCE) to an operator (or ANSWER), between two devices or on one.

    ``time_ms`` is of one item of ``item_bytes``; 0 on one device.
    """

    producer: OperatorId
    here: DeviceId
    consumer: OperatorId
    there: DeviceId
    time_ms: float
    item_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFigures:
    """Operators in the plan's order, hops in the order of their consumers; what the plan costs beside operators."""

    operators: tuple[OperatorFigures, ...]
    hops: tuple[HopFigures, ...]
    traffic_per_h: float

    def operator(self, part: OperatorPlan) -> OperatorFigures | None:
        """The figures of one part of the plan."""
        key = (part.operator_id, part.device_id)
        return next((one for one in self.operators if (one.operator_id, one.device_id) == key), None)


def plan_figures(problem: Problem, plan: Plan) -> PlanFigures | None:
    """The figures of a plan; None: the problem is not the one that it solves (any more)."""
    query = next((one for one in problem.queries if one.id == plan.query_id), None)
    if query is None:
        return None
    candidate = next((one for one in query.candidates if one.configuration == plan.configuration), None)
    if candidate is None:
        return None
    network = _near(problem, query, plan)
    by_place: dict[tuple[OperatorId, DeviceId], OperatorFigures] = {}
    leaves: dict[OperatorId, float] = {SOURCE: query.arrival_cv2}
    for step in candidate.steps:
        came = max((leaves.get(name, 1.0) for name in step.inputs), default=1.0)
        for part in (one for one in plan.operators if one.operator_id == step.operator_id):
            option = _option(step.options, part)
            if option is None:
                return None
            each_per_s = max(query.rate_per_s * step.items_per_item * part.share_ratio / part.replicas, 1e-9)
            stay = stay_of(
                option,
                each_per_s,
                problem.waiting,
                replicas=part.replicas,
                items_ratio=items_ratio(candidate, step),
            )
            at, departs = stay.moment(came)
            leaves[step.operator_id] = float(departs)
            by_place[part.operator_id, part.device_id] = _operator(
                network.machines.get(part.device_id), candidate, step, option, part, each_per_s, float(at.mean_ms)
            )
    if len(by_place) < len(plan.operators):
        return None
    found = [by_place[part.operator_id, part.device_id] for part in plan.operators]
    return PlanFigures(
        operators=tuple(found),
        hops=_hops(network, query, candidate, plan),
        traffic_per_h=max(0.0, plan.cost_per_h - sum(one.cost_per_h for one in found)),
    )


def _near(problem: Problem, query: QueryProblem, plan: Plan) -> Network:
    """The network of the devices that a plan is on: of thousands only these matter."""
    ends = {part.device_id for part in plan.operators} | ({query.source} if query.source is not None else set())
    uplinks = [
        (pair, uplink) for uplink in problem.uplinks for pair in uplink.wires if pair[0] in ends and pair[1] in ends
    ]
    return Network(
        machines={machine.id: machine for machine in problem.machines if machine.id in ends},
        wires={
            (wire.source, wire.target): wire for wire in problem.wires if wire.source in ends and wire.target in ends
        },
        uplinks={pair: tuple(one for at, one in uplinks if at == pair) for pair, _ in uplinks},
        processes={},
        readers={},
    )


def _option(options: tuple[Option, ...], part: OperatorPlan) -> Option | None:
    key = (part.device_id, part.cores, part.batch, part.accelerator_slots)
    return next((one for one in options if (one.machine, one.cores, one.batch, one.accelerator_slots) == key), None)


def _operator(
    machine: Machine | None,
    candidate: Candidate,
    step: Step,
    option: Option,
    part: OperatorPlan,
    each_per_s: float,
    stay_ms: float,
) -> OperatorFigures:
    service = option.service
    p95_ms = float(percentile_ms(service.mean_ms, service.variance_ms2, OPERATOR_PERCENTILE_RATIO))
    half_ms = Z90 * hypot(candidate.latency_uncertainty_ratio, _LEAST_ERROR_RATIO) * p95_ms
    whole_per_h = machine.price_per_h * dominant_share_ratio(machine, option) if machine is not None else 0.0
    return OperatorFigures(
        operator_id=part.operator_id,
        device_id=part.device_id,
        service_p95_ms=Interval(value=p95_ms, low=max(0.0, p95_ms - half_ms), high=p95_ms + half_ms),
        service_ms=service.mean_ms,
        wait_ms=max(0.0, stay_ms - service.mean_ms),
        used_ratio=each_per_s / option.capacity_per_s if option.capacity_per_s > 0.0 else 0.0,
        output_bytes=step.output_bytes,
        cost_per_h=whole_per_h * part.replicas,
    )


def _hops(network: Network, query: QueryProblem, candidate: Candidate, plan: Plan) -> tuple[HopFigures, ...]:
    places: dict[OperatorId, tuple[DeviceId, ...]] = {}
    for part in plan.operators:
        places[part.operator_id] = (*places.get(part.operator_id, ()), part.device_id)
    if query.source is not None:
        places[SOURCE] = (query.source,)
    sizes: Mapping[OperatorId, float] = {
        SOURCE: candidate.source_bytes,
        **{step.operator_id: step.output_bytes for step in candidate.steps},
    }
    found: list[HopFigures] = []
    for step in candidate.steps:
        for producer in step.inputs:
            for here in places.get(producer, ()):
                found += [
                    _hop(network, (producer, here), (step.operator_id, there), sizes.get(producer, 0.0))
                    for there in places.get(step.operator_id, ())
                ]
    if query.source is not None and query.answer_to_source:
        for producer in candidate.outputs:
            for here in places.get(producer, ()):
                back = network.hop(query.source, here)
                found.append(
                    HopFigures(
                        producer=producer,
                        here=here,
                        consumer=ANSWER,
                        there=query.source,
                        time_ms=back.back_ms if back is not None and here != query.source else 0.0,
                        item_bytes=sizes.get(producer, 0.0),
                    )
                )
    return tuple(found)


def _hop(
    network: Network, start: tuple[OperatorId, DeviceId], end: tuple[OperatorId, DeviceId], item_bytes: float
) -> HopFigures:
    way = network.hop(start[1], end[1])
    return HopFigures(
        producer=start[0],
        here=start[1],
        consumer=end[0],
        there=end[1],
        time_ms=way.transfer_ms(item_bytes) if way is not None else 0.0,
        item_bytes=item_bytes,
    )


__all__ = ["ANSWER", "OPERATOR_PERCENTILE_RATIO", "HopFigures", "OperatorFigures", "PlanFigures", "plan_figures"]
