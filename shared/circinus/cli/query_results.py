"""`circinus query results`: what becomes of a query's items, as it happens."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import say
from circinus.errors import TimedOut
from circinus.results import result_line, subscribe_raw


def results(
    query_id: Annotated[str, typer.Argument(metavar="QUERY")],
    agent: Annotated[
        str,
        typer.Option(
            "--agent",
            envvar="CIRCINUS_AGENT",
            metavar="HOST:PORT",
            help="Where the agent of the query's source device listens: `ingress` of its configuration.",
        ),
    ],
    count: Annotated[int | None, typer.Option("--count", min=1, help="Ends after so many results.")] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="Longest wait in seconds; else until Ctrl-C.")
    ] = None,
) -> int:
    """Prints a query's results from now on, one JSON object a line; arrays by their shape, bytes by their number."""

    async def run() -> int:
        printed = 0
        async with asyncio.timeout(timeout_s):
            async for message in subscribe_raw(agent, query_id, on_standing=lambda: say(f"subscribed to {query_id}")):
                sys.stdout.write(result_line(message.result, message.lost) + "\n")
                sys.stdout.flush()
                printed += 1
                if printed == count:
                    break
        return printed

    try:
        printed = asyncio.run(run())
    except TimeoutError:
        raise TimedOut(f"{query_id}: waited {timeout_s:g} s") from None
    if count is not None and printed < count:
        say(f"{query_id} is no longer served there")
        return exits.PARTIAL
    return exits.OK
