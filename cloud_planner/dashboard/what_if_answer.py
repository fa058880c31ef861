"""The answer to a what-if as a page shows it: in one sentence, in figures, what binds, what changes. PURE."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from circinus.model.pipeline import Configuration
from circinus.model.plan import Certainty, OperatorPlan, Plan
from circinus.model.plan_diff import Change, PlanDiff, QueryDiff
from cloud_planner.trials import Tried

#: Rows that a page shows; of the rest it says how many there are.
MOST_ROWS = 40
_MOST_TOLD = 8
#: A bound with less room than this, relatively, binds.
_NO_CHANGE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A figure before and after. ``better``: whether it got better; None: as it was, or neither."""

    label: str
    before: float
    after: float
    kind: str
    better: bool | None = None

    @property
    def change(self) -> float:
        """After less before; 0 where they differ by rounding only."""
        change = self.after - self.before
        return 0.0 if abs(change) <= _NO_CHANGE * max(abs(self.before), abs(self.after), 1.0) else change


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An operator of a plan on one device."""

    operator_id: str
    device_id: str
    replicas: int
    cores: float
    share_ratio: float
    batch: int
    service_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanShown:
    """A plan in figures. ``provisional``: it rests on beliefs."""

    parts: tuple[Part, ...]
    knobs: tuple[tuple[str, str], ...]
    latency_ms: tuple[float, float, float]
    accuracy_ratio: tuple[float, float, float]
    cost_per_h: float
    slo_probability_ratio: float
    item_goodput_per_s: float
    provisional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A bound of the query's SLO: how far the plan stays from it, and what it would save to give way."""

    text: str
    value: float
    slack: float
    tight: bool
    cheaper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """A query of which something changes."""

    query_id: str
    change: str
    before: str
    after: str
    cost_before_per_h: float
    cost_after_per_h: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device on which something changes."""

    device_id: str
    start: int
    stop: int
    keep: int
    cores_before: float
    cores_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All of an answer. ``change`` is the query's own; ``why`` why it has its plan, or none."""

    query_id: str
    told: tuple[str, ...]
    told_more: int
    placed: bool
    headline: str
    why: str
    exact: bool
    before: PlanShown | None
    after: PlanShown | None
    steps: tuple[Step, ...]
    bounds: tuple[Bound, ...]
    binding: tuple[str, ...]
    relaxations: tuple[str, ...]
    together: tuple[str, ...]
    displaces: tuple[str, ...]
    changes: tuple[ChangeRow, ...]
    changes_more: int
    unchanged: int
    devices: tuple[DeviceRow, ...]
    devices_more: int
    solver: str


def answer_of(tried: Tried, query_id: str, plan_now: Plan | None) -> Answer:
    """An answer. ``plan_now``: the query's plan before, which a diff does not carry if it stays."""
    diff, explained = tried.diff, tried.explained
    mine = next((each for each in diff.queries if each.query_id == query_id), None)
    before, after = _plans(mine, plan_now)
    conflict: Mapping[str, Any] = explained.get("conflict") or {}
    changes = [each for each in diff.changes if each.query_id != query_id]
    changed = [each for each in diff.devices if each.start or each.stop]
    bounds = tuple(_bound(each) for each in explained.get("margins", ()))
    told = {bound.cheaper for bound in bounds}
    return Answer(
        query_id=query_id,
        told=tried.told[:_MOST_TOLD],
        told_more=max(0, len(tried.told) - _MOST_TOLD),
        placed=after is not None,
        headline=_headline(mine, before, after),
        why=str(explained.get("why", "")) or (mine.reason if mine is not None else ""),
        exact=bool(explained.get("exact", True)),
        before=shown(before) if before is not None else None,
        after=shown(after) if after is not None else None,
        steps=_steps(diff),
        bounds=bounds,
        binding=tuple(text for text in _binding(explained) if text not in told),
        relaxations=tuple(each["text"] for each in conflict.get("relaxations", ())),
        together=tuple(each["text"] for each in conflict.get("together", ())),
        displaces=tuple(str(each) for each in conflict.get("displaces", ())),
        changes=tuple(_row(each) for each in changes[:MOST_ROWS]),
        changes_more=max(0, len(changes) - MOST_ROWS),
        unchanged=sum(each.change is Change.UNCHANGED for each in diff.queries),
        devices=tuple(
            DeviceRow(
                device_id=each.device_id,
                start=each.start,
                stop=each.stop,
                keep=each.keep,
                cores_before=each.cores_before,
                cores_after=each.cores_after,
            )
            for each in changed[:MOST_ROWS]
        ),
        devices_more=max(0, len(changed) - MOST_ROWS),
        solver=diff.after.solver_status,
    )


def _plans(mine: QueryDiff | None, plan_now: Plan | None) -> tuple[Plan | None, Plan | None]:
    """The query's plans before and after. A diff has none of a query that stays as it is, with or without."""
    if mine is None:
        return plan_now, plan_now
    if mine.change is Change.UNCHANGED:
        same = mine.after or mine.before or plan_now
        return same, same
    return mine.before, mine.after


def _headline(mine: QueryDiff | None, before: Plan | None, after: Plan | None) -> str:
    if after is None:
        return "It would lose its plan" if before is not None else "It would have no plan"
    if before is None:
        return "It would get a plan"
    change = mine.change if mine is not None else Change.UNCHANGED
    return {
        Change.MOVED: "Its plan would move",
        Change.RECONFIGURED: "It would run in another configuration",
        Change.RESIZED: "Its plan would have another size",
    }.get(change, "Its plan would stay as it is")


def _steps(diff: PlanDiff) -> tuple[Step, ...]:
    before, after = diff.before, diff.after
    rows = [
        ("Goodput", before.goodput_per_s, after.goodput_per_s, "rate", 1),
        ("of at most", before.goodput_bound_per_s, after.goodput_bound_per_s, "rate", 0),
        ("Provisional", before.provisional_per_s, after.provisional_per_s, "rate", 0),
        ("Cost per hour", before.cost_per_h, after.cost_per_h, "money", -1),
        ("Queries with a plan", float(before.plans), float(after.plans), "count", 1),
        ("Queries without", float(before.unplaced), float(after.unplaced), "count", -1),
    ]
    found = []
    for label, old, new, kind, sign in rows:
        if label == "Provisional" and not old and not new:
            continue
        step = Step(label=label, before=old, after=new, kind=kind)
        better = None if not step.change or not sign else (step.change > 0.0) == (sign > 0)
        found.append(Step(label=label, before=old, after=new, kind=kind, better=better))
    return tuple(found)


def _bound(margin: Mapping[str, Any]) -> Bound:
    cheaper = margin.get("cheaper_at")
    text = ""
    if cheaper is not None:
        saves = margin.get("saves_per_h")
        text = cheaper["text"] + (f" saves {saves:.3g} per hour" if saves is not None else "")
    return Bound(
        text=margin["limit"]["text"],
        value=float(margin["value"]),
        slack=float(margin["slack"]),
        tight=bool(margin["tight"]),
        cheaper=text,
    )


def _binding(explained: Mapping[str, Any]) -> tuple[str, ...]:
    """What alone keeps a cheaper plan out, or together any plan."""
    conflict = explained.get("conflict")
    if conflict:
        return tuple(each["text"] for each in conflict["limits"])
    return tuple(
        f"{each['relaxation']['text']} saves {each['saves_per_h']:.3g} per hour"
        for each in explained.get("binding", ())
    )


def shown(plan: Plan) -> PlanShown:
    """A plan in figures."""
    return PlanShown(
        parts=tuple(_part(part) for part in plan.operators),
        knobs=knobs_of(plan.configuration),
        latency_ms=(plan.latency_ms.value, plan.latency_ms.low, plan.latency_ms.high),
        accuracy_ratio=(plan.accuracy_ratio.value, plan.accuracy_ratio.low, plan.accuracy_ratio.high),
        cost_per_h=plan.cost_per_h,
        slo_probability_ratio=plan.slo_probability_ratio,
        item_goodput_per_s=plan.item_goodput_per_s,
        provisional=plan.certainty is Certainty.PROVISIONAL,
    )


def knobs_of(configuration: Configuration) -> tuple[tuple[str, str], ...]:
    """Knobs and their values as texts, in order."""
    return tuple(
        (name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in configuration.items()
    )


def _part(part: OperatorPlan) -> Part:
    return Part(
        operator_id=part.operator_id,
        device_id=part.device_id,
        replicas=part.replicas,
        cores=part.cores,
        share_ratio=part.share_ratio,
        batch=part.batch,
        service_ms=part.service_ms,
    )


def _row(each: QueryDiff) -> ChangeRow:
    change = each.change.value
    before, after = _knobs(each.before), _knobs(each.after)
    differing: set[str] = set()
    if each.before is not None and each.after is not None:
        differing = {name for name, _ in set(before) ^ set(after)}
    if each.change is Change.MOVED and differing:
        change += ", reconfigured"
    sizes = each.change is Change.RESIZED
    return ChangeRow(
        query_id=each.query_id,
        change=change,
        before=_where(each.before, differing, sizes=sizes),
        after=_where(each.after, differing, sizes=sizes),
        cost_before_per_h=each.cost_before_per_h,
        cost_after_per_h=each.cost_after_per_h,
        reason=each.reason,
    )


def _knobs(plan: Plan | None) -> tuple[tuple[str, str], ...]:
    return knobs_of(plan.configuration) if plan is not None else ()


def _where(plan: Plan | None, differing: Collection[str], *, sizes: bool) -> str:
    """Where a plan's operators run, and those of its knobs that are not the same before and after."""
    if plan is None:
        return ""
    places = ", ".join(_place(part, sizes=sizes) for part in plan.operators)
    knobs = " ".join(f"{name}={value}" for name, value in _knobs(plan) if name in differing)
    return f"{places}; {knobs}" if knobs else places


def _place(part: OperatorPlan, *, sizes: bool) -> str:
    share = f" ({part.share_ratio:.0%})" if part.share_ratio < 1.0 else ""
    size = f" {part.replicas} × {part.cores:g}" if sizes else ""
    return f"{part.operator_id}{size} on {part.device_id}{share}"
