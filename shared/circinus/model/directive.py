"""A directive: what one device must run, complete, with its generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from circinus.model.device import DeviceId, Digest, SiteId
from circinus.model.pipeline import Configuration, Feed, KnobValue, OperatorId, PipelineId
from circinus.model.plan import Interval
from circinus.model.query import QueryId

#: Stands where no query is meant.
NO_QUERY = QueryId("")
#: Stands where a site is not told.
NO_SITE = SiteId("")
#: How long an item without a bound is worked for.
UNBOUNDED_MS = 10_000.0


def patience_ms(deadline_ms: float) -> float:
    """How long an item is worked for; ``deadline_ms`` 0: it has no bound."""
    return deadline_ms if deadline_ms > 0.0 else UNBOUNDED_MS


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Generation:
    """The number of a plan of the fleet. Ordered by epoch first: a restored planner outranks the one it replaces."""

    epoch: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One operator of one query that a replica set serves.

    ``rate_per_s`` is planned, 0: unknown. ``after_ms`` is the predicted time from the operator's output to the answer
    at the source, 0: unknown. ``deadline_ms`` is the query's latency bound, 0: none. ``cores`` are those of each of its
    ``replicas``, for which a process may have time between others' items; 0: those of the processes.
    """

    query_id: QueryId
    operator_id: OperatorId
    inputs: tuple[OperatorId, ...]
    rate_per_s: float = 0.0
    weight: float = 1.0
    after_ms: float = 0.0
    deadline_ms: float = 0.0
    cores: float = 0.0
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet:
    """Processes that serve an operator on a device; equal keys in two generations mean that they stay.

    ``uses`` are all operators of all queries that they serve, ``query_id``'s and ``operator_id``'s among them; empty:
    that one alone. ``split_by`` is the field by which the output is cut for operators that are run ``each`` part of an
    item; empty: none is.
    """

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
    uses: tuple[Use, ...] = ()
    split_by: str = ""
    each: bool = False

    @property
    def served(self) -> tuple[Use, ...]:
        """All operators of all queries that these processes serve; at least one."""
        return self.uses or (Use(query_id=self.query_id, operator_id=self.operator_id, inputs=self.inputs),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device that has a part of an operator's items."""

    device_id: DeviceId
    share_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a query's items go to reach an operator.

    ``given_by``: inputs that come from what runs once for several queries, by their names, to the query whose run it
    is. Their items have deadlines that are ``earlier_ms`` earlier here, since there they wait for the latest of all.
    ``each``: the operator is run for each part of an item.
    """

    query_id: QueryId
    operator_id: OperatorId
    inputs: tuple[OperatorId, ...]
    targets: tuple[Target, ...]
    given_by: Mapping[OperatorId, QueryId] = field(default_factory=dict)
    earlier_ms: float = 0.0
    each: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source that a device runs for a query; ``deadline_ms`` 0: no bound. ``clip`` items are scored together.

    ``input`` is what it reads (Query.input). With a ``leader_query_id`` its items are that query's, under the same
    request ids. ``feed`` says how an input of the device becomes items; ``sink`` is as in Query. A share of live items
    is scored against ``reference`` in idle time; empty: none.
    """

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
    input: str = ""
    leader_query_id: QueryId = NO_QUERY
    feed: Feed | None = None
    sink: str = ""
    weight: float = 1.0
    reference: Configuration = field(default_factory=dict)
    #: Operators that another query's run does for this one, to that query.
    given_by: Mapping[OperatorId, QueryId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandBy:
    """What a device runs for a query by itself while it can't reach those of ``needs`` that the query's plan needs.

    The source is that of the directive. The intervals are predictions of the stand-by plan.
    """

    query_id: QueryId
    configuration: Configuration
    replica_sets: tuple[ReplicaSet, ...]
    routes: tuple[Route, ...]
    needs: tuple[DeviceId, ...]
    latency_ms: Interval
    accuracy_ratio: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A device that this one is connected with: one that it dials at ``address``, or one that dials it (empty).

    ``site`` empty: not told.
    """

    device_id: DeviceId
    address: str
    site: SiteId = NO_SITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """What one device must run. Its digest is that of its wire form (wire.directive_digest).

    It dials its ``peers``; those of ``dialled_by`` dial it.
    """

    device_id: DeviceId
    generation: Generation
    replica_sets: tuple[ReplicaSet, ...]
    routes: tuple[Route, ...]
    sources: tuple[SourceSpec, ...]
    peers: tuple[Peer, ...]
    stand_bys: tuple[StandBy, ...] = ()
    dialled_by: tuple[Peer, ...] = ()

    @property
    def all_replica_sets(self) -> tuple[ReplicaSet, ...]:
        """What the device runs for plans and for stand-bys, each once."""
        kept = [one for stand_by in self.stand_bys for one in stand_by.replica_sets]
        return tuple({one.key: one for one in (*kept, *self.replica_sets)}.values()) if kept else self.replica_sets
