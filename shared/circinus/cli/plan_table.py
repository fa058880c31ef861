"""Plans as a table: for each query where its operators run, and what is to be expected end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from circinus.cli.output import amount, lines, table
from circinus.model.pipeline import knobs_of, knobs_text
from circinus.model.plan import Certainty, Interval, OperatorPlan, Plan, Selection, share_text
from circinus.model.query import DEFAULT_PERCENTILE_RATIO
from circinus.reports import SelectionReport

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("QUERY / OPERATOR", "WHERE", "KNOBS", "SHARE", "TIME ms", "ACCURACY", "COST/h", "P(SLO)")
_RIGHT = ("P(SLO)", "COST/h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What the figures of queries are of: the percentile of the latency by query id, and whose accuracy is agreement.

    Without labels a content's figures say how often a configuration agrees with its reference, not how often it is
    right.
    """

    percentiles: Mapping[str, float] = field(default_factory=dict)
    agreements: frozenset[str] = frozenset()

    def accuracy_name(self, query_id: str) -> str:
        """What a query's accuracy is called."""
        return accuracy_name(query_id in self.agreements)


def accuracy_name(agreement: bool) -> str:
    """What an accuracy is called: agreement, if there are no labels that it could be of."""
    return "agreement" if agreement else "accuracy"


def certainty_text(plan: Plan) -> str:
    """The probability that a plan meets its SLO; of one that is not certified, with that said."""
    if plan.certainty is Certainty.CERTIFIED:
        return f"{plan.slo_probability_ratio:.3f}"
    return provisional_text(plan.slo_probability_ratio)


def provisional_text(probability_ratio: float) -> str:
    """How sure it is of something that is believed, but not proven."""
    return f"provisional, P {probability_ratio:.2f}"


def interval_text(interval: Interval, digits: int = 3) -> str:
    """A figure with its interval."""
    value, low, high = (amount(figure, digits) for figure in (interval.value, interval.low, interval.high))
    return value if low == high else f"{value} ({low}–{high})"


def plans_table(plans: Sequence[Plan], measures: Measures) -> RenderableType:
    """For each plan one row for the whole and one for each operator.

    An operator's time is its mean service time, the whole's is the percentile that the SLO is about.
    """
    rows: list[tuple[str, ...]] = []
    names = dict.fromkeys(measures.accuracy_name(plan.query_id) for plan in plans)
    for plan in plans:
        latency = f"{percentile_name(measures.percentiles.get(plan.query_id))} {interval_text(plan.latency_ms)}"
        accuracy = interval_text(plan.accuracy_ratio)
        if len(names) > 1:
            accuracy = f"{measures.accuracy_name(plan.query_id)} {accuracy}"
        rows.append((plan.query_id, "", "", "", latency, accuracy, amount(plan.cost_per_h), certainty_text(plan)))
        rows.extend(_operator_row(plan, operator) for operator in plan.operators)
    header = " OR ".join(names).upper() or "ACCURACY"
    return table([header if column == "ACCURACY" else column for column in _COLUMNS], rows, right=_RIGHT)


def percentile_name(percentile_ratio: float | None) -> str:
    """What a percentile is called: p95, p99.9."""
    return f"p{(percentile_ratio or DEFAULT_PERCENTILE_RATIO) * 100:g}"


def _operator_row(plan: Plan, operator: OperatorPlan) -> tuple[str, ...]:
    knobs = knobs_text(knobs_of(plan.configuration, operator.operator_id))
    service = amount(operator.service_ms)
    return (f"  {operator.operator_id}", operator.device_id, knobs, share_text(operator), service, "", "", "")


def why_text(plan: Plan) -> str:
    """The next best plan, as the planner put it."""
    if not plan.runner_up:
        return f"{plan.query_id}: no other placement meets its SLO"
    text = f"{plan.query_id}: next best is {plan.runner_up}"
    if plan.runner_up_cost_per_h is None:
        return text
    text += f" at {amount(plan.runner_up_cost_per_h)}/h"
    if plan.cost_per_h > 0:
        text += f" ({plan.runner_up_cost_per_h / plan.cost_per_h - 1:+.0%})"
    return text


def _provisional_lines(selection: Selection) -> list[str]:
    count = sum(plan.certainty is Certainty.PROVISIONAL for plan in selection.plans)
    if not count and not selection.provisional_per_s:
        return []
    plans = f"{count:,} plan" if count == 1 else f"{count:,} plans"
    return [f"        {amount(selection.provisional_per_s)}/s of {plans} more is provisional, not counted"]


def _money(report: SelectionReport) -> str:
    """What a thousand items of all plans cost together; empty: their rates are not told."""
    items_per_s = sum(one.rate_per_s for one in report.details)
    return f", {amount(report.selection.cost_per_h / items_per_s / 3.6)} per 1,000 items" if items_per_s else ""


def selection_view(report: SelectionReport, measures: Measures, now: datetime) -> RenderableType:
    """A whole selection: plans, why, what was not chosen, what is not placed, bound and gap."""
    from circinus.cli.detail_table import details_table, rivals_table

    selection = report.selection
    parts: list[RenderableType | str] = []
    if selection.plans and report.details:
        details = {one.query_id: one for one in report.details}
        parts += [details_table(selection.plans, details, measures, now), ""]
        if (rivals := rivals_table(report.details)) is not None:
            parts += [rivals, ""]
    elif selection.plans:
        parts += [
            plans_table(selection.plans, measures),
            "",
            table(("WHY",), ((why_text(p),) for p in selection.plans)),
            "",
        ]
    if selection.unplaced:
        rows = [(entry.query_id, entry.reason) for entry in selection.unplaced]
        parts += [table(("UNPLACED", "REASON"), rows), ""]
    if report.pending:
        rows = [(entry.query_id, entry.reason) for entry in report.pending]
        parts += [table(("NOT YET PROFILED", "REASON"), rows), ""]
    parts += [
        f"goodput {amount(selection.goodput_per_s)}/s, bound {amount(selection.goodput_bound_per_s)}/s "
        f"(gap {selection.gap_ratio:.1%})",
        *_provisional_lines(selection),
        f"cost    {amount(selection.cost_per_h)}/h, bound {amount(selection.cost_bound_per_h)}/h "
        f"(gap {selection.cost_gap_ratio:.1%})" + _money(report),
        f"solver  {selection.solver_status}, {report.solver_s:.2f} s",
    ]
    return lines(*parts)
