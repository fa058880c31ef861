"""One query: where it runs, what was promised and what is seen, why, what is lost."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from circinus.errors import CircinusError
from circinus.model.query import Query
from circinus.v1 import planner_pb2
from cloud_planner.core.plan_rows import operator_rows, rival_rows, whole_row
from cloud_planner.dashboard.dag_svg import dag_svg, seen_id, seen_words
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.query_facts import (
    LOSSES_S,
    explained,
    latency_series,
    picture,
    seen_lately,
    the_line,
    the_plan,
    the_query,
    version_of,
)
from cloud_planner.dashboard.query_text import query_yaml
from cloud_planner.dashboard.seen import Series
from cloud_planner.dashboard.templating import anchor
from cloud_planner.dashboard.visit import Visit
from cloud_planner.services.states import account_message

PATH = "/queries/{query_id}"
_TEMPLATE = "query.html"
#: Spans of the chart, and what they are called; the first is the one that is shown.
SPANS = ((3_600, "1 h"), (900, "15 min"), (21_600, "6 h"), (86_400, "1 d"))
_ACCOUNTS = 12
_FINDINGS = 5
_TILES = ("goodput", "attained", "burn", "latency", "cost", "probability")


async def _now(desk: Desk, query: Query) -> dict[str, Any]:
    """What is told of a query at once, and again whenever it is another."""
    planned, seen = await the_plan(desk, query), await seen_lately(desk, query)
    context: dict[str, Any] = {
        "line": the_line(desk, query),
        "query": query,
        "seen": seen,
        "losses": (await seen_lately(desk, query, LOSSES_S)).losses,
        "whole": None,
        "operators": (),
        "profiled_at": {},
        "dag": None,
    }
    if planned is not None:
        dag = picture(desk, query, planned, seen)
        context |= {
            "whole": whole_row(planned.plan, query, planned.figures),
            "operators": operator_rows(
                planned.plan, planned.figures, planned.measured, seen.p95_ms, planned.registered.pipeline
            ),
            "profiled_at": planned.profiled_at,
            "dag": dag,
        }
    return context


async def show(visit: Visit) -> Response:
    """The page."""
    desk = visit.desk
    query = the_query(desk, visit.path["query_id"])
    context = await _now(desk, query)
    dag = context.pop("dag")
    overview = desk.overview
    span_s = _span(visit.request.query_params.get("span", ""))
    summary = overview.loop.decision.summary
    records = await overview.store.accounts_of(query.id, _ACCOUNTS)
    findings = [one for one in overview.watching.findings if query.id in one.query_ids]
    return await visit.page(
        _TEMPLATE,
        **context,
        picture=Markup(dag_svg(dag).markup) if dag is not None else "",
        series=_packed(await latency_series(desk, query, span_s), query),
        span_s=span_s,
        spans=SPANS,
        summary=summary,
        accounts=await asyncio.to_thread(lambda: [account_message(record) for record in records]),
        findings=[(one.at, str(one.finding), one.finding.evidence) for one in findings[-_FINDINGS:]][::-1],
        search=overview.searching.state(query.id),
        stand_by=desk.decided().stand_bys.get(query.id),
        text=query_yaml(query),
        version=version_of(desk, query),
        changed=False,
        utc=UTC,
    )


async def show_explained(visit: Visit) -> Response:
    """What was not chosen and why, or why there is no plan: a piece of the page, which a solver works on."""
    desk = visit.desk
    query = the_query(desk, visit.path["query_id"])
    document, fault = None, ""
    try:
        document = await explained(desk, query)
    except CircinusError as error:
        fault = error.message
    planned = await the_plan(desk, query)
    whys: list[tuple[str, str]] = []
    if document is not None and planned is not None and visit.query == version_of(desk, query):
        pipeline = planned.registered.pipeline
        rows = operator_rows(planned.plan, None, {}, {}, pipeline, document["rivals"])
        whys = [(anchor(f"{row.operator}@{row.device}"), row.why) for row in rows if row.why]
    text = await desk.fragment(
        "query_explained.html",
        "explained",
        document=document,
        fault=fault,
        rivals=rival_rows(document) if document is not None else (),
        whys=whys,
    )
    return Response(text, media_type="text/html")


async def remove(visit: Visit) -> Response:
    """Forgets a query; its processes stop with the next generation."""
    await visit.ask("RemoveQuery", planner_pb2.RemoveQueryRequest(query_id=visit.path["query_id"]))
    return visit.to("/queries")


async def _live(desk: Desk, argument: str) -> dict[str, str]:
    name, _, version = argument.rpartition("&")
    query = the_query(desk, name)
    changed = version != version_of(desk, query)
    context = await _now(desk, query)
    dag = context.pop("dag")

    def made() -> dict[str, str]:
        block = desk.templates.block
        found = {f"query-{name}": block(_TEMPLATE, f"tile_{name}", context) for name in _TILES}
        found["query-state"] = block(_TEMPLATE, "state", context)
        found["query-changed"] = block(_TEMPLATE, "changed", {"changed": changed, "query": query})
        if changed:
            return found
        found["query-losses"] = block(_TEMPLATE, "losses", context)
        for row in context["operators"]:
            key = anchor(f"{row.operator}@{row.device}")
            found[f"seen-cell-{key}"] = block(_TEMPLATE, "seen_cell", {"row": row})
        for box in dag.boxes if dag is not None else ():
            if not box.end:
                found[seen_id(box)] = seen_words(box).markup
        return found

    return await asyncio.to_thread(made)


async def _live_chart(desk: Desk, argument: str) -> dict[str, str]:
    name, _, span = argument.rpartition("&")
    query = the_query(desk, name)
    return {"latency-data": str(_packed(await latency_series(desk, query, _span(span)), query))}


def _span(text: str) -> int:
    known = {str(span_s): span_s for span_s, _ in SPANS}
    return known.get(text, SPANS[0][0])


def _packed(series: Series, query: Query) -> Markup:
    """A chart's data as JSON that may stand in a page."""
    document = {
        "at": series.at_s,
        "seen": [_rounded(one) for one in series.seen_ms],
        "promised": [_rounded(one) for one in series.promised_ms],
        "low": [_rounded(one) for one in series.low_ms],
        "high": [_rounded(one) for one in series.high_ms],
        "bound": query.slo.latency_ms,
        "percentile": f"p{query.slo.percentile_ratio * 100:g}",
        "generations": series.generations,
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)


PAGE = Page(
    title="Query",
    path="",
    routes=(
        Route(path=PATH, show=show, needs="ListQueries"),
        Route(path=f"{PATH}/explained", show=show_explained, needs="Explain"),
        Route(path=f"{PATH}/remove", show=remove, needs="RemoveQuery", post=True),
    ),
    parts=(
        Part(name="query.now", render=_live, needs="GetLedger", period_s=1.5),
        Part(name="query.latency", render=_live_chart, needs="GetLedger", period_s=5.0),
    ),
)
