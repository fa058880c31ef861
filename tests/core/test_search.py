"""The candidate search: never certifies too often, goes on where it was, ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from cloud_planner.core.knob_model import KnobModel
from cloud_planner.core.precision import Guarantee
from cloud_planner.core.search import CandidateSearch
from cloud_planner.core.search_terms import (
    QUICK,
    THOROUGH,
    Phase,
    Prospects,
)

CONFIGURATIONS = [{"a.size": a, "b.model": b} for a, b in product((1, 2, 3), ("x", "y", "z"))]
COUNT = len(CONFIGURATIONS)
MODEL = KnobModel(CONFIGURATIONS)
COST = np.arange(1.0, COUNT + 1.0)
PROSPECTS = Prospects(cost_per_h=COST, possible_ratio=np.ones(COUNT), sample_s=COST)


def table(rng, accuracy, pool=60):
    return (rng.random((pool, COUNT)) < accuracy).astype(float)


def run(search, scores, steps=10_000):
    asked = []
    while len(asked) < steps and (ask := search.ask(PROSPECTS)) is not None:
        asked.append(ask)
        search.tell(ask.configuration, scores[ask.first : ask.first + ask.count, ask.configuration])
    return asked


@pytest.mark.parametrize("policy", [QUICK, THOROUGH])
def test_a_certified_answer_misses_its_bound_no_more_often_than_the_level(policy):
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(100):
        scores = table(rng, np.sort(rng.uniform(0.55, 0.75, COUNT)))
        bound = float(np.quantile(scores.mean(axis=0), rng.uniform(0.3, 0.9))) + 0.005
        search = CandidateSearch(MODEL, pool=len(scores), bound_ratio=bound, policy=policy)
        run(search, scores)
        answer = search.answer(PROSPECTS)
        if answer.phase is Phase.CERTIFIED:
            missed += bool(scores[:, answer.configuration].mean() < bound - 1e-9)
    # 10 or more of 100 at 5% have a probability of 3%.
    assert missed < 10


def test_same_inputs_give_same_asks_and_a_search_goes_on_where_it_was():
    scores = table(np.random.default_rng(1), np.linspace(0.4, 0.9, COUNT))
    first = CandidateSearch(MODEL, pool=60, bound_ratio=0.7)
    asked = run(first, scores)
    assert asked == run(CandidateSearch(MODEL, pool=60, bound_ratio=0.7), scores)
    half = CandidateSearch(MODEL, pool=60, bound_ratio=0.7)
    run(half, scores, len(asked) // 2)
    again = CandidateSearch(MODEL, pool=60, bound_ratio=0.7, scores=half.scores, attempts=half.attempts)
    assert run(again, scores) == asked[len(asked) // 2 :]


def test_with_everything_known_the_cheapest_is_the_answer_and_nothing_is_asked():
    scores = table(np.random.default_rng(2), np.linspace(0.3, 0.95, COUNT))
    bound = float(np.median(scores.mean(axis=0)))
    search = CandidateSearch(MODEL, pool=60, bound_ratio=bound, scores=list(scores.T))
    assert search.ask(PROSPECTS) is None
    answer = search.answer(PROSPECTS)
    assert answer.phase is Phase.CERTIFIED
    assert answer.configuration == int(np.flatnonzero(scores.mean(axis=0) >= bound - 1e-9)[0])


def test_where_nothing_meets_the_bound_it_refuses():
    scores = table(np.random.default_rng(4), np.full(COUNT, 0.4))
    search = CandidateSearch(MODEL, pool=60, bound_ratio=0.95)
    run(search, scores)
    assert search.answer(PROSPECTS).phase is Phase.REFUSED


def test_a_promise_of_the_population_ends_with_the_pool():
    scores = table(np.random.default_rng(5), np.full(COUNT, 0.7), pool=20)
    policy = replace(THOROUGH, guarantee=Guarantee.POPULATION)
    search = CandidateSearch(MODEL, pool=20, bound_ratio=0.7, policy=policy)
    assert len(run(search, scores)) < 20 * COUNT
    assert search.ask(PROSPECTS) is None


def test_a_margin_lowers_the_bound():
    policy = replace(QUICK, margin_ratio=0.05)
    assert CandidateSearch(MODEL, pool=10, bound_ratio=0.7, policy=policy).bound_ratio == pytest.approx(0.65)


def test_costs_that_may_be_lower_have_a_chance_to_be():
    few = np.array([1.0, 2.0, 4.0])
    known = Prospects(cost_per_h=few, possible_ratio=np.ones(3), sample_s=few)
    assert known.cheaper_ratio(2.0).tolist() == [1.0, 0.0, 0.0]
    unsure = replace(known, low_cost_per_h=few / 2.0)
    assert unsure.cheaper_ratio(2.0)[2] == pytest.approx(0.1)
    assert unsure.cheaper_ratio(2.0)[0] > unsure.cheaper_ratio(2.0)[1]


def monotone_search(scores, bound):
    model = KnobModel(CONFIGURATIONS, {"a.size": True})
    return CandidateSearch(model, pool=60, bound_ratio=bound, scores=scores)


def test_what_misses_rules_out_what_is_lower_in_a_monotone_knob():
    scores = [np.zeros(0)] * COUNT
    scores[6] = np.zeros(60)
    meets = monotone_search(scores, 0.8)._beliefs(PROSPECTS).meets
    assert meets[[0, 3, 6]].tolist() == [0.0, 0.0, 0.0]
    assert (meets[[1, 4, 7]] > 0.0).all()


def test_a_monotone_knob_that_measurements_contradict_rules_out_nothing():
    scores = [np.zeros(0)] * COUNT
    scores[6], scores[0] = np.zeros(60), np.ones(10)
    assert monotone_search(scores, 0.8)._beliefs(PROSPECTS).meets[3] > 0.0
