"""The solvers of column generation's programmes: HiGHS, CBC and the pool do the same."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csc_array

from cloud_planner import cbc, highs
from cloud_planner.core.column_generation.programmes import IntegerTask
from cloud_planner.core.select.milp import MilpStatus
from cloud_planner.solver_pool import SolverPool, checked

pytestmark = [pytest.mark.slow, pytest.mark.system]

SEEDS = st.integers(0, 2**40)
LAW = settings(max_examples=8, deadline=None, derandomize=True, database=None)
NAMES = [
    pytest.param("highs", marks=pytest.mark.skipif(highs.library() is None, reason="HiGHS is not installed")),
    "cbc",
    "pool",
]


@pytest.fixture(scope="module")
def pool():
    made = SolverPool(workers=1)
    yield made
    made.close()


@pytest.fixture(scope="module", params=NAMES)
def masters(request):
    """Every implementation of the port for linear programmes."""
    if request.param == "pool":
        return request.getfixturevalue("pool").masters
    return highs.HighsMaster if request.param == "highs" else cbc.CbcMaster


@pytest.fixture(scope="module", params=NAMES)
def integers(request):
    """Every implementation of the port for integer programmes."""
    if request.param == "pool":
        return request.getfixturevalue("pool")
    solver = highs if request.param == "highs" else cbc
    return lambda tasks: map(solver.solve_integer, tasks)


def columns(rng, rows, count):
    """Use, gain and most of some columns; what gives back has an end."""
    use = np.array([[rng.choice([0.0, 0.0, 0.5, 1.0, 2.0]) for _ in range(count)] for _ in range(rows)])
    most = np.array([rng.choice([1.0, 2.0, np.inf]) for _ in range(count)])
    for column in range(count):
        if rng.random() < 0.2 and rows:
            use[rng.randrange(rows), column] = -1.0
            most[column] = 1.0
        if not (use[:, column] > 0.0).any():
            most[column] = 2.0
    return use, np.array([rng.choice([-1.0, 0.0, 1.0, 2.5, 3.0]) for _ in range(count)]), most


def check_linear(found, use, rhs, gain, most):
    """Feasible, duals of the right sign, nothing slack that is priced, nothing taken that does not pay: so optimal."""
    assert found.solved, found.detail
    values, duals = found.values, found.duals
    assert (values >= -1e-7).all()
    assert (values <= most + 1e-7).all()
    assert (duals >= -1e-7).all()
    left = rhs - use @ values
    assert (left >= -1e-6).all()
    assert duals * left == pytest.approx(np.zeros(len(rhs)), abs=1e-6)
    reduced = gain - use.T @ duals
    assert (np.where(values < most - 1e-6, reduced, 0.0) <= 1e-6).all()
    assert (np.where(values > 1e-6, reduced, 0.0) >= -1e-6).all()


@LAW
@given(seed=SEEDS)
def test_a_linear_programme_is_solved_with_prices_that_prove_it_and_again_when_it_has_grown(masters, seed):
    rng = random.Random(seed)
    rows = rng.randint(1, 4)
    rhs = np.array([rng.choice([0.0, 1.0, 1.5, 4.0]) for _ in range(rows)])
    master = masters(rhs)
    use, gain, most = np.zeros((rows, 0)), np.zeros(0), np.zeros(0)
    for _ in range(3):
        more = columns(rng, rows, rng.randint(1, 4))
        master.add(csc_array(more[0]), more[1], more[2])
        use, gain, most = np.hstack([use, more[0]]), np.append(gain, more[1]), np.append(most, more[2])
        found = master.solve()
        check_linear(found, use, rhs, gain, most)
        bounds = [(0.0, None if np.isinf(upper) else upper) for upper in most]
        best = -linprog(-gain, A_ub=use, b_ub=rhs, bounds=bounds, method="highs").fun
        assert float(gain @ found.values) == pytest.approx(best, abs=1e-6)


def test_a_linear_programme_that_asks_too_much_is_not_solved_and_says_so(masters):
    master = masters(np.array([-1.0, 1.0]))
    master.add(csc_array(np.array([[0.0], [1.0]])), np.ones(1), np.ones(1))
    found = master.solve()
    assert not found.solved
    assert found.detail


def test_a_linear_programme_without_columns_is_worth_nothing(masters):
    found = masters(np.array([1.0, 2.0])).solve()
    assert found.solved, found.detail
    assert len(found.values) == 0
    assert found.duals == pytest.approx(np.zeros(2))


def tasks_of(seed, **changes):
    """A small programme of whole numbers, with nothing as its start: all points can be listed."""
    rng = random.Random(seed)
    rows, count = rng.randint(1, 4), rng.randint(1, 6)
    use, gain, _ = columns(rng, rows, count)
    given = {
        "use": csc_array(use),
        "rhs": np.array([rng.choice([0.0, 1.0, 1.5, 4.0]) for _ in range(rows)]),
        "gain": gain,
        "most": np.array([rng.choice([1.0, 1.0, 2.0]) for _ in range(count)]),
        "start": np.zeros(count),
        "gap_ratio": 0.0,
    }
    return IntegerTask(**{**given, **changes})


def best_of(task):
    """The best value, by trying all."""
    dense = task.use.toarray()
    points = np.array(list(product(*(range(int(most) + 1) for most in task.most))), dtype=float)
    fits = (points @ dense.T <= task.rhs + 1e-9).all(axis=1)
    return float((points[fits] @ task.gain).max())


@LAW
@given(seed=SEEDS)
def test_an_integer_programme_is_solved_to_the_best_of_all_points(integers, seed):
    task = tasks_of(seed)
    (found,) = integers([task])
    assert found.status is MilpStatus.OPTIMAL, found.detail
    assert float(task.gain @ found.values) == pytest.approx(best_of(task))
    assert found.bound >= best_of(task) - 1e-6
    assert checked(task, found) is found


def knapsack(rng, count=22, rows=4):
    """A programme that takes more than a few nodes."""
    use = np.array([[float(rng.randint(10, 60)) for _ in range(count)] for _ in range(rows)])
    gain = use.mean(axis=0) + np.array([float(rng.randint(0, 9)) for _ in range(count)])
    return use, np.floor(use.sum(axis=1) * 0.4), gain


@pytest.mark.parametrize("nodes", [0, 5])
def test_an_integer_programme_that_is_cut_short_keeps_its_start_and_its_bound(integers, nodes):
    rng = random.Random(0)
    use, rhs, gain = knapsack(rng)
    start = np.zeros(len(gain))
    for column in np.argsort(-gain / use.sum(axis=0)).tolist():
        if (use @ start + use[:, column] <= rhs).all():
            start[column] = 1.0
    task = IntegerTask(
        use=csc_array(use), rhs=rhs, gain=gain, most=np.ones(len(gain)), start=start, gap_ratio=0.0, nodes=nodes
    )
    (short,) = integers([task])
    long = highs.solve_integer(IntegerTask(use=task.use, rhs=rhs, gain=gain, most=task.most, start=start, nodes=10_000))
    best = float(gain @ long.values)
    assert short.bound >= best - 1e-6
    assert short.status in {MilpStatus.FEASIBLE, MilpStatus.OPTIMAL, MilpStatus.NO_SOLUTION}
    if len(short.values):
        assert float(gain @ start) - 1e-6 <= float(gain @ short.values) <= best + 1e-6


def test_without_columns_an_integer_programme_is_worth_nothing(integers):
    empty = IntegerTask(use=csc_array((1, 0)), rhs=np.ones(1), gain=np.zeros(0), most=np.zeros(0), start=np.zeros(0))
    (found,) = integers([empty])
    assert (found.status, found.bound, len(found.values)) == (MilpStatus.OPTIMAL, 0.0, 0)


def test_an_answer_that_cannot_be_right_is_a_failure():
    """Found optimal at less than the start, infeasible although the start is not, beyond a row, a bound or itself."""
    task = IntegerTask(
        use=csc_array(np.ones((1, 2))),
        rhs=np.ones(1),
        gain=np.array([1.0, 2.0]),
        most=np.ones(2),
        start=np.array([0.0, 1.0]),
    )
    (right,) = map(cbc.solve_integer, [task])
    assert checked(task, right) is right
    wrong = [
        replace(right, values=np.ones(2), bound=3.0),
        replace(right, values=np.array([0.0, 2.0]), bound=4.0),
        replace(right, values=np.array([0.5, 0.5])),
        replace(right, values=np.zeros(3)),
        replace(right, values=np.array([np.nan, 0.0])),
        replace(right, bound=1.0),
        replace(right, status=MilpStatus.INFEASIBLE, values=np.zeros(0), bound=-np.inf),
        replace(right, values=np.array([1.0, 0.0]), bound=1.0),
    ]
    for answer in wrong:
        assert checked(task, answer).status is MilpStatus.FAILED
