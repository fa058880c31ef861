"""`circinus explain`: why a query has its plan or none, what the next best are, and what binds in a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from circinus.cli import exits
from circinus.cli.explain_table import explanation_text
from circinus.cli.output import Output, emit, plain
from circinus.cli.plugged import plugged
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.errors import CircinusError, InvalidInput

_MISSING = "explaining from files needs the planner: install it with pip install 'circinus[planner]'"
_OFFLINE = "explain_offline"


def explain(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="The query; without one, what binds in the fleet.")
    ] = None,
    offline: Annotated[
        Path | None, typer.Option("--offline", metavar="FOLDER", help="Explain the plan for the files of a folder.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Why a query has its plan, the next three and why they lost; or why it has none, and the least that would do.

    Ends with 3 if the query has no plan.
    Example: circinus explain gate
    """
    if offline is None:
        if query is None:
            raise InvalidInput("name the query to explain (circinus query ls); what binds in a fleet needs --offline")
        return _live(planner, query, output)
    try:
        command = plugged(_OFFLINE, _MISSING)
        return int(command(offline, query, output=output.form, error_document=output is Output.JSON))
    except ModuleNotFoundError as error:
        # The solver is imported when it is first used.
        raise CircinusError(f"{_MISSING} ({error})") from error


def _live(planner: str, query: str, output: Output) -> int:
    document = ask(planner, lambda client: client.explain(query))
    emit(output, document, lambda: Text(plain(explanation_text(document).rstrip("\n"))))
    return exits.OK if document["placed"] else exits.INFEASIBLE
