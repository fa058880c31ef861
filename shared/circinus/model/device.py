"""A device: a machine with an agent, or a machine type with a count when nothing runs yet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

DeviceId = NewType("DeviceId", str)
SiteId = NewType("SiteId", str)
DeviceClass = NewType("DeviceClass", str)
Digest = NewType("Digest", str)


class Tier(StrEnum):
    """Where a device stands."""

    EDGE = "edge"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind of accelerator in a device.

    ``slots`` is how many replicas may use it at once; ``memory_bytes`` 0 means unknown;
    ``provider`` is the onnxruntime execution provider that runs on it.
    """

    kind: str
    model: str
    provider: str
    slots: int
    memory_bytes: int
    emulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A directed link from the device that holds it to a peer.

    ``bandwidth_bit_per_s`` 0 means unlimited. A transfer waits for half of ``rtt_ms``.
    ``emulated`` links are shaped by the data plane to these figures.
    """

    peer: DeviceId
    bandwidth_bit_per_s: int
    rtt_ms: float
    price_per_gb: float = 0.0
    emulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Whether a device can run operators in the environment with this digest, and why not."""

    digest: Digest
    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What an agent's fingerprint says of its box.

    ``cores`` are those that plans may use; ``speed_ratio`` below 1 marks an emulated device that is so
    much slower than its host; ``data_address`` is where peers dial it, empty if nobody can.
    """

    id: DeviceId
    tier: Tier
    site: SiteId
    device_class: DeviceClass
    cpu_model: str
    logical_cores: int
    max_frequency_mhz: float
    cpu_flags: tuple[str, ...]
    cores: float
    memory_bytes: int
    disk_free_bytes: int
    accelerators: tuple[Accelerator, ...]
    links: tuple[Link, ...]
    price_per_h: float
    speed_ratio: float
    environments: tuple[Environment, ...]
    data_address: str
    agent_version: str
