"""`circinus query results`: what becomes of a query's items, as it happens."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from circinus.channel import Tls, is_loopback
from circinus.cli import exits
from circinus.cli.output import say
from circinus.cli.session import connect
from circinus.errors import InvalidInput, TimedOut
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
    """Prints a query's results from now on, one JSON object a line; arrays by their shape, bytes by their number.

    From another machine by mutual TLS, with the certificate of the context.
    Example: circinus query results gate --agent 127.0.0.1:7410 --count 1
    """

    async def run() -> int:
        printed = 0
        tls, device_id = await _who(agent, query_id)
        async with asyncio.timeout(timeout_s):
            async for message in subscribe_raw(
                agent, query_id, on_standing=lambda: say(f"subscribed to {query_id}"), tls=tls, device_id=device_id
            ):
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


async def _who(agent: str, query_id: str) -> tuple[Tls | None, str]:
    """Who asks an agent, and the device that it must be: the query's source. On loopback an ingress is in the clear.

    Raises:
        InvalidInput: the context has no certificate.
    """
    if is_loopback(agent):
        return None, ""
    async with connect() as client:
        if not isinstance(client.credentials, Tls):
            raise InvalidInput(
                f"the agent at {agent} wants a certificate, and this context has none: ask an admin for one "
                "(circinus person create NAME --role viewer), or ask on the agent's own machine"
            )
        return client.credentials, (await client.query(query_id)).query.source_device_id
