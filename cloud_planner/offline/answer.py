"""A selection as the document that is printed; see schema/selection.schema.json. PURE.

The same selection gives the same bytes: keys are sorted, numbers rounded to nine significant digits (sums of
floats differ in the last ones between machines), and nothing of clocks or paths stands in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import yaml

from circinus.model.plan import Interval, OperatorPlan, Plan, Selection
from cloud_planner.core.problem import QueryProblem
from cloud_planner.offline.assemble import Assembly

VERSION = 1
_DIGITS = 9
#: Below this a figure is what is left of rounding.
_NOTHING = 1e-12

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def number(value: float | None) -> float | None:
    """A figure as it is printed: rounded; None where there is none or it isn't finite."""
    if value is None or not math.isfinite(value):
        return None
    if abs(value) < _NOTHING:
        return 0.0
    return float(f"{value:.{_DIGITS}g}")


def document(selection: Selection, assembly: Assembly) -> dict[str, Json]:
    """The selection as plain values."""
    queries = {query.id: query for query in assembly.problem.queries}
    plans = sorted(selection.plans, key=lambda plan: plan.query_id)
    return {
        "version": VERSION,
        "objective": assembly.problem.objective.value,
        "plans": [_plan(plan, queries[plan.query_id], assembly) for plan in plans],
        "unplaced": [
            {"query": entry.query_id, "reason": entry.reason}
            for entry in sorted(selection.unplaced, key=lambda entry: entry.query_id)
        ],
        "machines": [
            {
                "machine": use.device_id,
                "machines": use.machines,
                "cores": number(use.cores),
                "cost_per_h": number(use.cost_per_h),
            }
            for use in sorted(selection.machines, key=lambda use: use.device_id)
        ],
        "traffic_cost_per_h": number(selection.traffic_cost_per_h),
        "goodput_per_s": number(selection.goodput_per_s),
        "goodput_bound_per_s": number(selection.goodput_bound_per_s),
        "gap_ratio": number(selection.gap_ratio),
        "cost_per_h": number(selection.cost_per_h),
        "cost_bound_per_h": number(selection.cost_bound_per_h),
        "cost_gap_ratio": number(selection.cost_gap_ratio),
        "solver_status": selection.solver_status,
    }


def _plan(plan: Plan, query: QueryProblem, assembly: Assembly) -> dict[str, Json]:
    has_accuracy = assembly.has_accuracy[plan.query_id]
    order = (
        {step.operator_id: place for place, step in enumerate(query.candidates[0].steps)} if query.candidates else {}
    )
    operators = sorted(
        plan.operators,
        key=lambda part: (
            order.get(part.operator_id, 0),
            part.device_id,
            part.cores,
            part.batch,
            part.accelerator_slots,
        ),
    )
    return {
        "query": plan.query_id,
        "rate_per_s": number(query.rate_per_s),
        "weight": number(query.weight),
        "configuration": {name: _knob(value) for name, value in plan.configuration.items()},
        "operators": [_operator(part) for part in operators],
        "latency_ms": _interval(plan.latency_ms),
        "latency_percentile": number(query.slo.percentile_ratio),
        "latency_p50_ms": number(plan.latency_p50_ms),
        "accuracy": _interval(plan.accuracy_ratio) if has_accuracy else None,
        "cost_per_h": number(plan.cost_per_h),
        "billed_per_h": number(plan.billed_per_h),
        "slo_probability_ratio": number(plan.slo_probability_ratio),
        "item_goodput_per_s": number(plan.item_goodput_per_s) if assembly.is_ratio[plan.query_id] else None,
        "runner_up": plan.runner_up,
        "runner_up_cost_per_h": number(plan.runner_up_cost_per_h),
    }


def _knob(value: str | int | float | bool) -> Json:
    return number(value) if isinstance(value, float) else value


def _interval(interval: Interval) -> dict[str, Json]:
    return {"value": number(interval.value), "low": number(interval.low), "high": number(interval.high)}


def _operator(part: OperatorPlan) -> dict[str, Json]:
    return {
        "operator": part.operator_id,
        "machine": part.device_id,
        "replicas": part.replicas,
        "share_ratio": number(part.share_ratio),
        "cores": number(part.cores),
        "batch": part.batch,
        "memory_mb": number(part.memory_bytes / 1e6),
        "accelerator_slots": part.accelerator_slots,
        "accelerator_memory_mb": number(part.accelerator_memory_bytes / 1e6),
        "service_ms": number(part.service_ms),
    }


def to_json(value: Json) -> str:
    """Canonical JSON: sorted keys, two spaces, a newline at the end."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_yaml(value: Json) -> str:
    """The same values as YAML."""
    return str(yaml.safe_dump(json.loads(to_json(value)), sort_keys=True, allow_unicode=True))
