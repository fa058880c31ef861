"""A closed model as a plan space, and its selection by column generation instead of one large programme. PURE.

Every variable of the model that is not a column is a side variable, every row beside C1 a row; so whatever the model
says holds here as well. The site of a query's source says which rows are of one site; those of several are shared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from scipy.sparse import coo_array, csc_array

from cloud_planner.core.column_generation.attain import Attained, Limits, Outcome, Question, attain
from cloud_planner.core.column_generation.programmes import Programmes
from cloud_planner.core.column_generation.space import NONE, Array, Indices, Kind, SelectionSpace, Sides, padded
from cloud_planner.core.problem import Objective
from cloud_planner.core.select.milp import MilpStatus, Sense
from cloud_planner.core.select.model import Model
from cloud_planner.core.select.stages import StageReport, Stages, Targets

#: A stage whose gap is no larger is at its optimum, as far as numbers go.
_OPTIMAL_RATIO = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What column generation is to use, and when to stop.

    ``from_columns``: models with fewer are solved as one programme. ``elapsed_s``: since when, for ``seconds``.
    ``told`` hears of each better selection.
    """

    programmes: Programmes
    from_columns: int = 1_500
    seconds: float | None = None
    gap_ratio: float = 1e-4
    turns: int = 3
    clock_s: Callable[[], float] = lambda: 0.0
    told: Callable[[Attained], None] = lambda attained: None


@dataclass(slots=True, kw_only=True)
class ModelSpace:
    """A model as a plan space.

    ``plans``: by member, the model's variable of each plan; ``sides`` and ``rows`` likewise.
    """

    space: SelectionSpace
    queries: tuple[int, ...]
    plans: tuple[tuple[int, ...], ...]
    sides: tuple[int, ...]
    rows: tuple[int, ...]

    def values(self, choice: Indices, opened: Array, variables: int) -> tuple[float, ...]:
        """Values of the model's variables."""
        found = np.zeros(variables)
        for member, plan in enumerate(choice.tolist()):
            if plan != NONE:
                found[self.plans[member][plan]] = 1.0
        found[list(self.sides)] = opened
        return tuple(found.tolist())


def space_of(model: Model) -> ModelSpace:
    """The plan space of a closed model without flows."""
    queries = tuple(sorted(model.serving))
    member_of, plan_of = {}, {}
    plans = []
    for member, query in enumerate(queries):
        variables = tuple(variable for variable, _ in model.serving[query])
        plans.append(variables)
        for place, variable in enumerate(variables):
            member_of[variable], plan_of[variable] = member, place
    sides = tuple(variable for variable in range(len(model.builder.lower)) if variable not in member_of)
    side_of = {variable: place for place, variable in enumerate(sides)}
    rows = tuple(number for number in range(len(model.builder.rows)) if not _is_choice(model, number, member_of, plans))
    capacity = np.array([model.builder.rows[number].rhs for number in rows])
    touched: list[dict[int, dict[int, float]]] = [defaultdict(dict) for _ in queries]
    entries: list[tuple[int, int, float]] = []
    for place, number in enumerate(rows):
        for variable, value in model.builder.rows[number].terms:
            if variable in side_of:
                entries.append((place, side_of[variable], value))
            else:
                touched[member_of[variable]][place][plan_of[variable]] = value
    costs = np.zeros(len(model.builder.lower))
    for variable, cost in model.cost:
        costs[variable] += cost
    kinds: list[Kind] = []
    slots: list[list[int]] = []
    kind_of: list[int] = []
    numbers: dict[tuple[object, ...], int] = {}
    for member, variables in enumerate(plans):
        mine = sorted(touched[member])
        use = np.zeros((len(variables), len(mine)))
        for slot, place in enumerate(mine):
            for plan, value in touched[member][place].items():
                use[plan, slot] = value
        # Slots in order of what plans take of them: then queries whose plans are the same are of one kind.
        order = sorted(range(len(mine)), key=lambda slot: use[:, slot].tobytes())
        use, cost_per_h = np.ascontiguousarray(use[:, order]), costs[list(variables)]
        slots.append([mine[slot] for slot in order])
        number = numbers.setdefault((use.shape, use.tobytes(), cost_per_h.tobytes()), len(numbers))
        if number == len(kinds):
            kinds.append(Kind(cost_per_h=cost_per_h, use=use))
        kind_of.append(number)
    use = csc_array(
        coo_array(
            (
                np.array([value for _, _, value in entries], dtype=float),
                (
                    np.array([row for row, _, _ in entries], dtype=np.intp),
                    np.array([side for _, side, _ in entries], dtype=np.intp),
                ),
            ),
            shape=(len(rows), len(sides)),
        )
    )
    problem = model.problem
    space = SelectionSpace(
        capacity=capacity,
        kinds=tuple(kinds),
        worth=np.array([problem.queries[query].weight * problem.queries[query].rate_per_s for query in queries]),
        kind=np.array(kind_of, dtype=np.intp),
        slots=padded(slots, len(rows)),
        area=_areas(model, queries, slots, use),
        sides=Sides(
            cost_per_h=costs[list(sides)],
            most=np.array([model.builder.upper[variable] for variable in sides]),
            use=use,
        ),
    )
    return ModelSpace(space=space, queries=queries, plans=tuple(plans), sides=sides, rows=rows)


def _is_choice(model: Model, number: int, member_of: dict[int, int], plans: list[tuple[int, ...]]) -> bool:
    """Whether a row is C1 of a query."""
    row = model.builder.rows[number]
    if row.sense is not Sense.AT_MOST or row.rhs != 1.0 or not row.terms:
        return False
    member = member_of.get(row.terms[0][0])
    return (
        member is not None
        and len(row.terms) == len(plans[member])
        and all(value == 1.0 and member_of.get(variable) == member for variable, value in row.terms)
    )


def _areas(model: Model, queries: tuple[int, ...], slots: list[list[int]], use: csc_array) -> Indices:
    """By row, the number of the site whose queries alone touch it; -1: several do."""
    sites: dict[str, int] = {}
    area = np.full(use.shape[0], -2, dtype=np.intp)
    for query, rows in zip(queries, slots, strict=True):
        source = model.problem.queries[query].source
        machine = model.network.machines.get(source) if source is not None else None
        number = sites.setdefault("" if machine is None else machine.site, len(sites))
        mine = area[rows]
        area[rows] = np.where(mine == -2, number, np.where(mine == number, number, -1))
    # Rows of sides alone go where the sides' other rows are, if those are of one site.
    for side in range(use.shape[1]):
        rows = use.indices[use.indptr[side] : use.indptr[side + 1]]
        known = np.unique(area[rows][area[rows] != -2])
        area[rows] = np.where(area[rows] == -2, known[0] if len(known) == 1 else -1, area[rows])
    return np.where(area == -2, -1, area)


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """What came of it: as stages of the model, and as it was found."""

    stages: Stages
    made: ModelSpace
    outcome: Outcome


def solve_large(model: Model, generation: Generation, targets: Targets) -> Large:
    """A model's selection by column generation; it always finds one, be it what a greedy fill gives."""
    made = space_of(model)
    space = made.space
    running = np.full(space.members, NONE, dtype=np.intp)
    place_of = {
        variable: (member, place) for member, plans in enumerate(made.plans) for place, variable in enumerate(plans)
    }
    for variable in targets.running:
        member, place = place_of[variable]
        running[member] = place
    began_s = generation.clock_s()
    asked = model.problem.objective is Objective.COST
    outcome = attain(
        space,
        generation.programmes,
        Question(
            enough_per_s=targets.enough_per_s if asked and targets.enough_per_s < targets.most_per_s else inf,
            running=running if targets.running else None,
        ),
        Limits(
            elapsed_s=lambda: generation.clock_s() - began_s,
            seconds=generation.seconds,
            gap_ratio=generation.gap_ratio,
            turns=generation.turns,
        ),
        generation.told,
    )
    got = outcome.attained
    reports = [_report("goodput", got.goodput_per_s, got.goodput_bound_per_s, outcome)]
    if got.cost_per_h:
        reports.append(_report("cost", got.cost_per_h, got.cost_bound_per_h, outcome))
    if targets.running:
        reports.append(_report("changes", float(got.kept), got.kept_bound, outcome))
    stages = Stages(
        values=made.values(got.choice, got.opened, len(model.builder.lower)),
        reports=tuple(reports),
        goodput_bound_per_s=got.goodput_bound_per_s,
        cost_bound_per_h=got.cost_bound_per_h,
    )
    return Large(stages=stages, made=made, outcome=outcome)


def _report(name: str, objective: float, bound: float, outcome: Outcome) -> StageReport:
    near = abs(bound - objective) <= _OPTIMAL_RATIO * max(1.0, abs(objective))
    return StageReport(
        name=name,
        status=MilpStatus.OPTIMAL if near else MilpStatus.FEASIBLE,
        objective=objective,
        bound=bound,
        detail="; ".join(outcome.warnings),
    )
