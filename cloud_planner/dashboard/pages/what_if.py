"""What if: sliders of one query and the fleet, and what would be planned then. Nothing is ever applied."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from circinus import wire
from circinus.errors import NotFound
from circinus.model.query import Query
from cloud_planner.dashboard.page import Page, Route
from cloud_planner.dashboard.visit import Visit
from cloud_planner.dashboard.what_if_answer import Answer, answer_of, shown
from cloud_planner.dashboard.what_if_form import address_of, changes_of, command_of, read_form

#: Queries that can be picked from a list; of more one says which.
_MOST_LISTED = 200
_TEMPLATE = "what_if.html"


async def show(visit: Visit) -> Response:
    """The sliders, and the answer to where they stand."""
    overview = visit.desk.overview
    values = dict(visit.request.query_params)
    queries = overview.catalog.queries
    names = sorted(query.id for query in queries[:_MOST_LISTED])
    wanted = values.get("query", "").strip() or (names[0] if names else "")
    if not wanted:
        return await visit.page(_TEMPLATE, form=None, names=(), many=False, answer=None, plan=None)
    query = _found(queries, wanted)
    devices = [record.device for record in overview.registry.records()]
    form = read_form(values, query, devices, overview.watching.revisions.rate_per_s.get(query.id))
    answer: Answer | None = None
    message = visit.desk.decided().plans.get(query.id)
    plan = wire.plan_from_message(message) if message is not None else None
    changes = changes_of(form, devices)
    visit.desk.try_outs.expect()
    if changes:
        tried = await visit.desk.try_outs.what_if(visit.visitor.forgery, changes, query.id)
        if tried is None:
            # A newer question of the same session is on its way: this answer is of no use to anybody.
            return Response(status_code=204)
        answer = await asyncio.to_thread(answer_of, tried, query.id, plan)
    return await visit.page(
        _TEMPLATE,
        form=form,
        names=names,
        many=len(queries) > _MOST_LISTED,
        answer=answer,
        plan=shown(plan) if plan is not None else None,
        why=_why(visit, query),
        command=command_of(changes) if changes else "",
        address=address_of(form) if form.changed else "",
        bounds=(form.latency, form.accuracy),
    )


def _found(queries: tuple[Query, ...], wanted: str) -> Query:
    for query in queries:
        if query.id == wanted:
            return query
    raise NotFound(f"there is no query {wanted[:200]!r}")


def _why(visit: Visit, query: Query) -> str:
    decided = visit.desk.decided()
    return decided.unplaced.get(query.id) or decided.waiting.get(query.id) or ""


PAGE = Page(
    title="What if",
    path="/what-if",
    order=70,
    routes=(Route(path="/what-if", show=show, needs="WhatIf"),),
)
