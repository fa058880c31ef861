"""`circinus pipeline profile`: what every configuration costs and how right it is, on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circinus.cli import exits
from circinus.cli.front_picture import draw_fronts
from circinus.cli.output import Output, amount, emit, lines, say, size, table
from circinus.cli.pipeline_check import MISSING, FolderArgument
from circinus.cli.plan_table import interval_text
from circinus.cli.plugged import plugged
from circinus.cli.progress import LocalProfileBar
from circinus.cli.session import OutputOption
from circinus.errors import CircinusError
from circinus.model.pipeline import Configuration, knobs_text

if TYPE_CHECKING:
    from rich.console import RenderableType

PICTURE_NAME = "front.png"


def profile(
    folder: FolderArgument,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="Where results go; profile-NAME in the current folder by default."),
    ] = None,
    contents: Annotated[
        list[str] | None, typer.Option("--content", metavar="NAME", help="Only this content; may be repeated.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=2, max=10_000, metavar="N", help="Of each content, in place of its own number."),
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, max=64, metavar="N", help="Processes side by side.")
    ] = 2,
    output: OutputOption = Output.TABLE,
) -> int:
    """Runs every configuration on every content here, and prints which ones nothing beats in accuracy and time.

    Ctrl-C loses nothing: the same command goes on where it stopped. DIR then has the results, the tables for
    `circinus plan --offline DIR`, and a picture. Example: circinus pipeline profile examples/documents --samples 24
    """
    place = into if into is not None else Path(f"profile-{folder.resolve().name}")
    run = plugged("pipeline_profile", MISSING)
    with LocalProfileBar() as bar:
        wanted = run(
            folder,
            place,
            contents=tuple(contents or ()),
            count=samples,
            parallelism=parallel,
            on_note=bar.note,
            on_progress=bar.show,
        )
        try:
            report = asyncio.run(wanted)
        except (KeyboardInterrupt, asyncio.CancelledError):
            say(f"stopped; what was measured is in {place}: the same command goes on from there")
            return exits.INTERRUPTED
    try:
        draw_fronts(report, place / PICTURE_NAME)
    except CircinusError as error:
        say(f"no picture: {error.message}")
    emit(output, report, lambda: _view(report))
    return exits.OK


def _view(report: Any) -> RenderableType:
    parts: list[RenderableType | str] = []
    for summary in report.contents:
        best = summary.rows[summary.best]
        parts += [
            f"{summary.content}: {summary.samples} samples, {report.metric} from "
            f"{amount(min(row.accuracy.value for row in summary.rows))} to {amount(best.accuracy.value)}, "
            f"CPU time over a factor of {amount(summary.time_spread)}; nothing beats",
            _front(summary),
            "",
        ]
    operators = [name.operator_id for name in report.contents[0].rows[0].operators]
    parts += [_operators(report, operators), ""]
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    parts += [
        f"machine    {machine}",
        f"measured   on {report.measured_on}; this run took {report.elapsed_s:.0f} s",
        f"results    {report.folder}; try: circinus plan --offline {report.folder} -o table",
    ]
    return lines(*parts)


def _front(summary: Any) -> RenderableType:
    names = list(summary.rows[0].corpus)
    columns = ("CONFIGURATION", "ACCURACY (95%)", "CPU ms", "FAILED", *(name.upper() for name in names))
    rows = []
    for at in summary.front:
        row = summary.rows[at]
        corpus = (amount(row.corpus[name]) if name in row.corpus else "-" for name in names)
        failed = str(row.failures) if row.failures else "-"
        rows.append(
            (_knobs(row.configuration), interval_text(row.accuracy), amount(row.cpu_ms), failed, *corpus),
        )
    return table(columns, rows, right=columns[2:])


def _knobs(configuration: Configuration) -> str:
    """Knobs without their operators where that is clear."""
    short = [name.partition(".")[2] for name in configuration]
    named: Mapping[str, Any] = (
        dict(zip(short, configuration.values(), strict=True)) if len(set(short)) == len(short) else configuration
    )
    return knobs_text(named) or "(no knobs)"


def _operators(report: Any, names: list[str]) -> RenderableType:
    """What each operator takes over all configurations and contents, least to most."""
    columns = ("OPERATOR", "CPU ms", "OUTPUT", "PARTS", "MEMORY")
    rows = []
    for place, name in enumerate(names):
        entries = [row.operators[place] for summary in report.contents for row in summary.rows]
        parts = [entry.parts for entry in entries if entry.parts is not None]
        memory = report.memory_bytes.get(name, ())
        rows.append(
            (
                name,
                _range([amount(entry.cpu_ms) for entry in sorted(entries, key=lambda entry: entry.cpu_ms)]),
                _range([size(entry.output_bytes) for entry in sorted(entries, key=lambda entry: entry.output_bytes)]),
                _range([amount(value) for value in sorted(parts)]),
                _range([size(value) for value in sorted(memory)]),
            )
        )
    return table(columns, rows, right=columns[1:])


def _range(texts: list[str]) -> str:
    if not texts:
        return "-"
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
