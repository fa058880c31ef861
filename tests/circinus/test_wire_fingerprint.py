"""What a fingerprint says beyond the device: both ways over the wire, and checked."""

from __future__ import annotations

import dataclasses

import pytest

from circinus.errors import CircinusError
from circinus.model.device import (
    Accelerator,
    Condition,
    Device,
    DeviceClass,
    DeviceId,
    Limits,
    SiteId,
    SpeedScore,
    Tier,
)
from circinus.wire import device_from_message, device_to_message

DEVICE = Device(
    id=DeviceId("box"),
    tier=Tier.EDGE,
    site=SiteId("shop"),
    device_class=DeviceClass("cpu/py3.11/c4-aaaa/s-1/x1"),
    cpu_model="cpu",
    logical_cores=4,
    max_frequency_mhz=0.0,
    cpu_flags=("avx2",),
    cores=2.0,
    memory_bytes=8 * 2**30,
    disk_free_bytes=1,
    accelerators=(
        Accelerator(
            kind="cuda", model="GB10", provider="", slots=1, memory_bytes=8 * 2**30, unified=True, part_id="GPU-a-b"
        ),
        Accelerator(kind="cuda", model="L4", provider="", slots=1, memory_bytes=2**30, part_id="MIG-1/2"),
    ),
    links=(),
    price_per_h=0.0,
    speed_ratio=1.0,
    environments=(),
    data_address="",
    agent_version="1",
    speed=SpeedScore(score=0.7, integer_score=0.5, float_score=1.0, memory_score=0.69),
    condition=Condition(hottest_celsius=-5.0, throttled=False, supply="battery", battery_ratio=0.0),
    planner_rtt_ms=12.0,
    planner_bandwidth_bit_per_s=5_000_000,
    disk_total_bytes=2**40,
    limits=Limits(cgroup_cores=2.0, cgroup_memory_bytes=2**32, affinity_cores=3),
    measured_peers=(DeviceId("cloud"),),
    unknown=("nvidia: NVML did not answer",),
    overridden=("cores", "fingerprint.speed_score"),
    platform="x86_64 linux 6.1 python 3.11",
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"speed": None, "condition": None, "limits": None},
        {"condition": Condition()},
        {"condition": Condition(throttled=True)},
    ],
)
def test_a_fingerprint_comes_back_as_it_went(changes):
    device = dataclasses.replace(DEVICE, **changes)
    assert device_from_message(device_to_message(device)) == device


def test_memory_that_accelerators_share_with_the_device_is_not_theirs():
    assert DEVICE.accelerator_memory_bytes == 2**30


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: setattr(m.speed, "score", float("nan")),
        lambda m: setattr(m.speed, "memory_score", -1.0),
        lambda m: setattr(m.condition, "hottest_celsius", float("inf")),
        lambda m: setattr(m.condition, "battery_ratio", 1.5),
        lambda m: setattr(m.condition, "supply", "a\nb"),
        lambda m: setattr(m.limits, "cgroup_cores", -2.0),
        lambda m: setattr(m, "planner_rtt_ms", float("nan")),
        lambda m: m.measured_peers.append("../etc"),
        lambda m: m.unknown.extend(["x"] * 1000),
        lambda m: m.overridden.append("a\nb"),
        lambda m: setattr(m, "platform", "x" * 10**6),
        lambda m: setattr(m.accelerators[0], "part_id", "a\nb"),
    ],
)
def test_a_bad_field_is_refused(spoil):
    message = device_to_message(DEVICE)
    spoil(message)
    with pytest.raises(CircinusError):
        device_from_message(message)
