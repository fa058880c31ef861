"""Plans and selections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Certainty, Interval, MachineUse, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.model.query import QueryId
from circinus.v1 import types_pb2
from circinus.wire import check
from circinus.wire.knobs import configuration_from_message, configuration_to_message

if TYPE_CHECKING:
    from circinus.v1 import planner_pb2

_CERTAINTY_TO_MESSAGE = {
    Certainty.PROVISIONAL: types_pb2.CERTAINTY_PROVISIONAL,
    Certainty.CERTIFIED: types_pb2.CERTAINTY_CERTIFIED,
}


def interval_to_message(interval: Interval) -> types_pb2.Interval:
    """An interval's message."""
    return types_pb2.Interval(value=interval.value, low=interval.low, high=interval.high)


def interval_from_message(message: types_pb2.Interval) -> Interval:
    """The interval in a message."""
    return Interval(value=message.value, low=message.low, high=message.high)


def _operator_plan_to_message(operator: OperatorPlan) -> types_pb2.OperatorPlan:
    return types_pb2.OperatorPlan(
        operator_id=operator.operator_id,
        device_id=operator.device_id,
        replicas=operator.replicas,
        share_ratio=operator.share_ratio,
        cores=operator.cores,
        accelerator_slots=operator.accelerator_slots,
        accelerator_memory_bytes=operator.accelerator_memory_bytes,
        memory_bytes=operator.memory_bytes,
        batch=operator.batch,
        service_ms=operator.service_ms,
    )


def _operator_plan_from_message(message: types_pb2.OperatorPlan) -> OperatorPlan:
    return OperatorPlan(
        operator_id=OperatorId(message.operator_id),
        device_id=DeviceId(message.device_id),
        replicas=message.replicas,
        share_ratio=message.share_ratio,
        cores=message.cores,
        accelerator_slots=message.accelerator_slots,
        accelerator_memory_bytes=message.accelerator_memory_bytes,
        memory_bytes=message.memory_bytes,
        batch=message.batch,
        service_ms=message.service_ms,
    )


def _certainty_from_message(message: types_pb2.Certainty) -> Certainty:
    certified = (types_pb2.CERTAINTY_UNSPECIFIED, types_pb2.CERTAINTY_CERTIFIED)
    # What isn't known here is at least not taken for proven.
    return Certainty.CERTIFIED if message in certified else Certainty.PROVISIONAL


def plan_to_message(plan: Plan) -> types_pb2.Plan:
    """A plan's message."""
    return types_pb2.Plan(
        query_id=plan.query_id,
        configuration=configuration_to_message(plan.configuration),
        operators=[_operator_plan_to_message(operator) for operator in plan.operators],
        latency_ms=interval_to_message(plan.latency_ms),
        latency_p50_ms=plan.latency_p50_ms,
        accuracy_ratio=interval_to_message(plan.accuracy_ratio),
        cost_per_h=plan.cost_per_h,
        slo_probability_ratio=plan.slo_probability_ratio,
        item_goodput_per_s=plan.item_goodput_per_s,
        runner_up=plan.runner_up,
        runner_up_cost_per_h=plan.runner_up_cost_per_h,
        certainty=_CERTAINTY_TO_MESSAGE[plan.certainty],
        billed_per_h=plan.billed_per_h,
    )


def plan_from_message(message: types_pb2.Plan) -> Plan:
    """The plan in a message.

    Raises:
        InvalidInput: a knob is bad.
    """
    return Plan(
        query_id=QueryId(message.query_id),
        configuration=configuration_from_message(message.configuration),
        operators=tuple(_operator_plan_from_message(operator) for operator in message.operators),
        latency_ms=interval_from_message(message.latency_ms),
        latency_p50_ms=message.latency_p50_ms,
        accuracy_ratio=interval_from_message(message.accuracy_ratio),
        cost_per_h=message.cost_per_h,
        slo_probability_ratio=message.slo_probability_ratio,
        item_goodput_per_s=message.item_goodput_per_s,
        runner_up=message.runner_up,
        runner_up_cost_per_h=message.runner_up_cost_per_h if message.HasField("runner_up_cost_per_h") else None,
        certainty=_certainty_from_message(message.certainty),
        billed_per_h=message.billed_per_h,
    )


def selection_to_message(selection: Selection) -> planner_pb2.SelectionSummary:
    """A selection's message; the caller adds solver_s and pending."""
    # Here, not above: an agent says nothing of selections, and its memory is scarce.
    from circinus.v1 import planner_pb2

    return planner_pb2.SelectionSummary(
        plans=[plan_to_message(plan) for plan in selection.plans],
        unplaced=[planner_pb2.Unplaced(query_id=entry.query_id, reason=entry.reason) for entry in selection.unplaced],
        machines=[
            planner_pb2.MachineUse(
                device_id=use.device_id, machines=use.machines, cores=use.cores, cost_per_h=use.cost_per_h
            )
            for use in selection.machines
        ],
        traffic_cost_per_h=selection.traffic_cost_per_h,
        goodput_per_s=selection.goodput_per_s,
        goodput_bound_per_s=selection.goodput_bound_per_s,
        gap_ratio=selection.gap_ratio,
        cost_per_h=selection.cost_per_h,
        cost_bound_per_h=selection.cost_bound_per_h,
        cost_gap_ratio=selection.cost_gap_ratio,
        solver_status=selection.solver_status,
        provisional_per_s=selection.provisional_per_s,
    )


def selection_from_message(message: planner_pb2.SelectionSummary) -> Selection:
    """The selection in a message.

    Raises:
        InvalidInput: a knob or the provisional rate is bad.
        TooLarge: there are more than 100,000 plans.
    """
    check.size("plans", message.plans, 100_000)
    return Selection(
        plans=tuple(plan_from_message(plan) for plan in message.plans),
        unplaced=tuple(
            UnplacedQuery(query_id=QueryId(entry.query_id), reason=entry.reason) for entry in message.unplaced
        ),
        machines=tuple(
            MachineUse(
                device_id=DeviceId(use.device_id), machines=use.machines, cores=use.cores, cost_per_h=use.cost_per_h
            )
            for use in message.machines
        ),
        traffic_cost_per_h=message.traffic_cost_per_h,
        goodput_per_s=message.goodput_per_s,
        goodput_bound_per_s=message.goodput_bound_per_s,
        gap_ratio=message.gap_ratio,
        cost_per_h=message.cost_per_h,
        cost_bound_per_h=message.cost_bound_per_h,
        cost_gap_ratio=message.cost_gap_ratio,
        solver_status=message.solver_status,
        provisional_per_s=check.number("provisional_per_s", message.provisional_per_s),
    )
