"""Snapshot -> result: what can be planned is decomposed, selected and audited. PURE.

A query whose choice is only believed accurate enough gets a provisional plan: on what the certified ones leave over,
and not counted in goodput. In the problem its weight is cut down so far that all provisional queries together are
worth less than any certified one, and its bound on accuracy is left out; afterwards both are told as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from circinus.model.pipeline import configuration_key
from circinus.model.plan import Certainty, Plan, Selection
from circinus.model.query import Query, QueryId
from cloud_planner.core.decompose import Choice, Fleet, decompose
from cloud_planner.core.drain import drained
from cloud_planner.core.needs import Assessment, Circumstances, assess, unmeasured
from cloud_planner.core.problem import Problem
from cloud_planner.core.revisions import Revisions, revised_devices, revised_queries, shifted
from cloud_planner.core.select.milp import Solver

if TYPE_CHECKING:
    from cloud_planner.core.select import SelectLimits

#: All provisional queries together weigh this part of the lightest certified one.
_PROVISIONAL_RATIO = 0.25
#: How likely a configuration that was observed to miss its bound is taken to meet it.
_UNLIKELY_RATIO = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a decision is made from."""

    fleet: Fleet
    queries: tuple[Query, ...]
    circumstances: Circumstances
    running: tuple[Plan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be solved, and what has to wait. ``beliefs``: of provisional queries, how likely they meet their SLO.

    The weights of provisional queries in ``problem`` are ``scale`` times their own.
    """

    fleet: Fleet
    assessment: Assessment
    problem: Problem
    beliefs: Mapping[QueryId, float] = field(default_factory=dict)
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """A selection and what the audit found against it; a selection with findings must not be applied."""

    selection: Selection
    findings: tuple[str, ...]


def revised(snapshot: Snapshot, revisions: Revisions) -> Snapshot:
    """A snapshot with what was found in place of what was stated; the very same if nothing was.

    A query of which no configuration meets its bound as observed keeps the best as a provisional one: it is served.
    """
    if not revisions:
        return snapshot
    by_id = {query.id: query for query in snapshot.queries}
    fleet = snapshot.fleet
    choices = {
        query_id: _shifted(by_id[query_id], ones, revisions) if query_id in by_id else ones
        for query_id, ones in fleet.choices.items()
    }
    return replace(
        snapshot,
        fleet=replace(fleet, devices=revised_devices(fleet.devices, revisions), choices=choices, revisions=revisions),
        queries=revised_queries(snapshot.queries, revisions),
    )


def _shifted(query: Query, choices: tuple[Choice, ...], revisions: Revisions) -> tuple[Choice, ...]:
    made = tuple(
        replace(
            choice,
            accuracy=shifted(
                choice.accuracy,
                revisions.shift(query.pipeline_id, query.content, configuration_key(choice.configuration)),
            ),
        )
        for choice in choices
    )
    if made == choices:
        return choices
    bound = query.slo.accuracy_ratio
    if bound is None:
        return made
    meets = tuple(choice for choice in made if choice.accuracy.low >= bound - query.slo.accuracy_margin_ratio)
    if meets:
        return meets
    best = max(made, key=lambda choice: (choice.accuracy.value, configuration_key(choice.configuration)))
    return (replace(best, certified=False, probability_ratio=min(best.probability_ratio, _UNLIKELY_RATIO)),)


def draft(snapshot: Snapshot) -> Draft:
    """What is to be solved of a snapshot."""
    fleet = snapshot.fleet
    assessment = assess(fleet, snapshot.queries, snapshot.circumstances)
    problem = decompose(fleet, assessment.plannable, running=snapshot.running)
    beliefs = {
        query_id: min(choice.probability_ratio for choice in choices)
        for query_id, choices in fleet.choices.items()
        if choices and not all(choice.certified for choice in choices)
    }
    worth = {query.id: query.weight * query.rate_per_s for query in problem.queries}
    certified = [value for query_id, value in worth.items() if query_id not in beliefs]
    provisional = sum(value for query_id, value in worth.items() if query_id in beliefs)
    scale = min(1.0, _PROVISIONAL_RATIO * min(certified) / provisional) if certified and provisional > 0.0 else 1.0
    queries = tuple(
        replace(query, weight=query.weight * scale) if query.id in beliefs else query for query in problem.queries
    )
    return Draft(
        fleet=fleet,
        assessment=assessment,
        problem=replace(problem, queries=queries),
        beliefs=beliefs,
        scale=scale,
    )


def plan(problem: Problem, solver: Solver, limits: SelectLimits) -> PlanResult:
    """The selection for a problem, audited."""
    # Imported by whoever really solves: the process that only drafts need not load all of it.
    from cloud_planner.core.audit import audit
    from cloud_planner.core.select import select

    held = limits.held
    selection = drained(
        problem, lambda one, moving: select(one, solver, limits=replace(limits, held=held - moving)).selection
    )
    return PlanResult(selection=selection, findings=tuple(str(finding) for finding in audit(problem, selection)))


def told(snapshot: Snapshot, made: Draft, selection: Selection) -> Selection:
    """A selection with provisional plans as such, and goodput without them.

    A plan is provisional, too, as long as the times that it rests on are only believed.
    """
    queries = {query.id: query for query in snapshot.queries}
    plans: list[Plan] = []
    provisional_per_s = 0.0
    for one in selection.plans:
        query = queries[one.query_id]
        belief = made.beliefs.get(one.query_id)
        if belief is not None:
            one = replace(
                one,
                certainty=Certainty.PROVISIONAL,
                slo_probability_ratio=one.slo_probability_ratio * belief,
                item_goodput_per_s=one.item_goodput_per_s / made.scale,
            )
        elif unmeasured(made.fleet, query, one, snapshot.circumstances.policy):
            one = replace(one, certainty=Certainty.PROVISIONAL)
        if one.certainty is Certainty.PROVISIONAL:
            provisional_per_s += query.weight * query.rate_per_s
        plans.append(one)
    counted = sum(
        queries[one.query_id].weight * queries[one.query_id].rate_per_s
        for one in plans
        if one.certainty is Certainty.CERTIFIED
    )
    # Of plans that may be certified there are none better: whatever is provisional is worth less than any of them.
    proven = selection.gap_ratio <= 0.0
    bound = counted if proven else max(counted, selection.goodput_bound_per_s)
    return replace(
        selection,
        plans=tuple(plans),
        goodput_per_s=counted,
        goodput_bound_per_s=bound,
        gap_ratio=(bound - counted) / bound if bound > 0.0 else 0.0,
        provisional_per_s=provisional_per_s,
    )
