"""Two selections side by side."""

from __future__ import annotations

from circinus.model.device import DeviceId
from circinus.model.plan_diff import Change, DeviceDiff, Figures, PlanDiff, QueryDiff
from circinus.model.query import QueryId
from circinus.v1 import planner_pb2
from circinus.wire import check
from circinus.wire.plan import plan_from_message, plan_to_message

_CHANGES = {
    Change.PLACED: planner_pb2.PLAN_CHANGE_PLACED,
    Change.UNPLACED: planner_pb2.PLAN_CHANGE_UNPLACED,
    Change.MOVED: planner_pb2.PLAN_CHANGE_MOVED,
    Change.RECONFIGURED: planner_pb2.PLAN_CHANGE_RECONFIGURED,
    Change.RESIZED: planner_pb2.PLAN_CHANGE_RESIZED,
    Change.UNCHANGED: planner_pb2.PLAN_CHANGE_UNCHANGED,
    Change.WAITING: planner_pb2.PLAN_CHANGE_WAITING,
}
_BY_MESSAGE = {message: change for change, message in _CHANGES.items()}


def plan_diff_to_message(diff: PlanDiff) -> planner_pb2.PlanDiff:
    """A difference's message."""
    return planner_pb2.PlanDiff(
        before=_figures_to_message(diff.before),
        after=_figures_to_message(diff.after),
        queries=[_query_to_message(query) for query in diff.queries],
        devices=[
            planner_pb2.DeviceDiff(
                device_id=device.device_id,
                start=device.start,
                stop=device.stop,
                keep=device.keep,
                cores_before=device.cores_before,
                cores_after=device.cores_after,
                cost_before_per_h=device.cost_before_per_h,
                cost_after_per_h=device.cost_after_per_h,
            )
            for device in diff.devices
        ],
    )


def plan_diff_from_message(message: planner_pb2.PlanDiff) -> PlanDiff:
    """The difference in a message. What becomes of a query, if it isn't known here, is taken to be a move.

    Raises:
        InvalidInput: a plan is bad.
        TooLarge: there are more than 100,000 queries or devices.
    """
    check.size("queries", message.queries, 100_000)
    check.size("devices", message.devices, 100_000)
    return PlanDiff(
        before=_figures_from_message(message.before),
        after=_figures_from_message(message.after),
        queries=tuple(_query_from_message(query) for query in message.queries),
        devices=tuple(
            DeviceDiff(
                device_id=DeviceId(device.device_id),
                start=device.start,
                stop=device.stop,
                keep=device.keep,
                cores_before=device.cores_before,
                cores_after=device.cores_after,
                cost_before_per_h=device.cost_before_per_h,
                cost_after_per_h=device.cost_after_per_h,
            )
            for device in message.devices
        ),
    )


def _query_to_message(query: QueryDiff) -> planner_pb2.QueryDiff:
    return planner_pb2.QueryDiff(
        query_id=query.query_id,
        change=_CHANGES[query.change],
        before=None if query.before is None else plan_to_message(query.before),
        after=None if query.after is None else plan_to_message(query.after),
        cost_before_per_h=query.cost_before_per_h,
        cost_after_per_h=query.cost_after_per_h,
        reason=query.reason,
    )


def _query_from_message(message: planner_pb2.QueryDiff) -> QueryDiff:
    return QueryDiff(
        query_id=QueryId(message.query_id),
        change=_BY_MESSAGE.get(message.change, Change.MOVED),
        before=plan_from_message(message.before) if message.HasField("before") else None,
        after=plan_from_message(message.after) if message.HasField("after") else None,
        cost_before_per_h=message.cost_before_per_h,
        cost_after_per_h=message.cost_after_per_h,
        reason=message.reason,
    )


def _figures_to_message(figures: Figures) -> planner_pb2.SelectionFigures:
    return planner_pb2.SelectionFigures(
        plans=figures.plans,
        unplaced=figures.unplaced,
        goodput_per_s=figures.goodput_per_s,
        goodput_bound_per_s=figures.goodput_bound_per_s,
        gap_ratio=figures.gap_ratio,
        provisional_per_s=figures.provisional_per_s,
        cost_per_h=figures.cost_per_h,
        cost_bound_per_h=figures.cost_bound_per_h,
        cost_gap_ratio=figures.cost_gap_ratio,
        solver_status=figures.solver_status,
    )


def _figures_from_message(message: planner_pb2.SelectionFigures) -> Figures:
    return Figures(
        plans=message.plans,
        unplaced=message.unplaced,
        goodput_per_s=message.goodput_per_s,
        goodput_bound_per_s=message.goodput_bound_per_s,
        gap_ratio=message.gap_ratio,
        provisional_per_s=message.provisional_per_s,
        cost_per_h=message.cost_per_h,
        cost_bound_per_h=message.cost_bound_per_h,
        cost_gap_ratio=message.cost_gap_ratio,
        solver_status=message.solver_status,
    )
