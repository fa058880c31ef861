"""Selection: at most one plan for each query, within all capacity, with its bound and gap. PURE.

Templates give each query's non-dominated plans (templates.py) or its flows (flows.py); one mixed-integer programme
holds them together (model.py) and is solved in stages (stages.py). If the solver fails, a greedy selection stands
(greedy.py), and the bound falls back to what is not proven impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from circinus.model.plan import Selection, UnplacedQuery
from circinus.model.query import QueryId
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Objective, Problem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.alternatives import runner_up
from cloud_planner.core.select.assignment import Assignment, Bill, bill
from cloud_planner.core.select.columns import QueryColumns
from cloud_planner.core.select.estimates import PathEstimates
from cloud_planner.core.select.finish import billed_per_h, machine_uses, plan_of
from cloud_planner.core.select.flows import Flow
from cloud_planner.core.select.greedy import greedy
from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Solver, Work
from cloud_planner.core.select.model import Column, Model
from cloud_planner.core.select.paths import read_flow
from cloud_planner.core.select.prepared import Ground, Prepared, prepare
from cloud_planner.core.select.reasons import Known, reason
from cloud_planner.core.select.relaxed import ROUNDS, always, broken
from cloud_planner.core.select.stages import StageReport, Stages, Targets, solve_stages
from cloud_planner.core.select.taken import Taken
from cloud_planner.core.templates import TemplateLimits

if TYPE_CHECKING:
    from cloud_planner.core.select.large import Generation, Large

#: Stands for the runner-up of a plan that is one of too many to look into each.
NOT_SOUGHT = "not looked for beside so many plans; ask circinus explain for it"
#: The reason of a query that is one of too many to look into each.
UNEXPLAINED = "no room for it beside what is served; ask circinus explain for more"
#: Selections whose goodput or cost differ by less, relatively, are equals.
_EQUAL_RATIO = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectLimits:
    """Limits on work.

    ``runner_ups``: up to so many plans get theirs; of more only the first tenth of that many, by query id. ``reasons``:
    so many queries without a plan are told why.

    ``generation``: how column generation solves what is too large for one programme; None: never. ``held``: queries
    that keep their running plan or end; the bound does not say what would be if they didn't.
    """

    template: TemplateLimits = field(default_factory=TemplateLimits)
    work: Work = field(default_factory=Work)
    runner_ups: int = 200
    reasons: int = 200
    generation: Generation | None = None
    held: frozenset[QueryId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateReport:
    """One query's part of the programme; ``complete`` is False if plans were left out by a limit."""

    query_id: QueryId
    columns: int
    candidates: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectReport:
    """How a selection came about. ``chosen``: "milp", "greedy" or "running"."""

    templates: tuple[TemplateReport, ...]
    stages: tuple[StageReport, ...]
    programme_columns: int
    programme_rows: int
    complete: bool
    chosen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectResult:
    """A selection and how it came about."""

    selection: Selection
    report: SelectReport


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A whole selection that could stand."""

    name: str
    assignments: tuple[Assignment, ...]
    total: Bill


def select(problem: Problem, solver: Solver, *, limits: SelectLimits | None = None) -> SelectResult:
    """The selection for a problem.

    Notation, objective and constraints: model.py and flows.py. Stages: most goodput, then least cost, then fewest
    changes against ``problem.running``; with Objective.COST first what ``served_ratio`` asks for, at least cost.

    Args:
        problem: Queries in any order; the selection is in order of ids.
        solver: Solves the programme; may fail.
        limits: On the size of templates and on the solver's work.
    """
    limits = limits or SelectLimits()
    ground = Ground.of(problem)
    made = _with_what_matters(ground, solver, limits)
    prepared, best = made.prepared, made.best
    problem, columns, model, flows = prepared.problem, prepared.columns, prepared.model, prepared.flows
    cut = {flow.query for flow in flows if not flow.complete}
    report = SelectReport(
        templates=tuple(
            TemplateReport(
                query_id=problem.queries[entry.query].id,
                columns=len(entry.columns),
                candidates=len(entry.candidates),
                complete=entry.complete and entry.query not in cut,
            )
            for entry in columns
        ),
        stages=made.stages.reports,
        programme_columns=len(model.builder.lower),
        programme_rows=len(model.builder.rows),
        complete=prepared.complete,
        chosen=best.name,
    )
    bounds = _Bounds(
        most=made.targets.most_per_s,
        complete=prepared.complete,
        unlisted_per_s=sum(_worth(problem, entry.query) for entry in columns if not entry.complete)
        if model.patterns_complete and not flows
        else made.targets.most_per_s,
    )
    selection = _selection(prepared.network, problem, best, made.stages, bounds, prepared.tight, limits, columns)
    return SelectResult(selection=selection, report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One solution; ``found``: what the solver's values say, whether or not all of it fits; None: it gave none."""

    prepared: Prepared
    targets: Targets
    stages: Stages
    best: _Offer
    found: _Offer | None

    @property
    def proven(self) -> bool:
        """Whether all that can be served is, by a solution that the solver saw to its end."""
        most = self.targets.most_per_s * (1.0 - 1e-9)
        ended = all(report.status is MilpStatus.OPTIMAL for report in self.stages.reports)
        return self.found is not None and ended and _goodput(self.prepared.problem, self.best.assignments) >= most


def _with_what_matters(ground: Ground, solver: Solver, limits: SelectLimits) -> _Attempt:
    """The solution with those limits only that it would break, if all are served so; else with all limits."""
    network, problem, tight = ground.network, ground.problem, ground.tight
    looked_at = always(network, problem, tight)
    for _ in range(ROUNDS if looked_at is not None else 0):
        made = _attempt(prepare(ground, limits.template, limits.held, looked_at), solver, limits)
        if made.found is None:
            break
        more = broken(network, problem, made.found.assignments, tight)
        if not more and not made.found.total.violations and made.proven:
            return made
        if looked_at is None or more <= looked_at:
            break
        looked_at |= more
    return _attempt(prepare(ground, limits.template, limits.held), solver, limits)


def _attempt(prepared: Prepared, solver: Solver, limits: SelectLimits) -> _Attempt:
    problem, network, left = prepared.problem, prepared.network, prepared.left
    columns, running = prepared.columns, prepared.running
    model, flows = prepared.model, prepared.flows
    offers = [
        _offer("greedy", network, problem, greedy(network, problem, columns, left, cheap=cheap))
        for cheap in (True, False)
    ]
    if running:
        offers.append(_offer("running", network, problem, tuple(column.assignment for column in running.values())))
    offers = [offer for offer in offers if not offer.total.violations]
    most = sum(_worth(problem, entry.query) for entry in columns if entry.possible)
    reached = max((_goodput(problem, offer.assignments) for offer in offers), default=0.0)
    targets = Targets(
        reached_per_s=reached,
        most_per_s=most,
        enough_per_s=problem.served_ratio * sum(_worth(problem, number) for number in range(len(problem.queries))),
        running=tuple(variable for variable, column in model.columns if running.get(column.assignment.query) is column),
    )
    large = _large(model, flows, limits, targets)
    stages = solve_stages(model, solver, limits.work, targets) if large is None else large.stages
    found = None
    if stages.values:
        name = "milp" if large is None else "column generation"
        found = _offer(name, network, problem, _read(problem, model, flows, stages.values))
        if not found.total.violations:
            offers.append(found)
    best = _best(problem, offers, running, targets)
    return _Attempt(prepared=prepared, targets=targets, stages=stages, best=best, found=found)


def _offer(name: str, network: Network, problem: Problem, assignments: tuple[Assignment, ...]) -> _Offer:
    return _Offer(name=name, assignments=assignments, total=bill(network, problem, assignments))


def _worth(problem: Problem, query: int) -> float:
    return problem.queries[query].weight * problem.queries[query].rate_per_s


def _goodput(problem: Problem, assignments: Sequence[Assignment]) -> float:
    return sum(_worth(problem, assignment.query) for assignment in assignments)


def _large(model: Model, flows: Sequence[Flow], limits: SelectLimits, targets: Targets) -> Large | None:
    """By column generation, if the model is large and whole plans are all there is; None: it is not."""
    # Column generation itself imports from this package.
    from cloud_planner.core.select.large import solve_large

    generation = limits.generation
    if generation is None or flows or len(model.columns) < generation.from_columns:
        return None
    return solve_large(model, generation, targets)


def _read(problem: Problem, model: Model, flows: Sequence[Flow], values: tuple[float, ...]) -> tuple[Assignment, ...]:
    taken = [column.assignment for variable, column in model.columns if values[variable] > 0.5]
    taken += [found for flow in flows if (found := read_flow(problem, flow, values)) is not None]
    return tuple(sorted(taken, key=lambda assignment: assignment.query))


def _best(problem: Problem, offers: Sequence[_Offer], running: dict[int, Column], targets: Targets) -> _Offer:
    """The best by goodput (up to what is asked for), cost, changes; of equals the later, so the solver's."""

    def changes(offer: _Offer) -> int:
        chosen = {assignment.query: assignment for assignment in offer.assignments}
        return sum(1 for number, column in running.items() if chosen.get(number) != column.assignment)

    def served(offer: _Offer) -> float:
        goodput = _goodput(problem, offer.assignments)
        return min(goodput, targets.enough_per_s) if problem.objective is Objective.COST else goodput

    best = _Offer(
        name="none",
        assignments=(),
        total=Bill(machines={}, cores={}, machine_cost_per_h={}, traffic_cost_per_h=0.0, violations=()),
    )
    for offer in offers:
        margin = served(offer) - served(best)
        same = abs(margin) <= _EQUAL_RATIO * max(1e-9, targets.most_per_s)
        cost, least = offer.total.cost_per_h, best.total.cost_per_h
        alike = abs(cost - least) <= _EQUAL_RATIO * max(abs(least), 1e-9)
        cheaper = changes(offer) <= changes(best) if alike else cost < least
        if (cheaper if same else margin > 0.0) or (best.name == "none" and margin >= 0.0):
            best = offer
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """``unlisted_per_s``: worth of queries with plans that are not in the programme; nothing can gain more by those."""

    most: float
    complete: bool
    unlisted_per_s: float


def _selection(
    network: Network,
    problem: Problem,
    best: _Offer,
    stages: Stages,
    bounds: _Bounds,
    left: dict[Resource, float],
    limits: SelectLimits,
    columns: Sequence[QueryColumns],
) -> Selection:
    goodput = _goodput(problem, best.assignments)
    bound = min(bounds.most, stages.goodput_bound_per_s + (0.0 if bounds.complete else bounds.unlisted_per_s))
    if goodput >= bound * (1.0 - 1e-9):
        bound = goodput
    cost = best.total.cost_per_h
    cost_bound = min(cost, stages.cost_bound_per_h) if bounds.complete else 0.0
    if cost - cost_bound <= _EQUAL_RATIO * abs(cost):
        cost_bound = cost
    plans = []
    billed = billed_per_h(network, problem, best.assignments, best.total)
    taken = Taken.of(network, problem, best.assignments)
    estimates = PathEstimates(network, problem)
    runner_ups = limits.runner_ups if len(best.assignments) <= limits.runner_ups else limits.runner_ups // 10
    for number, assignment in enumerate(best.assignments):
        plan = replace(plan_of(network, problem, assignment, estimates), billed_per_h=billed[assignment.query])
        if number < runner_ups:
            said, cost_per_h = runner_up(network, problem, best.assignments, assignment, left, taken)
            plan = replace(plan, runner_up=said, runner_up_cost_per_h=cost_per_h)
        elif limits.runner_ups:
            plan = replace(plan, runner_up=NOT_SOUGHT)
        plans.append(plan)
    return Selection(
        plans=tuple(plans),
        unplaced=_unplaced(network, problem, best.assignments, left, limits.reasons, columns, taken),
        machines=machine_uses(best.total),
        traffic_cost_per_h=best.total.traffic_cost_per_h,
        goodput_per_s=goodput,
        goodput_bound_per_s=bound,
        gap_ratio=(bound - goodput) / bound if bound > 0.0 else 0.0,
        cost_per_h=cost,
        cost_bound_per_h=cost_bound,
        cost_gap_ratio=(cost - cost_bound) / cost if cost > 0.0 else 0.0,
        solver_status=_status(stages, best, complete=bounds.complete),
    )


def _unplaced(
    network: Network,
    problem: Problem,
    assignments: Sequence[Assignment],
    left: dict[Resource, float],
    most: int,
    columns: Sequence[QueryColumns],
    taken: Taken,
) -> tuple[UnplacedQuery, ...]:
    """The queries without a plan; the reasons of more than ``most`` are not worked out."""
    placed = {assignment.query for assignment in assignments}
    found: list[UnplacedQuery] = []
    for number, query in enumerate(problem.queries):
        if number in placed:
            continue
        said = query.impossible or UNEXPLAINED
        if len(found) < most:
            alone = () if query.splittable else tuple(column.assignment for column in columns[number].columns)
            said = reason(network, problem, number, assignments, left, Known(taken=taken, alone=alone))
        found.append(UnplacedQuery(query_id=query.id, reason=said))
    return tuple(found)


def _status(stages: Stages, best: _Offer, *, complete: bool) -> str:
    """Says "optimal" if every stage was solved to the end; else the worst stage, and what stands in its place."""
    decided = {MilpStatus.OPTIMAL, MilpStatus.INFEASIBLE}  # infeasible: not all could be served at once
    ended = [report for report in stages.reports if report.status not in decided]
    if not complete and not ended:
        return "optimal within thinned templates"
    if not ended:
        return "optimal"
    if not stages.values:
        worst = ended[0]
        detail = f" ({worst.detail})" if worst.detail else ""
        return f"solver {worst.status} at stage {worst.name}{detail}: the {best.name} selection stands"
    return "; ".join(
        f"{report.name}: {report.status}" + (f" ({report.detail})" if report.detail else "") for report in ended
    )


__all__ = [
    "Milp",
    "MilpResult",
    "MilpStatus",
    "SelectLimits",
    "SelectReport",
    "SelectResult",
    "Solver",
    "StageReport",
    "TemplateReport",
    "Work",
    "select",
]
