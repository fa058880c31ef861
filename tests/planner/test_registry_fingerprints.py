"""What a fingerprint that came anew does to planning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from circinus.model.device import Condition, Device, DeviceId, SiteId, SpeedScore, Tier
from circinus.v1 import control_pb2
from cloud_planner.registry import AgentSession, Registry

BOX = Device(
    id=DeviceId("box"),
    tier=Tier.EDGE,
    site=SiteId("shop"),
    device_class="cpu/py3.11/c4-aaaa/s0/x1",
    cpu_model="cpu",
    logical_cores=4,
    max_frequency_mhz=0.0,
    cpu_flags=(),
    cores=4.0,
    memory_bytes=8 * 2**30,
    disk_free_bytes=2**33,
    accelerators=(),
    links=(),
    price_per_h=0.0,
    speed_ratio=1.0,
    environments=(),
    data_address="",
    agent_version="1",
    speed=SpeedScore(score=1.0),
)


class Rings:
    def __init__(self):
        self.count = 0

    def ring(self):
        self.count += 1


class Kept:
    def __init__(self):
        self.devices_kept = {}

    async def put_device(self, device, last_seen_at):
        self.devices_kept[device.id] = device


class Now:
    def monotonic_s(self):
        return 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)


async def joined(*devices):
    store, replan = Kept(), Rings()
    registry = Registry(store, Now(), replan=replan, progressed=Rings())
    for device in devices:
        session = AgentSession(device.id, f"s-{device.id}", 0.0)
        await registry.join(device, session, control_pb2.GenerationStatus())
    return registry, store, replan


async def test_heat_is_kept_and_plans_nothing_anew():
    registry, store, replan = await joined(BOX)
    before = replan.count
    hot = replace(BOX, condition=Condition(hottest_celsius=90.0, throttled=True), disk_free_bytes=1)
    await registry.update(hot)
    assert store.devices_kept["box"] == registry.record(BOX.id).device == hot
    assert replan.count == before
    await registry.update(replace(hot, cores=2.0))
    assert replan.count == before + 1


async def test_a_device_whose_score_is_near_joins_the_class_that_is_known():
    other = replace(BOX, id=DeviceId("other"), device_class="cpu/py3.11/c4-aaaa/s1/x1", speed=SpeedScore(score=1.2))
    registry, _, _ = await joined(BOX, other)
    assert registry.record(other.id).device.device_class == BOX.device_class
    far = replace(other, speed=SpeedScore(score=1.5))
    await registry.update(far)
    assert registry.record(other.id).device.device_class == far.device_class
