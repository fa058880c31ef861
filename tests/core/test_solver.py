"""The solver behind the planner's port, against a second one."""

from __future__ import annotations

import pytest
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from small_problems import exact, machine, option, problems, wires_between

from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Slo, Step, Waiting
from cloud_planner.core.select import Milp, MilpStatus, Work, select
from cloud_planner.core.select.milp import Row, Sense
from cloud_planner.solver import CbcSolver


def programme(**changes):
    given_values = {
        "lower": (0.0, 0.0),
        "upper": (3.0, 3.0),
        "integer": (True, False),
        "objective": (2.0, 1.0),
        "maximize": True,
        "rows": (Row(terms=((0, 2.0), (1, 1.0)), sense=Sense.AT_MOST, rhs=3.5),),
    }
    return Milp(**{**given_values, **changes})


@pytest.mark.parametrize("solver", [CbcSolver(), HighsSolver()])
def test_a_small_programme_is_solved(solver):
    result = solver.solve(programme(), Work())
    assert result.status is MilpStatus.OPTIMAL
    assert result.objective == pytest.approx(3.5)
    assert result.bound == pytest.approx(3.5)
    assert 2 * result.values[0] + result.values[1] == pytest.approx(3.5)


@pytest.mark.parametrize("solver", [CbcSolver(), HighsSolver()])
def test_a_contradiction_is_infeasible(solver):
    rows = (Row(terms=((0, 1.0),), sense=Sense.AT_LEAST, rhs=4.0),)
    assert solver.solve(programme(rows=rows), Work()).status is MilpStatus.INFEASIBLE


def test_a_cheaper_machine_is_not_lost_in_preprocessing():
    """With CBC's preprocessing on, this programme's "optimum" is the dear machine."""
    candidates = tuple(
        Candidate(
            configuration={"a.knob": number},
            accuracy=exact(0.8),
            steps=(Step(operator_id="a", inputs=("source",), output_bytes=1.0, options=options),),
            source_bytes=1.0,
            outputs=("a",),
            latency_uncertainty_ratio=0.05 * number,
        )
        for number, options in enumerate(
            [(option("m1", cores=0.25),), (option("m1", cores=0.25), option("m2", cores=0.25))]
        )
    )
    query = QueryProblem(
        id="q",
        rate_per_s=4.0,
        weight=1.0,
        slo=Slo(latency_ms=60.0),
        source=None,
        candidates=candidates,
        splittable=True,
    )
    made = Problem(
        machines=(machine("m1", billing=Billing.WHOLE), machine("m2")),
        wires=wires_between(["m1", "m2"]),
        queries=(query,),
        waiting=Waiting.NONE,
    )
    assert select(made, CbcSolver()).selection.cost_per_h == pytest.approx(0.25)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(split=True, queries=2))
def test_both_solvers_find_selections_of_the_same_worth(problem):
    first, second = (select(problem, solver).selection for solver in (CbcSolver(), HighsSolver()))
    assert first.goodput_per_s == pytest.approx(second.goodput_per_s)
    assert first.cost_per_h == pytest.approx(second.cost_per_h, rel=1e-5, abs=1e-6)
