"""What was measured: service time, bytes, memory, accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from circinus.model.device import DeviceClass, Digest
from circinus.model.pipeline import Configuration, OperatorId


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSample:
    """One operator on one sample; times are those of the device, emulation included.

    ``hurried``: they are only a rough idea, without cold caches and rest before the measurement.
    """

    operator_id: OperatorId
    cpu_ms: float
    wall_ms: float
    output_bytes: int
    cached: bool
    hurried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """One sample through one configuration; the score is None where it was not asked for."""

    sample_index: int
    score_ratio: float | None
    operators: tuple[OperatorSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationProfile:
    """What one profile run measured of one configuration.

    ``memory_bytes`` by operator: a process that runs it alone with its model loaded; ``accelerator_memory_bytes``:
    what it takes of an accelerator, if it uses one and the driver tells.
    """

    configuration: Configuration
    samples: tuple[SampleResult, ...]
    memory_bytes: Mapping[OperatorId, int]
    source_bytes: int
    accelerator_memory_bytes: Mapping[OperatorId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTable:
    """All that is known of one pipeline's bundle: accuracy by content, times by device class and content.

    Times of a class are only those measured on devices of that class; scores come from any.
    """

    bundle_digest: Digest
    content_digest: Digest
    scores: Mapping[str, Mapping[int, float]]
    times: Mapping[DeviceClass, tuple[ConfigurationProfile, ...]]
