"""An explanation as the document that is printed and that the service sends; docs/explain.md says its keys. PURE.

Numbers are as in answers of planning (answer.py). People see the document as circinus/cli/explain_table.py writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from circinus.model.plan import Plan, Selection
from cloud_planner.core.explain import Binding, Explanation, Margin
from cloud_planner.core.explain_rivals import Rival
from cloud_planner.core.marginal import MarginalValue
from cloud_planner.core.problem import Problem
from cloud_planner.core.relax import Conflict
from cloud_planner.core.relax_limits import RULES, Limit, Relaxation
from cloud_planner.offline.answer import Json, number

VERSION = 1


def explanation_document(explanation: Explanation, *, has_accuracy: bool = True) -> dict[str, Json]:
    """An explanation as plain values. ``has_accuracy``: whether the query's pipeline has accuracies at all."""
    plan = explanation.plan
    return {
        "version": VERSION,
        "query": explanation.query_id,
        "placed": plan is not None,
        "why": explanation.why,
        "exact": explanation.exact,
        "plan": None if plan is None else _plan(plan, has_accuracy=has_accuracy),
        "margins": [_margin(margin) for margin in explanation.margins],
        "binding": [_binding(each) for each in explanation.binding],
        "rivals": [_rival(rival, has_accuracy=has_accuracy) for rival in explanation.rivals],
        "conflict": None if explanation.conflict is None else _conflict(explanation.conflict),
    }


def _plan(plan: Plan, *, has_accuracy: bool) -> dict[str, Json]:
    return {
        "configuration": {
            name: number(value) if isinstance(value, float) else value for name, value in plan.configuration.items()
        },
        "operators": [
            {
                "operator": part.operator_id,
                "machine": part.device_id,
                "replicas": part.replicas,
                "cores": number(part.cores),
                "batch": part.batch,
                "share_ratio": number(part.share_ratio),
            }
            for part in plan.operators
        ],
        "latency_ms": number(plan.latency_ms.value),
        "accuracy": number(plan.accuracy_ratio.value) if has_accuracy else None,
        "cost_per_h": number(plan.cost_per_h),
    }


def _limit(limit: Limit) -> dict[str, Json]:
    return {
        "kind": limit.kind.value,
        "subject": list(limit.subject),
        "bound": None if limit.kind in RULES else number(limit.bound),
        "text": limit.text,
    }


def _relaxation(relaxation: Relaxation) -> dict[str, Json]:
    return {
        "limit": _limit(relaxation.limit),
        "bound": number(relaxation.bound),
        "amount": number(relaxation.amount),
        "text": relaxation.text,
        "exact": relaxation.exact,
    }


def _margin(margin: Margin) -> dict[str, Json]:
    return {
        "limit": _limit(margin.limit),
        "value": number(margin.value),
        "slack": number(margin.slack),
        "tight": margin.tight,
        "cheaper_at": None if margin.cheaper_at is None else _relaxation(margin.cheaper_at),
        "saves_per_h": number(margin.saves_per_h),
    }


def _binding(binding: Binding) -> dict[str, Json]:
    return {"relaxation": _relaxation(binding.relaxation), "saves_per_h": number(binding.saves_per_h)}


def _rival(rival: Rival, *, has_accuracy: bool) -> dict[str, Json]:
    return {
        "plan": _plan(rival.plan, has_accuracy=has_accuracy),
        "adds_per_h": number(rival.adds_per_h),
        "reason": rival.reason,
        "wins_if": rival.wins_if,
        "change_ratio": number(rival.change_ratio),
        "relaxation": None if rival.relaxation is None else _relaxation(rival.relaxation),
    }


def _conflict(conflict: Conflict) -> dict[str, Json]:
    return {
        "reason": conflict.reason,
        "limits": [_limit(limit) for limit in conflict.limits],
        "relaxations": [_relaxation(each) for each in conflict.relaxations],
        "together": [_relaxation(each) for each in conflict.together],
        "alone": conflict.alone,
        "displaces": list(conflict.displaces),
        "exact": conflict.exact,
    }


def fleet_document(
    problem: Problem, selection: Selection, explanations: Iterable[Explanation], values: Iterable[MarginalValue] = ()
) -> dict[str, Json]:
    """What binds in the fleet: full machines, why queries have no plan, what one unit more of something is worth.

    Args:
        problem: The problem.
        selection: Its selection.
        explanations: Of queries that have no plan, as many as were looked at.
        values: Marginal values, the largest first.
    """
    return {
        "version": VERSION,
        "goodput_per_s": number(selection.goodput_per_s),
        "goodput_bound_per_s": number(selection.goodput_bound_per_s),
        "placed": len(selection.plans),
        "unplaced": len(selection.unplaced),
        "machines": [{"machine": name, "used_ratio": number(used)} for name, used in _used(problem, selection)],
        "conflicts": [
            {
                "query": each.query_id,
                "reason": each.why,
                "limits": [limit.text for limit in each.conflict.limits],
                "relaxations": [move.text for move in each.conflict.relaxations],
                "together": [move.text for move in each.conflict.together],
            }
            for each in explanations
            if each.conflict is not None
        ],
        "marginal_values": [_value(value) for value in values],
    }


def _value(value: MarginalValue) -> dict[str, Json]:
    return {
        "kind": value.kind.value,
        "subject": value.subject,
        "device_class": value.device_class,
        "site": value.site,
        "value": number(value.value),
        "basis": value.basis.value,
        "degenerate": value.degenerate,
        "what": value.what,
        "worth": value.worth,
    }


def _used(problem: Problem, selection: Selection) -> list[tuple[str, float]]:
    """Machines with a count and the part of their cores that is in use, the fullest first."""
    there = {
        machine.id: machine.cores * machine.count
        for machine in problem.machines
        if machine.count and machine.cores > 0.0
    }
    used = [(use.device_id, use.cores / there[use.device_id]) for use in selection.machines if use.device_id in there]
    return sorted(used, key=lambda each: (-each[1], each[0]))
