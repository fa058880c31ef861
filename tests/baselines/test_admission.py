"""Who gets what is left: no machine and no link takes more than it has, and nobody waits who fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import task

from cloud_planner.baselines.admission import Room, Seeker, first_fit, in_order_of_need
from cloud_planner.baselines.jellybean import JellyBean, greedy_tiers
from cloud_planner.baselines.knowledge import listed, wanted
from cloud_planner.baselines.world import true_figures

MACHINES = ("box", "cloud")


def seekers(accuracies):
    found = []
    for number, accuracy in enumerate(accuracies):
        asked = task(accuracy=accuracy, seed=number)
        means = asked.meter.table.scores.mean(axis=0)
        known = {int(one): true_figures(asked.meter.table, int(one)) for one in np.flatnonzero(means >= accuracy)}
        found.append(Seeker(number=number, machines=MACHINES, wanted=listed(asked.book.space, known, asked.slo)))
    return found


SEEKERS = seekers([0.6, 0.7, 0.8, 0.9, 0.65, 0.75, 0.85, 0.7])


def room(box=8.0, cloud=8.0, bits=1e9):
    return Room(cores={"box": box, "cloud": cloud}, bit_per_s={("box", "cloud"): bits})


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(SEEKERS),
    box=st.floats(0.0, 12.0),
    cloud=st.floats(0.0, 6.0),
    bits=st.floats(0.0, 4e7),
)
def test_nothing_takes_more_than_there_is(order, box, cloud, bits):
    left = room(box, cloud, bits)
    found = first_fit(order, left)
    takes = {one.number: one.wanted.takes for one in order}
    cores = sum((takes[number].cores[row] for number, row in found.items()), np.zeros(2))
    sent = sum(takes[number].bit_per_s[row, 0, 1] for number, row in found.items())
    assert cores[0] <= box + 1e-6
    assert cores[1] <= cloud + 1e-6
    assert sent <= bits * (1.0 + 1e-6) + 1e-6
    assert np.allclose(left.cores["box"], box - cores[0])
    assert np.allclose(left.bit_per_s["box", "cloud"], bits - sent)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(SEEKERS), box=st.floats(0.0, 6.0))
def test_who_is_turned_away_would_not_fit(order, box):
    left = room(box, 0.0)
    found = first_fit(order, left)
    for seeker in order:
        if seeker.number not in found:
            assert first_fit([seeker], left.copy()) == {}


def test_the_first_takes_its_cheapest_plan():
    found = first_fit(SEEKERS, room())
    assert found[0] == 0


def test_without_a_link_nothing_is_sent():
    left = Room(cores={"box": 0.0, "cloud": 100.0}, bit_per_s={})
    assert first_fit(SEEKERS, left) == {}


def test_those_that_need_least_come_first():
    ordered = in_order_of_need(SEEKERS)
    shares = [one.wanted.least_share_ratio for one in ordered]
    assert shares == sorted(shares)
    assert sorted(one.number for one in ordered) == list(range(len(SEEKERS)))


def test_a_greedy_planner_moves_to_the_next_tier_when_the_first_is_full():
    asked = task(accuracy=0.75)
    planner = JellyBean(samples_ratio=1.0)
    plans = wanted(planner, asked, planner(asked))
    seeker = Seeker(number=0, machines=MACHINES, wanted=plans)
    space = asked.book.space
    for box in (8.0, 0.0):
        row = first_fit([seeker], room(box, 32.0))[0]
        place = space.place[plans.plan[row]]
        assert (place == 1).any() == (box == 0.0)
    roomy = greedy_tiers(space, next(iter(plans.greedy.values())))
    assert roomy == (0, 0, 0)
