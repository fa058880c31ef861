"""Two selections -> what changes between them. PURE.

Replicas are told apart by what their processes are told (directives.py): those of an operator whose knobs, replicas,
cores, memory and batch stay the same on a device are kept; all others stop or start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping

from circinus.model.device import DeviceId
from circinus.model.pipeline import knobs_of
from circinus.model.plan import OperatorPlan, Plan, Selection
from circinus.model.plan_diff import Change, DeviceDiff, Figures, PlanDiff, QueryDiff
from circinus.model.query import QueryId

#: Shares that differ by less are the same.
_SHARE_DIGITS = 9


def diff(before: Selection, after: Selection) -> PlanDiff:
    """What changes from one selection to the other; linear in their size."""
    old = {plan.query_id: plan for plan in before.plans}
    new = {plan.query_id: plan for plan in after.plans}
    reasons = {entry.query_id: entry.reason for entry in after.unplaced}
    names = sorted({*old, *new, *reasons, *(entry.query_id for entry in before.unplaced)})
    return PlanDiff(
        before=figures(before),
        after=figures(after),
        queries=tuple(_query(name, old.get(name), new.get(name), reasons) for name in names),
        devices=_devices(before, after),
    )


def figures(selection: Selection) -> Figures:
    """A selection in figures."""
    return Figures(
        plans=len(selection.plans),
        unplaced=len(selection.unplaced),
        goodput_per_s=selection.goodput_per_s,
        goodput_bound_per_s=selection.goodput_bound_per_s,
        gap_ratio=selection.gap_ratio,
        provisional_per_s=selection.provisional_per_s,
        cost_per_h=selection.cost_per_h,
        cost_bound_per_h=selection.cost_bound_per_h,
        cost_gap_ratio=selection.cost_gap_ratio,
        solver_status=selection.solver_status,
    )


def _query(name: QueryId, old: Plan | None, new: Plan | None, reasons: Mapping[QueryId, str]) -> QueryDiff:
    change = _change(old, new)
    same = change in (Change.UNCHANGED, Change.WAITING)
    return QueryDiff(
        query_id=name,
        change=change,
        before=None if same else old,
        after=None if same else new,
        cost_before_per_h=old.cost_per_h if old is not None else 0.0,
        cost_after_per_h=new.cost_per_h if new is not None else 0.0,
        reason="" if new is not None else reasons.get(name, "it is no longer asked for"),
    )


def _change(old: Plan | None, new: Plan | None) -> Change:
    if old is None or new is None:
        if new is not None:
            return Change.PLACED
        return Change.WAITING if old is None else Change.UNPLACED
    if _where(old) != _where(new):
        return Change.MOVED
    if dict(old.configuration) != dict(new.configuration):
        return Change.RECONFIGURED
    return Change.UNCHANGED if _sizes(old) == _sizes(new) else Change.RESIZED


def _where(plan: Plan) -> set[tuple[str, str]]:
    return {(operator.operator_id, operator.device_id) for operator in plan.operators}


def _sizes(plan: Plan) -> Counter[Hashable]:
    return Counter(
        (*_process(plan, operator), operator.device_id, round(operator.share_ratio, _SHARE_DIGITS))
        for operator in plan.operators
    )


def _process(plan: Plan, operator: OperatorPlan) -> tuple[Hashable, ...]:
    """What a replica's process is told, but for its device."""
    return (
        plan.query_id,
        operator.operator_id,
        tuple(sorted(knobs_of(plan.configuration, operator.operator_id).items())),
        operator.replicas,
        operator.cores,
        operator.accelerator_slots,
        operator.accelerator_memory_bytes,
        operator.memory_bytes,
        operator.batch,
    )


def _devices(before: Selection, after: Selection) -> tuple[DeviceDiff, ...]:
    old, new = _replicas(before), _replicas(after)
    uses_before = {use.device_id: use for use in before.machines}
    uses_after = {use.device_id: use for use in after.machines}
    cores_before, cores_after = _cores(before), _cores(after)
    found = []
    for name in sorted({*old, *new, *uses_before, *uses_after}):
        ran, runs = old.get(name, Counter()), new.get(name, Counter())
        keep = sum((ran & runs).values())
        found.append(
            DeviceDiff(
                device_id=name,
                start=sum(runs.values()) - keep,
                stop=sum(ran.values()) - keep,
                keep=keep,
                cores_before=cores_before.get(name, 0.0),
                cores_after=cores_after.get(name, 0.0),
                cost_before_per_h=uses_before[name].cost_per_h if name in uses_before else 0.0,
                cost_after_per_h=uses_after[name].cost_per_h if name in uses_after else 0.0,
            )
        )
    return tuple(found)


def _replicas(selection: Selection) -> dict[DeviceId, Counter[Hashable]]:
    found: dict[DeviceId, Counter[Hashable]] = {}
    for plan in selection.plans:
        for operator in plan.operators:
            found.setdefault(operator.device_id, Counter())[_process(plan, operator)] += operator.replicas
    return found


def _cores(selection: Selection) -> dict[DeviceId, float]:
    found: dict[DeviceId, float] = {}
    for plan in selection.plans:
        for operator in plan.operators:
            taken = operator.cores * operator.replicas
            found[operator.device_id] = found.get(operator.device_id, 0.0) + taken
    return found
