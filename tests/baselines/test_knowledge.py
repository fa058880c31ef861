"""What a planner knows at the end of its search: the plans that it would accept, no more and no fewer."""

from __future__ import annotations

import numpy as np
import pytest
from small_world import table, task

from cloud_planner.baselines.exhaustive import Exhaustive, Scan
from cloud_planner.baselines.fixed import BestStatic, OneTier
from cloud_planner.baselines.ipa import Ipa
from cloud_planner.baselines.jellybean import JellyBean
from cloud_planner.baselines.knowledge import accepted, listed, takes, wanted
from cloud_planner.baselines.ours import Ours
from cloud_planner.baselines.task import REFUSED
from cloud_planner.baselines.verdict import bound_of
from cloud_planner.baselines.world import true_figures


def known(asked):
    measured = asked.meter.table
    return {index: true_figures(measured, index) for index in range(asked.meter.count)}


def test_what_plans_take_is_what_they_cost():
    asked = task()
    space = asked.book.space
    prices = np.array([tier.price_per_core_h for tier in space.tiers])
    for figures in known(asked).values():
        (scored,) = space.score([figures])
        taken = takes(space, figures)
        money = taken.cores @ prices + taken.bit_per_s[:, 0, 1] / 8.0 * 3600.0 * 0.1e-9
        assert money == pytest.approx(scored.cost_per_h)


def test_bits_go_up_only():
    asked = task()
    taken = takes(asked.book.space, known(asked)[0])
    assert not taken.bit_per_s[:, 1, 0].any()
    assert not taken.bit_per_s[:, [0, 1], [0, 1]].any()


def test_plans_are_listed_cheapest_first_and_all_meet_the_bounds():
    asked = task(latency_ms=60.0, cost_per_h=0.5)
    space = asked.book.space
    plans = listed(space, known(asked), asked.slo)
    assert len(plans.plan)
    assert (np.diff(plans.cost_per_h) >= 0.0).all()
    for configuration, plan in zip(plans.configuration, plans.plan, strict=True):
        (scored,) = space.score([known(asked)[int(configuration)]])
        assert scored.latency_ms[plan] <= 60.0 * (1.0 + 1e-9)
        assert scored.cost_per_h[plan] <= 0.5 * (1.0 + 1e-9)


def test_every_configuration_keeps_its_cheapest_plan():
    asked = task()
    plans = listed(asked.book.space, known(asked), asked.slo)
    for index, figures in known(asked).items():
        (scored,) = asked.book.space.score([figures])
        best = scored.best(asked.slo)
        mine = plans.cost_per_h[plans.configuration == index]
        assert mine.min() == pytest.approx(scored.cost_per_h[best])


def test_no_listed_plan_beats_another_of_its_configuration():
    asked = task()
    plans = listed(asked.book.space, known(asked), asked.slo)
    figures = np.column_stack([plans.cost_per_h, plans.takes.cores, plans.takes.bit_per_s[:, 0, 1]])
    for index in np.unique(plans.configuration):
        mine = figures[plans.configuration == index]
        below = (mine[:, None, :] <= mine[None, :, :] + 1e-12).all(axis=2)
        assert (below & ~np.eye(len(mine), dtype=bool)).sum() == 0


def test_without_configurations_nothing_is_wanted():
    asked = task()
    plans = listed(asked.book.space, {}, asked.slo)
    assert len(plans.plan) == 0
    assert plans.least_share_ratio == float("inf")


@pytest.mark.parametrize(
    "planner", [Exhaustive(), Scan(), Ours(), Ipa(samples_ratio=1.0), OneTier(tier=0, samples_ratio=1.0)]
)
def test_the_first_plan_is_no_dearer_than_the_answer(planner):
    asked = task(accuracy=0.75)
    found = planner(asked)
    plans = wanted(planner, asked, found)
    (scored,) = asked.book.space.score([asked.meter.all_figures()[found.configuration]])
    assert plans.cost_per_h[0] <= scored.cost_per_h[found.plan] * (1.0 + 1e-9)


@pytest.mark.parametrize("planner", [Scan(), Ours()])
def test_what_is_proven_is_accurate_over_the_pool(planner):
    asked = task(accuracy=0.75)
    chosen = accepted(planner, asked, planner(asked))
    means = asked.meter.table.scores.mean(axis=0)
    assert chosen
    assert all(means[index] >= bound_of(asked) - 1e-9 for index in chosen)


def test_who_refused_wants_nothing():
    asked = task(accuracy=0.75)
    Exhaustive()(asked)
    assert accepted(Exhaustive(), asked, REFUSED) == []
    assert len(wanted(Exhaustive(), asked, REFUSED).plan) == 0


def test_only_what_was_measured_is_accepted():
    asked = task(accuracy=0.1)
    asked.meter.run(3, [0, 1])
    planner = Exhaustive()
    assert accepted(planner, asked, planner(task(accuracy=0.1))) == [3]


def test_one_tier_planners_want_plans_on_one_tier():
    asked = task(accuracy=0.75)
    planner = Ipa(samples_ratio=1.0)
    plans = wanted(planner, asked, planner(asked))
    places = asked.book.space.place[plans.plan]
    assert (places == places[:, :1]).all()


def test_jellybean_knows_no_bound_on_latency():
    asked = task(accuracy=0.75, latency_ms=1.0)
    planner = JellyBean(samples_ratio=1.0)
    assert len(wanted(planner, asked, planner(asked)).plan)


def test_a_static_configuration_is_wanted_with_its_true_times():
    asked = task(accuracy=0.99, latency_ms=500.0)
    planner = BestStatic(configuration=0)
    plans = wanted(planner, asked, planner(asked))
    (scored,) = asked.book.space.score([true_figures(table(), 0)])
    assert set(plans.configuration) == {0}
    assert plans.cost_per_h[0] == pytest.approx(scored.cost_per_h[scored.best(asked.slo)])
    assert asked.meter.bill.seconds == 0.0
