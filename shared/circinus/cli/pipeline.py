"""`circinus pipeline`: pipelines that queries can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from circinus import bundle
from circinus.cli import exits, pipeline_check, pipeline_export, pipeline_profile
from circinus.cli.output import Output, emit, lines, table
from circinus.cli.pipeline_check import FolderArgument
from circinus.cli.progress import AddBars
from circinus.cli.removal import remove_each
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.model.changes import PipelineFacts, Things, changes
from circinus.model.pipeline import Pipeline, PipelineId
from circinus.spec.digest import spec_digest
from circinus.spec.folder import load_pipeline

app = typer.Typer(no_args_is_help=True, help="Pipelines: operators with knobs, from a folder with a pipeline.yaml.")

_COLUMNS = ("PIPELINE", "OPERATORS", "CONFIGURATIONS", "CONTENTS", "QUERIES", "BUNDLE")
app.command("check")(pipeline_check.check)
app.command("profile")(pipeline_profile.profile)
app.command("export")(pipeline_export.export)


@app.command("add")
def add(
    folder: FolderArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether it is new or another one; send nothing.")] = (
        False
    ),
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Packs a folder, makes its sample sets, uploads both and registers the pipeline.

    Example: circinus pipeline add examples/documents
    """
    if dry_run:
        return _dry_add(folder, planner, output)

    async def action(client: Client) -> str:
        with AddBars() as bars:
            return await client.add_pipeline(folder, on_progress=bars.show)

    pipeline_id = ask(planner, action)
    emit(output, {"pipeline_id": pipeline_id}, lambda: lines(f"pipeline {pipeline_id} is registered"))
    return exits.OK


def _dry_add(folder: Path, planner: str, output: Output) -> int:
    pipeline = load_pipeline(folder)
    facts = facts_of(folder, pipeline)
    (found,) = changes(Things(pipelines={pipeline.id: facts}), Things(pipelines=ask(planner, known_pipelines)))
    said = f"pipeline {found.id}: {found.verdict.value}" + (f" ({', '.join(found.details)})" if found.details else "")
    document = {"pipeline_id": found.id, "verdict": found.verdict, "details": found.details, "dry_run": True}
    emit(output, document, lambda: lines(f"{said}; nothing was sent: this was a dry run"))
    return exits.OK


async def known_pipelines(client: Client) -> dict[PipelineId, PipelineFacts]:
    """What the planner has, as it is told apart."""
    return {
        state.id: PipelineFacts(bundle_digest=state.bundle_digest, spec_digest=state.spec_digest)
        for state in await client.pipelines()
    }


def facts_of(folder: Path, pipeline: Pipeline) -> PipelineFacts:
    """What a folder has, as it is told apart."""
    return PipelineFacts(
        bundle_digest=bundle.digest_of(bundle.pack_folder(folder, pipeline)), spec_digest=spec_digest(pipeline)
    )


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether they could be removed.")] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Forgets pipelines that no query uses.

    Example: circinus pipeline rm documents
    """

    async def action(client: Client) -> int:
        if not dry_run:
            return await remove_each(client.remove_pipeline, "pipeline", pipeline_ids, output)
        await client.apply_changes(remove_pipelines=pipeline_ids, validate_only=True)
        document = {"removable": pipeline_ids, "dry_run": True}
        emit(output, document, lambda: lines("they can be removed; nothing was: this was a dry run"))
        return exits.OK

    return ask(planner, action)


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
