"""A plan as people read it: a row for each operator, the whole end to end, and what was not chosen. PURE.

The figures are those of the plan, of the problem that it solves (core/plan_figures.py) and of the document that
`circinus explain` prints (docs/explain.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circinus.model.device import DeviceClass, DeviceId
from circinus.model.pipeline import OperatorId, Pipeline, knobs_of, knobs_text
from circinus.model.plan import Certainty, Interval, OperatorPlan, Plan, per_1000_items, share_text
from circinus.model.profile import ProfileTable
from circinus.model.query import Query
from cloud_planner.core.estimate import Z95
from cloud_planner.core.plan_figures import PlanFigures
from cloud_planner.core.profiles import prefix_key
from cloud_planner.core.promises import Z90

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an operator's time rests on: so many items measured on that class of devices. 0: it is believed."""

    samples: int
    device_class: DeviceClass


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """One operator on one device. ``p95_ms``: of its service, with its 90% interval; None: it isn't known (any more).

    ``why``: what speaks for this place, or against another.
    """

    operator: OperatorId
    device: DeviceId
    knobs: str
    share: str
    p95_ms: Interval | None
    seen_p95_ms: float | None
    wait_ms: float | None
    used_ratio: float | None
    cost_per_h: float | None
    measured: Measured | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRow:
    """A plan end to end. ``latency_ms`` at the percentile of the SLO, with its 90% interval."""

    latency_ms: Interval
    latency_p50_ms: float
    accuracy_ratio: Interval
    certified: bool
    cost_per_h: float
    cost_per_1000: float | None
    billed_per_h: float
    traffic_per_h: float | None
    probability_ratio: float
    goodput_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalRow:
    """A plan that was not chosen, why, and what it would take. ``adds_per_h``: to what all plans cost together."""

    where: str
    knobs: str
    latency_ms: float | None
    accuracy_ratio: float | None
    cost_per_h: float | None
    adds_per_h: float | None
    reason: str
    wins_if: str


def operator_rows(
    plan: Plan,
    figures: PlanFigures | None,
    measured: Mapping[tuple[OperatorId, DeviceId], Measured],
    seen_p95_ms: Mapping[tuple[OperatorId, DeviceId], float],
    pipeline: Pipeline,
    rivals: Sequence[Document] = (),
) -> tuple[OperatorRow, ...]:
    """A row for each operator, in the plan's order."""
    rows = []
    for part in plan.operators:
        key = (part.operator_id, part.device_id)
        found = figures.operator(part) if figures is not None else None
        rows.append(
            OperatorRow(
                operator=part.operator_id,
                device=part.device_id,
                knobs=knobs_text(knobs_of(plan.configuration, part.operator_id)),
                share=share_text(part),
                p95_ms=found.service_p95_ms if found is not None else None,
                seen_p95_ms=seen_p95_ms.get(key),
                wait_ms=found.wait_ms if found is not None else None,
                used_ratio=found.used_ratio if found is not None else None,
                cost_per_h=found.cost_per_h if found is not None else None,
                measured=measured.get(key),
                why=_why(part, pipeline, rivals),
            )
        )
    return tuple(rows)


def _why(part: OperatorPlan, pipeline: Pipeline, rivals: Sequence[Document]) -> str:
    try:
        pinned = pipeline.operator(part.operator_id).pinned
    except KeyError:
        pinned = ""
    if pinned:
        return "pinned to the source" if pinned == "source" else f"pinned to {pinned}"
    for rival in rivals:
        there = [one["machine"] for one in rival["plan"]["operators"] if one["operator"] == part.operator_id]
        if there and part.device_id not in there:
            return f"not on {there[0]}: {rival['reason']}"
    return ""


def whole_row(plan: Plan, query: Query, figures: PlanFigures | None) -> WholeRow:
    """A plan end to end. Its interval, of 95%, is told with 90%, as those of operators are."""
    latency = plan.latency_ms
    shrunk = Z90 / Z95
    return WholeRow(
        latency_ms=Interval(
            value=latency.value,
            low=latency.value - (latency.value - latency.low) * shrunk,
            high=latency.value + (latency.high - latency.value) * shrunk,
        ),
        latency_p50_ms=plan.latency_p50_ms,
        accuracy_ratio=plan.accuracy_ratio,
        certified=plan.certainty is Certainty.CERTIFIED,
        cost_per_h=plan.cost_per_h,
        cost_per_1000=per_1000_items(plan.cost_per_h, query.rate_per_s),
        billed_per_h=plan.billed_per_h,
        traffic_per_h=figures.traffic_per_h if figures is not None else None,
        probability_ratio=plan.slo_probability_ratio,
        goodput_per_s=plan.item_goodput_per_s,
    )


def rival_rows(document: Document) -> tuple[RivalRow, ...]:
    """The plans that were not chosen, as `circinus explain` tells them: where they differ from the one that was."""
    chosen = document["plan"]
    return tuple(
        RivalRow(
            where=_where(rival["plan"], chosen),
            knobs=_other_knobs(rival["plan"]["configuration"], chosen["configuration"] if chosen is not None else {}),
            latency_ms=rival["plan"]["latency_ms"],
            accuracy_ratio=rival["plan"]["accuracy"],
            cost_per_h=rival["plan"]["cost_per_h"],
            adds_per_h=rival["adds_per_h"],
            reason=rival["reason"],
            wins_if=rival["wins_if"],
        )
        for rival in document["rivals"]
    )


def _where(plan: Document, chosen: Document | None) -> str:
    """The parts of a told plan that the chosen one doesn't have."""
    had = _parts(chosen) if chosen is not None else {}
    other = [text for operator, text in _parts(plan).items() if had.get(operator) != text]
    return ", ".join(other) or "the same places"


def _parts(plan: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in plan["operators"]:
        name = part["operator"]
        share = f", {part['share_ratio']:.0%} of items" if part["share_ratio"] < 1.0 else ""
        text = f"{name} on {part['machine']} ({part['replicas']} × {part['cores']:g}{share})"
        found[name] = f"{found[name]} and {text}" if name in found else text
    return found


def _other_knobs(knobs: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    return knobs_text({name: value for name, value in knobs.items() if chosen.get(name) != value}) or "the same"


def measured_of(
    plan: Plan, pipeline: Pipeline, table: ProfileTable, classes: Mapping[DeviceId, DeviceClass]
) -> dict[tuple[OperatorId, DeviceId], Measured]:
    """What the times of a plan's operators rest on: items that were measured with the same knobs up to there."""
    found: dict[tuple[OperatorId, DeviceId], Measured] = {}
    known = {operator.id for operator in pipeline.operators}
    for part in plan.operators:
        device_class = classes.get(part.device_id)
        if device_class is None or part.operator_id not in known:
            continue
        try:
            wanted = prefix_key(pipeline, part.operator_id, plan.configuration)
        except KeyError:
            continue
        items: set[int] = set()
        for profile in table.times.get(device_class, ()):
            if all(name in profile.configuration for name in pipeline.upstream_knobs(part.operator_id)) and (
                prefix_key(pipeline, part.operator_id, profile.configuration) == wanted
            ):
                items.update(
                    sample.sample_index
                    for sample in profile.samples
                    for one in sample.operators
                    if one.operator_id == part.operator_id and not one.hurried
                )
        found[part.operator_id, part.device_id] = Measured(samples=len(items), device_class=device_class)
    return found


__all__ = [
    "Document",
    "Measured",
    "OperatorRow",
    "RivalRow",
    "WholeRow",
    "measured_of",
    "operator_rows",
    "rival_rows",
    "whole_row",
]
