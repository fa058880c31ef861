"""`circinus events`: what happened at the planner, and what happens."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import Output, document_of, emit, plain, say, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.event_calls import KINDS, PlannerEvent

_COLUMNS = ("CURSOR", "AT", "KIND", "EVENT", "OF")
_MAX_CELL = 1_000


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come, one a line.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Those after this cursor; without: the newest.")] = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 100,
    kind: Annotated[list[str] | None, typer.Option(help=f"Only of this kind: {', '.join(KINDS)}. Repeatable.")] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """What happened: devices, queries, plans, drift and refusals; of the last 10,000 events.

    Example: circinus events -o json
    """

    async def listed(client: Client) -> list[PlannerEvent]:
        return [one async for one in client.events(after=after, limit=limit, kinds=kind or ())]

    async def followed(client: Client) -> int:
        async for one in client.events(after=after, limit=limit, kinds=kind or (), follow=True):
            _note_missed(one)
            line = json.dumps(document_of(one), ensure_ascii=False) if output is Output.JSON else " ".join(_row(one))
            sys.stdout.write(f"{plain(line)}\n")
            sys.stdout.flush()
        return exits.OK

    if follow:
        return ask(planner, followed)
    found = ask(planner, listed)
    for one in found[:1]:
        _note_missed(one)
    emit(output, found, lambda: table(_COLUMNS, map(_row, found), right=("CURSOR",)))
    return exits.OK


def _note_missed(one: PlannerEvent) -> None:
    if one.missed:
        say("circinus: events before these are forgotten", style="yellow")


def _row(one: PlannerEvent) -> tuple[str, ...]:
    said = " ".join(f"{key}={value}" for key, value in one.fields.items())[:_MAX_CELL]
    return (str(one.cursor), f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, one.name, said)
