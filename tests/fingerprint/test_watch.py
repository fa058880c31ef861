"""A running agent's fingerprint: taken again and again, told when it has changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from circinus.model.device import Condition, DeviceId, SiteId, Tier
from edge_agent.config import AgentConfig
from edge_agent.fingerprint.device import take_fingerprint
from edge_agent.fingerprint.uevents import Uevents, tells
from edge_agent.fingerprint.watch import FingerprintWatch

CONFIG = AgentConfig(
    device_id=DeviceId("box"),
    planner="127.0.0.1:1",
    state_dir=Path("/nonexistent"),
    tier=Tier.EDGE,
    site=SiteId("shop"),
)


class Script:
    """Takes these fingerprints, one after the other; the last one for ever."""

    def __init__(self, *devices):
        self.devices = list(devices)
        self.taken = 0

    def take(self):
        self.taken += 1
        device = self.devices.pop(0) if len(self.devices) > 1 else self.devices[0]
        if isinstance(device, Exception):
            raise device
        return device


class StepClock:
    """Sleeps end when the test says so."""

    def __init__(self):
        self.now_s = 0.0
        self.sleepers = []
        self.slept = asyncio.Event()

    def monotonic_s(self):
        return self.now_s

    async def sleep(self, seconds):
        done = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now_s + seconds, done))
        self.slept.set()
        await done

    async def pass_(self, seconds):
        """Lets time pass once somebody sleeps."""
        while not any(not done.done() for _, done in self.sleepers):
            self.slept.clear()
            await self.slept.wait()
        self.now_s += seconds
        for at_s, done in self.sleepers:
            if at_s <= self.now_s and not done.done():
                done.set_result(None)
        self.sleepers = [(at_s, done) for at_s, done in self.sleepers if not done.done()]


def box(**changes):
    return replace(take_fingerprint(CONFIG), **{"condition": None, **changes})


def watch(script, clock=None):
    told = []
    clock = clock or StepClock()
    return FingerprintWatch(CONFIG, clock=clock, on_change=told.append, fingerprinter=script), told, clock


async def test_the_same_again_is_not_told():
    one, told, _ = watch(Script(box(cores=2.0)))
    await one.first()
    await one.look({}, anew=True)
    assert told == []


async def test_a_change_is_told_once():
    one, told, _ = watch(Script(box(cores=2.0), box(cores=1.0)))
    await one.first()
    for _ in range(3):
        await one.look({}, anew=True)
    assert [device.cores for device in told] == [1.0]


async def test_a_slow_drift_is_told_when_it_has_come_far():
    heat = [box(condition=Condition(hottest_celsius=50.0 + step)) for step in range(25)]
    one, told, _ = watch(Script(*heat))
    await one.first()
    for _ in range(24):
        await one.look({}, anew=True)
    assert [device.condition.hottest_celsius for device in told] == [60.0, 70.0]


async def test_what_can_not_be_read_does_not_end_the_watch():
    script = Script(box(cores=2.0), OSError("no /proc"), box(cores=1.0))
    one, told, clock = watch(script)
    await one.first()
    task = asyncio.create_task(one.run(dict))
    while not told and not task.done():
        await clock.pass_(30.0)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told[0].cores == 1.0


async def test_it_is_taken_anew_each_period_and_links_are_looked_at_in_between():
    script = Script(box())
    one, _, clock = watch(script)
    await one.first()
    looks = 0

    def streams():
        nonlocal looks
        looks += 1
        return {}

    task = asyncio.create_task(one.run(streams))
    while looks < 20:
        await clock.pass_(30.0)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert script.taken in (2, 3)  # 600 s at 300 s each, with the first


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"add@/devices/pci0/drm/card0\0ACTION=add\0SUBSYSTEM=drm\0", True),
        (b"offline@/devices/system/cpu/cpu3\0ACTION=offline\0SUBSYSTEM=cpu\0", True),
        (b"change@/x\0ACTION=change\0SUBSYSTEM=drm\0", False),
        (b"add@/x\0ACTION=add\0SUBSYSTEM=input\0", False),
        (b"", False),
        (b"\xff\xfe\0\0", False),
        (b"libudev\0\xfe\xed\xca\xfe", False),
    ],
)
def test_only_hardware_that_counts_is_a_reason(message, expected):
    assert tells(message) is expected


async def test_a_kernel_that_says_nothing_is_no_fault():
    events = Uevents()
    events.open()
    events.close()
    events.close()
    assert not events.changed.is_set()
