"""`circinus pipeline check`: what a pipeline's author runs all day."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circinus.cli import exits
from circinus.cli.output import Output, amount, emit, lines, say, size, table
from circinus.cli.plugged import plugged
from circinus.cli.session import OutputOption
from circinus.model.pipeline import knobs_text

if TYPE_CHECKING:
    from rich.console import RenderableType

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with a pipeline.yaml.")]
MISSING = "running a pipeline's operators needs the agent: install it with pip install 'circinus[cli]'"
_COLUMNS = ("OPERATOR", "CPU ms CHEAPEST", "DEAREST", "OUTPUT CHEAPEST", "DEAREST", "PARTS")
_SCORES = ("CONTENT", "SAMPLES", "SCORE CHEAPEST", "DEAREST")


def check(
    folder: FolderArgument,
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=100, metavar="N", help="Samples of each content to run.")
    ] = 1,
    output: OutputOption = Output.TABLE,
) -> int:
    """Reads a folder, imports its code and runs a few samples: what is wrong, where, and what operators take.

    Ends with 2 for what is wrong in the files, with 1 for what fails when it is run. No planner is needed.
    Example: circinus pipeline check examples/documents
    """
    report = asyncio.run(plugged("pipeline_check", MISSING)(folder, count=samples, on_progress=_tell))
    emit(output, report, lambda: _view(report))
    return exits.OK


def _tell(step: str) -> None:
    say(f"{step} ...", style="dim")


def _view(report: Any) -> RenderableType:
    operators = [
        (
            entry.operator_id,
            amount(entry.cheapest_ms),
            amount(entry.dearest_ms),
            size(entry.cheapest_bytes),
            size(entry.dearest_bytes),
            amount(entry.parts) if entry.parts is not None else "-",
        )
        for entry in report.operators
    ]
    scores = [
        (entry.content, str(entry.samples), amount(entry.cheapest_ratio), amount(entry.dearest_ratio))
        for entry in report.contents
    ]
    total = f"pipeline {report.pipeline_id}: {report.configurations:,} configurations, nothing wrong found in "
    return lines(
        table(_COLUMNS, operators, right=_COLUMNS[1:]),
        "",
        table(_SCORES, scores, right=_SCORES[1:]),
        "",
        f"cheapest  {knobs_text(report.cheapest)}",
        f"dearest   {knobs_text(report.dearest)}",
        *(f"note: {note}" for note in report.notes),
        f"{total}{report.elapsed_s:.1f} s",
    )
