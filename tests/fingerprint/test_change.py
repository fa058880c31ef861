"""What is told again, and what is noise."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from circinus.model.device import Accelerator, Condition, Device, DeviceId, Link, SiteId, SpeedScore, Tier
from edge_agent.fingerprint.change import changes
from edge_agent.fingerprint.damping import Damped

GIB = 2**30
BOX = Device(
    id=DeviceId("box"),
    tier=Tier.EDGE,
    site=SiteId("shop"),
    device_class="c",
    cpu_model="m",
    logical_cores=4,
    max_frequency_mhz=0.0,
    cpu_flags=(),
    cores=4.0,
    memory_bytes=8 * GIB,
    disk_free_bytes=100 * GIB,
    accelerators=(),
    links=(Link(peer=DeviceId("cloud"), bandwidth_bit_per_s=0, rtt_ms=0.0),),
    price_per_h=0.0,
    speed_ratio=1.0,
    environments=(),
    data_address="",
    agent_version="0",
    condition=Condition(hottest_celsius=50.0, throttled=False, battery_ratio=0.8, supply="mains"),
)


@pytest.mark.parametrize(
    "noise",
    [
        {"disk_free_bytes": 90 * GIB},
        {"memory_bytes": 8 * GIB - 1000},
        {"condition": replace(BOX.condition, hottest_celsius=57.0, battery_ratio=0.75)},
        {"max_frequency_mhz": 10.0},
        {"cores": 4.0 + 1e-9},
    ],
)
def test_noise_is_no_change(noise):
    assert changes(BOX, replace(BOX, **noise)) == ()


@pytest.mark.parametrize(
    ("fact", "change"),
    [
        ("disk", {"disk_free_bytes": 60 * GIB}),
        ("memory", {"memory_bytes": 4 * GIB}),
        ("cores", {"cores": 2.0}),
        ("condition", {"condition": replace(BOX.condition, throttled=True)}),
        ("condition", {"condition": replace(BOX.condition, hottest_celsius=70.0)}),
        ("condition", {"condition": None}),
        ("speed", {"speed": SpeedScore(score=1.0)}),
        ("links", {"links": ()}),
        ("accelerators", {"accelerators": (Accelerator(kind="a", model="b", provider="", slots=1, memory_bytes=0),)}),
        ("unknown", {"unknown": ("nvidia: hung",)}),
    ],
)
def test_a_real_change_is_named(fact, change):
    assert changes(BOX, replace(BOX, **change)) == (fact,)


def test_a_nearly_full_disk_is_told_in_small_steps():
    nearly = replace(BOX, disk_free_bytes=GIB // 2)
    assert changes(nearly, replace(nearly, disk_free_bytes=GIB // 2 + GIB // 8)) == ("disk",)


def test_a_figure_that_jitters_is_told_once():
    rng, figure, told = Random(1), Damped(min, told=0.0, change=1.0), []
    for _ in range(500):
        figure.note(20.0 * rng.uniform(0.9, 1.2))
        told.append(figure.told)
    assert len(set(told)) == 2
    assert told[-1] == pytest.approx(20.0, rel=0.15)


def test_outliers_change_nothing_and_a_lasting_change_does():
    figure = Damped(max)
    for measured in (5e6, 5e6, 5e6, 1e6, 5e6, 9e6, 5e6, 1e6, 5e6):
        figure.note(measured)
    assert figure.told == 5e6
    for _ in range(3):
        figure.note(1e6)
    assert figure.told == 1e6


def test_round_trips_of_a_local_network_are_not_told():
    figure = Damped(min, told=0.0, change=1.0)
    for measured in (0.1, 0.9, 0.3, 0.05, 0.6):
        figure.note(measured)
    assert figure.told == 0.0


def test_one_measurement_with_weight_is_enough():
    figure = Damped(max)
    figure.note(8e6, weight=3)
    assert figure.told == 8e6
