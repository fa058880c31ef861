"""Laws of the selection under uplinks, a budget, cordons, data that stays at its site, and queries that stay apart."""

from __future__ import annotations

import pytest
from brute_force import best_split, best_unsplit
from hypothesis import given, settings
from limited_problems import LIMITS, SEEDS, limited

from cloud_planner.core.audit import audit
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow

EACH = [*LIMITS, "all"]


@pytest.mark.parametrize("limit", EACH)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_selection_under_a_limit_is_that_of_brute_force(limit, seed):
    _, problem = limited(seed, limit)
    goodput, cost = best_unsplit(problem)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert selection.solver_status == "optimal"
    assert selection.goodput_per_s == pytest.approx(goodput)
    assert selection.cost_per_h == pytest.approx(cost, rel=1e-5, abs=1e-6)
    assert selection.goodput_bound_per_s >= goodput * (1 - 1e-9)
    assert selection.cost_bound_per_h <= cost * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("limit", [name for name in EACH if name != "apart"])
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_divided_load_under_a_limit_is_that_of_brute_force(limit, seed):
    _, problem = limited(seed, limit, split=True, shapes=("one", "chain", "join"), queries=(1,))
    cost = best_split(problem)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert bool(selection.plans) == (cost is not None)
    if cost is not None:
        assert selection.cost_per_h == pytest.approx(cost, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("limit", ["apart", "all"])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_divided_loads_under_limits_are_clean(limit, seed):
    _, problem = limited(seed, limit, split=True, shapes=("one", "chain", "fan"))
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert selection.goodput_bound_per_s >= selection.goodput_per_s * (1 - 1e-9)
