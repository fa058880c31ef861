"""A directive: what one device must run, complete, with its generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circinus.model.device import DeviceId, Digest
from circinus.model.pipeline import KnobValue, OperatorId, PipelineId
from circinus.model.query import QueryId


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Generation:
    """The number of a plan of the fleet. Ordered by epoch first: a restored planner outranks the one it replaces."""

    epoch: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet:
    """One operator of one query on a device; equal keys in two generations mean that its processes stay."""

    key: str
    query_id: QueryId
    pipeline_id: PipelineId
    operator_id: OperatorId
    bundle_digest: Digest
    environment_digest: Digest
    entry_point: str
    knobs: Mapping[str, KnobValue]
    replicas: int
    cores: float
    accelerator_slots: int
    accelerator_memory_bytes: int
    memory_bytes: int
    batch: int
    hang_ms: float
    inputs: tuple[OperatorId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device that has a part of an operator's items."""

    device_id: DeviceId
    share_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a query's items go to reach an operator."""

    query_id: QueryId
    operator_id: OperatorId
    inputs: tuple[OperatorId, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source that a device runs for a query; ``deadline_ms`` 0: no bound. ``clip`` items are scored together."""

    key: str
    query_id: QueryId
    pipeline_id: PipelineId
    bundle_digest: Digest
    environment_digest: Digest
    entry_point: str
    scorer_entry_point: str
    content: str
    seed: int
    rate_per_s: float
    deadline_ms: float
    output_operator_ids: tuple[OperatorId, ...]
    clip: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A device that this one dials."""

    device_id: DeviceId
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """What one device must run. Its digest is that of its wire form (wire.directive_digest)."""

    device_id: DeviceId
    generation: Generation
    replica_sets: tuple[ReplicaSet, ...]
    routes: tuple[Route, ...]
    sources: tuple[SourceSpec, ...]
    peers: tuple[Peer, ...]
