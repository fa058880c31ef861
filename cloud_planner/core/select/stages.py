"""The stages of a selection: goodput, then cost, then fewest changes. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

from cloud_planner.core.problem import Objective
from cloud_planner.core.select.milp import MilpResult, MilpStatus, Row, Sense, Solver, Work, merged
from cloud_planner.core.select.model import Model, Terms

#: Relative slack by which a later stage may exceed an earlier one's cost; goodput comes in steps and gets none.
_SLACK_RATIO = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """One stage: how it ended, what it reached, what is proven. Empty detail: nothing to say."""

    name: str
    status: MilpStatus
    objective: float
    bound: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The values of the last stage that was solved (empty: none was), and proven bounds (infinite: none)."""

    values: tuple[float, ...]
    reports: tuple[StageReport, ...]
    goodput_bound_per_s: float
    cost_bound_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What is known before: the goodput that a selection at hand reaches, and the most that there can be.

    ``running``: columns of running plans. ``enough_per_s``: goodput beyond which no more is sought.
    """

    reached_per_s: float
    most_per_s: float
    enough_per_s: float
    running: tuple[int, ...]


class _Run:
    def __init__(self, model: Model, solver: Solver, work: Work) -> None:
        self.model, self.solver, self.work = model, solver, work
        self.reports: list[StageReport] = []
        self.rows: list[Row] = []
        self.values: tuple[float, ...] = ()

    def stage(self, name: str, objective: Terms, *, maximize: bool) -> MilpResult:
        milp = self.model.builder.freeze(objective, maximize=maximize, rows=self.rows)
        result = self.solver.solve(milp, self.work)
        self.reports.append(
            StageReport(
                name=name, status=result.status, objective=result.objective, bound=result.bound, detail=result.detail
            )
        )
        if result.solved:
            self.values = result.values
        return result

    def hold(self, terms: Sequence[tuple[int, float]], sense: Sense, value: float) -> None:
        """Keeps what a stage reached, with the row scaled to the solver's absolute tolerances."""
        scale = abs(value) if abs(value) > 1e-9 else 1.0
        signed = 1.0 if sense is Sense.AT_LEAST else 1.0 + _SLACK_RATIO
        scaled = [(column, factor / scale) for column, factor in terms]
        self.rows.append(Row(terms=merged(scaled), sense=sense, rhs=value / scale * signed))


def _served(model: Model, values: tuple[float, ...]) -> float:
    """Goodput with the values rounded."""
    return sum(factor for column, factor in model.goodput() if values[column] > 0.5)


def solve_stages(model: Model, solver: Solver, work: Work, targets: Targets) -> Stages:
    """Solves stage after stage; a stage that fails leaves what the one before it reached."""
    run = _Run(model, solver, work)
    goodput = model.goodput()
    if not goodput:
        return Stages(values=(), reports=(), goodput_bound_per_s=0.0, cost_bound_per_h=0.0)
    serve = _serve_enough if model.problem.objective is Objective.COST else _serve_most
    bound = serve(run, targets)
    if bound is None:
        return Stages(values=(), reports=tuple(run.reports), goodput_bound_per_s=inf, cost_bound_per_h=0.0)
    cost_bound = run.reports[-1].bound if run.reports and run.reports[-1].name == "cost" else None
    if cost_bound is None:
        cost_bound = _cheapest(run, targets)
    if targets.running and run.values:
        _fewest_changes(run, targets)
    return Stages(
        values=run.values,
        reports=tuple(run.reports),
        goodput_bound_per_s=bound,
        cost_bound_per_h=max(0.0, cost_bound) if isfinite(cost_bound) else 0.0,
    )


def _serve_most(run: _Run, targets: Targets) -> float | None:
    """Stage 1; the bound, or None if there is nothing to go on from."""
    if targets.reached_per_s >= targets.most_per_s * (1.0 - 1e-9):
        best, bound = targets.reached_per_s, targets.most_per_s
    else:
        result = run.stage("goodput", run.model.goodput(), maximize=True)
        if not result.solved and not isfinite(result.bound):
            return None
        best = max(targets.reached_per_s, _served(run.model, run.values) if run.values else 0.0)
        bound = max(best, min(result.bound if result.status is not MilpStatus.FAILED else inf, targets.most_per_s))
    if best > 0.0:
        run.hold(run.model.goodput(), Sense.AT_LEAST, best)
    return bound


def _serve_enough(run: _Run, targets: Targets) -> float | None:
    """With least cost as the objective: tries to serve what is asked for at once."""
    if targets.enough_per_s > targets.most_per_s * (1.0 + 1e-9):
        return _serve_most(run, targets)
    if targets.enough_per_s <= 0.0:
        return targets.most_per_s
    run.hold(run.model.goodput(), Sense.AT_LEAST, targets.enough_per_s)
    result = run.stage("cost", run.model.cost, maximize=False)
    if result.solved:
        return targets.most_per_s
    run.rows.clear()
    if result.status is MilpStatus.FAILED:
        return None
    return _serve_most(run, targets)


def _cheapest(run: _Run, targets: Targets) -> float:
    """Stage 2; a lower bound on cost at the goodput held."""
    if not run.model.cost:
        if not run.values:  # goodput needed no solve
            run.stage("any", [], maximize=False)
        return 0.0
    result = run.stage("cost", run.model.cost, maximize=False)
    return result.bound if result.status in {MilpStatus.OPTIMAL, MilpStatus.FEASIBLE, MilpStatus.NO_SOLUTION} else 0.0


def _fewest_changes(run: _Run, targets: Targets) -> None:
    """Stage 3: cost held, as many running plans as can be are kept."""
    cost = sum(factor * run.values[column] for column, factor in run.model.cost)
    if run.model.cost:
        run.hold(run.model.cost, Sense.AT_MOST, max(cost, 0.0))
    if all(run.values[column] > 0.5 for column in targets.running):
        return
    run.stage("changes", [(column, 1.0) for column in targets.running], maximize=True)
