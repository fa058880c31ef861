"""What is said of a plan and of those that it won against: by hand, and against trying all plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brute_placeable import plans_that_fit
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from small_problems import exact, machine, option, problems, wires_between

from circinus.model.query import Slo
from cloud_planner.core.explain import explain
from cloud_planner.core.network import Network
from cloud_planner.core.placeable import assignment_of, placeable, room_for
from cloud_planner.core.problem import Billing, Candidate, Objective, Problem, QueryProblem, Step, Waiting
from cloud_planner.core.relax import relaxed
from cloud_planner.core.relax_limits import LimitKind, limits_of, without
from cloud_planner.core.select import select
from cloud_planner.core.select.assignment import bill

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def candidate(number, accuracy, *options):
    step = Step(operator_id="a", inputs=("source",), output_bytes=10.0, options=options)
    return Candidate(
        configuration={"a.k": number}, accuracy=exact(accuracy), steps=(step,), source_bytes=1000.0, outputs=("a",)
    )


def problem(candidates, slo, machines, others=()):
    names = [each.id for each in machines]
    first = QueryProblem(
        id="q", rate_per_s=10.0, weight=1.0, slo=slo, source="m1", candidates=candidates, answer_to_source=False
    )
    return Problem(
        machines=machines,
        wires=wires_between(names),
        queries=(first, *others),
        waiting=Waiting.NONE,
        replica_utilization_cap=1.0,
        link_utilization_cap=1.0,
    )


def told(posed, query_id="q"):
    selection = select(posed, HighsSolver()).selection
    return explain(posed, selection, query_id, HighsSolver())


CHEAP = machine("m1", cores=4.0, price_per_h=1.0)
DEAR = machine("m2", cores=4.0, price_per_h=8.0)


def test_the_nearest_cheaper_plans_are_told_with_the_limit_that_kept_them_out():
    plans = (
        candidate(0, 0.80, option("m1", cores=1.0, ms=10.0)),
        candidate(1, 0.92, option("m1", cores=1.0, ms=70.0), option("m2", cores=1.0, ms=30.0)),
    )
    found = told(problem(plans, Slo(latency_ms=60.0, accuracy_ratio=0.9), (CHEAP, DEAR)))
    assert found.plan is not None
    assert found.plan.operators[0].device_id == "m2"
    assert found.why.startswith("the cheapest that meets its bounds and fits beside the others; ")
    assert found.why.endswith("a cheaper one needs accuracy 0.8 or latency 70 ms")
    assert [(rival.wins_if, rival.plan.cost_per_h) for rival in found.rivals] == [
        ("accuracy 0.8", 0.25),
        ("latency 70 ms", 0.25),
    ]
    assert found.rivals[0].reason == "not accurate enough: 0.8 is promised, 0.9 asked for; cheaper by 1.75 per hour"
    assert found.rivals[1].reason == "misses latency by 10 ms: 60 ms are allowed; cheaper by 1.75 per hour"
    latency, accuracy = found.margins
    assert (latency.value, latency.slack) == pytest.approx((40.0, 20.0))
    assert latency.cheaper_at is not None
    assert latency.cheaper_at.text == "latency 70 ms"
    assert (accuracy.limit.kind, accuracy.slack, accuracy.tight) == (LimitKind.ACCURACY, pytest.approx(0.02), False)
    assert latency.saves_per_h == pytest.approx(1.75)


def test_a_plan_that_does_not_fit_says_what_it_lacks():
    full = candidate(0, 0.9, option("m1", cores=3.5, ms=50.0))
    other = QueryProblem(
        id="first", rate_per_s=10.0, weight=9.0, slo=Slo(), source="m1", candidates=(full,), answer_to_source=False
    )
    plans = (candidate(0, 0.9, option("m1", cores=1.0, ms=50.0), option("m2", cores=1.0, ms=50.0)),)
    found = told(problem(plans, Slo(), (CHEAP, DEAR), (other,)))
    (rival,) = found.rivals
    assert rival.reason == "does not fit: lacks 0.5 cores on m1; cheaper by 1.75 per hour"
    assert rival.wins_if == "+0.5 cores on m1"
    assert [each.relaxation.limit.kind for each in found.binding] == [LimitKind.CORES]


def test_dearer_slower_and_less_accurate_plans_say_so():
    plans = (
        candidate(0, 0.95, option("m1", cores=1.0, ms=50.0), option("m2", cores=1.0, ms=50.0)),
        candidate(1, 0.90, option("m1", cores=1.0, ms=50.0)),
    )
    found = told(problem(plans, Slo(accuracy_ratio=0.85), (CHEAP, DEAR)))
    assert found.why == "the cheapest there is: no single limit keeps a cheaper one out"
    assert [(rival.reason, rival.wins_if) for rival in found.rivals] == [
        ("less accurate at the same cost: 0.9 against 0.95", "its accuracy is above 0.95, or it costs less"),
        ("dearer by 1.75 per hour (+700%)", "it costs 1.75 per hour less"),
    ]


def test_of_machines_that_are_paid_whole_what_all_pay_counts():
    whole = (replace(CHEAP, billing=Billing.WHOLE, price_per_h=4.0), replace(DEAR, billing=Billing.WHOLE))
    plans = (candidate(0, 0.9, option("m1", cores=3.0, ms=50.0), option("m2", cores=1.0, ms=50.0)),)
    found = told(problem(plans, Slo(), whole))
    assert found.plan is not None
    assert found.plan.operators[0].device_id == "m1"
    (rival,) = found.rivals
    # By its share alone it would be cheaper: 2 against 3.
    assert rival.plan.cost_per_h == pytest.approx(2.0)
    assert rival.reason == "adds to all costs 4 per hour more (+100%)"


def test_a_query_without_a_plan_is_explained_by_its_conflict():
    found = told(problem((candidate(0, 0.8, option("m1")),), Slo(accuracy_ratio=0.9), (CHEAP, DEAR)))
    assert found.plan is None
    assert found.conflict is not None
    assert [move.text for move in found.conflict.relaxations] == ["accuracy 0.8"]
    assert found.why == found.conflict.reason


def test_a_plan_that_the_tables_no_longer_have_is_said_to_be_from_others():
    posed = problem((candidate(0, 0.8, option("m1")),), Slo(), (CHEAP, DEAR))
    selection = select(posed, HighsSolver()).selection
    (query,) = posed.queries
    newer = replace(posed, queries=(replace(query, candidates=(candidate(0, 0.8, option("m1", cores=0.7)),)),))
    found = explain(newer, selection, "q")
    assert found.why == "its plan is not in the tables that are known now: it was made from others"


def where(posed, index, chosen):
    return (index, tuple(each.machine for each, _ in chosen))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(posed=problems(shapes=("one", "chain", "join"), objective=Objective.GOODPUT))
def test_what_is_said_of_plans_is_what_trying_all_plans_says(posed):
    selection = select(posed, HighsSolver()).selection
    for plan in selection.plans:
        found = explain(posed, selection, plan.query_id)
        assert found.exact
        query = next(query for query in posed.queries if query.id == plan.query_id)
        fitting = plans_that_fit(posed, selection, plan.query_id)
        number = next(index for index, each in enumerate(query.candidates) if each.configuration == plan.configuration)
        here = (number, tuple(part.device_id for part in plan.operators))
        least = {}
        for index, chosen, _, cost in fitting:
            key = where(posed, index, chosen)
            least[key] = min(cost, least.get(key, cost))
        total = least.pop(here)
        # Plans that meet all bounds are the cheapest of other placements, and what they cost more is right.
        meeting = [rival for rival in found.rivals if rival.relaxation is None]
        costs = sorted(cost - total for cost in least.values())
        own = adds_of(found, posed, selection)
        for rival in meeting:
            mine = min(abs(cost - total - (rival.adds_per_h - own)) for cost in least.values())
            assert mine == pytest.approx(0.0, abs=1e-6)
        if not found.binding:
            assert len(meeting) == min(3, len(costs))
        # A bound binds if there is a cheaper plan without it.
        best = min(cost for *_, cost in fitting)
        place = posed.queries.index(query)
        for limit in limits_of(posed, place):
            if limit.kind in {LimitKind.LATENCY, LimitKind.ACCURACY} and best >= total - 1e-4 and own > 1e-3:
                free = plans_that_fit(without(posed, place, [limit]), selection, plan.query_id)
                cheaper = min(cost for *_, cost in free) < total - 1e-4
                assert cheaper == any(each.relaxation.limit == limit for each in found.binding), limit.text
        # A limit that binds keeps a cheaper plan out, until it moves as far as is said.
        for each in found.binding:
            moved = relaxed(posed, plan.query_id, each.relaxation)
            assert placeable(moved, selection, plan.query_id)
            if each.relaxation.limit.kind in {LimitKind.LATENCY, LimitKind.ACCURACY}:
                cheapest = min(cost for *_, cost in plans_that_fit(moved, selection, plan.query_id))
                assert cheapest == pytest.approx(total - each.saves_per_h, abs=1e-6)
                assert cheapest < total
                before = min(cost for *_, cost in fitting)
                assert before == pytest.approx(total, abs=1e-5 * max(1.0, total))
        assert list(found.rivals) == sorted(found.rivals, key=lambda rival: rival.adds_per_h)


def adds_of(found, posed, selection):
    """What the query's own plan adds to the bill of the others."""
    room = room_for(posed, selection, found.query_id)
    network, own = Network.of(room.problem), assignment_of(room.problem, found.plan)
    with_it = bill(network, room.problem, [*room.others, own]).cost_per_h
    return with_it - bill(network, room.problem, room.others).cost_per_h
