"""Pipelines, and what each configuration of one is good for: accuracy against latency and cost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.responses import Response

from circinus import wire
from circinus.errors import InvalidInput, NotFound
from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId, RegisteredPipeline
from circinus.model.query import Query, QueryId, Slo
from circinus.v1 import planner_pb2
from cloud_planner.core.configuration_front import ConfigurationFront
from cloud_planner.core.decompose import Choice
from cloud_planner.dashboard.front import Axis, ConfigurationRow, Standing, front_chart, rows_of
from cloud_planner.dashboard.page import Page, Route
from cloud_planner.dashboard.table import Column, Wanted, cut
from cloud_planner.dashboard.visit import Visit
from cloud_planner.dashboard.what_if_answer import PlanShown, shown
from cloud_planner.trials import Configured

_FRESH_FOR_S = 15.0
#: What is shown of a pipeline that nobody has a query of: at this rate, from any device.
_RATE_PER_S = 1.0
_NOBODYS = QueryId("nobody's query")
#: Queries that can be picked from a list; with more of them the address says which.
_MOST_LISTED = 200

_PIPELINES: tuple[Column[planner_pb2.PipelineState], ...] = (
    Column(key="id", label="Pipeline", sort=lambda row: row.id, narrow=True),
    Column(key="operators", label="Operators", sort=lambda row: len(row.operator_ids)),
    Column(
        key="configurations", label="Configurations", sort=lambda row: row.configurations, numeric=True, narrow=True
    ),
    Column(key="contents", label="Contents", sort=lambda row: len(row.contents)),
    Column(key="queries", label="Queries", sort=lambda row: row.queries, numeric=True, narrow=True),
)
_CONFIGURATIONS: tuple[Column[ConfigurationRow], ...] = (
    Column(key="knobs", label="Configuration", sort=lambda row: row.differing, narrow=True),
    Column(
        key="accuracy",
        label="Accuracy",
        sort=lambda row: row.accuracy.value,
        numeric=True,
        narrow=True,
        title="With its 95% interval",
    ),
    Column(
        key="latency",
        label="Latency",
        sort=lambda row: row.latency_ms.value if row.latency_ms else None,
        numeric=True,
        title="Of its cheapest plan, at the SLO's percentile, with its 95% interval",
    ),
    Column(key="cost", label="Cost/h", sort=lambda row: row.cost_per_h, numeric=True, narrow=True),
    Column(key="slo", label="P(SLO)", sort=lambda row: row.slo_probability_ratio, numeric=True),
    Column(key="measured", label="Known from", sort=lambda row: row.scored, title="Samples that were scored"),
    Column(key="standing", label="Standing", sort=lambda row: list(Standing).index(row.standing)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a page is about. ``queries``: of the pipeline, by id, as many as are listed."""

    registered: RegisteredPipeline
    query: Query
    queries: tuple[str, ...]
    axis: Axis | None
    pick: str


async def show_list(visit: Visit) -> Response:
    """Every pipeline."""
    visit.desk.try_outs.expect()
    response: planner_pb2.ListPipelinesResponse = await visit.ask("ListPipelines", planner_pb2.ListPipelinesRequest())
    wanted = Wanted.read(visit.query, _PIPELINES, sort="id")
    found = cut(tuple(response.pipelines), wanted, _PIPELINES, lambda row: f"{row.id} {' '.join(row.operator_ids)}")
    return await visit.page("pipelines.html", cut=found)


async def show_one(visit: Visit) -> Response:
    """A pipeline's configurations, and the plan of the one that is picked."""
    asked = _asked(visit)
    front = await _front(visit, asked)
    plan = visit.desk.decided().plans.get(asked.query.id)
    in_use = wire.configuration_from_message(plan.configuration) if plan is not None else None
    axis = asked.axis or _telling(front)
    rows = rows_of(front, axis, in_use)
    picked = next((row for row in rows if row.name == asked.pick), None)
    if asked.pick and picked is None:
        raise NotFound(f"{asked.registered.pipeline.id} has no configuration {asked.pick!r} (any more)")
    try:
        configured = await _configured(visit, asked, picked) if picked is not None else None
    except _Newer:
        return Response(status_code=204)
    wanted = Wanted.read(
        visit.query, _CONFIGURATIONS, sort="standing", only=("standing", "query", "content", "axis", "source")
    )
    found = await asyncio.to_thread(
        cut,
        rows,
        wanted,
        _CONFIGURATIONS,
        lambda row: f"{row.differing} {row.measured} {row.standing.value}",
        {"standing": lambda row: row.standing.value},
    )
    slo = asked.query.slo
    bounds = {"x": slo.cost_per_h if axis is Axis.COST else slo.latency_ms, "y": asked.query.slo.accuracy_ratio}
    return await visit.page(
        "pipeline.html",
        pipeline=asked.registered.pipeline,
        query_now=asked.query,
        nobodys=asked.query.id == _NOBODYS,
        queries=asked.queries,
        contents=[content.name for content in asked.registered.contents],
        devices=sorted(record.device.id for record in visit.desk.overview.registry.records())[:_MOST_LISTED],
        axis=axis.value,
        front=front,
        cut=found,
        chart=front_chart(rows, axis, bounds),
        standings=[(one.value, one.value) for one in Standing],
        counts={one.value: sum(row.standing is one for row in rows) for one in Standing},
        scored=sum(bool(row.scored) for row in rows),
        picked=picked,
        plan=_shown(configured),
        explained=configured.explained if configured is not None else {},
        path=f"/pipelines/{visit.path['pipeline_id']}",
        keep={
            "query": wanted.only.get("query", ""),
            "content": wanted.only.get("content", ""),
            "axis": axis.value,
        },
    )


def _shown(configured: Configured | None) -> PlanShown | None:
    return shown(configured.plan) if configured is not None and configured.plan is not None else None


def _telling(front: ConfigurationFront) -> Axis:
    """Cost, unless all cost the same."""
    costs = {round(point.plan.cost_per_h, 9) for point in front.points if point.plan is not None}
    return Axis.COST if len(costs) > 1 else Axis.LATENCY


def _asked(visit: Visit) -> _Asked:
    catalog = visit.desk.overview.catalog
    pipeline_id = PipelineId(visit.path["pipeline_id"])
    registered = catalog.pipelines.get(pipeline_id)
    if registered is None:
        raise NotFound(f"there is no pipeline {pipeline_id!r}")
    values = visit.request.query_params
    mine = sorted(catalog.queries_of(pipeline_id), key=lambda one: one.id)
    name = values.get("query", "")
    query = next((one for one in mine if one.id == name), None)
    if name and query is None:
        raise NotFound(f"there is no query {name!r} of {pipeline_id}")
    if query is None:
        query = (
            mine[0] if mine and not values.get("content") else _nobodys(visit, registered, values.get("content", ""))
        )
    axis = values.get("axis", "")
    if axis and axis not in {one.value for one in Axis}:
        raise InvalidInput(f"axis: {axis!r} is neither cost nor latency")
    return _Asked(
        registered=registered,
        query=query,
        queries=tuple(
            dict.fromkeys((*(one.id for one in mine[:_MOST_LISTED]), *([query.id] if query in mine else ())))
        ),
        axis=Axis(axis) if axis else None,
        pick=values.get("pick", ""),
    )


def _nobodys(visit: Visit, registered: RegisteredPipeline, content: str) -> Query:
    """A query for a pipeline that has none: one item a second, without bounds, from the device that is named."""
    names = [one.name for one in registered.contents]
    if not names:
        raise NotFound(f"{registered.pipeline.id} has no contents, so nothing can be known of it")
    if content and content not in names:
        raise NotFound(f"{registered.pipeline.id} has no content {content!r}; it has {', '.join(names)}")
    devices = [record.device.id for record in visit.desk.overview.registry.records() if record.session is not None]
    source = visit.request.query_params.get("source", "") or (devices[0] if devices else "")
    return Query(
        id=_NOBODYS,
        pipeline_id=registered.pipeline.id,
        content=content or names[0],
        source_device_id=DeviceId(source),
        rate_per_s=_RATE_PER_S,
        slo=Slo(),
    )


class _Newer(Exception):
    """The same session asked something newer meanwhile."""


async def _front(visit: Visit, asked: _Asked) -> ConfigurationFront:
    key = ("front", asked.registered.bundle_digest, asked.query)

    async def made() -> ConfigurationFront:
        # Whoever looks at the same has the same: nobody else asks by this name.
        found = await visit.desk.try_outs.front(key, asked.query)
        if found is None:
            raise _Newer
        return found

    return await visit.desk.remembered(key, made, for_s=_FRESH_FOR_S)


async def _configured(visit: Visit, asked: _Asked, picked: ConfigurationRow) -> Configured:
    async def made() -> Configured:
        choice = Choice(configuration=picked.configuration, accuracy=picked.accuracy)
        found = await visit.desk.try_outs.configured(visit.visitor.forgery, asked.query, choice)
        if found is None:
            raise _Newer
        return found

    newest = visit.desk.overview.rollout.newest
    generation = newest.generation if newest is not None else None
    key = ("configured", asked.registered.bundle_digest, asked.query, picked.name)
    return await visit.desk.remembered(key, made, for_s=_FRESH_FOR_S, version=generation)


PAGE = Page(
    title="Pipelines",
    path="/pipelines",
    order=50,
    routes=(
        Route(path="/pipelines", show=show_list, needs="ListPipelines"),
        Route(path="/pipelines/{pipeline_id}", show=show_one, needs="WhatIf"),
    ),
)
