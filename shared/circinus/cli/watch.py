"""`circinus status` and `circinus watch`: where the planner stands."""

from __future__ import annotations

from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import Output, emit, lines, table
from circinus.cli.query import watch_until_settled
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, address_of, ask
from circinus.client import Client
from circinus.drift_reports import finding_text
from circinus.reports import PlannerStatus, QueryPhase, QueryState

#: Findings of drift that are shown.
_FINDINGS = 5


def status(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """Where the planner stands: devices, queries, generation and what it does.

    Example: circinus status -o json
    """
    found = ask(planner, lambda client: client.status())
    emit(output, found, lambda: table(("FACT", "VALUE"), _facts(found, address_of(planner))))
    return exits.OK


def _facts(found: PlannerStatus, address: str) -> list[tuple[str, str]]:
    started = found.started_at.isoformat(timespec="seconds") if found.started_at else "-"
    return [
        ("planner", f"{address}, version {found.version}, since {started}"),
        ("activity", found.activity),
        ("generation", f"{found.generation} (epoch {found.epoch})"),
        ("devices", f"{found.devices_connected} connected of {found.devices_known} known" + _kept(found)),
        (
            "queries",
            f"{found.queries_placed} placed, {found.queries_unplaced} unplaced, {found.queries_pending} pending",
        ),
        *(("drift", finding_text(one)) for one in found.findings[-_FINDINGS:]),
    ]


def _kept(found: PlannerStatus) -> str:
    kept = ((found.devices_cordoned, "cordoned"), (found.devices_draining, "draining"))
    return "".join(f", {count} {word}" for count, word in kept if count)


def watch(
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 3_600.0,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Shows profiling, planning and rollout until all is settled; 3 if a query is unplaced then.

    Example: circinus watch --timeout 600
    """

    async def action(client: Client) -> tuple[QueryState, ...]:
        await watch_until_settled(client, timeout_s)
        return await client.queries()

    states = ask(planner, action)
    unplaced = [state for state in states if state.phase is QueryPhase.UNPLACED]
    placed = sum(state.phase is QueryPhase.PLACED for state in states)
    text = f"settled: {placed} placed, {len(unplaced)} unplaced of {len(states)} queries"
    notes = [f"{state.query.id}: {state.reason}" for state in unplaced]
    emit(output, states, lambda: lines(text, *notes))
    return exits.INFEASIBLE if unplaced else exits.OK
