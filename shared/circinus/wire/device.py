"""Devices, as their fingerprints say."""

from __future__ import annotations

from circinus.errors import InvalidInput
from circinus.model.device import (
    Accelerator,
    Condition,
    Device,
    DeviceClass,
    DeviceId,
    Digest,
    Environment,
    Limits,
    Link,
    SiteId,
    SpeedScore,
    Tier,
)
from circinus.v1 import types_pb2
from circinus.wire import check
from circinus.wire.policy import policy_from_message, policy_to_message

_TIER_TO_MESSAGE = {Tier.EDGE: types_pb2.TIER_EDGE, Tier.CLOUD: types_pb2.TIER_CLOUD}
_TIER_FROM_MESSAGE = {message: tier for tier, message in _TIER_TO_MESSAGE.items()}

#: What isolation is about: more than anybody tells of.
_MAX_ISOLATION = 20


def link_to_message(link: Link) -> types_pb2.Link:
    """A link's message."""
    return types_pb2.Link(
        peer_device_id=link.peer,
        bandwidth_bit_per_s=link.bandwidth_bit_per_s,
        rtt_ms=link.rtt_ms,
        price_per_gb=link.price_per_gb,
        emulated=link.emulated,
    )


def link_from_message(message: types_pb2.Link) -> Link:
    """The link in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    return Link(
        peer=DeviceId(check.name("links.peer_device_id", message.peer_device_id)),
        bandwidth_bit_per_s=message.bandwidth_bit_per_s,
        rtt_ms=check.number("links.rtt_ms", message.rtt_ms, high=1e6),
        price_per_gb=check.number("links.price_per_gb", message.price_per_gb, high=1e6),
        emulated=message.emulated,
    )


def environment_to_message(environment: Environment) -> types_pb2.Environment:
    """An environment's message."""
    return types_pb2.Environment(digest=environment.digest, ready=environment.ready, reason=environment.reason[:2000])


def environment_from_message(message: types_pb2.Environment) -> Environment:
    """The environment in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    return Environment(
        digest=Digest(check.digest("environments.digest", message.digest)),
        ready=message.ready,
        reason=check.text("environments.reason", message.reason),
    )


def accelerator_to_message(accelerator: Accelerator) -> types_pb2.Accelerator:
    """An accelerator's message."""
    return types_pb2.Accelerator(
        kind=accelerator.kind,
        model=accelerator.model,
        provider=accelerator.provider,
        slots=accelerator.slots,
        memory_bytes=accelerator.memory_bytes,
        emulated=accelerator.emulated,
        unified=accelerator.unified,
        part_id=accelerator.part_id,
    )


def accelerator_from_message(message: types_pb2.Accelerator) -> Accelerator:
    """The accelerator in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    return Accelerator(
        kind=check.name("accelerators.kind", message.kind),
        model=check.text("accelerators.model", message.model),
        provider=check.name("accelerators.provider", message.provider, empty=True),
        slots=int(check.number("accelerators.slots", message.slots, high=1024)),
        memory_bytes=message.memory_bytes,
        emulated=message.emulated,
        unified=message.unified,
        part_id=check.name("accelerators.part_id", message.part_id, empty=True),
    )


def speed_to_message(speed: SpeedScore) -> types_pb2.SpeedScore:
    """A speed score's message."""
    return types_pb2.SpeedScore(
        score=speed.score,
        integer_score=speed.integer_score,
        float_score=speed.float_score,
        memory_score=speed.memory_score,
    )


def speed_from_message(message: types_pb2.SpeedScore) -> SpeedScore:
    """The speed score in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    return SpeedScore(
        score=check.number("speed.score", message.score, high=1e6),
        integer_score=check.number("speed.integer_score", message.integer_score, high=1e6),
        float_score=check.number("speed.float_score", message.float_score, high=1e6),
        memory_score=check.number("speed.memory_score", message.memory_score, high=1e6),
    )


def condition_to_message(condition: Condition) -> types_pb2.Condition:
    """A condition's message."""
    return types_pb2.Condition(
        hottest_celsius=condition.hottest_celsius,
        throttled=condition.throttled,
        supply=condition.supply,
        battery_ratio=condition.battery_ratio,
    )


def condition_from_message(message: types_pb2.Condition) -> Condition:
    """The condition in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    hottest_celsius = message.hottest_celsius if message.HasField("hottest_celsius") else None
    if hottest_celsius is not None:
        check.number("condition.hottest_celsius", hottest_celsius, low=-300.0, high=1e4)
    battery_ratio = message.battery_ratio if message.HasField("battery_ratio") else None
    if battery_ratio is not None:
        check.ratio("condition.battery_ratio", battery_ratio)
    return Condition(
        hottest_celsius=hottest_celsius,
        throttled=message.throttled if message.HasField("throttled") else None,
        supply=check.name("condition.supply", message.supply, empty=True),
        battery_ratio=battery_ratio,
    )


def limits_to_message(limits: Limits) -> types_pb2.Limits:
    """The message of limits."""
    return types_pb2.Limits(
        cgroup_cores=limits.cgroup_cores,
        cgroup_memory_bytes=limits.cgroup_memory_bytes,
        affinity_cores=limits.affinity_cores,
    )


def limits_from_message(message: types_pb2.Limits) -> Limits:
    """The limits in a message.

    Raises:
        InvalidInput: a field is bad.
    """
    return Limits(
        cgroup_cores=check.number("limits.cgroup_cores", message.cgroup_cores, high=100_000),
        cgroup_memory_bytes=message.cgroup_memory_bytes,
        affinity_cores=int(check.number("limits.affinity_cores", message.affinity_cores, high=100_000)),
    )


def device_to_message(device: Device) -> types_pb2.Fingerprint:
    """A device's fingerprint message."""
    return types_pb2.Fingerprint(
        device_id=device.id,
        tier=_TIER_TO_MESSAGE[device.tier],
        site=device.site,
        device_class=device.device_class,
        cpu=types_pb2.Cpu(
            model=device.cpu_model,
            logical_cores=device.logical_cores,
            max_frequency_mhz=device.max_frequency_mhz,
            flags=device.cpu_flags,
        ),
        cores=device.cores,
        memory_bytes=device.memory_bytes,
        disk_free_bytes=device.disk_free_bytes,
        accelerators=[accelerator_to_message(accelerator) for accelerator in device.accelerators],
        links=[link_to_message(link) for link in device.links],
        price_per_h=device.price_per_h,
        speed_ratio=device.speed_ratio,
        environments=[environment_to_message(environment) for environment in device.environments],
        data_address=device.data_address,
        agent_version=device.agent_version,
        policy=policy_to_message(device.policy),
        speed=speed_to_message(device.speed) if device.speed is not None else None,
        condition=condition_to_message(device.condition) if device.condition is not None else None,
        planner_rtt_ms=device.planner_rtt_ms,
        planner_bandwidth_bit_per_s=device.planner_bandwidth_bit_per_s,
        disk_total_bytes=device.disk_total_bytes,
        limits=limits_to_message(device.limits) if device.limits is not None else None,
        measured_peers=device.measured_peers,
        unknown=[text[:2000] for text in device.unknown],
        overridden=device.overridden,
        platform=device.platform,
        labels=device.labels,
        isolation={about: said[:2000] for about, said in device.isolation.items()},
    )


def device_from_message(message: types_pb2.Fingerprint) -> Device:
    """The device in a fingerprint message.

    Raises:
        InvalidInput: a field is bad.
        TooLarge: a list is too long.
    """
    if message.tier not in _TIER_FROM_MESSAGE:
        raise InvalidInput(f"tier: {message.tier} is neither edge nor cloud")
    for field, values, limit in (
        ("links", message.links, 10_000),
        ("accelerators", message.accelerators, 64),
        ("environments", message.environments, 1_000),
        ("cpu.flags", message.cpu.flags, 1_000),
        ("measured_peers", message.measured_peers, 10_000),
        ("unknown", message.unknown, 100),
        ("overridden", message.overridden, 100),
    ):
        check.size(field, values, limit)
    speed_ratio = check.ratio("speed_ratio", message.speed_ratio)
    if speed_ratio == 0.0:
        raise InvalidInput("speed_ratio: 0 is no speed; it must be above 0 and at most 1")
    return Device(
        id=DeviceId(check.name("device_id", message.device_id)),
        tier=_TIER_FROM_MESSAGE[message.tier],
        site=SiteId(check.name("site", message.site)),
        device_class=DeviceClass(check.name("device_class", message.device_class)),
        cpu_model=check.text("cpu.model", message.cpu.model),
        logical_cores=int(check.number("cpu.logical_cores", message.cpu.logical_cores, high=100_000)),
        max_frequency_mhz=check.number("cpu.max_frequency_mhz", message.cpu.max_frequency_mhz, high=1e6),
        cpu_flags=tuple(check.name("cpu.flags", flag) for flag in message.cpu.flags),
        cores=check.number("cores", message.cores, high=100_000),
        memory_bytes=message.memory_bytes,
        disk_free_bytes=message.disk_free_bytes,
        accelerators=tuple(accelerator_from_message(accelerator) for accelerator in message.accelerators),
        links=tuple(link_from_message(link) for link in message.links),
        price_per_h=check.number("price_per_h", message.price_per_h, high=1e9),
        speed_ratio=speed_ratio,
        environments=tuple(environment_from_message(environment) for environment in message.environments),
        data_address=check.name("data_address", message.data_address, empty=True),
        agent_version=check.text("agent_version", message.agent_version),
        policy=policy_from_message(message.policy),
        speed=speed_from_message(message.speed) if message.HasField("speed") else None,
        condition=condition_from_message(message.condition) if message.HasField("condition") else None,
        planner_rtt_ms=check.number("planner_rtt_ms", message.planner_rtt_ms, high=1e6),
        planner_bandwidth_bit_per_s=message.planner_bandwidth_bit_per_s,
        disk_total_bytes=message.disk_total_bytes,
        limits=limits_from_message(message.limits) if message.HasField("limits") else None,
        measured_peers=tuple(DeviceId(check.name("measured_peers", peer)) for peer in message.measured_peers),
        unknown=tuple(check.text("unknown", text) for text in message.unknown),
        overridden=tuple(check.name("overridden", key) for key in message.overridden),
        platform=check.text("platform", message.platform),
        labels=check.labels("labels", message.labels),
        isolation={
            check.name("isolation", about): check.text("isolation", said)
            for about, said in sorted(message.isolation.items())[:_MAX_ISOLATION]
        },
    )
