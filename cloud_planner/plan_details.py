"""What the figures of a dry run's plans rest on: each operator's time and money, what was not chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from circinus import wire
from circinus.model.device import DeviceClass, DeviceId
from circinus.model.plan import Interval, Plan
from circinus.model.query import Query
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.plan_figures import PlanFigures, plan_figures
from cloud_planner.core.plan_rows import OperatorRow, measured_of, operator_rows
from cloud_planner.overview import Overview
from cloud_planner.trials import DryRun

#: Each of these has a selection looked through again.
MAX_EXPLAINED = 50


async def plan_details(overview: Overview, found: DryRun, rivals_of: int) -> list[planner_pb2.PlanDetail]:
    """A message for each plan, in the selection's order; of so many, extra queries first, with the next three."""
    queries = {query.id: query for query in found.queries}
    extra = {query.id for query in found.extra}
    plans = [plan for plan in found.record.selection.plans if plan.query_id in queries]
    first = sorted(plans, key=lambda plan: (plan.query_id not in extra, plan.query_id))
    asked = {plan.query_id for plan in first[: min(rivals_of, MAX_EXPLAINED)]}
    classes = {record.device.id: record.device.device_class for record in overview.registry.records()}
    details = []
    for plan in plans:
        explained = await overview.trials.explained_of(found, plan.query_id) if plan.query_id in asked else None
        details.append(await _detail(overview, found, queries[plan.query_id], plan, classes, explained))
    return details


async def _detail(
    overview: Overview,
    found: DryRun,
    query: Query,
    plan: Plan,
    classes: Mapping[DeviceId, DeviceClass],
    explained: Mapping[str, Any] | None,
) -> planner_pb2.PlanDetail:
    registered = overview.catalog.pipelines[query.pipeline_id]
    digest = next(content.digest for content in registered.contents if content.name == query.content)
    key = (registered.bundle_digest, digest)
    table = (await overview.profiling.tables([key]))[key]
    moments = await overview.store.profiled_at(*key)

    def worked_out() -> tuple[PlanFigures | None, tuple[OperatorRow, ...]]:
        figures = plan_figures(found.record.problem, plan)
        measured = measured_of(plan, registered.pipeline, table, classes)
        rivals = explained["rivals"] if explained is not None else ()
        return figures, operator_rows(plan, figures, measured, {}, registered.pipeline, rivals)

    figures, rows = await asyncio.to_thread(worked_out)
    detail = planner_pb2.PlanDetail(
        query_id=plan.query_id,
        rate_per_s=query.rate_per_s,
        operators=[_operator(row, moments) for row in rows],
        traffic_per_h=figures.traffic_per_h if figures is not None else 0.0,
    )
    if explained is not None:
        message = wire.explanation_to_message(explained)
        detail.why = message.why
        detail.rivals.extend(message.rivals)
    return detail


def _operator(row: OperatorRow, moments: Mapping[DeviceClass, datetime]) -> planner_pb2.PlannedOperator:
    message = planner_pb2.PlannedOperator(
        operator_id=row.operator,
        device_id=row.device,
        service_p95_ms=_interval(row.p95_ms),
        wait_ms=row.wait_ms or 0.0,
        cost_per_h=row.cost_per_h or 0.0,
        samples=row.measured.samples if row.measured is not None else 0,
        why=row.why,
    )
    if row.measured is not None and row.measured.samples and (at := moments.get(row.measured.device_class)):
        message.measured_at.FromDatetime(at)
    return message


def _interval(interval: Interval | None) -> types_pb2.Interval | None:
    return None if interval is None else types_pb2.Interval(value=interval.value, low=interval.low, high=interval.high)


__all__ = ["MAX_EXPLAINED", "plan_details"]
