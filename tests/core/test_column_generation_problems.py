"""Selections of whole problems by column generation, against brute force."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brute_force import best_unsplit
from brute_sharing import best_shared
from hypothesis import HealthCheck, given, settings
from limited_problems import LIMITS, SEEDS, limited, shared
from small_problems import exact, machine, option, problems, wires_between
from small_spaces import here

from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Billing, Candidate, Objective, Problem, QueryProblem, Sharing, Slo, Step, Waiting
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.core.select.large import Generation
from cloud_planner.core.templates import TemplateLimits
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def generated(problem, **limits):
    """By column generation, however small the problem is."""
    generation = Generation(programmes=here(), from_columns=0, gap_ratio=0.0)
    return select(problem, CbcSolver(), limits=SelectLimits(generation=generation, **limits)).selection


def law(examples):
    return settings(max_examples=examples, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None)


def check(problem, goodput, cost):
    """Clean, between bounds that hold, and as good as the best within the gaps that it states."""
    found = generated(problem)
    assert audit(problem, found) == ()
    assert goodput * (1 - found.gap_ratio) - 1e-6 <= found.goodput_per_s <= goodput + 1e-6
    assert found.goodput_bound_per_s >= goodput * (1 - 1e-9)
    if found.goodput_per_s >= goodput * (1 - 1e-9):
        assert found.cost_bound_per_h <= cost * (1 + 1e-6) + 1e-9
        assert cost * (1 - 1e-5) - 1e-6 <= found.cost_per_h
        assert found.cost_per_h * (1 - found.cost_gap_ratio) <= cost * (1 + 1e-5) + 1e-6
    return found


@law(8)
@given(problem=problems(shapes=("one", "chain", "fan", "join"), queries=3))
def test_a_generated_selection_is_that_of_brute_force_within_its_gap(problem):
    problem = replace(problem, objective=Objective.GOODPUT)
    check(problem, *best_unsplit(problem))


@pytest.mark.parametrize("limit", [*LIMITS, "all"])
@law(3)
@given(seed=SEEDS)
def test_under_a_limit_too(limit, seed):
    _, problem = limited(seed, limit)
    check(problem, *best_unsplit(problem))


@pytest.mark.parametrize("sharing", [Sharing.PROCESS, Sharing.PREFIX])
@law(4)
@given(seed=SEEDS)
def test_where_queries_share_too(sharing, seed):
    problem = shared(seed, sharing)
    check(problem, *best_shared(problem))


@law(4)
@given(seed=SEEDS)
def test_thinned_templates_bound_what_was_left_out_of_them(seed):
    _, problem = limited(seed, "uplinks")
    goodput, _ = best_unsplit(problem)
    found = generated(problem, template=TemplateLimits(partial_rows=4, routes=2))
    assert audit(problem, found) == ()
    assert found.goodput_bound_per_s >= goodput * (1 - 1e-9)


@law(4)
@given(seed=SEEDS)
def test_what_runs_stays_where_nothing_better_is_to_be_had(seed):
    _, problem = limited(seed, "budget")
    first = generated(problem)
    again = generated(replace(problem, running=first.plans))
    assert audit(problem, again) == ()
    assert again.goodput_per_s >= first.goodput_per_s * (1 - 1e-9)
    if again.goodput_per_s <= first.goodput_per_s * (1 + 1e-9):
        assert again.cost_per_h <= first.cost_per_h * (1 + 2e-6) + 1e-9
        if again.cost_per_h >= first.cost_per_h * (1 - 2e-6) - 1e-9:
            assert again.plans == first.plans


def test_a_share_that_is_asked_for_is_no_end_where_goodput_is_the_objective():
    """With least cost as the objective the same share is."""
    problem = replace(limited(15, "none")[1], served_ratio=0.3, objective=Objective.GOODPUT)
    goodput, _ = best_unsplit(problem)
    assert goodput > 0.6 * sum(query.weight * query.rate_per_s for query in problem.queries)
    whole, least = generated(problem), generated(replace(problem, objective=Objective.COST))
    assert whole.goodput_per_s == pytest.approx(goodput)
    assert 0.5 * goodput < least.goodput_per_s < goodput
    assert least.cost_per_h <= whole.cost_per_h


def two_sites():
    """Two queries of two sites that can run on one machine alone, which is paid whole; a third has one of its own."""
    step = Step(operator_id="a", inputs=("source",), output_bytes=1.0, options=(option("cloud", cores=1.0),))
    near = Step(operator_id="a", inputs=("source",), output_bytes=1.0, options=(option("m1", cores=1.0),))
    names = ("m1", "m2", "cloud")
    return Problem(
        machines=(
            machine("m1", site="s"),
            machine("m2", site="t"),
            machine("cloud", site="c", cores=2.0, price_per_h=3.0, billing=Billing.WHOLE),
        ),
        wires=wires_between(names),
        queries=tuple(
            QueryProblem(
                id=name,
                rate_per_s=4.0,
                weight=1.0,
                slo=Slo(),
                source=source,
                candidates=(
                    Candidate(
                        configuration={"a.knob": 0},
                        accuracy=exact(0.9),
                        steps=(steps,),
                        source_bytes=1.0,
                        outputs=("a",),
                    ),
                ),
            )
            for name, source, steps in [("p", "m1", step), ("q", "m2", step), ("r", "m1", near), ("s", "m1", near)]
        ),
        waiting=Waiting.NONE,
    )


def test_a_machine_paid_whole_by_queries_of_two_sites_is_bought_for_both():
    problem = two_sites()
    goodput, cost = best_unsplit(problem)
    assert (goodput, cost) == (pytest.approx(12.0), pytest.approx(4.0, rel=0.01))
    check(problem, goodput, cost)
    for budget in (0.9, 3.5):
        limited_problem = replace(problem, budget_per_h=budget)
        check(limited_problem, *best_unsplit(limited_problem))
