"""Templates against brute force: whatever resources are worth, the best route is there."""

from __future__ import annotations

import random
from dataclasses import replace
from math import isfinite

import pytest
from brute_force import plans_alone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problems import SHAPES, exact, machine, option, problems, wires_between

from cloud_planner.core.estimate import latency_limit_ms
from cloud_planner.core.least_cost import least_costs
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Slo, Step, Waiting
from cloud_planner.core.resources import machine_amounts
from cloud_planner.core.select.dominance import undominated
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.templates import Enumeration, TemplateLimits, admissible, template


def amounts(problem, query, plan, left):
    """What a plan of the brute force adds to the bill, and takes of each resource that could run out."""
    _, chosen, _, traffic_cost, bits = plan
    network = Network.of(problem)
    taken, cost = {}, traffic_cost
    for each, n in chosen:
        size = network.machines[each.machine]
        for resource, amount in machine_amounts(size, each, n):
            taken[resource] = taken.get(resource, 0.0) + amount
            if resource[0] == "machines" and size.billing is Billing.WHOLE:
                cost += size.price_per_h * amount
        if size.billing is Billing.SHARE:
            cost += size.price_per_h * max(each.cores / size.cores, each.memory_bytes / size.memory_bytes) * n
        elif (
            size.exclusive
            and size.count is None
            and not any(r[0] == "machines" for r, _ in machine_amounts(size, each, n))
        ):
            raise AssertionError("machines paid whole are counted")
    for (source, target), rate in bits.items():
        wire = network.wires[source, target]
        if wire.bandwidth_bit_per_s:
            taken["bits", source, target] = rate / (problem.link_utilization_cap * wire.bandwidth_bit_per_s)
    return cost, {resource: amount for resource, amount in taken.items() if resource in left}


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(shapes=tuple(SHAPES), queries=1))
def test_template_holds_the_best_route_at_any_price(problem):
    (query,) = problem.queries
    network = Network.of(problem)
    left = tight_resources(network, problem)
    rivals = []
    for plan in plans_alone(problem, query):
        cost, taken = amounts(problem, query, plan, left)
        if all(amount <= left[resource] * (1 + 1e-9) for resource, amount in taken.items()):
            rivals.append((cost, taken))
    candidates = undominated(problem, query, admissible(problem, query))
    listed = template(network, problem, query, left, Enumeration(candidates=candidates, slo=query.slo))
    assert listed.complete
    assert bool(listed.routes) == bool(rivals)
    rng = random.Random(7)
    for _ in range(8 if rivals else 0):
        price = {resource: rng.choice([0.0, rng.random()]) for resource in left}
        best = min(cost + sum(price[r] * a for r, a in taken.items()) for cost, taken in rivals)
        found = min(route.cost_per_h + sum(price[r] * a for r, a in route.amounts) for route in listed.routes)
        assert found == pytest.approx(best, rel=1e-9, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(shapes=tuple(SHAPES), queries=1), priced=st.booleans())
def test_least_costs_are_those_of_a_brute_force(problem, priced):
    """Whatever the accuracy asked for, and also where resources have a price."""
    (query,) = problem.queries
    network = Network.of(problem)
    every = all_resources(network, problem)
    rng = random.Random(11)
    price = {resource: rng.choice([0.0, rng.random()]) for resource in every} if priced else {}
    found = least_costs(network, problem, query, price)
    for index, candidate in enumerate(query.candidates):
        # Accuracy isn't asked about: of the bound only the probability that it holds counts.
        limit = latency_limit_ms(query, candidate, problem.slo_probability_ratio)
        alone = replace(
            query,
            candidates=(replace(candidate, latency_uncertainty_ratio=0.0),),
            slo=replace(query.slo, accuracy_ratio=None, latency_ms=limit),
        )
        rivals = [amounts(problem, alone, plan, every) for plan in plans_alone(problem, alone)]
        assert (found[index] is not None) == bool(rivals)
        if rivals:
            best = min(cost + sum(price.get(r, 0.0) * a for r, a in taken.items()) for cost, taken in rivals)
            route = found[index]
            assert route.candidate == index
            mine = route.cost_per_h + sum(price[r] * a for r, a in route.amounts)
            assert mine == pytest.approx(best, rel=1e-9, abs=1e-9)


def all_resources(network, problem):
    """Every resource that some option or transfer takes."""
    found = {}
    for query in problem.queries:
        for candidate in query.candidates:
            for step in candidate.steps:
                for each in step.options:
                    found.update({r: 1.0 for r, _ in machine_amounts(network.machines[each.machine], each, 1)})
    found.update({("bits", a, b): 1.0 for (a, b), wire in network.wires.items() if wire.bandwidth_bit_per_s})
    return found


def chain(*steps, slo=None, source="m1", **changes):
    candidate = Candidate(
        configuration={}, accuracy=exact(1.0), steps=steps, source_bytes=1000.0, outputs=(steps[-1].operator_id,)
    )
    return QueryProblem(
        id="q", rate_per_s=1.0, weight=1.0, slo=slo or Slo(), source=source, candidates=(candidate,), **changes
    )


def test_exact_tables_give_exact_sums():
    steps = (
        Step(operator_id="a", inputs=("source",), output_bytes=500.0, options=(option("m1", ms=7.0),)),
        Step(operator_id="b", inputs=("a",), output_bytes=1.0, options=(option("m2", ms=11.0),)),
    )
    problem = Problem(
        machines=(machine("m1"), machine("m2")),
        wires=wires_between(["m1", "m2"], bandwidth=1e6, rtt=4.0),
        queries=(chain(*steps),),
        waiting=Waiting.NONE,
    )
    (route,) = template(Network.of(problem), problem, problem.queries[0], {}).routes
    # service + half a round trip + 500 bytes at 1 Mbit/s + service + half a round trip back
    assert route.percentile_ms == pytest.approx(7.0 + 2.0 + 4.0 + 11.0 + 2.0)


def test_a_missing_link_rules_a_placement_out():
    steps = (
        Step(operator_id="a", inputs=("source",), output_bytes=500.0, options=(option("m2"),)),
        Step(operator_id="b", inputs=("a",), output_bytes=1.0, options=(option("m1"), option("m2"))),
    )
    wires = tuple(wire for wire in wires_between(["m1", "m2"]) if wire.source == "m1")
    problem = Problem(machines=(machine("m1"), machine("m2")), wires=wires, queries=(chain(*steps),))
    (route,) = template(Network.of(problem), problem, problem.queries[0], {}).routes
    assert [pick.option for pick in route.picks] == [0, 1]


def test_a_thinned_template_says_so_and_keeps_the_cheapest():
    names = [f"m{number}" for number in range(6)]
    steps = tuple(
        Step(
            operator_id=name,
            inputs=(before,),
            output_bytes=1.0,
            options=tuple(option(m, ms=10.0 + i * j) for i, m in enumerate(names) for j in (1, 2)),
        )
        for name, before in (("a", "source"), ("b", "a"), ("c", "b"))
    )
    problem = Problem(
        machines=tuple(machine(name, price_per_h=10.0 / (1 + number)) for number, name in enumerate(names)),
        wires=wires_between(names),
        queries=(chain(*steps, slo=Slo(latency_ms=500.0), source=None),),
    )
    network, (query,) = Network.of(problem), problem.queries
    left = {("cores", name): 1.0 for name in names}
    whole = template(network, problem, query, left)
    wanted = Enumeration(candidates=(0,), slo=query.slo, limits=TemplateLimits(partial_rows=20, routes=5))
    thin = template(network, problem, query, left, wanted)
    assert whole.complete
    assert not thin.complete
    assert len(thin.routes) <= 5
    assert all(isfinite(route.percentile_ms) for route in thin.routes)
    assert min(r.cost_per_h for r in thin.routes) == pytest.approx(min(r.cost_per_h for r in whole.routes))
