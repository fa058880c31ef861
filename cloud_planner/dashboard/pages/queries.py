"""All queries: how far each is, what is planned of it, how its error budget burns; and the form for new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from circinus import wire
from circinus.errors import AlreadyExists, CircinusError, InvalidInput, NotFound
from circinus.model.query import Query
from circinus.spec.errors import SpecErrors
from circinus.spec.queries import parse_queries
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.query_facts import planned_lines, seen_lines, with_seen
from cloud_planner.dashboard.query_list import COLUMNS, ONLY, QueryLine, needs_all, totals_of, words_of
from cloud_planner.dashboard.query_text import EXAMPLE
from cloud_planner.dashboard.submission import Tried, tried_of
from cloud_planner.dashboard.table import Cut, Wanted, cut
from cloud_planner.dashboard.visit import Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PATH = "/queries"
_TEMPLATE = "queries.html"
_FORM = "query_new.html"
_MOST_CHARS = 60_000
#: Pipelines that can be chosen to filter by; of more a person types the name.
_MOST_CHOICES = 60
#: Of more queries a page does not wait until all were looked at.
_MOST_AT_ONCE = 1_500


async def _cut(desk: Desk, query: str) -> Cut[QueryLine]:
    """The lines that an address asks for, with what was seen of those that are shown."""
    wanted = Wanted.read(query, COLUMNS, sort="id", only=tuple(ONLY))
    all_seen = needs_all(wanted.sort, wanted.only)
    lines = await (seen_lines(desk) if all_seen else planned_lines(desk))
    found = await asyncio.to_thread(cut, lines, wanted, COLUMNS, words_of, ONLY)
    return Cut(
        wanted=found.wanted,
        columns=found.columns,
        rows=with_seen(desk, found.rows),
        matching=found.matching,
        total=found.total,
        first=found.first,
    )


async def _totals(desk: Desk, *, at_once: bool = False) -> dict[str, Any]:
    """``at_once``: of many queries without what was seen of them, which the live part tells a moment later."""
    lines = await planned_lines(desk)
    if not at_once or len(lines) <= _MOST_AT_ONCE:
        lines = await seen_lines(desk)
    return {"totals": await asyncio.to_thread(totals_of, lines)}


async def show(visit: Visit) -> Response:
    """The table."""
    desk = visit.desk
    pipelines = sorted(desk.overview.catalog.pipelines)[:_MOST_CHOICES]
    context = await _totals(desk, at_once=True)
    return await visit.page(
        _TEMPLATE,
        cut=await _cut(desk, visit.query),
        path=PATH,
        named=[(name, name) for name in pipelines],
        **context,
    )


async def _live_rows(desk: Desk, argument: str) -> dict[str, str]:
    found = await _cut(desk, argument)
    return {"queries-body": await desk.fragment(_TEMPLATE, "rows", cut=found)}


async def _live_totals(desk: Desk, _argument: str) -> dict[str, str]:
    context = await _totals(desk)
    names = ("states", "goodput", "burning", "cost")

    def made() -> dict[str, str]:
        return {f"queries-{name}": desk.templates.block(_TEMPLATE, f"total_{name}", context) for name in names}

    return await asyncio.to_thread(made)


async def show_form(visit: Visit) -> Response:
    """The form for new queries, with an example of what is there."""
    return await _form(visit, _example(visit.desk), ())


async def submit(visit: Visit) -> Response:
    """Submits what the form says: the same checks as `circinus query submit` and the API make."""
    text, queries, faults = await _read(visit)
    if faults:
        return await _form(visit, text, faults)
    message = planner_pb2.SubmitQueriesRequest(queries=[wire.query_to_message(query) for query in queries])
    try:
        answer = await visit.ask("SubmitQueries", message)
    except (InvalidInput, NotFound, AlreadyExists) as error:
        return await _form(visit, text, _faults(error))
    names: Sequence[str] = answer.query_ids
    return visit.to(f"{PATH}/{names[0]}" if len(names) == 1 else PATH)


async def try_out(visit: Visit) -> Response:
    """What these queries would get, and what that would change for others: nothing is submitted."""
    text, queries, faults = await _read(visit)
    if faults:
        return await _form(visit, text, faults)
    message = planner_pb2.PlanSelectionRequest(extra_queries=[wire.query_to_message(query) for query in queries])
    try:
        answer: planner_pb2.PlanSelectionResponse = await visit.ask("PlanSelection", message)
    except CircinusError as error:
        return await _form(visit, text, _faults(error))
    names = [query.id or f"extra-{number}" for number, query in enumerate(queries, start=1)]
    tried = await asyncio.to_thread(tried_of, answer, names)
    return await _form(visit, text, (), tried)


async def _read(visit: Visit) -> tuple[str, Sequence[Query], Sequence[str]]:
    """What was typed, the queries in it, and all that is wrong with it."""
    form = await visit.form()
    text = str(form.get("queries", ""))
    if len(text) > _MOST_CHARS:
        return text[:_MOST_CHARS], (), (f"{len(text):,} characters are more than {_MOST_CHARS:,}",)
    try:
        return text, await asyncio.to_thread(parse_queries, text, "line"), ()
    except SpecErrors as errors:
        return text, (), [f"line {error.line}: {error.message}" for error in errors.errors]


def _faults(error: CircinusError) -> Sequence[str]:
    return [violation.message for violation in getattr(error, "violations", ())] or [error.message]


async def _form(visit: Visit, text: str, faults: Sequence[str], tried: Tried | None = None) -> Response:
    pipelines = visit.desk.overview.catalog.pipelines
    return await visit.page(
        _FORM,
        status=400 if faults else 200,
        text=text,
        faults=tuple(faults),
        tried=tried,
        pipelines=[
            (name, [content.name for content in found.contents]) for name, found in sorted(pipelines.items())[:20]
        ],
    )


def _example(desk: Desk) -> str:
    pipeline, content, source = "PIPELINE", "CONTENT", "DEVICE"
    for name, found in sorted(desk.overview.catalog.pipelines.items()):
        pipeline, content = name, found.contents[0].name if found.contents else content
        break
    for record in desk.overview.registry.records():
        if record.session is not None:
            source = record.device.id
            break
    return EXAMPLE.format(pipeline=pipeline, content=content, source=source)


PAGE = Page(
    title="Queries",
    path=PATH,
    order=30,
    routes=(
        Route(path=PATH, show=show, needs="ListQueries"),
        Route(path="/submit", show=show_form, needs="SubmitQueries"),
        Route(path="/submit", show=submit, needs="SubmitQueries", post=True),
        Route(path="/submit/try", show=try_out, needs="SubmitQueries", post=True),
    ),
    parts=(
        Part(name="queries.rows", render=_live_rows, needs="ListQueries", period_s=2.0),
        Part(name="queries.totals", render=_live_totals, needs="ListQueries", period_s=3.0),
    ),
)
