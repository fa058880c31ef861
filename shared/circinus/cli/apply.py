"""`circinus apply`: makes the planner have what files declare."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circinus.cli import exits
from circinus.cli.confirmation import confirm
from circinus.cli.diff_table import diff_view
from circinus.cli.output import Output, document_of, emit, lines, plain, say
from circinus.cli.pipeline import facts_of, known_pipelines
from circinus.cli.progress import AddBars
from circinus.cli.query import watch_until_settled
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.declared_calls import Upload
from circinus.errors import CircinusError, InvalidInput, NotAllowed, TimedOut, Unreachable
from circinus.model.changes import Change, Noun, Things, Verdict, changes
from circinus.model.pipeline import PipelineId
from circinus.model.plan_diff import PlanDiff
from circinus.reports import QueryPhase
from circinus.spec.declared import Declared, read_declared
from circinus.spec.folder import PIPELINE_FILE, read_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIGNS = {Verdict.ADDED: "+", Verdict.CHANGED: "~", Verdict.UNCHANGED: "=", Verdict.REMOVED: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What is to be done. ``todo``: the changes that change something."""

    declared: Declared
    changes: tuple[Change, ...]

    @property
    def todo(self) -> tuple[Change, ...]:
        return tuple(one for one in self.changes if one.verdict is not Verdict.UNCHANGED)

    def ids(self, noun: Noun, *verdicts: Verdict) -> list[str]:
        """Of the things of a kind with one of these verdicts, as far as files name them or they are to go."""
        return [one.id for one in self.changes if one.noun is noun and one.verdict in verdicts]

    @property
    def pausing(self) -> list[str]:
        return [one.id for one in self.changes if one.pauses]

    @property
    def uploading(self) -> list[PipelineId]:
        return [PipelineId(name) for name in self.ids(Noun.PIPELINE, Verdict.ADDED, Verdict.CHANGED)]


def apply(
    files: Annotated[
        list[Path], typer.Option("--file", "-f", metavar="FILE|FOLDER", help="What is declared; may be said again.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and the plans; change nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all is decided and rolled out.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 3_600.0,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove queries, and unused pipelines, that no file declares.")
    ] = False,
    selector: Annotated[
        str,
        typer.Option("--selector", "-l", metavar="SELECTOR", help="With --prune: only queries with these sources."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="What is removed, or pauses, is meant.")] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Makes the planner have the pipelines, queries and labels that files declare: all of them at once, or nothing.

    What is so already is left alone. Ends with 3 if --wait finds that a query has no plan.
    Example: circinus apply -f examples/documents --dry-run
    """
    if selector and not prune:
        raise InvalidInput("--selector says which queries --prune may remove; add --prune, or leave it out")
    declared = read_declared(files, sys.stdin.read() if Path("-") in files else "")
    if not (declared.pipelines or declared.queries or declared.labels):
        raise InvalidInput("the files declare nothing")

    async def action(client: Client) -> int:
        present = await _present(client, declared)
        meant = tuple(state.query for state in await client.queries(selector)) if prune else None
        work = _Work(declared=declared, changes=changes(await asyncio.to_thread(_things, declared), present, meant))
        if dry_run:
            return await _dry_run(client, work, output)
        if work.todo:
            _ask(work, yes=yes)
            await _carry_out(client, work)
        unplaced: list[str] = []
        if wait:
            await watch_until_settled(client, timeout_s)
            unplaced = [
                state.query.id
                for state in await client.queries()
                if state.query.id in declared.queries and state.phase is QueryPhase.UNPLACED
            ]
        _tell(output, work, dry_run=False, unplaced=unplaced)
        return exits.INFEASIBLE if unplaced else exits.OK

    return ask(planner, action)


def _ask(work: _Work, *, yes: bool) -> None:
    """Has whoever sits there say that it is meant.

    Raises:
        InvalidInput: nobody sits there.
    """
    gone = [one for one in work.changes if one.verdict is Verdict.REMOVED]
    said = [f"{len(gone)} are removed ({_named(f'{one.noun.value} {one.id}' for one in gone)})"] if gone else []
    if work.pausing:
        said.append(f"{len(work.pausing)} queries pause until they are measured anew ({_named(work.pausing)})")
    if said and not yes:
        confirm(f"{'; '.join(said)}", "--dry-run shows all of it")


def _named(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _things(declared: Declared) -> Things:
    """What is declared, as it is told apart from what is there."""
    return Things(
        pipelines={name: facts_of(folder, one) for name, (folder, one) in declared.pipelines.items()},
        queries=declared.queries,
        labels=declared.labels,
    )


async def _present(client: Client, declared: Declared) -> Things:
    devices = await client.devices() if declared.labels else ()
    return Things(
        pipelines=await known_pipelines(client),
        queries={state.query.id: state.query for state in await client.queries()},
        labels={state.device.id: dict(state.labels) for state in devices},
    )


def _parts(work: _Work) -> dict[str, Any]:
    """What the planner is asked to make true, but for the pipelines."""
    changed = set(work.ids(Noun.QUERY, Verdict.ADDED, Verdict.CHANGED))
    relabelled = set(work.ids(Noun.DEVICE, Verdict.CHANGED))
    return {
        "queries": [query for name, query in work.declared.queries.items() if name in changed],
        "labels": {name: labels for name, labels in work.declared.labels.items() if name in relabelled},
        "remove_queries": work.ids(Noun.QUERY, Verdict.REMOVED),
        "remove_pipelines": work.ids(Noun.PIPELINE, Verdict.REMOVED),
    }


async def _carry_out(client: Client, work: _Work) -> None:
    """Validates all, uploads what is missing, and has it all made true by one call."""
    parts = _parts(work)
    # First of all: samples may take minutes to make, and a typo in the last query must not cost them.
    await client.apply_changes(pipelines=_specs(work), validate_only=True, **parts)
    uploads = []
    try:
        for name in work.uploading:
            with AddBars() as bars:
                folder, _ = work.declared.pipelines[name]
                uploads.append(await client.upload_pipeline(folder, on_progress=bars.show))
    except CircinusError:
        say("nothing was applied; what was uploaded is kept, so the next time is quicker", style="yellow")
        raise
    try:
        await client.apply_changes(pipelines=uploads, **parts)
    except (Unreachable, TimedOut):
        say("whether it was applied is not known: all of it, or nothing; apply it again to see", style="yellow")
        raise
    except CircinusError:
        say("nothing was applied", style="yellow")
        raise


def _specs(work: _Work) -> list[Upload]:
    """The pipelines that would be uploaded, as far as they can be validated before that."""
    return [Upload(spec_yaml=read_text(work.declared.pipelines[name][0] / PIPELINE_FILE)) for name in work.uploading]


async def _dry_run(client: Client, work: _Work, output: Output) -> int:
    parts = _parts(work)
    plans: PlanDiff | None = None
    note = ""
    try:
        await client.apply_changes(pipelines=_specs(work), validate_only=True, **parts)
    except NotAllowed:
        note = "you may look, but not apply: whether it fits together was not checked"
    if work.uploading:
        note = note or "plans are not shown: nothing was measured yet of a pipeline that is new or another one"
    elif parts["queries"] or parts["remove_queries"]:
        plans = (await client.plan(parts["queries"], without=parts["remove_queries"])).diff
    _tell(output, work, dry_run=True, plans=plans, note=note)
    return exits.OK


def _tell(
    output: Output,
    work: _Work,
    *,
    dry_run: bool,
    unplaced: Sequence[str] = (),
    plans: PlanDiff | None = None,
    note: str = "",
) -> None:
    counts = {verdict.value: sum(one.verdict is verdict for one in work.changes) for verdict in Verdict}
    document = {
        "dry_run": dry_run,
        "counts": counts,
        "changes": document_of(work.changes),
        "unplaced": list(unplaced),
        **({"plans": document_of(plans)} if plans is not None else {}),
    }
    emit(output, document, lambda: _view(work, counts, dry_run=dry_run, unplaced=unplaced, plans=plans, note=note))


def _view(
    work: _Work,
    counts: dict[str, int],
    *,
    dry_run: bool,
    unplaced: Sequence[str],
    plans: PlanDiff | None,
    note: str,
) -> RenderableType:
    told: list[RenderableType | str] = []
    for one in work.todo:
        told.append(f"{_SIGNS[one.verdict]} {one.noun.value} {plain(one.id)}")
        told += [f"    {detail}" for detail in one.details]
        if one.pauses:
            told.append("    it pauses until it is measured anew")
    summary = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    told.append(f"{summary or 'nothing'}{'; nothing was changed, this was a dry run' if dry_run else ''}")
    told += [f"{name} has no plan: circinus explain {name}" for name in unplaced]
    if note:
        told.append(note)
    if plans is not None:
        told += ["", diff_view(plans)]
    return lines(*told)
