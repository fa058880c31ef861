"""`circinus top`: a live picture of the fleet, its queries and what happens; with --once, one picture."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.text import Text

from circinus.cli import exits
from circinus.cli.output import Output, emit, plain
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask, connect
from circinus.clock import SystemClock
from circinus.errors import CircinusError, InvalidInput
from circinus.line_calls import MAX_LINES, Wanted
from circinus.top.following import LEAST_PERIOD_S, PERIOD_S
from circinus.top.gathering import PlannerSource
from circinus.top.once import once as once_of
from circinus.top.once import text_of
from circinus.top.picture import Page, Wants
from circinus.top.view import View, wants_of

_MISSING = "a live picture needs textual: install it with pip install 'circinus[top]'; --once goes without"
_EVENTS = 10


def top(
    once: Annotated[
        bool, typer.Option("--once", help="One picture as text, or as -o says; no terminal is needed.")
    ] = False,
    text: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="With --once: only devices and queries that have it.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LINES, help="With --once: at most so many of each.")
    ] = 20,
    query: Annotated[str, typer.Option("--query", metavar="QUERY", help="One query's DAG, beside the lists.")] = "",
    period_s: Annotated[
        float, typer.Option("--period", min=LEAST_PERIOD_S, max=600.0, help="Seconds between two pictures.")
    ] = PERIOD_S,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """The fleet, queries by goodput and burn rate, one query's DAG and events, live; ? shows the keys, q quits.

    With --once, or -o json or yaml, one picture. Colours only say again what words say; NO_COLOR leaves them out.
    Example: circinus top --once -o json
    """
    if once or output.form != "table":
        return _once(planner, output, Wanted(text=text, limit=limit), query)
    if text:
        raise InvalidInput("--filter goes with --once; on the screen / filters")
    # What is drawn goes to stderr; whoever pipes stdout wants text.
    if not all(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr)):
        raise InvalidInput("there is no terminal to draw on; circinus top --once prints one picture")
    return asyncio.run(_live(planner, query, period_s))


def _once(planner: str, output: Output, wanted: Wanted, query: str) -> int:
    wants = Wants(
        devices=Wanted(text=wanted.text, limit=wanted.limit),
        queries=Wanted(text=wanted.text, limit=wanted.limit, sort="burn_ratio", descending=True),
        query_id=query,
    )
    found = ask(planner, lambda client: once_of(PlannerSource(client), wants, _EVENTS))
    emit(output, found, lambda: Text(plain(text_of(found).rstrip("\n"))))
    return exits.OK


async def _live(planner: str, query: str, period_s: float) -> int:
    try:
        from circinus.top.screen import TopApp
    except ModuleNotFoundError as error:
        raise CircinusError(f"{_MISSING} ({error})") from error
    view = View(page=Page.QUERY, query_id=query) if query else View()
    async with connect(planner) as client:
        source = PlannerSource(client)
        # What is wrong from the first is said as it always is, not on a screen.
        first = await source.picture(wants_of(view))
        await TopApp(source, first, SystemClock(), view=view, period_s=period_s).run_async(mouse=False)
    return exits.OK


__all__ = ["top"]
