"""What a filling keeps count of, against what follows from its choice; and ways back within what there is."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csc_array
from small_spaces import SEEDS, here, listed, spaces, taken

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import generate
from cloud_planner.core.column_generation.pricing import Aim, Prices
from cloud_planner.core.column_generation.repair import repair
from cloud_planner.core.column_generation.rounding import cheapen, dive, fill
from cloud_planner.core.column_generation.space import NONE, Kind, SelectionSpace, Sides, padded

pytestmark = pytest.mark.slow

LAW = settings(max_examples=15, deadline=None, derandomize=True, database=None)


def load_of(space, choice, opened):
    """What a choice takes, plan by plan."""
    found = space.sides.use.toarray() @ opened
    for member, plan in enumerate(choice.tolist()):
        if plan != NONE:
            found = found + taken(space, member, plan)
    return found


def cost_of(space, choice, opened):
    """What a choice costs, plan by plan."""
    plans = sum(
        space.kinds[space.kind[member]].cost_per_h[plan] for member, plan in enumerate(choice.tolist()) if plan != NONE
    )
    return plans + space.sides.cost_per_h @ opened


def check(filling):
    """Whether what is left and what it costs is what follows."""
    space = filling.space
    assert filling.left == pytest.approx(space.capacity - load_of(space, filling.choice, filling.opened), abs=1e-9)
    assert filling.cost_per_h == pytest.approx(cost_of(space, filling.choice, filling.opened), abs=1e-9)
    assert (filling.opened >= 0.0).all()
    assert (filling.opened <= space.sides.most).all()


def plan_of(rng, space, member):
    return rng.randrange(len(space.kinds[space.kind[member]].cost_per_h))


@LAW
@given(seed=SEEDS)
def test_columns_loads_and_costs_are_what_the_slots_say(seed):
    space, rng = spaces(seed), random.Random(seed)
    choice = np.array([rng.choice([NONE, plan_of(rng, space, member)]) for member in range(space.members)])
    opened = np.array([rng.choice([0.0, most]) for most in space.sides.most])
    assert space.load(choice, opened) == pytest.approx(load_of(space, choice, opened))
    assert space.cost_per_h(choice, opened) == pytest.approx(cost_of(space, choice, opened))
    for member in np.flatnonzero(choice >= 0).tolist():
        rows, amounts = space.use_of(member, int(choice[member]))
        dense = np.zeros(len(space.capacity))
        dense[rows] = amounts
        assert len(set(rows.tolist())) == len(rows)
        assert dense == pytest.approx(taken(space, member, int(choice[member])))


@LAW
@given(seed=SEEDS)
def test_what_is_left_is_what_there_is_less_what_is_taken(seed):
    """After any steps; what was placed because it fits does fit; a copy stands by itself."""
    space, rng = spaces(seed), random.Random(seed)
    filling = Filling(space)
    for _ in range(20):
        member = rng.randrange(space.members)
        if filling.choice[member] != NONE:
            filling.remove(member)
        elif filling.fits(member, plan := plan_of(rng, space, member)):
            before, other = filling.copy(), filling.copy()
            assert other.place(member, plan)
            assert (before.choice == filling.choice).all()
            assert before.left == pytest.approx(filling.left)
            filling.take_back(other)
        else:
            assert not filling.place(member, plan)
        check(filling)
        assert space.fits(filling.choice, filling.opened)
    again = Filling(space, filling.choice, filling.opened)
    assert again.left == pytest.approx(filling.left, abs=1e-9)
    for member in range(space.members):
        filling.remove(member)
    check(filling)
    assert filling.cost_per_h == pytest.approx(0.0, abs=1e-9)


@LAW
@given(seed=SEEDS)
def test_the_cheapest_plan_is_the_cheapest_of_those_that_fit(seed):
    space, rng = spaces(seed), random.Random(seed)
    filling = Filling(space)
    for member in range(space.members):
        prices = Prices(
            row=np.array([rng.choice([0.0, 0.5, 2.0]) for _ in space.capacity]), cost=rng.choice([0.0, 1.0])
        )
        kind = space.kinds[space.kind[member]]
        priced = {
            plan: float(taken(space, member, plan) @ prices.row) + (0.5 + prices.cost) * kind.cost_per_h[plan]
            for plan in range(len(kind.cost_per_h))
            if filling.fits(member, plan)
        }
        plan, price = filling.cheapest(member, prices, 0.5)
        assert (plan == NONE) == (not priced)
        if priced:
            assert price == pytest.approx(min(priced.values())) == pytest.approx(priced[plan])
            filling.place(member, plan)


@LAW
@given(seed=SEEDS)
def test_a_dive_ends_with_a_selection_to_which_nothing_can_be_added(seed):
    space = spaces(seed)
    found = dive(space, generate(space, Aim(), here().masters), here().masters)
    check(found)
    assert space.fits(found.choice, found.opened)
    assert fill(found, Prices.zero(space)) == 0
    assert found.goodput_per_s <= listed(space).goodput.max() + 1e-9


@LAW
@given(seed=SEEDS)
def test_a_repaired_selection_fits_and_keeps_nothing_that_it_must_not(seed):
    space, rng = spaces(seed, budget=False), random.Random(seed)
    choice = np.array([rng.choice([NONE, plan_of(rng, space, member)]) for member in range(space.members)])
    filling = Filling(space, choice, np.array([rng.choice([0.0, most]) for most in space.sides.most]))
    prices = Prices(row=np.array([rng.choice([0.0, 0.5, 2.0]) for _ in space.capacity]))
    placed = choice >= 0
    if repair(filling, Aim(), prices):
        assert space.fits(filling.choice, filling.opened)
    check(filling)
    assert (filling.choice[~placed] == NONE).all()


@LAW
@given(seed=SEEDS)
def test_a_selection_made_cheaper_costs_no_more_and_reaches_what_is_asked(seed):
    space, rng = spaces(seed), random.Random(seed)
    filling = Filling(space)
    fill(filling, Prices.zero(space))
    cost, least = filling.cost_per_h, filling.goodput_per_s * rng.choice([0.0, 0.5, 1.0])
    cheapen(filling, least)
    check(filling)
    assert space.fits(filling.choice, filling.opened)
    assert filling.goodput_per_s >= least - 1e-9
    assert filling.cost_per_h <= cost + 1e-9


def test_what_served_only_a_closed_machine_is_closed_with_it():
    """A process takes memory of a machine that is switched on for it: without who needs the process, neither runs."""
    space = SelectionSpace(
        capacity=np.zeros(2),
        kinds=(Kind(cost_per_h=np.zeros(1), use=np.ones((1, 1))),),
        worth=np.ones(1),
        kind=np.zeros(1, dtype=np.intp),
        slots=padded([[0]], 2),
        area=np.zeros(2, dtype=np.intp),
        sides=Sides(
            cost_per_h=np.array([0.0, 5.0]), most=np.ones(2), use=csc_array(np.array([[-1.0, 0.0], [1.0, -4.0]]))
        ),
    )
    filling = Filling(space)
    assert filling.place(0, 0)
    assert filling.opened.tolist() == [1.0, 1.0]
    filling.remove(0)
    assert filling.opened.tolist() == [0.0, 0.0]
    assert filling.cost_per_h == 0.0
