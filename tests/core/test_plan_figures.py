"""A plan's figures part by part: they are those that the plan was made from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exact_solver import HighsSolver
from hypothesis import HealthCheck, given, settings
from small_problems import exact, machine, option, problems, wires_between

from circinus.model.query import Slo
from cloud_planner.core.network import Network
from cloud_planner.core.plan_figures import ANSWER, plan_figures
from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Step, Waiting
from cloud_planner.core.select import select
from cloud_planner.core.select.assignment import from_route
from cloud_planner.core.select.finish import plan_of
from cloud_planner.core.templates import template


def posed(**changes):
    steps = (
        Step(operator_id="a", inputs=("source",), output_bytes=500.0, options=(option("m1", ms=10.0, variance=25.0),)),
        Step(operator_id="b", inputs=("a",), output_bytes=100.0, options=(option("m2", cores=0.25, ms=20.0),)),
    )
    candidate = Candidate(
        configuration={"a.k": 1},
        accuracy=exact(0.9),
        steps=steps,
        source_bytes=1000.0,
        outputs=("b",),
        latency_uncertainty_ratio=0.1,
    )
    query = QueryProblem(id="q", rate_per_s=10.0, weight=1.0, slo=Slo(), source="m1", candidates=(candidate,))
    return Problem(
        machines=(machine("m1", price_per_h=1.0), machine("m2", price_per_h=4.0)),
        wires=wires_between(["m1", "m2"], bandwidth=1e6, rtt=4.0),
        queries=(query,),
        **changes,
    )


def planned(problem):
    return select(problem, HighsSolver()).selection.plans[0]


def test_an_operator_has_its_p95_with_an_interval_and_its_share_of_the_price():
    found = plan_figures(posed(), planned(posed()))
    a, b = found.operators
    # A gamma of mean 10 and deviation 5.
    assert a.service_p95_ms.value == pytest.approx(19.4, rel=0.01)
    assert a.service_p95_ms.low == pytest.approx(a.service_p95_ms.value * (1.0 - 0.16449), rel=0.001)
    assert (a.service_ms, a.cost_per_h) == (10.0, pytest.approx(0.5))
    assert b.service_p95_ms.value == pytest.approx(20.0)
    assert b.cost_per_h == pytest.approx(1.0)
    assert b.used_ratio == pytest.approx(0.2)


def test_hops_take_half_a_round_trip_and_their_bytes():
    problem = posed()
    hops = {(hop.producer, hop.consumer): hop for hop in plan_figures(problem, planned(problem)).hops}
    assert hops["source", "a"].time_ms == 0.0
    assert hops["a", "b"].time_ms == pytest.approx(2.0 + 500.0 * 8.0 / 1e6 * 1e3)
    assert hops["b", ANSWER].time_ms == pytest.approx(2.0)
    assert hops["b", ANSWER].there == "m1"


def test_of_another_problem_nothing_is_told():
    problem = posed()
    plan = planned(problem)
    assert plan_figures(replace(problem, queries=()), plan) is None
    assert plan_figures(problem, replace(plan, configuration={"a.k": 2})) is None
    moved = tuple(replace(part, device_id="m1") for part in plan.operators)
    assert plan_figures(problem, replace(plan, operators=moved)) is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(problems(queries=1))
def test_operators_and_traffic_make_up_what_the_plan_costs(problem):
    network, query = Network.of(problem), problem.queries[0]
    for route in template(network, problem, query, {}).routes[:10]:
        plan = plan_of(network, problem, from_route(0, route))
        found = plan_figures(problem, plan)
        assert found is not None
        assert [(one.operator_id, one.device_id) for one in found.operators] == [
            (part.operator_id, part.device_id) for part in plan.operators
        ]
        assert sum(one.cost_per_h for one in found.operators) <= plan.cost_per_h + 1e-9
        if all(wire.price_per_gb == 0.0 for wire in problem.wires):
            assert found.traffic_per_h == pytest.approx(0.0, abs=1e-9)
        for one in found.operators:
            assert one.service_p95_ms.low <= one.service_p95_ms.value <= one.service_p95_ms.high
            assert one.wait_ms >= 0.0


def test_paid_whole_or_by_share_an_operator_costs_its_share():
    problem = posed(waiting=Waiting.NONE)
    whole = replace(problem, machines=tuple(replace(one, billing=Billing.WHOLE) for one in problem.machines))
    costs = [[one.cost_per_h for one in plan_figures(each, planned(each)).operators] for each in (problem, whole)]
    assert costs[0] == costs[1]
