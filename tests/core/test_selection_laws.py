"""Laws of the selection, over small random problems."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brute_force import best_split, best_unsplit
from hypothesis import HealthCheck, given, settings
from small_problems import problems

from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Objective
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
SMALL = ("one", "chain", "fan", "join")


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(shapes=SMALL))
def test_selection_is_that_of_brute_force(problem):
    goodput, cost = best_unsplit(problem)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert selection.solver_status == "optimal"
    assert selection.goodput_per_s == pytest.approx(goodput)
    assert selection.cost_per_h == pytest.approx(cost, rel=1e-5, abs=1e-6)
    assert selection.goodput_bound_per_s >= selection.goodput_per_s * (1 - 1e-9)
    assert selection.gap_ratio == pytest.approx(0.0, abs=1e-6)
    assert selection.cost_gap_ratio == pytest.approx(0.0, abs=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(split=True, shapes=("one", "chain", "join"), queries=1))
def test_split_selection_is_that_of_brute_force(problem):
    cost = best_split(problem)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    assert selection.solver_status == "optimal"
    assert bool(selection.plans) == (cost is not None)
    if cost is not None:
        assert selection.cost_per_h == pytest.approx(cost, rel=1e-4, abs=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(queries=3))
def test_replanning_a_running_selection_changes_nothing(problem):
    solver = CbcSolver()
    first = select(problem, solver).selection
    again = select(replace(problem, running=first.plans), solver).selection
    assert audit(problem, again) == ()
    assert again.plans == first.plans


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(split=True, queries=2, shapes=("one", "chain", "long", "fan", "join", "diamond")))
def test_split_selections_are_clean_and_stay(problem):
    solver = CbcSolver()
    first = select(problem, solver).selection
    assert audit(problem, first) == ()
    assert first.goodput_bound_per_s >= first.goodput_per_s * (1 - 1e-9)
    again = select(replace(problem, running=first.plans), solver).selection
    assert audit(problem, again) == ()
    assert [p.configuration for p in again.plans] == [p.configuration for p in first.plans]
    assert [p.operators for p in again.plans] == [p.operators for p in first.plans]


@settings(max_examples=20, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(objective=Objective.GOODPUT))
def test_the_same_problem_gives_the_same_selection(problem):
    assert select(problem, CbcSolver()).selection == select(problem, CbcSolver()).selection
