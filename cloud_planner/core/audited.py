"""What an audit works on: a selection's plans, found again in the tables of its problem. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field

from circinus.model.plan import OperatorPlan, Plan, Selection
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Option, Problem, QueryProblem

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong: of which query or machine ("" of the whole), and what."""

    subject: str
    message: str


@dataclass(slots=True, kw_only=True)
class Placed:
    """A plan found again in the tables. ``loads``: by step, its operator plans with their options."""

    query: QueryProblem
    candidate: Candidate
    plan: Plan
    loads: list[list[tuple[OperatorPlan, Option]]]


@dataclass(slots=True, kw_only=True)
class Audit:
    """A selection, the problem that it is for, and what was found against it so far."""

    problem: Problem
    selection: Selection
    network: Network
    findings: list[Finding] = field(default_factory=list)

    def say(self, subject: str, message: str) -> None:
        """Notes a finding."""
        self.findings.append(Finding(subject=subject, message=message))


def placed_plans(work: Audit) -> list[Placed]:
    """The plans that are in the tables; a finding stands for each that is not."""
    queries = {query.id: query for query in work.problem.queries}
    placed = []
    for plan in work.selection.plans:
        query = queries.get(plan.query_id)
        if query is None:
            continue
        entry = next(
            (
                entry
                for candidate in query.candidates
                if dict(candidate.configuration) == dict(plan.configuration)
                and (entry := _matched(query, candidate, plan)) is not None
            ),
            None,
        )
        if entry is None:
            work.say(plan.query_id, "its plan is not in the tables")
        else:
            placed.append(entry)
    return placed


def _matched(query: QueryProblem, candidate: Candidate, plan: Plan) -> Placed | None:
    if candidate.accuracy != plan.accuracy_ratio:
        return None
    names = [step.operator_id for step in candidate.steps]
    loads: list[list[tuple[OperatorPlan, Option]]] = [[] for _ in names]
    for operator in plan.operators:
        if operator.operator_id not in names:
            return None
        index = names.index(operator.operator_id)
        option = next((o for o in candidate.steps[index].options if _same(o, operator)), None)
        if option is None:
            return None
        loads[index].append((operator, option))
    return Placed(query=query, candidate=candidate, plan=plan, loads=loads)


def _same(option: Option, placed: OperatorPlan) -> bool:
    return (
        option.machine == placed.device_id
        and option.cores == placed.cores
        and option.memory_bytes == placed.memory_bytes
        and option.accelerator_slots == placed.accelerator_slots
        and option.accelerator_memory_bytes == placed.accelerator_memory_bytes
        and option.batch == placed.batch
        and option.service.mean_ms == placed.service_ms
    )
