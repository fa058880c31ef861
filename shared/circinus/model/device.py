"""A device: a machine with an agent, or a machine type with a count when nothing runs yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from circinus.model.policy import ALLOW_ALL, Policy

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
    ``provider`` is the onnxruntime execution provider that runs on it. ``unified``: its memory is the device's own, so
    that what it takes counts there. ``part_id`` is the driver's name of this very part; empty if it has none.
    """

    kind: str
    model: str
    provider: str
    slots: int
    memory_bytes: int
    emulated: bool = False
    unified: bool = False
    part_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedScore:
    """What a short run of fixed work took, each as a multiple of the reference machine's speed; 0: unknown.

    ``score`` is the geometric mean of the three.
    """

    score: float
    integer_score: float = 0.0
    float_score: float = 0.0
    memory_score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a device does at the moment; None, or an empty ``supply``: unknown. ``supply``: mains or battery."""

    hottest_celsius: float | None = None
    throttled: bool | None = None
    supply: str = ""
    battery_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What others have set for the agent's process; 0: no limit."""

    cgroup_cores: float = 0.0
    cgroup_memory_bytes: int = 0
    affinity_cores: int = 0


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
    much slower than its host; ``data_address`` is where peers dial it, empty if nobody can. ``speed`` is of the host.
    ``labels`` are those that were set, by whomever the reader asked.
    ``measured_peers`` are those of whose link a figure was measured. ``unknown`` says what could not be told and why,
    ``overridden`` what the configuration said instead. ``isolation`` is in words, by what it is about.
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
    speed: SpeedScore | None = None
    condition: Condition | None = None
    planner_rtt_ms: float = 0.0
    planner_bandwidth_bit_per_s: int = 0
    disk_total_bytes: int = 0
    limits: Limits | None = None
    measured_peers: tuple[DeviceId, ...] = ()
    unknown: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()
    platform: str = ""
    policy: Policy = ALLOW_ALL
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    isolation: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def accelerator_memory_bytes(self) -> int | None:
        """The memory of accelerators that is no memory of the device; None: of some of them nobody knows it."""
        own = [accelerator.memory_bytes for accelerator in self.accelerators if not accelerator.unified]
        return None if 0 in own else sum(own)
