"""`circinus plan`: what would be planned now, from the running fleet or from files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from circinus.cli import exits
from circinus.cli.diff_table import diff_view
from circinus.cli.output import Output, emit, lines, say, size
from circinus.cli.plan_table import Measures, selection_view
from circinus.cli.plugged import plugged, value_of
from circinus.cli.query import FileOption, measures_of, read_queries
from circinus.cli.session import DEFAULT_ADDRESS, PlannerOption, address_of, ask
from circinus.cli.stand_by_table import stand_bys_view
from circinus.client import Client
from circinus.errors import CircinusError, InvalidInput
from circinus.model.plan_diff import PlanDiff
from circinus.reports import SelectionReport

if TYPE_CHECKING:
    from rich.console import RenderableType

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
    diff: Annotated[
        bool, typer.Option("--diff", help="What changes in the running fleet; with --offline, from an earlier FILE.")
    ] = False,
    earlier: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With --offline --diff: an earlier answer or record.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Where to write what `circinus audit` reads.")
    ] = None,
    rivals_of: Annotated[
        int,
        typer.Option("--rivals", min=0, max=50, metavar="N", help="Of so many plans, what was not chosen, and why."),
    ] = 3,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: Annotated[
        Output | None, typer.Option("--output", "-o", help="table; with --offline json, if not given.")
    ] = None,
) -> int:
    """What would be planned now; nothing is applied. -f plans as if its queries had been submitted too.

    Ends with 3 if any query has no plan: unplaced, or not yet profiled.
    Example: circinus plan --offline examples/offline -o table
    """
    if (earlier is not None) != (diff and offline is not None):
        raise InvalidInput("an earlier answer is told by --offline FOLDER --diff FILE, all three of them")
    if offline is not None:
        if file is not None:
            raise InvalidInput("--offline takes its queries from its folder; leave -f out")
        if earlier is None:
            return _plan_offline(offline, report, output, record)
        if report is not None or record is not None:
            raise InvalidInput("--diff writes neither --report nor --record; run without it for these")
        return _tell(_diff_offline(offline, earlier), output)
    if report is not None:
        raise InvalidInput("--report goes with --offline only")
    extra = read_queries(file) if file is not None else ()
    if record is not None:
        if diff or extra:
            raise InvalidInput("--record writes the last decision, which was made without -f; leave -f and --diff out")
        return _write_record(planner, record)

    async def action(client: Client) -> tuple[SelectionReport, Measures]:
        return await client.plan(extra, rivals_of=0 if diff else rivals_of), await measures_of(client, extra)

    found, measures = ask(planner, action)
    if diff:
        if found.diff is None:
            raise CircinusError(f"the planner at {address_of(planner)} is too old to tell what changes; update it")
        return _tell(found.diff, output)
    shown = replace(found, diff=None)
    emit(output or Output.TABLE, shown, lambda: _view(shown, measures))
    return exits.INFEASIBLE if found.selection.unplaced or found.pending else exits.OK


def _view(report: SelectionReport, measures: Measures) -> RenderableType:
    view = selection_view(report, measures, datetime.now(UTC))
    return lines(view, "", stand_bys_view(report.stand_bys)) if report.stand_bys else view


def _tell(diff: PlanDiff, output: Output | None) -> int:
    emit(output or Output.TABLE, diff, lambda: diff_view(diff))
    return exits.INFEASIBLE if diff.after.unplaced else exits.OK


def _write_record(planner: str, file: Path) -> int:
    data = ask(planner, lambda client: client.record())
    file.write_bytes(data)
    say(f"wrote {file} ({size(len(data))}); check it with: circinus audit {file}")
    return exits.OK


def _plan_offline(folder: Path, report: Path | None, output: Output | None, record: Path | None) -> int:
    form = (output or Output.JSON).form
    # Asked for by name, JSON is what comes in any case: of what goes wrong too.
    told: dict[str, bool | Path] = {"error_document": True} if output is Output.JSON else {}
    if record is not None:
        told["record"] = record
    try:
        return int(plugged(_OFFLINE, _MISSING)(folder, report=report, output=form, **told))
    except ModuleNotFoundError as error:
        # The solver is imported when it is first used.
        raise CircinusError(f"{_MISSING} ({error})") from error


def _diff_offline(folder: Path, file: Path) -> PlanDiff:
    found: PlanDiff = value_of("plan_diff_offline", _MISSING, folder, file)
    return found
