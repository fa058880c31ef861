"""Least cost with whole machines is that of enumeration, on up to 12 machines and 6 operators."""

from __future__ import annotations

import random
import time
from math import inf

import pytest
from enumerated_cost import least_cost_of_chain, least_cost_of_queries
from priced_problems import divided_chain, several_queries

from cloud_planner.core.audit import audit
from cloud_planner.core.select import select
from cloud_planner.solver import ThoroughSolver

pytestmark = pytest.mark.slow

#: Seed, operators, machines of each type, variants of the first two operators.
CHAINS = [
    (2, 3, (6, 2, 4), 1),
    (4, 4, (4, 2, 3, 3), 1),
    (7, 5, (5, 1, 6), 1),
    (8, 6, (6, 1, 3, 2), 1),
    (9, 6, (3, 3, 3, 3), 1),
    (12, 6, (4, 2, 3, 3), 1),
    (15, 4, (5, 1, 6), 2),
    (16, 6, (5, 1, 6), 2),
]


def bought(problem, record_property):
    """The selection, with how long it took on record."""
    start_s = time.perf_counter()
    selection = select(problem, ThoroughSolver()).selection
    seconds = time.perf_counter() - start_s
    record_property("select_s", round(seconds, 3))
    print(f"least cost {selection.cost_per_h:.6g} per hour in {seconds:.2f} s")
    assert audit(problem, selection) == ()
    return selection


@pytest.mark.parametrize(("seed", "operators", "counts", "variants"), CHAINS)
def test_a_divided_chain_costs_what_enumeration_finds(seed, operators, counts, variants, record_property):
    problem = divided_chain(random.Random(seed), operators, counts, variants)
    selection = bought(problem, record_property)
    # The audit says that this is what it costs; nothing that is tried costs less.
    claimed = selection.cost_per_h * (1 - 1e-6) if selection.plans else inf
    assert least_cost_of_chain(problem, below=claimed) == claimed
    assert selection.cost_bound_per_h == pytest.approx(selection.cost_per_h, rel=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_several_queries_cost_what_enumeration_finds(seed, record_property):
    problem = several_queries(random.Random(seed))
    selection = bought(problem, record_property)
    least = least_cost_of_queries(problem)
    asked = problem.served_ratio * sum(query.rate_per_s for query in problem.queries)
    assert (selection.goodput_per_s >= asked * (1 - 1e-9)) == (least < inf)
    if least < inf:
        assert selection.cost_per_h == pytest.approx(least, rel=1e-6)
        assert selection.cost_bound_per_h == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_what_queries_are_billed_adds_up_to_whole_machines(seed):
    problem = several_queries(random.Random(seed))
    selection = select(problem, ThoroughSolver()).selection
    assert sum(plan.billed_per_h for plan in selection.plans) == pytest.approx(selection.cost_per_h)
    prices = {machine.id: machine.price_per_h for machine in problem.machines}
    whole = {machine.id for machine in problem.machines if machine.billing == "whole"}
    for use in selection.machines:
        if use.device_id in whole:
            assert use.cost_per_h == pytest.approx(prices[use.device_id] * use.machines)
    assert all(plan.billed_per_h >= plan.cost_per_h - 1e-9 for plan in selection.plans)
