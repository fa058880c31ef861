"""Whether a query fits beside others: what is left out of the search would not have fitted either."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited_problems import SEEDS, limited
from small_problems import problems

from cloud_planner.core.cordon import cordoned
from cloud_planner.core.network import Network
from cloud_planner.core.placeable import assignment_of, placeable, room_for
from cloud_planner.core.problem import Sharing
from cloud_planner.core.select import select
from cloud_planner.core.select.assignment import bill, from_route
from cloud_planner.core.templates import Enumeration, Prune, TemplateLimits, admissible, template

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def alone(posed):
    """The selection of the first query by itself, which crowds the others."""
    return select(replace(posed, queries=posed.queries[:1]), HighsSolver()).selection


def fits_by_the_bill(posed, selection, query_id):
    """Whether any plan of the query, unpruned, breaks nothing together with all other plans."""
    problem = cordoned(posed)
    network = Network.of(problem)
    others = [assignment_of(problem, plan) for plan in selection.plans if plan.query_id != query_id]
    number = next(place for place, query in enumerate(problem.queries) if query.id == query_id)
    query = problem.queries[number]
    wanted = Enumeration(
        candidates=admissible(problem, query),
        slo=query.slo,
        prune=Prune.NOTHING,
        limits=TemplateLimits(partial_rows=10**6, routes=10**6),
    )
    listed = template(network, problem, query, {}, wanted)
    assert listed.complete
    return any(not bill(network, problem, [*others, from_route(number, route)]).violations for route in listed.routes)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(
    posed=problems(shapes=("one", "chain", "fan"), queries=3),
    sharing=st.sampled_from([Sharing.PROCESS, Sharing.PREFIX]),
    keys=st.lists(st.sampled_from(["", "x", "y"]), min_size=3, max_size=3),
    streams=st.lists(st.sampled_from(["", "s"]), min_size=3, max_size=3),
)
def test_with_shared_processes_and_prefixes_it_fits_if_any_plan_does(posed, sharing, keys, streams):
    names = dict(zip("abc", keys, strict=True))
    first = posed.queries[0]
    queries = []
    for query, stream in zip(posed.queries, streams, strict=False):
        candidates = tuple(
            replace(one, steps=tuple(replace(step, share_key=names[step.operator_id]) for step in one.steps))
            for one in query.candidates
        )
        queries.append(
            replace(query, candidates=candidates, stream=stream, source=first.source, rate_per_s=first.rate_per_s)
        )
    posed = replace(posed, queries=tuple(queries), sharing=sharing)
    selection = alone(posed)
    for query in posed.queries[1:]:
        assert placeable(posed, selection, query.id) == fits_by_the_bill(posed, selection, query.id)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(seed=SEEDS)
def test_under_limits_it_fits_if_any_plan_does(seed):
    posed = limited(seed, "all")[1]
    selection = alone(posed)
    for query in posed.queries[1:]:
        assert placeable(posed, selection, query.id) == fits_by_the_bill(posed, selection, query.id)


@settings(max_examples=20, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(posed=problems(queries=2))
def test_plans_are_found_again_as_they_were(posed):
    selection = alone(posed)
    for plan in selection.plans:
        found = assignment_of(posed, plan)
        assert found is not None
        assert [load.replicas for load in found.loads] == [part.replicas for part in plan.operators]
        room = room_for(posed, selection, plan.query_id)
        assert room.others == ()
        assert room.query == posed.queries[0]
