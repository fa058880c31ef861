"""Devices, as their fingerprints say."""

from __future__ import annotations

from circinus.errors import InvalidInput
from circinus.model.device import (
    Accelerator,
    Device,
    DeviceClass,
    DeviceId,
    Digest,
    Environment,
    Link,
    SiteId,
    Tier,
)
from circinus.v1 import types_pb2
from circinus.wire import check

_TIER_TO_MESSAGE = {Tier.EDGE: types_pb2.TIER_EDGE, Tier.CLOUD: types_pb2.TIER_CLOUD}
_TIER_FROM_MESSAGE = {message: tier for tier, message in _TIER_TO_MESSAGE.items()}


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
    )
