"""What queries would get if they were submitted. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from circinus import wire
from circinus.model.pipeline import knobs_text
from circinus.model.plan import Plan
from circinus.model.plan_diff import Change, QueryDiff
from circinus.v1 import planner_pb2

#: Queries whose plans would be others that are named.
_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one query would get: a plan, or the reason why it has none."""

    query_id: str
    plan: Plan | None
    reason: str

    @property
    def where(self) -> str:
        """Where it would run."""
        parts = self.plan.operators if self.plan is not None else ()
        return ", ".join(f"{part.operator_id} on {part.device_id} ({part.replicas} × {part.cores:g})" for part in parts)

    @property
    def knobs(self) -> str:
        """In which configuration."""
        return knobs_text(self.plan.configuration) if self.plan is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A dry run. ``others``: in which way the plans of how many other queries would be others, and some of them."""

    outcomes: tuple[Outcome, ...]
    others: tuple[tuple[str, int], ...]
    named: tuple[QueryDiff, ...]
    goodput_per_s: tuple[float, float]
    cost_per_h: tuple[float, float]


def tried_of(answer: planner_pb2.PlanSelectionResponse, names: Sequence[str]) -> Tried:
    """A dry run's answer; ``names``: of the queries that were tried, in their order."""
    diff = wire.plan_diff_from_message(answer.diff)
    selection = answer.selection
    plans = {plan.query_id: plan for plan in selection.plans if plan.query_id in names}
    reasons = {one.query_id: one.reason for one in (*selection.unplaced, *selection.pending)}
    others = [one for one in diff.changes if one.query_id not in names]
    counts = Counter(one.change for one in others)
    return Tried(
        outcomes=tuple(
            Outcome(
                query_id=name,
                plan=wire.plan_from_message(plans[name]) if name in plans else None,
                reason=reasons.get(name, ""),
            )
            for name in names
        ),
        others=tuple((change.value, counts[change]) for change in Change if counts[change]),
        named=tuple(others[:_NAMED]),
        goodput_per_s=(diff.before.goodput_per_s, diff.after.goodput_per_s),
        cost_per_h=(diff.before.cost_per_h, diff.after.cost_per_h),
    )


__all__ = ["Outcome", "Tried", "tried_of"]
