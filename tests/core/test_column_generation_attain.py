"""Selections by column generation, over small random spaces of which every selection is listed."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from small_spaces import SEEDS, here, listed, spaces

from cloud_planner.core.column_generation.attain import Limits, Question, attain
from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.programmes import IntegerResult, LinearResult, Programmes
from cloud_planner.core.column_generation.space import NONE
from cloud_planner.core.select.milp import MilpStatus

pytestmark = pytest.mark.slow

LAW = settings(max_examples=8, deadline=None, derandomize=True, database=None)
ROOM = 1e-6


def running_of(rng, space):
    """A selection that runs, filled in any order; some members have left since."""
    filling = Filling(space)
    for member in rng.sample(range(space.members), space.members):
        filling.place(member, rng.randrange(len(space.kinds[space.kind[member]].cost_per_h)))
    left = [member for member in range(space.members) if rng.random() < 0.2]
    for member in left:
        filling.remove(member)
    return filling


def check(space, every, got, least=None):
    """Whether a selection fits, and no listed one shows its bounds to be wrong."""
    assert space.fits(got.choice, got.opened)
    assert got.goodput_per_s == pytest.approx(space.goodput_per_s(got.choice))
    assert got.cost_per_h == pytest.approx(space.cost_per_h(got.choice, got.opened), abs=1e-9)
    assert got.goodput_bound_per_s >= every.goodput.max() - ROOM
    assert got.goodput_per_s <= got.goodput_bound_per_s
    held = every.goodput >= (got.goodput_per_s if least is None else least) - 1e-9
    assert got.cost_bound_per_h <= every.cost[held].min() + ROOM
    assert got.cost_bound_per_h <= got.cost_per_h


def alike(first, second):
    """Whether two selections are the same, bounds too."""
    fields = ("stage", "goodput_per_s", "goodput_bound_per_s", "cost_per_h", "cost_bound_per_h", "kept", "kept_bound")
    return (
        all(getattr(first, name) == getattr(second, name) for name in fields)
        and (first.choice == second.choice).all()
        and (first.opened == second.opened).all()
    )


@LAW
@given(seed=SEEDS)
def test_it_ends_with_a_selection_that_fits_between_bounds_that_hold(seed):
    space = spaces(seed)
    every, told = listed(space), []
    outcome = attain(space, here(), limits=Limits(gap_ratio=0.0), told=told.append)
    assert outcome.warnings == []
    check(space, every, outcome.attained)
    assert alike(outcome.attained, told[-1])
    if outcome.attained.gap_ratio == 0.0:
        assert outcome.attained.goodput_per_s == pytest.approx(every.goodput.max())
    again = attain(space, here(), limits=Limits(gap_ratio=0.0))
    assert alike(outcome.attained, again.attained)


@LAW
@given(seed=SEEDS)
def test_what_is_told_fits_and_only_gets_better(seed):
    space, rng = spaces(seed), random.Random(seed)
    every, told = listed(space), []
    running = running_of(rng, space).choice
    attain(space, here(), Question(running=running), Limits(gap_ratio=rng.choice([0.0, 0.05])), told.append)
    assert [each.stage for each in told] == sorted(
        (each.stage for each in told), key=["goodput", "cost", "changes"].index
    )
    for each in told:
        assert space.fits(each.choice, each.opened)
        assert each.goodput_bound_per_s >= every.goodput.max() - ROOM
    for before, after in pairwise(told):
        assert after.goodput_per_s >= before.goodput_per_s - ROOM
        assert after.goodput_bound_per_s <= before.goodput_bound_per_s + ROOM
        if after.stage == before.stage == "cost":
            assert after.cost_per_h <= before.cost_per_h + ROOM
            assert after.cost_bound_per_h >= before.cost_bound_per_h - ROOM
        if after.stage == before.stage == "changes":
            assert after.kept >= before.kept
            assert after.kept_bound <= before.kept_bound + ROOM


@LAW
@given(seed=SEEDS)
def test_a_running_selection_is_never_left_for_a_worse_one(seed):
    space, rng = spaces(seed), random.Random(seed)
    every, kept = listed(space), running_of(rng, space)
    got = attain(space, here(), Question(running=kept.choice), Limits(gap_ratio=0.0)).attained
    check(space, every, got)
    assert got.goodput_per_s >= kept.goodput_per_s - 1e-9
    if got.goodput_per_s <= kept.goodput_per_s + 1e-9:
        assert got.cost_per_h <= kept.cost_per_h * (1.0 + 1e-5) + ROOM
    as_good = (every.goodput >= got.goodput_per_s - 1e-9) & (every.cost <= got.cost_per_h + 1e-9)
    assert got.kept_bound >= every.kept(kept.choice)[as_good].max()
    assert got.kept == int(((got.choice == kept.choice) & (kept.choice >= 0)).sum()) <= got.kept_bound


@LAW
@given(seed=SEEDS)
def test_a_share_is_served_at_a_cost_between_bounds_that_hold(seed):
    space, rng = spaces(seed), random.Random(seed)
    every = listed(space)
    enough = float(every.goodput.max()) * rng.choice([0.25, 0.5, 0.75, 1.0])
    got = attain(space, here(), Question(enough_per_s=enough), Limits(gap_ratio=0.0)).attained
    check(space, every, got, least=min(enough, got.goodput_per_s))
    whole = attain(space, here(), limits=Limits(gap_ratio=0.0)).attained
    assert got.goodput_per_s >= min(enough, whole.goodput_per_s) - 1e-9


@pytest.mark.parametrize(("seed", "enough"), [(113, 3.0), (284, 1.625), (318, 3.0)])
def test_what_runs_and_serves_a_share_is_not_left_for_what_costs_more(seed, enough):
    """A greedy selection serves more than is asked for here: no reason to begin there."""
    space = spaces(seed)
    kept = running_of(random.Random(seed), space)
    assert kept.goodput_per_s >= enough
    got = attain(space, here(), Question(enough_per_s=enough, running=kept.choice), Limits(gap_ratio=0.0)).attained
    check(space, listed(space), got, least=enough)
    assert got.cost_per_h <= kept.cost_per_h + ROOM


def test_nearly_all_small_spaces_are_solved_to_the_optimum():
    """With most of the least cost, too: what is left open is said in the gaps."""
    served = cheap = 0
    for seed in range(30):
        space = spaces(seed)
        every = listed(space)
        got = attain(space, here(), limits=Limits(gap_ratio=0.0)).attained
        served += got.goodput_per_s >= every.goodput.max() - ROOM
        held = every.goodput >= got.goodput_per_s - 1e-9
        cheap += got.cost_per_h <= every.cost[held].min() + ROOM
    assert served >= 27
    assert cheap >= 26


def test_members_of_no_site_are_no_trouble():
    space = spaces(1)
    check(space, listed(space), attain(space, here(), limits=Limits(gap_ratio=0.0)).attained)


class Broken:
    """A linear programme that is never solved."""

    def __init__(self, rhs):
        self.rhs = rhs

    def add(self, use, gain, most):
        pass

    def solve(self):
        return LinearResult(solved=False, values=np.zeros(0), duals=np.zeros(0), detail="broken for good")


def broken(tasks):
    """Integer programmes that are never solved."""
    for _ in tasks:
        yield IntegerResult(status=MilpStatus.FAILED, values=np.zeros(0), bound=np.inf, detail="broken for good")


@pytest.mark.parametrize("side", ["linear", "integer", "both"])
@LAW
@given(seed=SEEDS)
def test_broken_solvers_leave_a_selection_with_bounds_and_a_warning(side, seed):
    space, rng = spaces(seed), random.Random(seed)
    every, running = listed(space), rng.choice([None, running_of(rng, space).choice])
    programmes, asked = here(), []

    def integers(tasks):
        return broken(asked.append(each) or each for each in tasks)

    programmes = Programmes(
        masters=programmes.masters if side == "integer" else Broken,
        integers=programmes.integers if side == "linear" else integers,
    )
    outcome = attain(space, programmes, Question(running=running), Limits(gap_ratio=0.0))
    check(space, every, outcome.attained)
    if asked:
        assert "integer programme: broken for good" in outcome.warnings
    if side != "integer":
        assert "linear programme: broken for good" in outcome.warnings


@LAW
@given(seed=SEEDS)
def test_with_no_time_there_is_a_selection_still(seed):
    space = spaces(seed)
    every, ticks = listed(space), iter(range(10_000))
    seconds = random.Random(seed).choice([0.0, 3.0, 10.0])
    outcome = attain(space, here(), limits=Limits(elapsed_s=lambda: float(next(ticks)), seconds=seconds))
    check(space, every, outcome.attained)


def test_members_without_plans_and_a_space_without_members_are_no_trouble():
    space = spaces(3)
    empty = replace(space.kinds[0], cost_per_h=np.zeros(0), use=np.zeros((0, space.kinds[0].use.shape[1])))
    outcome = attain(replace(space, kinds=(empty, *space.kinds[1:])), here())
    assert (outcome.attained.choice[space.kind == 0] == NONE).all()
    nobody = space.only(np.zeros(0, dtype=np.intp), space.capacity)
    assert attain(nobody, here()).attained.goodput_per_s == 0.0
