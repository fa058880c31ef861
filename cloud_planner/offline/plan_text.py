"""A selection for people: where each operator runs, what its time and its money are, what was not chosen. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from circinus.model.pipeline import knobs_of
from circinus.model.plan import Certainty, Interval, OperatorPlan, Plan, Selection, per_1000_items
from circinus.model.query import QueryId
from cloud_planner.core.estimate import Z95
from cloud_planner.core.plan_figures import OperatorFigures, plan_figures
from cloud_planner.core.problem import QueryProblem
from cloud_planner.core.promises import Z90
from cloud_planner.offline.assemble import Assembly

_COLUMNS = ("QUERY / OPERATOR", "WHERE", "KNOBS", "SHARE", "p95 ms (90%)", "ACCURACY", "COST/h", "PER 1,000", "P(SLO)")
_RIVALS = ("NOT CHOSEN", "", "WHERE", "KNOBS", "LATENCY ms", "ACCURACY", "COST/h", "LOST SINCE", "WINS IF")
#: Narrower intervals are what rounding leaves.
_LEAST_RATIO = 0.005


def plan_text(
    selection: Selection, assembly: Assembly, explained: Mapping[QueryId, Mapping[str, Any]] | None = None
) -> str:
    """The selection as a table. ``explained``: of some queries, the document of docs/explain.md.

    Percentiles hold with 90%: an operator's is of its service alone, that of a query has waits and ways in it.
    """
    told = explained or {}
    queries = {query.id: query for query in assembly.problem.queries}
    plans = sorted(selection.plans, key=lambda plan: plan.query_id)
    rows: list[tuple[str, ...]] = [(*_COLUMNS, "WHY")]
    for plan in plans:
        rows += _plan_rows(plan, queries[plan.query_id], assembly, told.get(plan.query_id))
    lines = _columns(rows)
    if rivals := [row for plan in plans if plan.query_id in told for row in _rivals(told[plan.query_id])]:
        lines += ["", *_columns([_RIVALS, *rivals]), ""]
    lines += [f"unplaced: {entry.query_id}: {entry.reason}" for entry in selection.unplaced]
    machines = ", ".join(f"{use.machines} x {use.device_id} ({use.cost_per_h:.4g}/h)" for use in selection.machines)
    items_per_s = sum(queries[plan.query_id].rate_per_s for plan in plans)
    money = f", {selection.cost_per_h / items_per_s / 3.6:.4g} per 1,000 items" if items_per_s else ""
    return "\n".join(
        [
            *lines,
            "times: as the tables have them; how old they are is not told there",
            f"machines: {machines or 'none'}",
            f"goodput: {selection.goodput_per_s:.6g}/s of at most {selection.goodput_bound_per_s:.6g}/s "
            f"(gap {selection.gap_ratio:.2%})",
            f"cost: {selection.cost_per_h:.6g}/h{money}, traffic {selection.traffic_cost_per_h:.6g}/h of it; "
            f"at least {selection.cost_bound_per_h:.6g}/h (gap {selection.cost_gap_ratio:.2%})",
            f"solver: {selection.solver_status}",
            "",
        ]
    )


def _plan_rows(
    plan: Plan, query: QueryProblem, assembly: Assembly, explained: Mapping[str, Any] | None
) -> list[tuple[str, ...]]:
    narrower = Z90 / Z95
    latency = Interval(
        value=plan.latency_ms.value,
        low=plan.latency_ms.value - (plan.latency_ms.value - plan.latency_ms.low) * narrower,
        high=plan.latency_ms.value + (plan.latency_ms.high - plan.latency_ms.value) * narrower,
    )
    sure = f"{plan.slo_probability_ratio:.3f}" + ("" if plan.certainty is Certainty.CERTIFIED else "?")
    rows: list[tuple[str, ...]] = [
        (
            plan.query_id,
            "",
            "",
            "",
            f"p{query.slo.percentile_ratio * 100:g} {_interval(latency)}",
            f"{plan.accuracy_ratio.value:.4g}" if assembly.has_accuracy[plan.query_id] else "-",
            f"{plan.cost_per_h:.4g}",
            _per_thousand(plan.cost_per_h, query.rate_per_s),
            sure,
            explained["why"] if explained is not None else _why(plan),
        )
    ]
    figures = plan_figures(assembly.problem, plan)
    for part in plan.operators:
        found = figures.operator(part) if figures is not None else None
        rows.append(_operator_row(plan, part, found, query.rate_per_s))
    return rows


def _operator_row(plan: Plan, part: OperatorPlan, found: OperatorFigures | None, rate_per_s: float) -> tuple[str, ...]:
    share = f"{part.replicas} x {part.cores:g} cores"
    if part.accelerator_slots:
        share += f" + {part.accelerator_slots} accelerator"
    if part.batch > 1:
        share += f", batch {part.batch}"
    if part.share_ratio < 1.0:
        share += f", {part.share_ratio:.0%} of items"
    return (
        f"  {part.operator_id}",
        part.device_id,
        " ".join(f"{name}={value}" for name, value in knobs_of(plan.configuration, part.operator_id).items()),
        share,
        _interval(found.service_p95_ms) if found is not None else "-",
        "",
        f"{found.cost_per_h:.4g}" if found is not None else "-",
        _per_thousand(found.cost_per_h, rate_per_s) if found is not None else "-",
        "",
        "",
    )


def _why(plan: Plan) -> str:
    if not plan.runner_up:
        return "no other placement meets its SLO"
    cost = f" at {plan.runner_up_cost_per_h:.4g}/h" if plan.runner_up_cost_per_h is not None else ""
    return f"next best is {plan.runner_up}{cost}"


def _rivals(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for number, rival in enumerate(document["rivals"], start=1):
        plan = rival["plan"]
        where = ", ".join(
            f"{part['operator']} {part['replicas']} x {part['cores']:g} cores on {part['machine']}"
            for part in plan["operators"]
        )
        knobs = " ".join(f"{name}={value}" for name, value in plan["configuration"].items())
        figures = tuple(map(_short, (plan["latency_ms"], plan["accuracy"], plan["cost_per_h"])))
        name = document["query"] if number == 1 else ""
        rows.append((name, str(number), where, knobs, *figures, rival["reason"], rival["wins_if"]))
    return rows


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4g}"


def _per_thousand(cost_per_h: float, rate_per_s: float) -> str:
    found = per_1000_items(cost_per_h, rate_per_s)
    return "-" if found is None else f"{found:.3g}"


def _interval(interval: Interval) -> str:
    value = f"{interval.value:.4g}"
    wide = interval.high - interval.low > 2.0 * _LEAST_RATIO * max(interval.value, 1e-9)
    return f"{value} ({interval.low:.3g} to {interval.high:.3g})" if wide else value


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


__all__ = ["plan_text"]
