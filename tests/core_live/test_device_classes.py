from __future__ import annotations

from dataclasses import replace
from math import log2

import pytest
from live_values import device as box

from circinus.model.device import Condition, Limits, SpeedScore
from cloud_planner.core.device_classes import plans_alike, settled


def device(name, score, step):
    return replace(box(name), device_class=f"cpu/py3.11/c4-aaaa/s{step}/x1", speed=SpeedScore(score=score))


def step(one):
    return one.device_class.split("/")[3]


def test_a_device_keeps_its_class_when_its_score_moves_over_a_border_by_little():
    before, now = device("a", 1.18, 0), device("a", 1.20, 1)
    assert step(settled(now, before, [before])) == "s0"
    assert step(settled(device("a", 1.6, 1), before, [before])) == "s1"


def test_a_new_device_joins_the_class_of_its_kind_that_is_near():
    assert step(settled(device("b", 1.20, 1), None, [device("a", 1.0, 0)])) == "s0"
    assert step(settled(device("b", 2.0, 2), None, [device("a", 1.0, 0)])) == "s2"


def test_classes_do_not_creep():
    """Each device that joins must be near the class's own step, not near the last one that joined."""
    fleet = [device("d0", 1.0, 0)]
    for number in range(1, 12):
        score = 1.1**number
        fleet.append(settled(device(f"d{number}", score, round(2 * log2(score))), None, fleet))
    assert len({one.device_class for one in fleet}) >= 3
    first = [one.speed.score for one in fleet if step(one) == "s0"]
    assert max(first) / min(first) <= 1.42


def test_another_kind_is_another_class():
    other = replace(device("a", 1.0, 0), device_class="gpu/py3.11/c4-aaaa/s0/x1")
    assert step(settled(device("b", 1.20, 1), None, [other])) == "s1"


@pytest.mark.parametrize("speed", [None, SpeedScore(score=0.0)])
def test_without_a_score_a_class_is_as_it_is_told(speed):
    told = replace(device("b", 1.2, 1), speed=speed)
    assert settled(told, device("b", 1.18, 0), []) == told
    own = replace(told, device_class="own")
    assert settled(own, None, [device("a", 1.0, 0)]) == own


def test_heat_and_free_disk_are_no_reason_to_plan_anew():
    before = replace(device("a", 1.0, 0), links=box("a", links=("b",)).links)
    after = replace(
        before,
        disk_free_bytes=1,
        condition=Condition(throttled=True),
        planner_rtt_ms=9.0,
        limits=Limits(cgroup_cores=1.0),
        unknown=("nvidia: hung",),
    )
    assert plans_alike(before, after)
    assert not plans_alike(before, replace(after, cores=before.cores / 2))
    assert not plans_alike(before, replace(after, links=()))
