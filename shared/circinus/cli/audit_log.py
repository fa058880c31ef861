"""`circinus audit-log`: who did what, and what was refused."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer

from circinus.admin import AuditEntry, AuditLog
from circinus.cli import exits
from circinus.cli.output import Output, document_of, emit, plain, say, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.cli.tokens import moment
from circinus.client import Client
from circinus.errors import InvalidInput

_COLUMNS = ("ENTRY", "AT", "WHO", "DID", "WITH", "OUTCOME", "DETAIL")
_POLL_S = 1.0
_MOST = 1_000


def audit_log(
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Goes on with what is new, until Ctrl-C.")] = False,
    after: Annotated[int, typer.Option("--after", min=0, metavar="ENTRY", help="Only entries after this one.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="The newest so many.")] = 100,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="With --follow: ends after so many seconds.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Who did what and what was refused, oldest first; each entry has a digest over all before it.

    With --follow -o json one object a line. Ends with 1 if the chain of digests does not hold.
    Example: circinus audit-log --refused -o json
    """
    if timeout_s is not None and not follow:
        raise InvalidInput("--timeout goes with --follow only")
    if follow:
        if output not in (Output.TABLE, Output.WIDE, Output.JSON):
            raise InvalidInput("--follow prints lines: -o table or -o json")
        return ask(planner, lambda client: _follow(client, refused, after, limit, timeout_s, output))
    log = ask(planner, lambda client: client.admin.audit_log(after=after, limit=limit, refused=refused))
    emit(output, log.entries if output is Output.NAME else log, lambda: table(_COLUMNS, map(row, log.entries)))
    return _judge(log)


def row(entry: AuditEntry) -> tuple[str, ...]:
    """An entry as cells."""
    return (
        str(entry.sequence),
        moment(entry.at),
        entry.actor,
        entry.action,
        entry.subject,
        entry.outcome,
        entry.detail,
    )


def _judge(log: AuditLog) -> int:
    if log.intact:
        return exits.OK
    say("circinus: the log was changed: its digests do not hold; compare it with a copy of the planner's", style="red")
    return exits.ERROR


async def _follow(
    client: Client, refused: bool, after: int, limit: int, timeout_s: float | None, output: Output
) -> int:
    intact = True
    try:
        async with asyncio.timeout(timeout_s):
            while intact:
                log = await client.admin.audit_log(after=after, limit=limit, refused=refused)
                for entry in log.entries:
                    sys.stdout.write(_line(entry, output) + "\n")
                    after = max(after, entry.sequence)
                sys.stdout.flush()
                intact = log.intact
                # From now on all that is new, however much it is.
                limit = _MOST
                await asyncio.sleep(_POLL_S if not log.entries else 0.0)
    except TimeoutError:
        return exits.OK
    return _judge(log)


def _line(entry: AuditEntry, output: Output) -> str:
    if output is Output.JSON:
        return json.dumps(document_of(entry), ensure_ascii=False)
    return plain("  ".join(filter(None, row(entry)))).replace("\n", " ")
