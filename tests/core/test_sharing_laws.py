"""Laws of the selection where queries share processes and prefixes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brute_sharing import best_shared
from hypothesis import given, settings
from limited_problems import SEEDS, shared

from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Sharing
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sharing", [Sharing.PROCESS, Sharing.PREFIX])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_selection_that_shares_is_that_of_brute_force(sharing, seed):
    problem = shared(seed, sharing)
    goodput, cost = best_shared(problem)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert selection.solver_status == "optimal"
    assert selection.goodput_per_s == pytest.approx(goodput)
    assert selection.cost_per_h == pytest.approx(cost, rel=1e-5, abs=1e-6)
    assert selection.goodput_bound_per_s >= goodput * (1 - 1e-9)
    assert selection.cost_bound_per_h <= cost * (1 + 1e-6) + 1e-9


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_what_merges_more_is_worth_no_less(seed):
    """Of the three, each may do what the one before it does; their latencies are the same where keys are."""
    problem = shared(seed, Sharing.PROCESS)
    apart = select(problem, CbcSolver()).selection
    together = select(replace(problem, sharing=Sharing.PREFIX), CbcSolver()).selection
    assert together.goodput_per_s >= apart.goodput_per_s * (1 - 1e-9)
    if together.goodput_per_s <= apart.goodput_per_s * (1 + 1e-9) and problem.budget_per_h is None:
        assert together.cost_per_h <= apart.cost_per_h * (1 + 1e-6) + 1e-9


@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_replanning_a_shared_selection_changes_nothing(seed):
    problem = shared(seed)
    first = select(problem, CbcSolver()).selection
    again = select(replace(problem, running=first.plans), CbcSolver()).selection
    assert audit(problem, again) == ()
    assert [plan.operators for plan in again.plans] == [plan.operators for plan in first.plans]
