"""Laws of prices and bounds, over small random spaces of which every selection is listed."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csc_array
from small_spaces import SEEDS, here, linear_optimum, listed, spaces

from cloud_planner.core.column_generation.areas import generate_apart
from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import generate
from cloud_planner.core.column_generation.hoods import Effort, bound_of, hoods, most_at, task
from cloud_planner.core.column_generation.pricing import Aim, Prices, best_at, profits_of
from cloud_planner.core.column_generation.programmes import LinearResult
from cloud_planner.core.column_generation.space import NONE, Kind, SelectionSpace, Sides, padded

pytestmark = pytest.mark.slow

LAW = settings(max_examples=20, deadline=None, derandomize=True, database=None)
ROOM = 1e-6


def aims(rng, space, every):
    """One of each stage; what must be held is held by some selection."""
    at = rng.randrange(len(every.goodput))
    running = np.array(
        [rng.randint(NONE, len(space.kinds[kind].cost_per_h) - 1) for kind in space.kind.tolist()], dtype=np.intp
    )
    least, most = float(every.goodput[at]), float(every.cost[at])
    return (
        Aim(),
        Aim(worth=0.0, cost=1.0, least_goodput_per_s=least),
        Aim(worth=0.0, kept=1.0, least_goodput_per_s=least, most_cost_per_h=most, running=running),
    )


def prices_of(rng, space):
    amounts = [0.0, 0.0, 0.25, 1.0, 3.0]
    return Prices(
        row=np.array([rng.choice(amounts) for _ in space.capacity]),
        goodput=rng.choice(amounts),
        cost=rng.choice(amounts),
    )


def known(space, every, aim):
    """A selection that holds what an aim asks for, as columns to start from."""
    choice = every.choice[int(np.argmax(every.value(aim)))]
    members = np.flatnonzero(choice >= 0)
    return members, choice[members]


@LAW
@given(seed=SEEDS)
def test_at_any_prices_the_bound_is_no_less_than_the_best_selection(seed):
    space, rng = spaces(seed), random.Random(seed)
    every = listed(space)
    for aim in aims(rng, space, every):
        prices = prices_of(rng, space)
        if not (np.isfinite(space.budget_per_h) or np.isfinite(aim.most_cost_per_h)):
            prices = replace(prices, cost=0.0)
        assert best_at(space, aim, prices).bound >= every.value(aim).max() - ROOM


@LAW
@given(seed=SEEDS)
def test_each_member_is_offered_its_most_profitable_plan_of_those_that_fit_alone(seed):
    space, rng = spaces(seed), random.Random(seed)
    room = space.room()
    for aim in aims(rng, space, listed(space)):
        prices = prices_of(rng, space)
        best = best_at(space, aim, prices)
        for member in range(space.members):
            kind = space.kinds[space.kind[member]]
            fit = (kind.use <= room[space.slots[member, : kind.use.shape[1]]]).all(axis=1)
            profits = np.where(fit, profits_of(space, aim, prices, member), -np.inf)
            assert best.profit[member] == pytest.approx(profits.max())


@LAW
@given(seed=SEEDS)
def test_generated_prices_end_at_the_optimum_over_all_columns(seed):
    space, rng = spaces(seed), random.Random(seed)
    every = listed(space)
    for aim in aims(rng, space, every):
        found = generate(space, aim, here().masters, start=known(space, every, aim))
        assert (found.solved, found.detail) == (True, "")
        assert found.bound >= every.value(aim).max() - ROOM
        assert found.bound == pytest.approx(linear_optimum(space, aim), rel=1e-5, abs=1e-5)
        assert found.best.bound == found.bound == best_at(space, aim, found.prices).bound


@LAW
@given(seed=SEEDS)
def test_a_generation_that_is_cut_short_bounds_too(seed):
    space, rng = spaces(seed), random.Random(seed)
    every = listed(space)
    for aim in aims(rng, space, every):
        found = generate(space, aim, here().masters, start=known(space, every, aim), rounds=1)
        assert found.bound >= every.value(aim).max() - ROOM


@LAW
@given(seed=SEEDS)
def test_a_relaxation_found_site_by_site_bounds_every_selection(seed):
    space, rng = spaces(seed, sites=(2, 3), members=(2, 5), strays=False, crossing=False), random.Random(seed)
    every, parts = listed(space), hoods(space)
    if sum(len(hood.members) for hood in parts) < space.members:
        return
    for aim in aims(rng, space, every):
        at = int(np.argmax(every.value(aim)))
        present = Filling(space, every.choice[at], every.opened[at])
        found = generate_apart(
            space,
            aim,
            here().masters,
            parts,
            present=rng.choice([present, None]),
            start=known(space, every, aim),
            enough=rng.choice([lambda: False, lambda: True]),
        )
        assert found.bound >= every.value(aim).max() - ROOM


@LAW
@given(seed=SEEDS)
def test_whole_plans_site_by_site_tighten_the_bound_and_leave_it_one(seed):
    space, rng = spaces(seed, members=(2, 5)), random.Random(seed)
    every, programmes, parts = listed(space), here(), hoods(space)
    for aim in aims(rng, space, every):
        at = rng.choice(np.flatnonzero(np.isfinite(every.value(aim))).tolist())
        filling = Filling(space, every.choice[at], every.opened[at])
        relaxation = generate(space, aim, programmes.masters, start=known(space, every, aim))
        bound = relaxation.bound
        for hood in (hood for hood in parts if hood.whole):
            made = task(
                space,
                aim,
                relaxation.prices,
                hood,
                filling,
                relaxation.best,
                priced=True,
                effort=Effort(gap_ratio=rng.choice([0.0, 0.2]), nodes=rng.choice([0, 1, 1_000])),
            )
            linear = most_at(space, aim, relaxation.prices, hood, relaxation.best)
            (answer,) = programmes.integers([made.programme])
            bound += bound_of(made, answer, linear) - linear
        assert bound <= relaxation.bound + 1e-12
        assert bound >= every.value(aim).max() - ROOM


def two_sites(amount):
    """Two sites, a member of each, and a machine that gives each site one unit when it is switched on."""
    return SelectionSpace(
        capacity=np.zeros(2),
        kinds=(Kind(cost_per_h=np.zeros(1), use=np.ones((1, 1))),),
        worth=np.full(2, amount),
        kind=np.zeros(2, dtype=np.intp),
        slots=padded([[0], [1]], 2),
        area=np.array([0, 1]),
        sides=Sides(cost_per_h=np.ones(1), most=np.ones(1), use=csc_array(-np.ones((2, 1)))),
    )


def test_a_machine_of_two_sites_may_be_switched_on_for_either_in_the_bound():
    space, programmes = two_sites(3.0), here()
    relaxation = generate(space, Aim(), programmes.masters)
    bound, filling = relaxation.bound, Filling(space)
    for hood in hoods(space):
        if hood.whole:
            made = task(
                space,
                Aim(),
                relaxation.prices,
                hood,
                filling,
                relaxation.best,
                priced=True,
                effort=Effort(gap_ratio=0.0),
            )
            linear = most_at(space, Aim(), relaxation.prices, hood, relaxation.best)
            (answer,) = programmes.integers([made.programme])
            bound += bound_of(made, answer, linear) - linear
    assert bound >= 6.0 - ROOM


class Broken:
    """A linear programme that is never solved."""

    def __init__(self, rhs):
        self.rhs = rhs

    def add(self, use, gain, most):
        """Takes columns, to no end."""

    def solve(self):
        return LinearResult(solved=False, values=np.zeros(0), duals=np.zeros(0), detail="broken for good")


def test_site_by_site_what_went_wrong_is_told():
    space = spaces(0, sites=(3,), members=(4, 5), strays=False, sides=(0, 0))
    parts = hoods(space)
    found = generate_apart(space, Aim(), Broken, parts)
    assert found.bound >= listed(space).goodput.max() - ROOM
    assert not found.solved
    assert "broken for good" in found.detail


def test_a_row_that_is_a_hair_too_full_is_no_limit_for_who_takes_nothing_of_it():
    space = two_sites(3.0).only(np.array([0, 1]), np.array([-1e-8, 1.0]))
    kind = Kind(cost_per_h=np.zeros(2), use=np.array([[1.0, 0.0], [0.0, 1.0]]))
    space = replace(
        space, kinds=(kind,), sides=Sides.none(2), slots=padded([[0, 1], [0, 1]], 2), capacity=np.array([-1e-8, 1.0])
    )
    assert best_at(space, Aim(), Prices.zero(space)).plan.tolist() == [1, 1]
