"""A standing selection: what arrivals, ends and losses leave behind, and whom they touch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from small_spaces import SEEDS, here, spaces

from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import generate
from cloud_planner.core.column_generation.pricing import Aim, Prices
from cloud_planner.core.column_generation.rounding import fill
from cloud_planner.core.column_generation.sensitivity import sensitivity
from cloud_planner.core.column_generation.space import NONE, Kind, SelectionSpace, Sides
from cloud_planner.core.column_generation.standing import Standing


def standing(space):
    filling = Filling(space)
    fill(filling, Prices.zero(space))
    return Standing(filling, Prices.zero(space))


def arrival(rng, space):
    """Kind, slots and worth of a member like one that there is."""
    like = rng.randrange(space.members)
    kind = space.kinds[space.kind[like]]
    return kind, space.slots[like, : kind.use.shape[1]], rng.choice([0.5, 1.0, 2.0, 4.0])


def told(before, after, change):
    """What a change says, by comparing choices."""
    grown = np.append(before, np.full(len(after) - len(before), NONE))
    had, has = grown >= 0, after >= 0
    assert set(change.placed) == set(np.flatnonzero(~had & has))
    assert set(change.dropped) == set(np.flatnonzero(had & ~has))
    assert set(change.moved) >= set(np.flatnonzero(had & has & (grown != after)))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_arrivals_ends_and_losses_leave_a_selection_that_fits_and_is_counted_right(seed):
    rng, space = random.Random(seed), spaces(seed)
    now = standing(space)
    for _ in range(6):
        before = now.filling.choice.copy()
        event = rng.choice(["arrive", "arrive", "arrive", "leave", "lose"])
        if event == "arrive":
            _, change = now.arrive(*arrival(rng, now.filling.space))
            told(before, now.filling.choice, change)
        elif event == "leave" and (before >= 0).any():
            now.leave(int(rng.choice(np.flatnonzero(before >= 0).tolist())))
        elif event == "lose":
            change = now.lose(np.array([rng.randrange(len(space.capacity))]))
            told(before, now.filling.choice, change)
        filling = now.filling
        again = Filling(filling.space, filling.choice, filling.opened)
        assert filling.left == pytest.approx(again.left)
        assert filling.cost_per_h == pytest.approx(again.cost_per_h)
        assert not len(filling.short())


def space_of_rows(capacity, area, members):
    """Members as (plans of amounts by row, worth)."""
    rows = len(capacity)
    kinds = [Kind(cost_per_h=np.zeros(len(plans)), use=np.array(plans, dtype=float)) for plans, _ in members]
    return SelectionSpace(
        capacity=np.array(capacity, dtype=float),
        kinds=tuple(kinds),
        worth=np.array([worth for _, worth in members]),
        kind=np.arange(len(members)),
        slots=np.tile(np.arange(rows), (len(members), 1)),
        area=np.array(area),
        sides=Sides.none(rows),
    )


def test_a_query_that_fits_disturbs_nobody():
    space = space_of_rows([1.0, 1.0], [0, 0], [([[0.6, 0.0]], 1.0), ([[0.0, 0.6]], 1.0)])
    now = standing(space)
    member, change = now.arrive(Kind(cost_per_h=np.zeros(2), use=np.array([[0.5, 0.0], [0.0, 0.4]])), np.arange(2), 1.0)
    assert (change.placed, change.touched) == ((member,), 0)
    assert now.filling.choice[member] == 1
    assert not now.wanted


def test_a_neighbour_takes_another_plan_where_that_makes_room():
    space = space_of_rows([1.0, 1.0], [0, 0], [([[0.6, 0.0], [0.0, 0.6]], 1.0)])
    now = standing(space)
    assert now.filling.choice[0] == 0
    member, change = now.arrive(Kind(cost_per_h=np.zeros(1), use=np.array([[0.9, 0.0]])), np.arange(2), 1.0)
    assert (change.placed, change.moved, change.dropped) == ((member,), (0,), ())
    assert now.moves == 1


def test_a_neighbour_gives_way_only_to_one_that_is_worth_more():
    space = space_of_rows([1.0], [0], [([[0.8]], 2.0)])
    now = standing(space)
    _, poorer = now.arrive(Kind(cost_per_h=np.zeros(1), use=np.array([[0.8]])), np.arange(1), 1.0)
    assert poorer.placed == ()
    assert now.wanted
    richer_member, richer = now.arrive(Kind(cost_per_h=np.zeros(1), use=np.array([[0.8]])), np.arange(1), 3.0)
    assert (richer.placed, richer.dropped) == ((richer_member,), (0,))


def test_a_lost_row_touches_the_other_site_only_through_what_they_share():
    members = [([[0.5, 0.0, 0.0], [0.0, 0.0, 0.5]], 1.0)] * 2 + [([[0.0, 0.5, 0.0]], 1.0)] * 2
    space = space_of_rows([1.0, 1.0, 0.5], [0, 1, -1], members)
    now = standing(space)
    before = now.filling.choice.copy()
    assert (before >= 0).all()
    change = now.lose(np.array([0]))
    assert set(change.moved) | set(change.dropped) == {0, 1}
    assert len(change.moved) == 1
    assert len(change.dropped) == 1
    assert (now.filling.choice[2:] == before[2:]).all()


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_more_brings_no_more_than_its_price_and_no_less_than_the_later_one(seed):
    space = spaces(seed, sides=(0, 0), budget=False)
    aim, masters = Aim(), here().masters
    relaxation = generate(space, aim, masters)
    more = np.zeros(len(space.capacity))
    more[random.Random(seed).randrange(len(more))] = 0.25
    found = sensitivity(space, aim, masters, relaxation, more)
    assert found is not None
    # More of a row may let plans in that did not fit at all: then there is no slope to go by.
    opened = [(kind.use > space.room()[slots][:, None, :]).any() for kind, _, slots in space.groups() if kind.use.size]
    if not any(opened):
        assert found.by_later_price - 1e-6 <= found.resolved <= found.by_price + 1e-6
