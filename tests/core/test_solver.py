"""The solver behind the planner's port, against a second one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from small_problems import exact, machine, option, problems, wires_between

from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Slo, Step, Waiting
from cloud_planner.core.select import Milp, MilpResult, MilpStatus, Work, select
from cloud_planner.core.select.milp import Row, Sense
from cloud_planner.solver import CbcSolver, ThoroughSolver, settle
from cloud_planner.solver import HighsSolver as OwnHighsSolver

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("solver", [CbcSolver(), HighsSolver(), OwnHighsSolver(), ThoroughSolver()])
def test_a_small_programme_is_solved(solver):
    result = solver.solve(programme(), Work())
    assert result.status is MilpStatus.OPTIMAL
    assert result.objective == pytest.approx(3.5)
    assert result.bound == pytest.approx(3.5)
    assert 2 * result.values[0] + result.values[1] == pytest.approx(3.5)


@pytest.mark.parametrize("solver", [CbcSolver(), HighsSolver(), OwnHighsSolver(), ThoroughSolver()])
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


def result(status, objective=0.0, bound=0.0, values=()):
    return MilpResult(status=status, values=values, objective=objective, bound=bound)


def knapsack(columns=24):
    """Two even knapsacks, which are symmetric: a few nodes do not settle them."""
    count = 2 * columns
    weights = [3.0 + (7 * number % columns) for number in range(columns)]
    rows = [
        Row(
            terms=tuple((knapsack * columns + number, weights[number]) for number in range(columns)),
            sense=Sense.AT_MOST,
            rhs=sum(weights) / 3.0 + 0.5,
        )
        for knapsack in (0, 1)
    ]
    rows += [
        Row(terms=((number, 1.0), (columns + number, 1.0)), sense=Sense.AT_MOST, rhs=1.0) for number in range(columns)
    ]
    values = tuple(weights[number % columns] + (number % columns) % 5 / 10 for number in range(count))
    return Milp(
        lower=(0.0,) * count,
        upper=(1.0,) * count,
        integer=(True,) * count,
        objective=values,
        maximize=True,
        rows=tuple(rows),
    )


def test_what_cbc_leaves_open_is_settled_by_highs():
    work = Work(max_nodes=50)
    assert CbcSolver().solve(knapsack(18), work).status is MilpStatus.FEASIBLE
    found = ThoroughSolver().solve(knapsack(18), work)
    assert found.status is MilpStatus.OPTIMAL
    assert found.objective == pytest.approx(141.2)
    assert HighsSolver().solve(knapsack(18), Work()).objective == pytest.approx(141.2)
    cut_short = ThoroughSolver().solve(knapsack(), Work(max_nodes=1))
    best = 236.3
    assert cut_short.objective <= best + 1e-6 <= cut_short.bound + 2e-6


def test_two_results_give_the_better_point_and_the_tighter_bound():
    first = result(MilpStatus.FEASIBLE, 5.0, 9.0, (1.0,))
    second = result(MilpStatus.FEASIBLE, 6.0, 10.0, (2.0,))
    both = settle(first, second, maximize=True)
    assert (both.values, both.objective, both.bound) == ((2.0,), 6.0, 9.0)
    open_end = result(MilpStatus.NO_SOLUTION, 0.0, 8.0)
    assert settle(first, open_end, maximize=True).bound == 8.0
    assert settle(open_end, open_end, maximize=True).status is MilpStatus.NO_SOLUTION
    cheap = settle(
        result(MilpStatus.FEASIBLE, 5.0, 2.0, (1.0,)), result(MilpStatus.OPTIMAL, 4.0, 4.0, (2.0,)), maximize=False
    )
    assert (cheap.status, cheap.objective, cheap.bound) == (MilpStatus.OPTIMAL, 4.0, 4.0)


def test_a_point_disproves_the_bound_of_the_other_solver():
    point = result(MilpStatus.FEASIBLE, 5.0, 9.0, (1.0,))
    assert settle(point, result(MilpStatus.OPTIMAL, 4.0, 4.0, (2.0,)), maximize=True) == point
    assert settle(point, result(MilpStatus.INFEASIBLE), maximize=True) == point
    beyond = result(MilpStatus.OPTIMAL, 11.0, 11.0, (2.0,))
    assert settle(point, beyond, maximize=True) == beyond
    assert settle(point, result(MilpStatus.FAILED), maximize=True) == point


@pytest.mark.system
def test_what_solvers_print_from_c_never_reaches_standard_output():
    """Text in C's buffer must not come out once standard output is back: a pipe is buffered, a terminal not."""
    code = (
        "import ctypes\nfrom cloud_planner.solver import silent\n"
        "with silent():\n    ctypes.CDLL(None).printf(b'from C')\nprint('ours')\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, env=buffered)
    assert printed.stdout == b"ours\n"
