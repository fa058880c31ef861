"""`circinus audit`: an independent check of a recorded selection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from circinus.cli.output import Output
from circinus.cli.plugged import plugged
from circinus.errors import CircinusError

_MISSING = "checking selections needs the planner: install it with pip install 'circinus[planner]'"


def audit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A record, or an answer of plan --offline as JSON or YAML.")
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="FOLDER", help="The files that an answer is for; if not given, those beside it."
        ),
    ] = None,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="table, if not given.")] = None,
) -> int:
    """Holds a recorded selection against its problem: capacity, links, SLOs, and the arithmetic of every figure.

    Ends with 0 if nothing is wrong, with 3 if there are findings, with 2 if the file can't be read.
    Example: circinus audit decision.json
    """
    try:
        return int(
            plugged("audit", _MISSING)(
                file,
                against=against,
                output=(output or Output.TABLE).form,
                error_document=output is Output.JSON,
            )
        )
    except ModuleNotFoundError as error:
        # Numerics are imported when they are first used.
        raise CircinusError(f"{_MISSING} ({error})") from error
