"""The pool of solver processes: whatever a worker does, there is a result that says so, and the next task works."""

from __future__ import annotations

import os
import random
import signal
import threading

import numpy as np
import psutil
import pytest
from scipy.sparse import csc_array

from cloud_planner.core.column_generation.attain import Limits, attain
from cloud_planner.core.column_generation.programmes import IntegerTask
from cloud_planner.core.column_generation.space import Kind, SelectionSpace, Sides, padded
from cloud_planner.core.select.milp import MilpStatus
from cloud_planner.solver_pool import PoolLimits, SolverPool

pytestmark = [pytest.mark.slow, pytest.mark.system]

MEBIBYTE = 2**20


@pytest.fixture
def pool_of():
    """Pools that are closed afterwards, and leave no process."""
    made, before = [], worker_pids()

    def of(workers=1, **limits):
        made.append(SolverPool(workers=workers, limits=PoolLimits(**limits)))
        return made[-1]

    yield of
    for each in made:
        each.close()
    assert worker_pids() == before


@pytest.fixture(scope="module")
def pool():
    """One for all tests that leave it as it should be."""
    made = SolverPool(workers=2)
    yield made
    made.close()


def worker_pids():
    """The solver processes that this one has."""
    found = []
    for child in psutil.Process().children():
        try:
            if "cloud_planner.solver_worker" in child.cmdline():
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def easy(worth=1.0, **changes):
    """Two columns of which one fits: the better is worth twice as much."""
    return IntegerTask(
        use=csc_array(np.ones((1, 2))),
        rhs=np.ones(1),
        gain=worth * np.array([1.0, 2.0]),
        most=np.ones(2),
        start=np.zeros(2),
        **changes,
    )


def endless(**changes):
    """Half of many sums at once, exactly if it can be: no solver is through with that soon."""
    rng = random.Random(0)
    use = np.array([[float(rng.randint(0, 99)) for _ in range(60)] for _ in range(8)])
    given = {"gap_ratio": 0.0, "nodes": 10**9, **changes}
    return IntegerTask(
        use=csc_array(use),
        rhs=np.floor(use.sum(axis=1) / 2.0),
        gain=use.sum(axis=0),
        most=np.ones(60),
        start=np.zeros(60),
        **given,
    )


def works(pool):
    (found,) = pool([easy()])
    assert (found.status, found.values.tolist(), found.bound) == (MilpStatus.OPTIMAL, [0.0, 1.0], pytest.approx(2.0))


def test_results_come_in_order_and_tasks_are_taken_as_it_gets_on(pool):
    taken = []

    def tasks():
        for number in range(12):
            taken.append(number)
            # The first is the slowest, so it isn't the first to be done.
            yield endless(seconds=0.3) if number == 0 else easy(float(number))

    results = pool(tasks())
    next(results)
    assert len(taken) <= 4
    assert [found.bound for found in results] == pytest.approx([2.0 * number for number in range(1, 12)])
    assert taken == list(range(12))


def test_who_wants_no_more_leaves_the_pool_to_others(pool):
    results = pool(endless(seconds=0.1) if number else easy() for number in range(100))
    next(results)
    results.close()
    works(pool)


def test_a_limit_of_the_task_itself_is_no_fault(pool):
    (found,) = pool([endless(seconds=0.1)])
    assert found.status in {MilpStatus.FEASIBLE, MilpStatus.NO_SOLUTION}
    assert found.detail == ""
    assert found.bound >= 0.0


def test_a_linear_programme_is_lost_with_its_process_and_the_next_one_works(pool):
    before = set(worker_pids())
    master = pool.masters(np.ones(1))
    master.add(csc_array(np.ones((1, 1))), np.ones(1), np.ones(1))
    assert master.solve().solved
    (process,) = set(worker_pids()) - before or {None}
    if process is None:
        pytest.fail("the linear programme's process is not a new one")
    os.kill(process, signal.SIGKILL)
    lost = master.solve()
    assert not lost.solved
    assert lost.detail in {
        "solver crashed: signal 9",
        "the programme was lost with its process, or gave way to another",
    }
    again = pool.masters(np.ones(1))
    again.add(csc_array(np.ones((1, 1))), np.ones(1), np.full(1, 2.0))
    found = again.solve()
    assert (found.solved, found.values.tolist(), found.duals.tolist()) == (True, [1.0], [1.0])


def test_a_killed_worker_is_a_failed_result_and_the_next_task_gets_another(pool_of):
    before, pool = set(worker_pids()), pool_of()
    works(pool)
    (first,) = set(worker_pids()) - before
    killer = threading.Timer(0.3, os.kill, (first, signal.SIGKILL))
    killer.start()
    found, after = pool([endless(), easy()])
    killer.join()
    assert (found.status, len(found.values), found.bound) == (MilpStatus.FAILED, 0, np.inf)
    assert found.detail == "solver crashed: signal 9"
    assert after.status is MilpStatus.OPTIMAL
    (second,) = set(worker_pids()) - before
    assert second != first
    closer = threading.Timer(0.3, pool.close)
    closer.start()
    (cut,) = pool([endless()])
    closer.join()
    assert cut.status is MilpStatus.FAILED
    assert set(worker_pids()) == before


def test_a_worker_that_hangs_is_ended(pool_of):
    found, after = pool_of(hang_s=0.5)([endless(), easy(seconds=60.0)])
    assert (found.status, found.detail) == (MilpStatus.FAILED, "solver hung: no answer within 0.5 s")
    assert after.status is MilpStatus.OPTIMAL


def test_a_worker_without_memory_says_so_and_the_next_task_works(pool_of):
    columns, rows = 200, 30_000
    large = IntegerTask(
        use=csc_array(np.ones((rows, columns))),
        rhs=np.ones(rows),
        gain=np.ones(columns),
        most=np.ones(columns),
        start=np.zeros(columns),
    )
    found, after = pool_of(memory_bytes=256 * MEBIBYTE)([large, easy()])
    assert found.status is MilpStatus.FAILED
    assert found.detail == "solver out of memory: it needs more than the 256 MiB that it may have"
    assert after.status is MilpStatus.OPTIMAL


def test_a_pool_may_be_closed_and_used_again(pool_of):
    before, pool = worker_pids(), pool_of()
    pool.start()
    assert len(worker_pids()) == len(before) + 2
    pool.close()
    assert worker_pids() == before
    works(pool)


def crowded():
    """Two sites and a cloud, with twelve that want seven places."""
    kind = Kind(cost_per_h=np.array([1.0, 2.0]), use=np.array([[1.0, 0.0], [0.0, 1.0]]))
    return SelectionSpace(
        capacity=np.array([2.0, 3.0, 2.5]),
        kinds=(kind,),
        worth=np.array([1.0 + number % 3 for number in range(12)]),
        kind=np.zeros(12, dtype=np.intp),
        slots=padded([[number % 2, 2] for number in range(12)], 3),
        area=np.array([0, 1, -1]),
        sides=Sides.none(3),
    )


def test_a_pool_selects_what_can_be_selected(pool):
    outcome = attain(crowded(), pool.programmes(), limits=Limits(gap_ratio=0.0))
    assert outcome.warnings == []
    assert outcome.attained.goodput_per_s == pytest.approx(18.0)
    assert 18.0 - 1e-6 <= outcome.attained.goodput_bound_per_s <= 19.0 + 1e-6
    assert outcome.attained.cost_per_h == pytest.approx(9.0)


def test_a_pool_that_can_do_nothing_leaves_a_selection_with_a_bound_and_the_reason(pool_of):
    space = crowded()
    pool = pool_of(memory_bytes=MEBIBYTE)
    outcome = attain(space, pool.programmes(), limits=Limits(gap_ratio=0.0, turns=1))
    got = outcome.attained
    assert space.fits(got.choice, got.opened)
    assert 0.0 < got.goodput_per_s <= 18.0 <= got.goodput_bound_per_s
    said = "solver out of memory: it needs more than the 1 MiB that it may have"
    assert f"linear programme: {said}" in outcome.warnings
    assert set(outcome.warnings) <= {f"linear programme: {said}", f"integer programme: {said}"}
