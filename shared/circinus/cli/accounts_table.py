"""Promises beside what was seen, as a table, and how good promises are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circinus.cli.output import amount, lines, size, table
from circinus.cli.plan_table import interval_text
from circinus.model.plan import Certainty

if TYPE_CHECKING:
    from rich.console import RenderableType

    from circinus.accounts import Account, AccountsReport, Calibration

_COLUMNS = ("QUERY", "GEN", "PIPELINE", "ITEMS", "PROMISED ms", "SEEN ms", "", "RATE/s", "SEEN/s", "P(SLO)", "SLO")
_OPERATOR_COLUMNS = (
    "QUERY",
    "GEN",
    "OPERATOR",
    "DEVICE",
    "ITEMS",
    "SERVICE ms",
    "SEEN ms",
    "QUEUE ms",
    "SEEN ms",
    "OUTPUT",
    "SEEN",
    "DROPPED",
)


def accounts_view(report: AccountsReport, *, operators: bool) -> RenderableType:
    """All of it; percentiles are those of the SLOs, intervals hold with 90%."""
    parts: list[RenderableType | str] = [table(_COLUMNS, [_row(one) for one in report.accounts])]
    if operators:
        rows = [row for account in report.accounts for row in _operator_rows(account)]
        parts += ["", table(_OPERATOR_COLUMNS, rows, right=_OPERATOR_COLUMNS[4:])]
    return lines(*parts, "", *calibration_lines(report.calibration))


def _row(account: Account) -> tuple[str, ...]:
    head = (account.query_id, str(account.generation), f"{account.pipeline_id}/{account.content}")
    if account.open:
        return (
            *head,
            f"{account.items:,}",
            "",
            "",
            "provisional" if account.plan.certainty is Certainty.PROVISIONAL else "too few items",
            amount(account.rate_per_s),
            "",
            "",
            "",
        )
    inside = account.latency_ms.low <= account.latency_seen_ms <= account.latency_ms.high
    return (
        *head,
        f"{account.items:,}",
        interval_text(account.latency_ms),
        amount(account.latency_seen_ms),
        "within" if inside else "OUTSIDE",
        amount(account.rate_per_s),
        amount(account.throughput_seen_per_s),
        f"{account.slo_probability_ratio:.2f}",
        "met" if account.slo_met else "MISSED",
    )


def _operator_rows(account: Account) -> list[tuple[str, ...]]:
    return [
        (
            account.query_id,
            str(account.generation),
            one.operator_id,
            one.device_id,
            f"{one.items:,}",
            interval_text(one.service_ms),
            amount(one.service_seen_ms),
            amount(one.queue_ms),
            amount(one.queue_seen_ms),
            size(round(one.output_bytes)),
            "-" if one.output_seen_bytes is None else size(round(one.output_seen_bytes)),
            ", ".join(f"{cause} {count:,}" for cause, count in one.dropped.items()),
        )
        for one in account.operators
    ]


def calibration_lines(found: Calibration) -> list[str]:
    """How good promises were, in words."""
    if not found.accounts:
        return ["no promise has been held against enough items yet"]
    told = [
        f"{found.accounts} promises: latency off by {found.latency_error_ratio:.1%} (median), "
        f"throughput by {found.throughput_error_ratio:.1%}",
        f"90% intervals of latency held {found.coverage_ratio:.0%}, half-width {found.half_width_ratio:.1%} (median)",
    ]
    if found.operator_accounts:
        told.append(
            f"service times of operators off by {found.service_error_ratio:.1%} (median); "
            f"90% intervals held {found.service_coverage_ratio:.0%}"
        )
    told.append(f"Brier score of P(SLO): {found.brier:.3f}")
    told += [
        f"  P(SLO) {one.low_ratio:g} to {one.high_ratio:g}: promised {one.promised_ratio:.2f}, "
        f"met {one.met_ratio:.2f} of {one.accounts}"
        for one in found.reliability
    ]
    told += [
        f"  {one.pipeline_id}/{one.operator_id} on {one.device_id}: "
        f"profiled times x {one.ratio:.2f} ({one.items:,} items)"
        for one in found.corrections
    ]
    return told
