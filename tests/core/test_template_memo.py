"""Templates that are kept: what comes out is what would be worked out, and what did not change is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from small_problems import SHAPES, problems

from cloud_planner.core.network import Network
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.template_memo import MOST_QUERIES, TemplateMemo
from cloud_planner.core.templates import Enumeration, Enumerator, admissible


def asked(memo, problem, left=None):
    """The template of the first query by a memo, and whether it was worked out."""
    network, query = Network.of(problem), problem.queries[0]
    left = tight_resources(network, problem) if left is None else left
    wanted = Enumeration(candidates=admissible(problem, query), slo=query.slo)
    worked_out = []

    def work_out():
        worked_out.append(True)
        return Enumerator(network, problem, query, left, wanted).template()

    found = memo.get(network, problem, query, left, wanted, work_out)
    assert found == Enumerator(network, problem, query, left, wanted).template()
    return found, bool(worked_out)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(one=problems(shapes=tuple(SHAPES), queries=2), other=problems(shapes=tuple(SHAPES), queries=2))
def test_whatever_changes_the_template_is_what_would_be_worked_out(one, other):
    memo = TemplateMemo()
    for problem in (
        one,
        replace(one, machines=other.machines, wires=other.wires),
        replace(one, queries=(replace(one.queries[0], rate_per_s=2.0 * one.queries[0].rate_per_s), *one.queries[1:])),
        replace(one, queries=(replace(other.queries[0], id=one.queries[0].id), *one.queries[1:])),
        replace(one, waiting=other.waiting, slo_probability_ratio=other.slo_probability_ratio),
        one,
    ):
        asked(memo, problem)
    asked(memo, one, {})


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(shapes=tuple(SHAPES), queries=2))
def test_what_stayed_the_same_is_worked_out_once(problem):
    memo = TemplateMemo()
    first, *rest = problem.queries
    found, _ = asked(memo, problem)
    lighter = replace(problem, queries=(replace(first, weight=0.25 * first.weight), *rest))
    assert asked(memo, lighter) == (found, False)
    assert asked(memo, replace(problem, queries=(replace(first, rate_per_s=3.0 * first.rate_per_s), *rest)))[1]
    # What came between has not put it out.
    assert asked(memo, problem) == (found, False)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(shapes=tuple(SHAPES), queries=1))
def test_nothing_is_kept_of_a_large_fleet(problem):
    many = replace(
        problem, queries=tuple(replace(problem.queries[0], id=f"query-{number}") for number in range(MOST_QUERIES + 1))
    )
    memo = TemplateMemo()
    assert asked(memo, many)[1]
    assert asked(memo, many)[1]
