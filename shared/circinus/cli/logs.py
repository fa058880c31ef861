"""`circinus logs`: what the operators' processes and the agents print."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.durations import seconds_of
from circinus.cli.output import Output, document_of, emit, lines, plain, say
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.look_calls import LogLine, LookNote

_AGENT = "agent"


def logs(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="[QUERY|OPERATOR]", help="A query, an operator, or QUERY/OPERATOR; without: everything."
        ),
    ] = "",
    device: Annotated[str, typer.Option("--device", metavar="ID", help="Of this device only.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come, one a line.")] = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="No older than that: 30s, 5m, 1h.", show_default=False)
    ] = "",
    tail: Annotated[int, typer.Option(min=0, max=100_000, help="The newest so many; 0: all.")] = 1_000,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """What operators print, on all devices of a query, by time; of a device without a query its agent's log, too.

    Lines outlive their process, so that one sees why it died. Secrets are taken out, long lines are cut.
    Example: circinus logs --device camera-1 --since 5m
    """
    since_s = seconds_of(since, "--since") if since else 0.0
    failed: list[LookNote] = []

    def note(one: LookNote) -> None:
        if not one.ended:
            failed.append(one)
        say(f"circinus: {one.device_id}: {one.text}", style="" if one.ended else "yellow")

    async def listed(client: Client) -> list[LogLine]:
        found = client.logs(subject, device_id=device, since_s=since_s, tail=tail, on_note=note)
        return [one async for one in found]

    async def followed(client: Client) -> int:
        found = client.logs(subject, device_id=device, since_s=since_s, tail=tail, follow=True, on_note=note)
        async for one in found:
            if output is Output.JSON:
                sys.stdout.write(json.dumps(document_of(one), ensure_ascii=False) + "\n")
            else:
                sys.stdout.writelines(f"{text}\n" for text in _texts(one))
            sys.stdout.flush()
        return exits.OK

    if follow:
        return ask(planner, followed)
    found = ask(planner, listed)
    if not found:
        say("circinus: nothing was printed" + (f" since {since}" if since else ""))
    emit(output, found, lambda: lines(*(text for one in found for text in _texts(one))))
    return exits.PARTIAL if failed else exits.OK


def _texts(one: LogLine) -> list[str]:
    """A line for people, after one that says what is left out before it."""
    who = f"{one.query_id}/{one.operator_id}#{one.replica}" if one.query_id else _AGENT
    head = f"{one.at:%Y-%m-%d %H:%M:%S}.{one.at.microsecond // 1000:03d} {one.device_id} {who} | "
    found = [f"{head}({one.left_out} lines left out)"] if one.left_out else []
    text = plain(one.text).replace("\t", "    ").replace("\n", " ")
    return [*found, head + text + (" …" if one.cut else "")]
