"""`circinus query`: what is to be served, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from circinus.cli import exits, query_results, query_watch
from circinus.cli.dry_run import DryRunOption, tell_plans
from circinus.cli.output import Output, amount, emit, lines, say, table
from circinus.cli.plan_table import Measures, accuracy_name, plans_table, provisional_text, why_text
from circinus.cli.progress import WatchBars
from circinus.cli.removal import remove_each
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.cli.stand_by_table import episode_text, stand_by_text
from circinus.client import Client
from circinus.drift_reports import finding_text
from circinus.errors import InvalidInput
from circinus.model.plan import Certainty
from circinus.model.query import Budget, Guarantee, Query
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
    accuracy_margin: Annotated[
        float | None, typer.Option("--accuracy-margin", help="SLO: an accuracy lower by so much is as good; else 0.")
    ] = None,
    guarantee: Annotated[
        Guarantee | None, typer.Option(help="What the accuracy is promised of; pool if not given.")
    ] = None,
    budget_samples: Annotated[int | None, typer.Option(help="Most samples to profile.")] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(help="Longest that profiling may keep operators busy.")
    ] = None,
    budget_cost: Annotated[float | None, typer.Option(help="Most that profiling may cost.")] = None,
    stand_by: Annotated[
        bool, typer.Option("--stand-by", help="Served by what its source has while the rest is out of reach.")
    ] = False,
    input_uri: Annotated[
        str | None,
        typer.Option(
            "--input", help="What its device reads instead of the pipeline's source: file:/PATH, camera:0, push: ..."
        ),
    ] = None,
    selector: Annotated[
        str | None,
        typer.Option("--selector", "-l", help="The devices that its operators may run on: 'site=shop-1,gpu'."),
    ] = None,
    sink: Annotated[str | None, typer.Option("--sink", help="Where its device writes results: file:/PATH.")] = None,
    dry_run: DryRunOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all is decided and rolled out.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 3_600.0,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Submits queries, from a file or one by flags; those submitted together are planned together.

    Example: circinus query submit -f examples/documents/queries.yaml --wait
    """
    fields = {
        "id": query_id,
        "pipeline": pipeline,
        "content": content,
        "source": source,
        "rate_per_s": rate,
        "weight": weight,
        "guarantee": guarantee and guarantee.value,
        "input": input_uri,
        "sink": sink,
        "selector": selector,
        "slo": _given(
            latency_ms=latency_ms,
            percentile=percentile,
            cost_per_h=cost_per_h,
            accuracy=accuracy,
            accuracy_margin=accuracy_margin,
        ),
        "stand_by": stand_by or None,
        "budget": _given(samples=budget_samples, seconds=budget_seconds, cost=budget_cost),
    }
    given = _given(**fields)
    if file is not None and given:
        raise InvalidInput("give either a file (-f) or a query by flags, not both")
    if given is None and file is None:
        raise InvalidInput(
            "nothing to submit: give a file (-f queries.yaml) or --pipeline, --content, --source and --rate"
        )
    queries = read_queries(file) if file is not None else _from_flags(given or {})
    if dry_run:
        return tell_plans(output, ask(planner, lambda client: client.plan(queries)).diff)

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


def _given(**fields: object) -> dict[str, object] | None:
    """The fields that are given; None if none is."""
    return {key: value for key, value in fields.items() if value is not None} or None


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
def ls(
    selector: Annotated[
        str, typer.Option("--selector", "-l", metavar="SELECTOR", help="Only those whose source device it means.")
    ] = "",
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """All queries, or those of the source devices that a selector means, and where each stands.

    Example: circinus query ls
    """
    states = ask(planner, lambda client: client.queries(selector))
    emit(output, states, lambda: _states_table(states), wide=lambda: _wide_table(states))
    return exits.OK


def _states_table(states: Sequence[QueryState]) -> RenderableType:
    return table(_COLUMNS, (_row(state) for state in states), right=("RATE/s",))


def _wide_table(states: Sequence[QueryState]) -> RenderableType:
    more = ("WEIGHT", "GEN", "p95 ms", "ACCURACY", "COST/h", "P(SLO)")
    return table((*_COLUMNS, *more), ((*_row(state), *_figures(state)) for state in states), right=("RATE/s", *more))


def _figures(state: QueryState) -> tuple[str, ...]:
    weight, plan = amount(state.query.weight), state.plan
    if plan is None:
        return (weight, "-", "-", "-", "-", "-")
    accuracy = amount(plan.accuracy_ratio.value) if plan.accuracy_ratio is not None else "-"
    figures = (amount(plan.latency_ms.value), accuracy, amount(plan.cost_per_h), amount(plan.slo_probability_ratio))
    return (weight, str(state.generation or "-"), *figures)


def _row(state: QueryState) -> tuple[str, ...]:
    query = state.query
    phase = "serving" if state.phase is QueryPhase.PLACED and state.serving else state.phase.value
    if state.plan is not None and state.plan.certainty is Certainty.PROVISIONAL:
        phase += f", {provisional_text(state.plan.slo_probability_ratio)}"
    devices = dict.fromkeys(operator.device_id for operator in state.plan.operators) if state.plan else {}
    return (
        query.id,
        f"{query.pipeline_id}/{query.content}",
        query.source_device_id,
        amount(query.rate_per_s),
        slo_text(query, state.agreement),
        phase,
        " → ".join(devices) or "-",
        state.reason,
    )


def slo_text(query: Query, agreement: bool = False) -> str:
    """A query's SLO on one line; ``agreement``: its accuracy is agreement with a reference."""
    slo, bounds = query.slo, []
    if slo.latency_ms is not None:
        bounds.append(f"p{slo.percentile_ratio * 100:g} ≤ {amount(slo.latency_ms)} ms")
    if slo.accuracy_ratio is not None:
        notes = [f"margin {slo.accuracy_margin_ratio:g}"] if slo.accuracy_margin_ratio else []
        if query.guarantee is not Guarantee.POOL:
            notes.append(f"of the {query.guarantee.value}")
        text = f"{accuracy_name(agreement)} ≥ {slo.accuracy_ratio:g}"
        bounds.append(f"{text} ({', '.join(notes)})" if notes else text)
    if slo.cost_per_h is not None:
        bounds.append(f"cost ≤ {slo.cost_per_h:g}/h")
    return ", ".join(bounds) or "none"


@app.command("show")
def show(
    query_id: Annotated[str, typer.Argument(metavar="QUERY")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """One query with its plan.

    Example: circinus query show gate
    """
    state = ask(planner, lambda client: client.query(query_id))
    emit(output, state, lambda: _details(state))
    return exits.OK


def _details(state: QueryState) -> RenderableType:
    parts: list[RenderableType | str] = [_states_table([state])]
    if state.plan is not None:
        parts += ["", plans_table([state.plan], _measures([state])), "", why_text(state.plan)]
    if state.stand_by is not None:
        parts += ["", stand_by_text(state.stand_by), *map(episode_text, state.stand_by.episodes)]
    if state.findings:
        parts += ["", *(f"replanned: {finding_text(one)}" for one in state.findings)]
    if state.query.input:
        parts += ["", f"input: {state.query.input}"]
    if state.query.sink:
        parts += ["", f"results: {state.query.sink}"]
    if state.query.selector:
        parts += ["", f"on devices: {state.query.selector}"]
    if budget := budget_text(state.query.budget):
        parts += ["", f"profiling budget: {budget}"]
    if state.search is not None:
        parts += ["", query_watch.search_text(state.search)]
    return lines(*parts)


def budget_text(budget: Budget) -> str:
    """What profiling may take, on one line; empty: there is no limit."""
    limits = [] if budget.samples is None else [f"{budget.samples:,} samples"]
    if budget.seconds is not None:
        limits.append(f"{amount(budget.seconds)} s of operators")
    if budget.cost is not None:
        limits.append(f"cost {amount(budget.cost)}")
    return ", ".join(limits)


app.command("watch")(query_watch.watch)
app.command("results")(query_results.results)


@app.command("rm")
def rm(
    query_ids: Annotated[list[str], typer.Argument(metavar="QUERY...")],
    dry_run: DryRunOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing of them runs any more.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 600.0,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Stops serving queries and forgets them.

    Example: circinus query rm gate --wait
    """

    async def action(client: Client) -> int:
        if dry_run:
            for query_id in query_ids:
                await client.query(query_id)
            return tell_plans(output, (await client.plan(without=query_ids)).diff)
        code = await remove_each(client.remove_query, "query", query_ids, output)
        if wait:
            await watch_until_settled(client, timeout_s)
        return code

    return ask(planner, action)


async def measures_of(client: Client, extra: Sequence[Query]) -> Measures:
    """What the figures of all queries are of, those that are only tried included."""
    return _measures(await client.queries(), extra)


def _measures(states: Sequence[QueryState], extra: Sequence[Query] = ()) -> Measures:
    queries = (*(state.query for state in states), *extra)
    # A content has labels or not, whoever asks.
    unlabelled = {(state.query.pipeline_id, state.query.content) for state in states if state.agreement}
    return Measures(
        percentiles={query.id: query.slo.percentile_ratio for query in queries},
        agreements=frozenset(query.id for query in queries if (query.pipeline_id, query.content) in unlabelled),
    )
