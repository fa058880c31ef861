"""`circinus query`: what is to be served, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from circinus.cli import exits
from circinus.cli.output import Output, amount, emit, lines, say, table
from circinus.cli.plan_table import plans_table, why_text
from circinus.cli.progress import WatchBars
from circinus.cli.removal import remove_each
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.errors import InvalidInput
from circinus.model.query import DEFAULT_PERCENTILE_RATIO, Query, Slo
from circinus.reports import QueryPhase, QueryState
from circinus.spec.errors import SpecErrors
from circinus.spec.folder import read_text
from circinus.spec.queries import parse_queries

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="Queries: a pipeline on a source device, with a rate and an SLO.")

_COLUMNS = ("QUERY", "PIPELINE/CONTENT", "SOURCE", "RATE/s", "SLO", "STATE", "WHERE", "REASON")
_NEEDED_FLAGS = {"pipeline": "--pipeline", "content": "--content", "source": "--source", "rate_per_s": "--rate"}
FileOption = Annotated[Path | None, typer.Option("--file", "-f", metavar="FILE", help="A queries.yaml.")]


def read_queries(path: Path) -> tuple[Query, ...]:
    """The queries of a file."""
    return parse_queries(read_text(path), str(path))


@app.command("submit")
def submit(
    file: FileOption = None,
    query_id: Annotated[str | None, typer.Option("--id", help="Its id; without, the planner gives one.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Pipeline.")] = None,
    content: Annotated[str | None, typer.Option(help="Content: what its items are like.")] = None,
    source: Annotated[str | None, typer.Option(help="Device that the items come from.")] = None,
    rate: Annotated[float | None, typer.Option(help="Items per second.")] = None,
    weight: Annotated[float | None, typer.Option(help="What an item is worth beside others'; 1 if not given.")] = None,
    latency_ms: Annotated[float | None, typer.Option("--latency-ms", help="SLO: latency.")] = None,
    percentile: Annotated[
        float | None, typer.Option(help="SLO: the percentile of the latency, 0..1; else 0.95.")
    ] = None,
    accuracy: Annotated[float | None, typer.Option(help="SLO: accuracy, 0..1.")] = None,
    cost_per_h: Annotated[float | None, typer.Option("--cost-per-h", help="SLO: cost per hour.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all is decided and rolled out.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 3_600.0,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Submits queries, from a file or one by flags; those submitted together are planned together."""
    slo = {"latency_ms": latency_ms, "percentile": percentile, "accuracy": accuracy, "cost_per_h": cost_per_h}
    fields = {"id": query_id, "pipeline": pipeline, "content": content, "source": source}
    numbers = {"rate_per_s": rate, "weight": weight}
    given = {key: value for key, value in {**fields, **numbers}.items() if value is not None}
    bounds = {key: value for key, value in slo.items() if value is not None}
    if file is not None and (given or bounds):
        raise InvalidInput("give either a file (-f) or a query by flags, not both")
    if file is None and not given:
        raise InvalidInput(
            "nothing to submit: give a file (-f queries.yaml) or --pipeline, --content, --source and --rate"
        )
    queries = read_queries(file) if file is not None else _from_flags({**given, "slo": bounds})

    async def action(client: Client) -> tuple[QueryState, ...]:
        submitted = await client.submit(queries)
        say(f"submitted: {', '.join(submitted)}")
        if wait:
            await watch_until_settled(client, timeout_s)
        states = {state.query.id: state for state in await client.queries()}
        return tuple(states[query_id] for query_id in submitted if query_id in states)

    states = ask(planner, action)
    emit(output, states, lambda: _states_table(states))
    unplaced = any(state.phase is QueryPhase.UNPLACED for state in states)
    return exits.INFEASIBLE if wait and unplaced else exits.OK


def _from_flags(fields: dict[str, object]) -> tuple[Query, ...]:
    """One query by flags, checked as a file's would be."""
    missing = [flag for key, flag in _NEEDED_FLAGS.items() if key not in fields]
    if missing:
        raise InvalidInput(f"a query by flags also needs {', '.join(missing)}")
    try:
        # No line numbers in what is said: there is no file to look at.
        return parse_queries(yaml.safe_dump([fields]), "flags")
    except SpecErrors as error:
        raise InvalidInput("\n".join(each.message for each in error.errors)) from error


async def watch_until_settled(client: Client, timeout_s: float) -> None:
    """Shows progress until there is nothing more to wait for."""
    with WatchBars() as bars:
        async for progress in client.watch_progress(timeout_s=timeout_s):
            bars.show(progress)


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """All queries, and where each stands."""
    states = ask(planner, lambda client: client.queries())
    emit(output, states, lambda: _states_table(states))
    return exits.OK


def _states_table(states: Sequence[QueryState]) -> RenderableType:
    return table(_COLUMNS, (_row(state) for state in states), right=("RATE/s",))


def _row(state: QueryState) -> tuple[str, ...]:
    query = state.query
    phase = "serving" if state.phase is QueryPhase.PLACED and state.serving else state.phase.value
    devices = dict.fromkeys(operator.device_id for operator in state.plan.operators) if state.plan else {}
    return (
        query.id,
        f"{query.pipeline_id}/{query.content}",
        query.source_device_id,
        amount(query.rate_per_s),
        slo_text(query.slo),
        phase,
        " → ".join(devices) or "-",
        state.reason,
    )


def slo_text(slo: Slo) -> str:
    """An SLO on one line."""
    bounds = []
    if slo.latency_ms is not None:
        bounds.append(f"p{slo.percentile_ratio * 100:g} ≤ {amount(slo.latency_ms)} ms")
    if slo.accuracy_ratio is not None:
        bounds.append(f"accuracy ≥ {slo.accuracy_ratio:g}")
    if slo.cost_per_h is not None:
        bounds.append(f"cost ≤ {slo.cost_per_h:g}/h")
    return ", ".join(bounds) or "none"


@app.command("show")
def show(
    query_id: Annotated[str, typer.Argument(metavar="QUERY")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """One query with its plan."""
    state = ask(planner, lambda client: client.query(query_id))
    emit(output, state, lambda: _details(state))
    return exits.OK


def _details(state: QueryState) -> RenderableType:
    parts: list[RenderableType | str] = [_states_table([state])]
    if state.plan is not None:
        percentile_ratio = state.query.slo.percentile_ratio or DEFAULT_PERCENTILE_RATIO
        parts += ["", plans_table([state.plan], {state.query.id: percentile_ratio}), "", why_text(state.plan)]
    return lines(*parts)


@app.command("rm")
def rm(
    query_ids: Annotated[list[str], typer.Argument(metavar="QUERY...")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Stops serving queries and forgets them."""
    return ask(planner, lambda client: remove_each(client.remove_query, "query", query_ids, output))


async def percentiles_of(client: Client, extra: Sequence[Query]) -> dict[str, float]:
    """The percentile of each query's latency bound, by query id."""
    states = await client.queries()
    return {query.id: query.slo.percentile_ratio for query in (*(state.query for state in states), *extra)}
