"""The latency model against a simulation: within a tenth at p95, where estimate.py does not say otherwise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from simulation import latencies
from small_problems import exact, machine, wires_between

from circinus.model.query import Slo
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Delay, Option, Problem, QueryProblem, Step
from cloud_planner.core.steps import Pick
from cloud_planner.core.templates import Enumeration, Prune, template

RATE_PER_S = 10.0
ARRIVALS = {"even": 0.0, "at random": 1.0}
LOADS = (0.2, 0.45, 0.7)
CHAIN = (("a", ("source",)), ("b", ("a",)), ("c", ("b",)), ("d", ("c",)))
TREE = (("a", ("source",)), ("b", ("a",)), ("c", ("a",)))
JOIN = (("a", ("source",)), ("b", ("source",)), ("c", ("a", "b")))
DIAMOND = (("a", ("source",)), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c")))
#: Name: steps, the part of the load that each has, coefficients of variation, what else.
PLANS = {
    "one step": (CHAIN[:1], (1.0,), (0.1, 0.4, 0.8, 1.2), {}),
    "three replicas": (CHAIN[:1], (1.0,), (0.2, 0.4, 0.8, 1.2), {"replicas": (3,)}),
    "a fast step and a slow one": (CHAIN[:2], (0.3, 1.0), (0.1, 0.4, 0.8, 1.2), {}),
    "two alike": (CHAIN[:2], (1.0, 1.0), (0.4, 0.8, 1.2), {}),
    "a chain over links": (
        CHAIN,
        (1.0, 0.6, 1.0, 0.8),
        (0.1, 0.4, 0.8, 1.2),
        {"replicas": (1, 2, 1, 3), "where": ("m1", "m2", "m2", "m3")},
    ),
    "a tree": (TREE, (1.0, 1.0, 0.7), (0.4, 0.8), {"where": ("m1", "m1", "m2")}),
    "a join": (JOIN, (1.0, 0.9, 0.7), (0.4, 0.8, 1.2), {"where": ("m1", "m2", "m1")}),
    "a diamond": (DIAMOND, (0.8, 1.0, 0.9, 0.3), (0.4, 0.8), {}),
    "batches": (CHAIN[:1], (1.0,), (0.1, 0.4, 0.8), {"batch": (4,)}),
    "batches on two replicas": (CHAIN[:2], (0.5, 1.0), (0.1, 0.4, 0.8), {"batch": (1, 8), "replicas": (1, 2)}),
    "a step after batches": (CHAIN[:2], (1.0, 0.6), (0.1, 0.4), {"batch": (4, 1)}),
    "three items of one": (CHAIN[:2], (0.6, 1.0), (0.4, 0.8, 1.2), {"items": (1.0, 3.0)}),
    "four items of one on two replicas": (CHAIN[:2], (0.6, 1.0), (0.4, 0.8), {"items": (1.0, 4.0), "replicas": (1, 2)}),
    "a faster step behind a fan-out": (CHAIN[:3], (0.6, 1.0, 0.3), (0.4, 0.8, 1.2), {"items": (1.0, 3.0, 3.0)}),
}
CORRELATED = {
    "a chain": (CHAIN, (1.0, 0.6, 1.0, 0.8), (0.4, 0.8, 1.2), {}),
    "a chain of replicas": (CHAIN, (1.0, 0.6, 1.0, 0.8), (0.4, 0.8), {"replicas": (1, 2, 1, 3)}),
    "a diamond": (DIAMOND, (0.8, 1.0, 0.9, 0.3), (0.8,), {}),
}


def plan(shape, parts, cv, load, arrival_cv2, *, replicas=None, batch=None, items=None, where=None, correlation=0.0):
    """A problem of one plan in which a step's replicas are busy for ``load`` x its part of the time."""
    many = len(shape)
    replicas, batch = replicas or (1,) * many, batch or (1,) * many
    items, where = items or (1.0,) * many, where or ("m1",) * many
    steps = []
    for place, (name, inputs) in enumerate(shape):
        capacity = RATE_PER_S * items[place] / replicas[place] / (load * parts[place])
        mean_ms = 1e3 * batch[place] / capacity
        only = Option(
            machine=where[place],
            cores=0.1,
            service=Delay(mean_ms=mean_ms, variance_ms2=(cv * mean_ms) ** 2),
            capacity_per_s=capacity,
            batch=batch[place],
        )
        steps.append(
            Step(operator_id=name, inputs=inputs, output_bytes=2e4, options=(only,), items_per_item=items[place])
        )
    read = {each for _, inputs in shape for each in inputs}
    candidate = Candidate(
        configuration={},
        accuracy=exact(1.0),
        steps=tuple(steps),
        source_bytes=2e4,
        outputs=tuple(name for name, _ in shape if name not in read),
        stage_correlation_ratio=correlation,
    )
    query = QueryProblem(
        id="q",
        rate_per_s=RATE_PER_S,
        weight=1.0,
        slo=Slo(),
        source="m1",
        candidates=(candidate,),
        arrival_cv2=arrival_cv2,
    )
    names = ("m1", "m2", "m3")
    problem = Problem(
        machines=tuple(machine(name, cores=100.0) for name in names),
        wires=wires_between(names, bandwidth=1e7, rtt=20.0),
        queries=(query,),
    )
    return problem, query, tuple(Pick(option=0, replicas=count) for count in replicas)


def ratio(*given, **more):
    """The model's p95 over the simulation's."""
    problem, query, picks = plan(*given, **more)
    wanted = Enumeration(candidates=(0,), slo=Slo(), prune=Prune.NOTHING, fixed=picks)
    (route,) = template(Network.of(problem), problem, query, {}, wanted).routes
    return route.percentile_ms / np.quantile(latencies(problem, query, 0, picks), 0.95)


def off(plans, **more):
    """Where the model is off by more than a tenth."""
    return {
        (cv, load, arrival): round(float(found), 3)
        for (shape, parts, cvs, given) in [plans]
        for cv, load, (arrival, cv2) in product(cvs, LOADS, ARRIVALS.items())
        if not 0.9 <= (found := ratio(shape, parts, cv, load, cv2, **given, **more)) <= 1.1
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLANS))
def test_the_model_is_within_a_tenth_of_the_simulation(name):
    assert not off(PLANS[name])


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.3, 0.6])
@pytest.mark.parametrize("name", list(CORRELATED))
def test_so_it_is_where_slow_items_are_slow_everywhere(name, correlation):
    assert not off(CORRELATED[name], correlation=correlation)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a short way that varies", "constant services in a row"])
def test_where_the_model_is_known_to_be_off_it_is_too_high(name):
    if name == "constant services in a row":
        found = [ratio(CHAIN, (1.0,) * 4, 0.1, load, 1.0) for load in LOADS]
    else:
        found = [ratio(JOIN, (1.0, 0.2, 0.2), cv, 0.7, 0.0) for cv in (0.4, 1.2)]
    assert all(0.9 <= each <= 1.5 for each in found)
