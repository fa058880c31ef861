"""The steps of which rivals are made."""

from __future__ import annotations

import numpy as np
import pytest
from small_world import CHOICES, CONFIGURATIONS, QUALITY, SHAPE, TIERS, table, task

from cloud_planner.baselines.compass_v import wilson_interval
from cloud_planner.baselines.fixed import best_static
from cloud_planner.baselines.jellybean import beam_search, greedy_tiers
from cloud_planner.baselines.knob_grid import KnobGrid
from cloud_planner.baselines.operator_profile import Variants, plan_profile
from cloud_planner.baselines.oracle import Oracle, true_standing
from cloud_planner.baselines.plan_space import PlanSpace, TierClass
from cloud_planner.baselines.task import REFUSED
from cloud_planner.baselines.verdict import Certifier, cheapest, sample_count
from cloud_planner.baselines.videostorm import allocate, dominant_demand
from cloud_planner.baselines.world import true_figures


@pytest.mark.parametrize(("pool", "ratio", "count"), [(60, 0.1, 6), (60, 0.001, 1), (60, 1.0, 60), (48, 0.5, 24)])
def test_a_part_of_a_pool_is_so_many_samples(pool, ratio, count):
    assert sample_count(pool, ratio) == count


def test_the_cheapest_of_none_is_a_refusal():
    assert cheapest(task(), []) is REFUSED


def test_wilsons_interval_is_that_of_the_book():
    # 8 of 10 at 95%: 0.490 .. 0.943
    low, high = wilson_interval(0.8, 10, 0.95)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_neighbours_are_one_step_of_one_knob_away():
    grid = KnobGrid(CONFIGURATIONS)
    at = {choice: index for index, choice in enumerate(CHOICES)}
    # Sizes are ordinal, models are not.
    around = {CHOICES[int(index)] for index in grid.neighbours(at[0, 0, 0])}
    assert around == {(1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 1)}
    assert at[2, 0, 0] in grid.others(at[0, 0, 0])


def test_a_hypercube_has_every_value_of_every_knob():
    grid = KnobGrid(CONFIGURATIONS)
    points = grid.hypercube(6, np.random.default_rng(1))
    assert len(points) == len(set(points))
    for knob, size in enumerate(grid.sizes):
        assert set(grid.levels[points, knob].tolist()) == set(range(size))


@pytest.mark.parametrize("depth", [0, 1, 2, 8])
def test_a_profile_tells_products_of_accuracies_exactly(depth):
    accuracies = np.array([QUALITY[0][a] * QUALITY[1][b] * QUALITY[2][c] for a, b, c in CHOICES])
    plan = plan_profile(Variants(SHAPE.operators, CONFIGURATIONS), depth)
    assert plan.estimate(accuracies) == pytest.approx(accuracies)


@pytest.mark.parametrize(("depth", "needed"), [(0, 6), (1, 12), (2, 18)])
def test_a_profile_of_single_operators_needs_few_configurations(depth, needed):
    plan = plan_profile(Variants(SHAPE.operators, CONFIGURATIONS), depth)
    assert len(plan.needed) == needed


def test_a_diagonal_has_every_variant_of_every_operator():
    variants = Variants(SHAPE.operators, CONFIGURATIONS)
    few = variants.diagonal()
    assert len(few) == 3
    assert [set(variants.of[few, column].tolist()) for column in range(3)] == [{0, 1, 2}, {0, 1, 2}, {0, 1}]


def test_with_all_operators_before_it_a_profile_is_what_was_measured():
    accuracies = np.random.default_rng(0).uniform(0.2, 0.9, len(CHOICES))
    plan = plan_profile(Variants(SHAPE.operators, CONFIGURATIONS), 2)
    assert plan.estimate(accuracies) == pytest.approx(accuracies)


def test_a_wide_beam_has_the_cheapest_that_is_accurate_enough():
    measured = table()
    variants = Variants(SHAPE.operators, CONFIGURATIONS)
    compute = np.array([true_figures(measured, index).mean_ms for index in range(len(CHOICES))])
    accuracies = measured.scores.mean(axis=0)
    accurate = np.flatnonzero(accuracies >= 0.8)
    beam = beam_search(variants, accuracies, compute, 0.8, 10)
    assert int(accurate[np.argmin(compute.sum(axis=1)[accurate])]) in beam
    assert all(accuracies[index] >= 0.8 for index in beam)
    assert beam_search(variants, accuracies, compute, 0.999, 10) == []


def test_greedy_tiers_never_come_down_and_leave_a_full_tier():
    figures = true_figures(table(), len(CHOICES) - 1)
    roomy = PlanSpace(SHAPE, TIERS, 10.0, 0.95)
    assert greedy_tiers(roomy, figures) == (0, 0, 0)
    narrow = TierClass(name="device", speed_ratio=1.0, price_per_core_h=0.05, cores=0.3)
    assert greedy_tiers(PlanSpace(SHAPE, (narrow, TIERS[1]), 10.0, 0.95), figures) == (0, 1, 1)
    assert greedy_tiers(PlanSpace(SHAPE, (narrow,), 10.0, 0.95), figures) is None


def test_dominant_demand_is_the_largest_part_of_any_tier_at_the_best_placement():
    figures = true_figures(table(), 17)
    alone = PlanSpace(SHAPE, TIERS[:1], 10.0, 0.95)
    cores = 10.0 * figures.mean_ms.sum() / 1e3 / 0.7
    assert dominant_demand(alone, figures) == pytest.approx(cores / 8.0)
    assert dominant_demand(PlanSpace(SHAPE, TIERS, 10.0, 0.95), figures) < dominant_demand(alone, figures)


def test_increments_end_at_the_cheapest_plan_without_a_shortfall():
    asked = task(accuracy=0.8)
    quality = {index: float(asked.meter.run(index, range(60)).mean()) for index in range(len(CHOICES))}
    found = allocate(asked, quality, list(quality), 0.05)
    best = Oracle()(asked)
    space = asked.book.space
    assert true_standing(asked, space, found)[0] == pytest.approx(true_standing(asked, space, best)[0])
    assert allocate(task(accuracy=0.99), quality, list(quality), 0.05) is REFUSED


def test_the_certifier_proves_what_is_met_and_gives_up_what_is_missed():
    asked = task(accuracy=0.8)
    certifier = Certifier(asked, level=0.05, miss_level=0.02)
    truth = asked.meter.table.scores.mean(axis=0) >= 0.8
    assert [certifier.decide(index) for index in range(len(CHOICES))] == truth.tolist()
    assert not certifier.open.any()
    assert asked.meter.bill.executions < asked.meter.seen.size


def test_a_certifier_begins_with_what_is_known():
    first = task(accuracy=0.8)
    Certifier(first, level=0.05, miss_level=0.02).decide(17)
    again = task(accuracy=0.8, memory=first.meter.memory)
    assert len(Certifier(again, level=0.05, miss_level=0.02).scores[17]) == int(first.meter.seen[:, 17].sum())
    assert again.meter.bill.executions == 0


def test_the_best_static_configuration_is_the_cheapest_that_meets_most():
    tasks = [task(accuracy=accuracy) for accuracy in (0.6, 0.8, 0.9)]
    assert best_static(tasks).configuration == Oracle()(tasks[-1]).configuration


def test_a_refusal_has_no_standing():
    asked = task()
    with pytest.raises(ValueError, match="refusal"):
        true_standing(asked, asked.book.space, REFUSED)
