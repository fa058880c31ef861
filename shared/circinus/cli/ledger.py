"""`circinus ledger`: what was predicted against what was observed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from circinus.cli import exits
from circinus.cli.accounts_table import accounts_view
from circinus.cli.output import Output, amount, emit, lines, size, table
from circinus.cli.plan_table import Measures, interval_text, percentile_name
from circinus.cli.query import measures_of
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.cli.stand_by_table import episodes_summary
from circinus.client import Client
from circinus.errors import InvalidInput
from circinus.gap_reports import gaps_summary
from circinus.reports import LedgerEntry

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("QUERY", "MEASURE", "PLANNED", "OBSERVED", "")
_OPERATOR_COLUMNS = ("QUERY", "OPERATOR", "ITEMS", "PLANNED ms", "SERVICE ms", "QUEUE ms", "OUTPUT", "MEMORY", "FAILED")
_EARLIEST = datetime.fromtimestamp(0, UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def ledger(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="30s, 5m, 2h, 1d ago, or a moment such as 2026-01-31T12:00Z."),
    ] = None,
    operators: Annotated[bool, typer.Option("--operators", help="Each operator, too.")] = False,
    calibration: Annotated[
        bool,
        typer.Option("--calibration", help="Every promise that was made, what was seen of it, how good promises are."),
    ] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Predicted against observed for each query, of the running generation or since a moment.

    Example: circinus ledger --since 5m --operators
    """
    if calibration:
        if since is not None:
            raise InvalidInput("--since has no meaning with --calibration: it tells of all promises; leave one out")
        report = ask(planner, lambda client: client.accounts())
        emit(output, report, lambda: accounts_view(report, operators=operators))
        return exits.OK
    moment = None if since is None else parse_since(since, datetime.now(UTC))

    async def action(client: Client) -> tuple[tuple[LedgerEntry, ...], Measures]:
        return await client.ledger(moment), await measures_of(client, ())

    entries, measures = ask(planner, action)
    emit(output, entries, lambda: _view(entries, measures, operators))
    return exits.OK


def parse_since(text: str, now: datetime) -> datetime:
    """A moment, from a duration before ``now`` or an ISO 8601 date and time (UTC if it names no zone).

    Raises:
        InvalidInput: it is neither.
    """
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
        since = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        return now - min(since, now - _EARLIEST)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"--since {text!r} is neither a duration (30s, 5m, 2h, 1d) nor a moment (2026-01-31T12:00Z)"
        ) from None
    return max(moment if moment.tzinfo else moment.replace(tzinfo=UTC), _EARLIEST)


def _view(entries: Sequence[LedgerEntry], measures: Measures, operators: bool) -> RenderableType:
    rows = [row for entry in entries for row in _rows(entry, measures)]
    parts: list[RenderableType | str] = [table(_COLUMNS, rows)]
    if operators:
        right = [column for column in _OPERATOR_COLUMNS if column not in ("QUERY", "OPERATOR")]
        operator_rows = [row for entry in entries for row in _operator_rows(entry)]
        parts += ["", table(_OPERATOR_COLUMNS, operator_rows, right=right)]
    return lines(*parts)


def _rows(entry: LedgerEntry, measures: Measures) -> list[tuple[str, ...]]:
    plan, predicted, seen = entry.plan, entry.predicted_accuracy_ratio, entry.accuracy_ratio
    percentile = percentile_name(measures.percentiles.get(entry.query_id))
    accuracy = measures.accuracy_name(entry.query_id)
    within = ""
    if predicted is not None and seen is not None:
        inside = predicted.low <= seen <= predicted.high
        within = f"{'within' if inside else 'OUTSIDE'} the interval for {entry.scored:,} items"
    causes = ", ".join(f"{cause} {count:,}" for cause, count in entry.causes.items())
    ends = f"{entry.answered:,} answered, {entry.late:,} late, {entry.dropped:,} dropped, {entry.failed:,} failed"
    episodes = episodes_summary(entry.stand_bys) if entry.stand_bys else ""
    planned_goodput = amount(entry.planned_item_goodput_per_s) if plan else "-"
    planned_latency = (
        f"p50 {amount(plan.latency_p50_ms)}, {percentile} {interval_text(plan.latency_ms)}" if plan else "-"
    )
    latency = f"p50 {amount(entry.latency_p50_ms)}, p95 {amount(entry.latency_p95_ms)}"
    latency += f", p99 {amount(entry.latency_p99_ms)}" if entry.latency_p99_ms else ""
    agreed = f"with the reference, for {entry.agreement_items:,} items"
    return [
        (entry.query_id, "item goodput/s", planned_goodput, amount(entry.item_goodput_per_s), ""),
        ("", "latency ms", planned_latency, latency, ""),
        ("", accuracy, interval_text(predicted) if predicted else "-", amount(seen), within),
        *([("", "agreement", "", amount(entry.agreement_ratio), agreed)] if entry.agreement_items else []),
        # What a plan reserves is paid whether it is used or not.
        ("", "cost/h", amount(plan.cost_per_h) if plan else "-", amount(plan.cost_per_h) if plan else "-", "reserved"),
        ("", "items", "", f"{entry.emitted:,} in {entry.duration_s:.0f} s", ends),
        *([("", "causes", "", causes, "")] if causes else []),
        *([("", "incomplete", "", "", gaps_summary(entry.gaps))] if entry.gaps else []),
        *([("", "stand-by", "", f"{entry.stand_by_answered:,} answered", episodes)] if episodes else []),
    ]


def _operator_rows(entry: LedgerEntry) -> list[tuple[str, ...]]:
    planned: dict[str, float] = {}
    for operator in entry.plan.operators if entry.plan else ():
        planned[operator.operator_id] = (
            planned.get(operator.operator_id, 0.0) + operator.service_ms * operator.share_ratio
        )
    return [
        (
            entry.query_id,
            seen.operator_id,
            f"{seen.items:,}",
            amount(planned.get(seen.operator_id)),
            amount(seen.service_ms),
            amount(seen.queue_ms),
            "-" if seen.output_bytes is None else size(seen.output_bytes),
            size(seen.memory_bytes),
            str(seen.failures),
        )
        for seen in entry.operators
    ]
