"""Every rival, with every setting: it finds what there is to find, and is charged for what it ran."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from small_world import TIERS, table, task

from cloud_planner.baselines.fixed import BestStatic, OneTier
from cloud_planner.baselines.ipa import Ipa
from cloud_planner.baselines.jellybean import JellyBean
from cloud_planner.baselines.oracle import Oracle, true_standing
from cloud_planner.baselines.registry import RIVALS
from cloud_planner.baselines.vulcan import ReinforcedVulcan

ROOT = Path(__file__).resolve().parent.parent.parent


def ends(wanted=lambda name: True):
    """The cheapest and the most thorough setting of each rival."""
    return [
        pytest.param(planners()[at], id=f"{name} {label}")
        for name, planners in RIVALS
        if wanted(name)
        for at, label in ((0, "cheap"), (-1, "thorough"))
    ]


def thorough(*but):
    return [pytest.param(planners()[-1], id=name) for name, planners in RIVALS if name not in but]


def faithful():
    return ends(lambda name: not name.endswith("reinforced"))


def same(one, other):
    return (one.configuration, one.plan) == (other.configuration, other.plan)


@pytest.mark.parametrize("accuracy", [0.65, 0.8, 0.89])
@pytest.mark.parametrize("planner", thorough("all cloud"))
def test_with_a_whole_pool_and_enough_probes_it_finds_the_best_plan(planner, accuracy):
    asked = task(accuracy=accuracy)
    found = planner(asked)
    best = Oracle()(asked)
    cost, latency_ms, reached = true_standing(asked, asked.book.space, found)
    assert reached >= accuracy
    assert latency_ms <= 500.0
    assert cost == pytest.approx(true_standing(asked, asked.book.space, best)[0])


@pytest.mark.parametrize("planner", ends())
def test_it_is_charged_for_what_it_ran_and_nothing_else(planner):
    asked = task(accuracy=0.85)
    planner(asked)
    assert asked.meter.bill.executions == int(asked.meter.seen.sum())


@pytest.mark.parametrize("planner", ends())
def test_it_is_not_charged_again_for_what_is_known(planner):
    asked = task(accuracy=0.85)
    planner(asked)
    again = task(accuracy=0.85, memory=asked.meter.memory)
    known = int(again.meter.seen.sum())
    planner(again)
    assert again.meter.bill.executions == int(again.meter.seen.sum()) - known


@pytest.mark.parametrize("planner", ends())
def test_it_refuses_where_no_configuration_is_accurate_enough(planner):
    assert planner(task(accuracy=0.999)).configuration is None


@pytest.mark.parametrize("planner", ends(lambda name: name != "jellybean"))
def test_it_refuses_where_no_plan_is_quick_enough(planner):
    assert planner(task(accuracy=0.5, latency_ms=0.5)).configuration is None


@pytest.mark.parametrize("planner", ends(lambda name: name != "jellybean"))
def test_it_refuses_where_no_plan_is_cheap_enough(planner):
    assert planner(task(accuracy=0.5, cost_per_h=1e-4)).configuration is None


@pytest.mark.parametrize("planner", ends())
def test_without_a_bound_on_accuracy_it_answers(planner):
    assert planner(task(accuracy=None)).configuration is not None


@pytest.mark.parametrize("planner", ends())
def test_the_same_seed_gives_the_same_answer_and_bill(planner):
    one, other = task(accuracy=0.85, seed=3), task(accuracy=0.85, seed=3)
    assert same(planner(one), planner(other))
    assert one.meter.bill == other.meter.bill
    assert np.array_equal(one.meter.seen, other.meter.seen)


@pytest.fixture(scope="module")
def everybodys():
    """What all rivals kept of another content."""
    kept = {}
    for _, planners in RIVALS:
        planners()[-1](task(table(seed=5), kept=kept))
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("planner", faithful())
def test_a_faithful_rival_keeps_nothing_and_takes_nothing_from_what_others_kept(planner, everybodys):
    kept = dict(everybodys)
    before = {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}
    cold, warm = task(), task(kept=kept)
    assert same(planner(cold), planner(warm))
    assert cold.meter.bill == warm.meter.bill
    assert kept.keys() == before.keys()
    assert all(len(kept[name]) == len(before[name]) for name in kept if isinstance(kept[name], list))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("planner", thorough())
def test_no_answer_that_truly_meets_its_slo_is_cheaper_than_the_oracles(planner, seed):
    asked = task(table(seed=seed, noise=0.2, shuffled=True), accuracy=0.6, latency_ms=90.0, seed=seed)
    found, best = planner(asked), Oracle()(asked)
    if found.configuration is None:
        return
    cost, latency_ms, reached = true_standing(asked, asked.book.space, found)
    if reached >= 0.6 and latency_ms <= 90.0:
        assert best.configuration is not None
        assert cost >= true_standing(asked, asked.book.space, best)[0] - 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("planner", ends(lambda name: name.endswith("reinforced")))
def test_what_a_reinforced_rival_answers_is_accurate_enough(planner, seed):
    asked = task(table(seed=seed, noise=0.2, shuffled=True), accuracy=0.6, seed=seed)
    found = planner(asked)
    if found.configuration is not None:
        assert true_standing(asked, asked.book.space, found)[2] >= 0.6 - 1e-9


def test_the_oracle_is_charged_nothing():
    asked = task()
    Oracle()(asked)
    assert asked.meter.bill.executions == 0


@pytest.mark.parametrize("planner", [Ipa(samples_ratio=0.5, offline=True), JellyBean(samples_ratio=0.5, offline=True)])
def test_an_offline_profile_is_charged_once(planner):
    kept = {}
    first, second = task(kept=kept), task(table(seed=1), kept=kept, accuracy=0.7)
    planner(first)
    assert first.meter.bill.executions > 0
    planner(second)
    # JellyBean still looks at what is left of its beam.
    assert second.meter.bill.executions <= (0 if isinstance(planner, Ipa) else 10 * 30)


def test_another_content_makes_the_reinforced_search_cheaper():
    kept = {}
    planner = ReinforcedVulcan(worth_s=1e6)
    cold = task(table(seed=1), accuracy=0.88)
    planner(cold)
    planner(task(table(seed=2), accuracy=0.88, kept=kept))
    warm = task(table(seed=1), accuracy=0.88, kept=kept)
    planner(warm)
    assert warm.meter.bill.executions <= cold.meter.bill.executions


def test_one_tier_stays_on_it():
    for tier in (0, -1):
        asked = task()
        found = OneTier(tier=tier, samples_ratio=1.0)(asked)
        assert set(asked.book.space.place[found.plan].tolist()) == {tier % len(TIERS)}


def test_the_best_static_configuration_is_charged_nothing():
    asked = task()
    assert BestStatic(configuration=17)(asked).configuration == 17
    assert asked.meter.bill.executions == 0
    assert BestStatic(configuration=17)(task(latency_ms=0.5)).configuration is None


@pytest.mark.slow
@pytest.mark.parametrize("planner", ends())
def test_it_runs_on_the_documents_table(planner):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from search_tables import load
    finally:
        sys.path.pop(0)
    measured, _ = load("documents")
    rows = np.random.default_rng(0).permutation(len(measured.scores))[:60]
    asked = task(measured.rows(rows), accuracy=0.9, latency_ms=2000.0)
    found = planner(asked)
    assert asked.meter.bill.executions == int(asked.meter.seen.sum())
    assert found.configuration is None or 0 <= found.plan < len(asked.book.space.place)
