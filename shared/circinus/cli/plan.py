"""`circinus plan`: what would be planned now, from the running fleet or from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import Output, emit
from circinus.cli.plan_table import Measures, selection_view
from circinus.cli.plugged import plugged
from circinus.cli.query import FileOption, measures_of, read_queries
from circinus.cli.session import DEFAULT_ADDRESS, PlannerOption, ask
from circinus.client import Client
from circinus.errors import CircinusError, InvalidInput
from circinus.reports import SelectionReport

_MISSING = "planning from files needs the planner: install it with pip install 'circinus[planner]'"
_OFFLINE = "plan_offline"


def plan(
    file: FileOption = None,
    offline: Annotated[
        Path | None, typer.Option("--offline", metavar="FOLDER", help="Plan from files, without a planner.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="With --offline: where times and solver facts go.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: Annotated[
        Output | None, typer.Option("--output", "-o", help="table; with --offline json, if not given.")
    ] = None,
) -> int:
    """What would be planned now; nothing is applied. -f plans as if its queries had been submitted too.

    Ends with 3 if any query has no plan: unplaced, or not yet profiled.
    """
    if offline is not None:
        if file is not None:
            raise InvalidInput("--offline takes its queries from its folder; leave -f out")
        return _plan_offline(offline, report, output)
    if report is not None:
        raise InvalidInput("--report goes with --offline only")
    extra = read_queries(file) if file is not None else ()

    async def action(client: Client) -> tuple[SelectionReport, Measures]:
        return await client.plan(extra), await measures_of(client, extra)

    found, measures = ask(planner, action)
    emit(output or Output.TABLE, found, lambda: selection_view(found, measures))
    return exits.INFEASIBLE if found.selection.unplaced or found.pending else exits.OK


def _plan_offline(folder: Path, report: Path | None, output: Output | None) -> int:
    form = (output or Output.JSON).value
    # Asked for by name, JSON is what comes in any case: of what goes wrong too.
    told: dict[str, bool] = {"error_document": True} if output is Output.JSON else {}
    try:
        return int(plugged(_OFFLINE, _MISSING)(folder, report=report, output=form, **told))
    except ModuleNotFoundError as error:
        # The solver is imported when it is first used.
        raise CircinusError(f"{_MISSING} ({error})") from error
