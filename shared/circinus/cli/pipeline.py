"""`circinus pipeline`: pipelines that queries can name."""

from __future__ import annotations

from typing import Annotated

import typer

from circinus.cli import exits, pipeline_check, pipeline_export, pipeline_profile
from circinus.cli.output import Output, emit, lines, table
from circinus.cli.pipeline_check import FolderArgument
from circinus.cli.progress import AddBars
from circinus.cli.removal import remove_each
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.spec.folder import load_pipeline

app = typer.Typer(no_args_is_help=True, help="Pipelines: operators with knobs, from a folder with a pipeline.yaml.")

_COLUMNS = ("PIPELINE", "OPERATORS", "CONFIGURATIONS", "CONTENTS", "QUERIES", "BUNDLE")
app.command("check")(pipeline_check.check)
app.command("profile")(pipeline_profile.profile)
app.command("export")(pipeline_export.export)


@app.command("add")
def add(
    folder: FolderArgument,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Packs a folder, makes its sample sets, uploads both and registers the pipeline.

    Example: circinus pipeline add examples/documents
    """

    async def action(client: Client) -> str:
        with AddBars() as bars:
            return await client.add_pipeline(folder, on_progress=bars.show)

    pipeline_id = ask(planner, action)
    emit(output, {"pipeline_id": pipeline_id}, lambda: lines(f"pipeline {pipeline_id} is registered"))
    return exits.OK


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """All registered pipelines.

    Example: circinus pipeline ls -o name
    """
    states = ask(planner, lambda client: client.pipelines())
    rows = [
        (
            state.id,
            ", ".join(state.operator_ids),
            f"{state.configurations:,}",
            ", ".join(f"{content.name} ({content.samples})" for content in state.contents),
            str(state.queries),
            state.bundle_digest[:19],
        )
        for state in states
    ]
    emit(output, states, lambda: table(_COLUMNS, rows, right=("CONFIGURATIONS", "QUERIES")))
    return exits.OK


@app.command("rm")
def rm(
    pipeline_ids: Annotated[list[str], typer.Argument(metavar="PIPELINE...")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Forgets pipelines that no query uses.

    Example: circinus pipeline rm documents
    """
    return ask(planner, lambda client: remove_each(client.remove_pipeline, "pipeline", pipeline_ids, output))


@app.command("lint")
def lint(folder: FolderArgument, output: OutputOption = Output.TABLE) -> int:
    """Reads a folder's pipeline.yaml and says all that is wrong with it; no planner is needed.

    Example: circinus pipeline lint examples/documents
    """
    pipeline = load_pipeline(folder)
    summary = {
        "pipeline_id": pipeline.id,
        "operators": [operator.id for operator in pipeline.operators],
        "configurations": pipeline.configuration_count,
        "contents": [content.name for content in pipeline.contents],
        "errors": [],
    }
    text = (
        f"pipeline {pipeline.id}: {len(pipeline.operators)} operators, "
        f"{pipeline.configuration_count:,} configurations, {len(pipeline.contents)} contents, no errors"
    )
    emit(output, summary, lambda: lines(text))
    return exits.OK
