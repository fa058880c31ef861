"""Generations one after the other: what changed, why, and what one differs from another in. PURE.

With thousands of queries most plans stay as they are from one generation to the next. Only the others are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.pipeline import knobs_text
from circinus.model.plan import Plan, share_text
from circinus.model.plan_diff import Change, PlanDiff, QueryDiff
from circinus.v1 import planner_pb2
from cloud_planner.core.diff import diff
from cloud_planner.store import EventRecord

#: The event of a generation that is only a step.
STEP = "query_pauses"
#: Events between two generations that are told one by one.
_TOLD = 3
#: In the order in which they are told; what is not here is no reason to plan anew.
_CAUSES: Mapping[str, tuple[str, str]] = {
    STEP: ("query", "a step towards the next plan, in which {} pauses"),
    "query_submitted": ("query", "{} submitted"),
    "query_removed": ("query", "{} removed"),
    "drift_found": ("what", "drift: {}"),
    "device_excluded": ("device", "{} could not carry out its directive"),
    "device_kept": ("device", "{} kept from new work, or free again"),
    "device_labelled": ("device", "labels of {}"),
    "device_left": ("device", "{} left for good"),
    "agent_left": ("device", "{} went out of sight"),
    "agent_connected": ("device", "{} came"),
    "pipeline_added": ("pipeline", "pipeline {} added"),
    "generation_stuck": ("", "a generation was stuck"),
}
#: Where nothing else happened: what is not an event of its own.
NO_EVENT = "something was measured, or a better selection was found"
LAST_STEP = "the last step of the change before"
_STEP_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A generation in figures."""

    plans: int
    unplaced: int
    waiting: int
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str
    solver_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChange:
    """What changes on a device: replicas that start and stop, cores in use, cost."""

    device_id: DeviceId
    start: int
    stop: int
    cores_before: float
    cores_after: float
    cost_before_per_h: float
    cost_after_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one generation differs from another in. ``queries``: those that change; ``same``: how many don't."""

    before: Figures
    after: Figures
    queries: tuple[QueryDiff, ...]
    devices: tuple[DeviceChange, ...]
    same: int

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many queries changed in which way, the most drastic first."""
        found = Counter(one.change for one in self.queries)
        return tuple((change.value, found[change]) for change in Change if found[change])

    @property
    def text(self) -> str:
        """The same in words."""
        return ", ".join(f"{count:,} {change}" for change, count in self.counts) or "no query changed"


def figures_of(summary: planner_pb2.SelectionSummary) -> Figures:
    """A selection in figures."""
    return Figures(
        plans=len(summary.plans),
        unplaced=len(summary.unplaced),
        waiting=len(summary.pending),
        goodput_per_s=summary.goodput_per_s,
        goodput_bound_per_s=summary.goodput_bound_per_s,
        gap_ratio=summary.gap_ratio,
        cost_per_h=summary.cost_per_h,
        cost_bound_per_h=summary.cost_bound_per_h,
        cost_gap_ratio=summary.cost_gap_ratio,
        solver_status=summary.solver_status,
        solver_s=summary.solver_s,
    )


def changes_of(before: planner_pb2.SelectionSummary, after: planner_pb2.SelectionSummary) -> Changes:
    """What changes from one selection to the other: linear in their size, but plans that stay are only compared."""
    old = {plan.query_id: plan for plan in before.plans}
    new = {plan.query_id: plan for plan in after.plans}
    moved = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    found = diff(
        wire.selection_from_message(_of(before, moved)),
        wire.selection_from_message(_of(after, moved)),
    )
    changed = tuple(_told(one, after) for one in found.changes)
    return Changes(
        before=figures_of(before),
        after=figures_of(after),
        queries=changed,
        devices=_devices(found, before, after),
        same=len(old.keys() | new.keys()) - len(changed),
    )


def _of(summary: planner_pb2.SelectionSummary, queries: set[str]) -> planner_pb2.SelectionSummary:
    return planner_pb2.SelectionSummary(plans=[plan for plan in summary.plans if plan.query_id in queries])


def _told(query: QueryDiff, after: planner_pb2.SelectionSummary) -> QueryDiff:
    if query.change is not Change.UNPLACED:
        return query
    waits = (*after.unplaced, *after.pending)
    return replace(query, reason=next((one.reason for one in waits if one.query_id == query.query_id), query.reason))


def _devices(
    found: PlanDiff, before: planner_pb2.SelectionSummary, after: planner_pb2.SelectionSummary
) -> tuple[DeviceChange, ...]:
    old = {use.device_id: use for use in before.machines}
    new = {use.device_id: use for use in after.machines}
    nothing = planner_pb2.MachineUse()
    changes = []
    for device in found.devices:
        was, is_ = old.get(device.device_id, nothing), new.get(device.device_id, nothing)
        costs = abs(was.cost_per_h - is_.cost_per_h) > 1e-9 * max(was.cost_per_h, is_.cost_per_h)
        if device.start or device.stop or costs:
            changes.append(
                DeviceChange(
                    device_id=device.device_id,
                    start=device.start,
                    stop=device.stop,
                    cores_before=was.cores,
                    cores_after=is_.cores,
                    cost_before_per_h=was.cost_per_h,
                    cost_after_per_h=is_.cost_per_h,
                )
            )
    return tuple(changes)


def cause_of(events: Sequence[EventRecord], after: datetime | None, until: datetime) -> str:
    """Why a generation was made, by what happened since the one before it (``after``; None: it is the first)."""
    since = [one for one in events if one.at <= until and (after is None or one.at > after)]
    told: list[str] = []
    for name, (key, text) in _CAUSES.items():
        named = list(dict.fromkeys(one.fields.get(key, "") for one in since if one.name == name))
        if not named:
            continue
        shown = ", ".join(named[:_TOLD]) + (f" and {len(named) - _TOLD:,} more" if len(named) > _TOLD else "")
        told.append(text.format(shown))
    if told:
        return "; ".join(told)
    # A step is made within moments of what it is told by.
    stepped = after is not None and any(one.name == STEP and after - _STEP_WITHIN < one.at <= after for one in events)
    return LAST_STEP if stepped else NO_EVENT


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """One line of a plan beside another: an operator on a device, in it or not."""

    operator: str
    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether nothing changes here."""
        return self.before == self.after


def plan_parts(query: QueryDiff) -> tuple[PlanPart, ...]:
    """A query's plans side by side, operator by operator."""
    old, new = _parts(query.before), _parts(query.after)
    return tuple(
        PlanPart(operator=name, before=old.get(name, ""), after=new.get(name, ""))
        for name in dict.fromkeys((*old, *new))
    )


def _parts(plan: Plan | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if plan is None:
        return found
    for part in plan.operators:
        text = f"{part.device_id}: {share_text(part)}"
        found[part.operator_id] = f"{found[part.operator_id]}; {text}" if part.operator_id in found else text
    if plan.configuration:
        found["knobs"] = knobs_text(plan.configuration)
    return found


__all__ = [
    "LAST_STEP",
    "NO_EVENT",
    "STEP",
    "Changes",
    "DeviceChange",
    "Figures",
    "PlanPart",
    "cause_of",
    "changes_of",
    "figures_of",
    "plan_parts",
]
