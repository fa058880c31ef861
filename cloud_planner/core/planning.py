"""Snapshot -> result: what can be planned is decomposed, selected and audited. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from circinus.model.plan import Plan, Selection
from circinus.model.query import Query
from cloud_planner.core.decompose import Fleet, decompose
from cloud_planner.core.needs import Assessment, Circumstances, assess
from cloud_planner.core.problem import Problem
from cloud_planner.core.select.milp import Solver

if TYPE_CHECKING:
    from cloud_planner.core.select import SelectLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a decision is made from."""

    fleet: Fleet
    queries: tuple[Query, ...]
    circumstances: Circumstances
    running: tuple[Plan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be solved, and what has to wait."""

    fleet: Fleet
    assessment: Assessment
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """A selection and what the audit found against it; a selection with findings must not be applied."""

    selection: Selection
    findings: tuple[str, ...]


def draft(snapshot: Snapshot) -> Draft:
    """What is to be solved of a snapshot."""
    assessment = assess(snapshot.fleet, snapshot.queries, snapshot.circumstances)
    return Draft(
        fleet=snapshot.fleet,
        assessment=assessment,
        problem=decompose(snapshot.fleet, assessment.plannable, running=snapshot.running),
    )


def plan(problem: Problem, solver: Solver, limits: SelectLimits) -> PlanResult:
    """The selection for a problem, audited."""
    # Imported by whoever really solves: the process that only drafts need not load all of it.
    from cloud_planner.core.audit import audit
    from cloud_planner.core.select import select

    selection = select(problem, solver, limits=limits).selection
    return PlanResult(selection=selection, findings=tuple(str(finding) for finding in audit(problem, selection)))
