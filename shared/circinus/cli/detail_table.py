"""Plans with all that their figures rest on: each operator's p95, money, what was measured, what was not chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from circinus.cli.output import ago, amount, table
from circinus.cli.plan_table import (
    Measures,
    certainty_text,
    interval_text,
    percentile_name,
    why_text,
)
from circinus.model.pipeline import knobs_of, knobs_text
from circinus.model.plan import Interval, OperatorPlan, Plan, per_1000_items, share_text
from circinus.model.query import QueryId
from circinus.plan_details import PlanDetail, PlannedOperator

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("QUERY / OPERATOR", "WHERE", "KNOBS", "SHARE", "p95 ms (90%)", "ACCURACY", "COST/h", "PER 1,000")
_MORE = ("P(SLO)", "MEASURED", "WHY")
_RIVALS = ("NOT CHOSEN", "", "WHERE", "KNOBS", "LATENCY ms", "ACCURACY", "COST/h", "LOST SINCE", "WINS IF")
#: Half-widths of normal intervals: plans have 95%, the table 90%.
_TO_90_RATIO = 1.6449 / 1.96


def details_table(
    plans: Sequence[Plan], details: Mapping[QueryId, PlanDetail], measures: Measures, now: datetime
) -> RenderableType:
    """For each plan one row for the whole and one for each operator. Percentiles have their 90% interval.

    An operator's is of its service alone; the whole's, at the percentile of the SLO, has waits and ways in it.
    """
    rows: list[tuple[str, ...]] = []
    names = dict.fromkeys(measures.accuracy_name(plan.query_id) for plan in plans)
    for plan in plans:
        detail = details.get(plan.query_id)
        name = measures.accuracy_name(plan.query_id) + " " if len(names) > 1 else ""
        percentile = percentile_name(measures.percentiles.get(plan.query_id))
        rows.append(
            (
                plan.query_id,
                "",
                "",
                "",
                f"{percentile} {interval_text(_narrowed(plan.latency_ms))}",
                name + interval_text(_narrowed(plan.accuracy_ratio)),
                amount(plan.cost_per_h),
                amount(per_1000_items(plan.cost_per_h, detail.rate_per_s if detail else 0.0)),
                certainty_text(plan),
                measured_text(detail.operators, now) if detail else "-",
                detail.why if detail and detail.why else why_text(plan).removeprefix(f"{plan.query_id}: "),
            )
        )
        parts = {(one.operator_id, one.device_id): one for one in detail.operators} if detail else {}
        rate = detail.rate_per_s if detail else 0.0
        rows.extend(_row(plan, one, parts.get((one.operator_id, one.device_id)), rate, now) for one in plan.operators)
    header = " OR ".join(names).upper() or "ACCURACY"
    columns = [header if column == "ACCURACY" else column for column in (*_COLUMNS, *_MORE)]
    return table(columns, rows, right=("COST/h", "PER 1,000", "P(SLO)"))


def _row(
    plan: Plan, operator: OperatorPlan, found: PlannedOperator | None, rate_per_s: float, now: datetime
) -> tuple[str, ...]:
    p95 = found.service_p95_ms if found is not None else None
    return (
        f"  {operator.operator_id}",
        operator.device_id,
        knobs_text(knobs_of(plan.configuration, operator.operator_id)),
        share_text(operator),
        interval_text(p95) if p95 is not None else "-",
        "",
        amount(found.cost_per_h) if found is not None else "-",
        amount(per_1000_items(found.cost_per_h, rate_per_s)) if found is not None else "-",
        "",
        measured_text([found], now) if found is not None else "-",
        found.why if found is not None else "",
    )


def _narrowed(interval: Interval) -> Interval:
    """A 95% interval as one of 90%."""
    value = interval.value
    return Interval(
        value=value,
        low=value - (value - interval.low) * _TO_90_RATIO,
        high=value + (interval.high - value) * _TO_90_RATIO,
    )


def measured_text(operators: Sequence[PlannedOperator], now: datetime) -> str:
    """Whether times were measured, on how many items at least, and how old the oldest of them are; or worked out."""
    if not operators or not all(one.samples for one in operators):
        return "predicted" if not any(one.samples for one in operators) else "in part"
    items = min(one.samples for one in operators)
    moments = [one.measured_at for one in operators if one.measured_at is not None]
    age = f", {ago(min(moments), now)}" if len(moments) == len(operators) else ""
    return f"{items:,} items{age}"


def rivals_table(details: Sequence[PlanDetail]) -> RenderableType | None:
    """The next three of each query that were not chosen, and why; None: nobody asked for them."""
    rows = [
        (detail.query_id if not number else "", str(number + 1), *_rival(rival))
        for detail in details
        for number, rival in enumerate(detail.rivals)
    ]
    return table(_RIVALS, rows, right=("COST/h",)) if rows else None


def _rival(rival: Mapping[str, Any]) -> tuple[str, ...]:
    plan = rival["plan"]
    where = ", ".join(
        f"{part['operator']} {part['replicas']} × {part['cores']:g} on {part['machine']}"
        + (f" ({part['share_ratio']:.0%})" if part["share_ratio"] < 1.0 else "")
        for part in plan["operators"]
    )
    figures = (amount(plan["latency_ms"]), amount(plan["accuracy"]), amount(plan["cost_per_h"]))
    return (where, knobs_text(plan["configuration"] or {}), *figures, rival["reason"], rival["wins_if"])


__all__ = ["details_table", "measured_text", "rivals_table"]
