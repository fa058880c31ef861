"""The solver behind the planner's port, against a second one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problems import exact, machine, option, problems, wires_between

from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Slo, Step, Waiting
from cloud_planner.core.select import Milp, MilpResult, MilpStatus, Work, select
from cloud_planner.core.select.milp import Row, Sense
from cloud_planner.highs import library
from cloud_planner.solver import CbcSolver, ThoroughSolver, settle
from cloud_planner.solver import HighsSolver as OwnHighsSolver
from cloud_planner.solver_check import fault_of
from cloud_planner.solver_process import ProcessSolver

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


SOLVERS = {
    "cbc": CbcSolver(),
    "exact": HighsSolver(),
    "highs": OwnHighsSolver(),
    "highs by scipy": OwnHighsSolver(plain=True),
    "thorough": ThoroughSolver(),
}


@pytest.fixture(scope="module")
def in_process():
    made = ProcessSolver(ThoroughSolver())
    yield made
    made.close()


@pytest.fixture(params=[*SOLVERS, pytest.param("process", marks=pytest.mark.slow)])
def solver(request):
    """Every implementation of the port."""
    if request.param == "process":
        return request.getfixturevalue("in_process")
    return SOLVERS[request.param]


def test_a_small_programme_is_solved(solver):
    result = solver.solve(programme(), Work())
    assert result.status is MilpStatus.OPTIMAL
    assert result.objective == pytest.approx(3.5)
    assert result.bound == pytest.approx(3.5)
    assert 2 * result.values[0] + result.values[1] == pytest.approx(3.5)


def test_a_contradiction_is_infeasible(solver):
    rows = (Row(terms=((0, 1.0),), sense=Sense.AT_LEAST, rhs=4.0),)
    assert solver.solve(programme(rows=rows), Work()).status is MilpStatus.INFEASIBLE


def test_a_programme_with_a_start_has_the_same_answer(solver):
    for start in ((0.0, 0.0), (1.0, 1.5), (3.0, 3.0)):  # the last one is no point of it
        assert solver.solve(programme(start=start), Work()).objective == pytest.approx(3.5)


def test_minimising_and_rows_of_each_sense(solver):
    rows = (
        Row(terms=((0, 1.0), (1, 1.0)), sense=Sense.AT_LEAST, rhs=2.5),
        Row(terms=((0, 1.0), (1, -2.0)), sense=Sense.EQUAL, rhs=1.0),
        Row(terms=((1, 1.0),), sense=Sense.AT_MOST, rhs=2.0),
    )
    result = solver.solve(programme(rows=rows, maximize=False), Work())
    assert result.status is MilpStatus.OPTIMAL
    assert result.values == pytest.approx((2.0, 0.5))
    assert result.objective == result.bound == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("sense", "rhs", "status"),
    [
        (Sense.AT_MOST, 0.0, MilpStatus.OPTIMAL),
        (Sense.AT_MOST, -1.0, MilpStatus.INFEASIBLE),
        (Sense.AT_LEAST, 1.0, MilpStatus.INFEASIBLE),
        (Sense.EQUAL, 0.0, MilpStatus.OPTIMAL),
    ],
)
def test_a_row_without_terms_holds_or_not(solver, sense, rhs, status):
    """CBC aborts on it, and takes the process with it."""
    milp = Milp(
        lower=(0.0,),
        upper=(1.0,),
        integer=(True,),
        objective=(0.0,),
        maximize=False,
        rows=(Row(terms=(), sense=sense, rhs=rhs),),
    )
    assert solver.solve(milp, Work()).status is status


@st.composite
def programmes(draw):
    """Up to four columns of small whole numbers: all points can be listed."""
    count = draw(st.integers(1, 4))
    figures = st.integers(-4, 4).map(float)
    return Milp(
        lower=(0.0,) * count,
        upper=tuple(draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=count, max_size=count))),
        integer=(True,) * count,
        objective=tuple(draw(st.lists(figures, min_size=count, max_size=count))),
        maximize=draw(st.booleans()),
        rows=tuple(
            Row(
                terms=tuple(
                    (column, value)
                    for column, value in enumerate(draw(st.lists(figures, min_size=count, max_size=count)))
                    if value
                ),
                sense=draw(st.sampled_from(list(Sense))),
                rhs=draw(figures),
            )
            for _ in range(draw(st.integers(0, 3)))
        ),
    )


def points(milp):
    """All whole points that the rows allow."""
    for values in product(*(range(int(upper) + 1) for upper in milp.upper)):
        totals = [(row, sum(values[column] * factor for column, factor in row.terms)) for row in milp.rows]
        if all(
            (total <= row.rhs or row.sense is Sense.AT_LEAST) and (total >= row.rhs or row.sense is Sense.AT_MOST)
            for row, total in totals
        ):
            yield tuple(map(float, values))


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(milp=programmes())
def test_every_solver_finds_what_listing_all_points_finds(milp, in_process):
    worth = {
        values: sum(value * factor for value, factor in zip(values, milp.objective, strict=True))
        for values in points(milp)
    }
    best = (max if milp.maximize else min)(worth.values(), default=None)
    for name, solver in {**SOLVERS, "process": in_process}.items():
        result = solver.solve(milp, Work())
        if result.status is MilpStatus.FAILED and name in ("exact", "highs", "highs by scipy"):
            continue  # HiGHS gives up on a few of these, and says so: it may fail, but not lie
        if best is None:
            assert result.status is MilpStatus.INFEASIBLE
            continue
        assert result.status is MilpStatus.OPTIMAL
        assert result.objective == pytest.approx(best)
        assert fault_of(milp, result) == ""


@pytest.mark.skipif(library() is None, reason="HiGHS is not there for python-mip (the extra highs)")
def test_highs_goes_on_from_a_start():
    """With no node to spend it still knows the point that it was given."""
    milp = knapsack()
    best = ThoroughSolver().solve(milp, Work(max_nodes=2_000))
    started = OwnHighsSolver().solve(replace(milp, start=best.values), Work(max_nodes=0, max_seconds=0.0))
    assert started.solved
    assert started.objective == pytest.approx(best.objective)
    assert not OwnHighsSolver().solve(milp, Work(max_nodes=0, max_seconds=0.0)).solved


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
