"""`circinus report`: one HTML file about a fleet that can be mailed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.ledger import parse_since
from circinus.cli.output import Output, emit, lines
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.errors import AlreadyExists, InvalidInput
from circinus.report.facts import gather
from circinus.report.page import page


def report(
    into: Annotated[Path, typer.Option("--into", metavar="FILE", help="The file.")] = Path("circinus-report.html"),
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Items since 2h, 1d ago, or a moment; else of what runs now."),
    ] = None,
    advice: Annotated[
        bool, typer.Option("--advice/--no-advice", help="Have what binds and what to buy worked out: it takes a while.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """One HTML file: SLO attainment, cost, what binds, what to buy next, plan changes, calibration.

    It needs nothing from elsewhere to be read. Example: circinus report --since 1d --into monday.html
    """
    if into.exists() and not force:
        raise AlreadyExists(f"{into} is there already: name another with --into, or write over it with --force")
    if not into.absolute().parent.is_dir():
        raise InvalidInput(f"there is no folder {into.absolute().parent} for {into.name}: make it, or name another")
    now = datetime.now(UTC)
    moment = None if since is None else parse_since(since, now)
    facts = ask(planner, lambda client: gather(client, now, since=moment, advice=advice))
    text = page(facts)
    beside = into.with_name(f".{into.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(into)
    told = {"file": str(into), "bytes": len(text.encode()), "queries": len(facts.queries), "left_out": facts.left_out}
    emit(output, told, lambda: lines(f"{into}: {len(text.encode()):,} bytes, {len(facts.queries):,} queries"))
    return exits.OK
