"""A class that nothing was measured on begins with its neighbours' times, by the ratio of their speeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from live_values import BUNDLE, CONTENT, fleet, pipeline, profile, query
from live_values import device as box

from circinus.model.device import Accelerator, SpeedScore
from circinus.model.profile import ProfileTable
from cloud_planner.core.believed_times import believed_times
from cloud_planner.core.class_speeds import Classes, classes_of
from cloud_planner.core.decompose import content_statistics

SPEC = pipeline()
FAST = {"cut.length": 1, "read.fast": True}
CARD = Accelerator(kind="cuda", model="L4", provider="", slots=1, memory_bytes=0)


def device(name, *, score=None, **changes):
    speed = None if score is None else SpeedScore(score=score)
    return replace(box(name), device_class=name, speed=speed, **changes)


def table(**times):
    return ProfileTable(bundle_digest=BUNDLE, content_digest=CONTENT, scores={}, times=times)


def timed(**times_ms):
    return profile(FAST, dict.fromkeys(range(4), (None, times_ms)))


def read_ms(found, device_class, spec=SPEC):
    return found[device_class].service(spec, "read", FAST)


def believed(own, devices, *, wanted, spec=SPEC):
    classes = classes_of(devices)
    speeds = {wanted: classes.speed_ratio[wanted]}
    return believed_times(spec, tuple(spec.configurations()), own, (), speeds, classes)


def test_speeds_are_scores_times_what_is_emulated():
    found = classes_of([device("a", score=2.0), device("b", score=1.0, speed_ratio=0.5)]).speed_ratio
    assert found["a"] / found["b"] == pytest.approx(4.0)


def test_classes_without_scores_are_as_fast_as_they_are_emulated():
    found = classes_of([device("a"), device("b", speed_ratio=0.25)]).speed_ratio
    assert found == {"a": 1.0, "b": 0.25}


def test_a_class_without_a_score_is_taken_for_a_middling_one():
    found = classes_of(
        [device("a", score=1.0), device("b", score=3.0), device("c", score=2.0), device("d")]
    ).speed_ratio
    assert found["d"] == found["c"] == 1.0


def test_a_new_class_starts_from_its_neighbours_by_the_ratio_of_scores():
    # In truth it is twice as fast as the box and half as fast as the server.
    own = table(box=(timed(cut=10.0, read=80.0),), server=(timed(cut=2.5, read=20.0),))
    devices = [device("box", score=1.0), device("server", score=4.0), device("new", score=2.0)]
    with_scores = read_ms(believed(own, devices, wanted="new"), "new")
    without = read_ms(believed(own, [replace(one, speed=None) for one in devices], wanted="new"), "new")
    assert with_scores.mean_ms == pytest.approx(40.0)
    assert abs(with_scores.mean_ms - 40.0) < abs(without.mean_ms - 40.0)
    assert with_scores.believed  # nothing is certified by it


def test_the_neighbour_whose_speed_is_nearest_speaks():
    own = table(near=(timed(cut=10.0, read=50.0),), far=(timed(cut=10.0, read=500.0),))
    devices = [device("near", score=1.0), device("far", score=0.1), device("new", score=0.9)]
    assert read_ms(believed(own, devices, wanted="new"), "new").mean_ms == pytest.approx(50.0 / 0.9)


def test_classes_of_devices_that_are_away_are_scaled_right():
    own = table(away=(timed(cut=10.0, read=50.0),))
    devices = [device("away", score=0.5), device("new", score=1.0)]
    assert read_ms(believed(own, devices, wanted="new"), "new").mean_ms == pytest.approx(25.0)


def test_a_fleet_scales_by_what_is_known_of_devices_that_are_away():
    known = table(away=(timed(cut=10.0, read=50.0),))
    away, new = device("away", score=0.5), device("new", score=1.0)
    blind = content_statistics(fleet(new, tables=known), query(source="new"))
    seeing = content_statistics(fleet(new, tables=known, classes=classes_of([away, new])), query(source="new"))
    assert read_ms(blind, "new").mean_ms == pytest.approx(50.0)
    assert read_ms(seeing, "new").mean_ms == pytest.approx(25.0)
    assert seeing.keys() == {"new"}


def test_an_accelerator_says_little_of_a_cpu():
    spec = replace(
        SPEC,
        operators=tuple(
            replace(one, accelerator_kinds=("cuda",)) if one.id == "read" else one for one in SPEC.operators
        ),
    )
    own = table(card=(timed(cut=10.0, read=5.0),), plain=(timed(cut=10.0, read=100.0),))
    devices = [device("card", score=1.0, accelerators=(CARD,)), device("plain", score=0.2), device("new", score=1.0)]
    found = read_ms(believed(own, devices, wanted="new", spec=spec), "new", spec)
    # The class without an accelerator speaks, although its speed is further off.
    assert found.mean_ms == pytest.approx(20.0)
    only = table(card=(timed(cut=10.0, read=5.0),))
    doubtful = read_ms(believed(only, devices, wanted="new", spec=spec), "new", spec)
    assert doubtful.error_ratio > found.error_ratio


def test_nothing_is_known_of_classes_that_nobody_named():
    assert Classes().runs_on(SPEC.operators[0], "x") == ""
