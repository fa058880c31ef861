"""The plan's history: generations with what changed and why, and one held against another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from circinus.errors import NotFound
from cloud_planner.dashboard import generations
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.plan_history import plan_parts
from cloud_planner.dashboard.visit import Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PATH = "/plans"
_LIST = "plans.html"
_ONE = "plan.html"
_ROWS = 15
#: Changed queries and devices that one page tells.
_MOST = 200


async def show_list(visit: Visit) -> Response:
    """The newest generations."""
    desk = visit.desk
    text = visit.request.query_params.get("before", "")
    before = generations.generation_of(desk, text) if text else None
    found, more = await generations.rows(desk, _ROWS, before)
    return await visit.page(_LIST, rows=found, more=more, newest=before is None)


async def show_row(visit: Visit) -> Response:
    """One generation's line in the list, for which the list did not wait."""
    desk = visit.desk
    row = await generations.row(desk, generations.generation_of(desk, visit.path["generation"]))
    text = await desk.fragment(_LIST, "row", row=row, now=desk.now)
    return HTMLResponse(text)


async def show_one(visit: Visit) -> Response:
    """One generation against the one before it, or against the one that is asked for."""
    desk = visit.desk
    generation = generations.generation_of(desk, visit.path["generation"])
    row = await generations.row(desk, generation)
    text = visit.request.query_params.get("against", "").strip()
    against, fault = None, ""
    changes = row.changes or await generations.changes(desk, None, generation)
    if text:
        try:
            against = generations.generation_of(desk, text)
            changes = await generations.changes(desk, against, generation)
        except NotFound as error:
            against, fault = None, error.message
    words = visit.request.query_params.get("q", "").strip()[:100]
    shown = [one for one in changes.queries if words in one.query_id or words == one.change.value]
    return await visit.page(
        _ONE,
        row=row,
        against=against,
        text=text[:40],
        fault=fault,
        changes=changes,
        shown=[(one, plan_parts(one)) for one in shown[:_MOST]],
        matching=len(shown),
        words=words,
        devices=changes.devices[:_MOST],
        most=_MOST,
    )


async def _live(desk: Desk, _argument: str) -> dict[str, str]:
    found, more = await generations.rows(desk, _ROWS, None)
    return {"plans-body": await desk.fragment(_LIST, "rows", rows=found, more=more, now=desk.now)}


PAGE = Page(
    title="Plans",
    path=PATH,
    order=40,
    routes=(
        Route(path=PATH, show=show_list, needs="GetStatus"),
        Route(path=f"{PATH}/{{generation}}", show=show_one, needs="GetStatus"),
        Route(path=f"{PATH}/{{generation}}/row", show=show_row, needs="GetStatus"),
    ),
    parts=(Part(name="plans.rows", render=_live, needs="GetStatus", period_s=2.0),),
)
