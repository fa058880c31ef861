"""What the planner needs of a store. Every implementation passes tests/planner/test_store_conformance.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from circinus.model.device import Device, DeviceClass, DeviceId, Digest
from circinus.model.directive import Generation
from circinus.model.pipeline import ContentRef, PipelineId
from circinus.model.profile import ConfigurationProfile, ProfileTable
from circinus.model.query import Query, QueryId
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.core.drift_terms import Finding
from cloud_planner.core.revisions import Revisions
from cloud_planner.core.search_terms import (
    Attempt,
)
from cloud_planner.store.event_rows import RING, EventKind, EventRecord
from cloud_planner.store.mark_rows import Mark


class RolloutPhase(StrEnum):
    """How far a generation has come.

    STARTING: durable; devices bring it up. ACTIVE: ready everywhere, sources may emit under it.
    SETTLED: nothing older is left.
    """

    STARTING = "starting"
    ACTIVE = "active"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecord:
    """A pipeline as it was added; its id stands in the spec, too."""

    id: PipelineId
    spec_yaml: str
    bundle_digest: Digest
    environment_digest: Digest
    contents: tuple[ContentRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """A generation: the selection that it carries out and the directives, one a device, byte for byte as sent."""

    generation: Generation
    created_at: datetime
    phase: RolloutPhase
    selection: planner_pb2.SelectionSummary
    directives: Mapping[DeviceId, types_pb2.Directive]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationHead:
    """A generation without what it carries out."""

    generation: Generation
    created_at: datetime
    phase: RolloutPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryRecord:
    """One telemetry message of a device; ``sequence`` rises by one with each, so that repeats are known."""

    device_id: DeviceId
    sequence: int
    received_at: datetime
    queries: tuple[types_pb2.QueryWindow, ...]
    operators: tuple[types_pb2.OperatorWindow, ...]
    stand_bys: tuple[control_pb2.StandByEpisode, ...] = ()
    gaps: tuple[control_pb2.TelemetryGap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """How far a query's candidate search is: all that can't be read off the profile tables."""

    query_id: QueryId
    submitted_at: datetime
    attempts: tuple[Attempt, ...]
    state: planner_pb2.SearchState


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    """What was promised of a query under a generation, and what was seen so far: of windows up to ``window_id``."""

    generation: Generation
    query_id: QueryId
    created_at: datetime
    promise: planner_pb2.Promise
    seen: planner_pb2.Seen
    window_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What files declare: added, or put in the place of what has the same id. ``begun_anew``: their searches go."""

    pipelines: tuple[PipelineRecord, ...] = ()
    queries: tuple[Query, ...] = ()
    marks: tuple[Mark, ...] = ()
    removed_queries: tuple[QueryId, ...] = ()
    removed_pipelines: tuple[PipelineId, ...] = ()
    begun_anew: tuple[QueryId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRecord:
    """What stands in for stated figures, and the last findings: each with its moment and the queries it bears on."""

    revisions: Revisions
    findings: tuple[tuple[Finding, datetime, tuple[QueryId, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWindow:
    """A window with its number, which rises, and the device that it is of."""

    id: int
    device_id: DeviceId
    window: types_pb2.QueryWindow | types_pb2.OperatorWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Telemetry windows, oldest first."""

    queries: tuple[types_pb2.QueryWindow, ...]
    operators: tuple[types_pb2.OperatorWindow, ...]


class Store(Protocol):
    """Durable state. Each method is one transaction; what it returned from is on disk."""

    async def close(self) -> None:
        """Lets go of the store; must be called."""

    async def epoch(self) -> int:
        """The planner's epoch, from 1; it rises with each restore of a backup."""

    async def generation_floor(self) -> int:
        """The highest number that a generation may have had before a restore; 0: it was never restored."""

    async def name_queries(self, count: int) -> int:
        """Reserves so many numbers for names of queries; gives the first. Numbers are never given twice."""

    async def devices(self) -> tuple[tuple[Device, datetime], ...]:
        """Every device that was ever seen, with the moment it was last seen, by id."""

    async def put_device(self, device: Device, last_seen_at: datetime) -> None:
        """Keeps a device's newest fingerprint."""

    async def remove_device(self, device_id: DeviceId) -> None:
        """Forgets a device, with what people said of it and the numbers of its telemetry; the ledger stays."""

    async def add_events(self, events: Sequence[EventRecord], keep: int = RING) -> None:
        """Adds events, in their order, and forgets all but the newest so many; cursors only rise."""

    async def events(
        self, after: int, limit: int, kinds: Collection[EventKind] = (), *, newest: bool = False
    ) -> tuple[EventRecord, ...]:
        """Events after a cursor, oldest first: the first so many, or the ``newest``. ``kinds`` empty: of all."""

    async def first_event(self) -> int:
        """The cursor of the oldest event that is kept; 0: there is none."""

    async def put_mark(self, mark: Mark) -> None:
        """Keeps what people say of a device, in place of what was kept before."""

    async def marks(self) -> tuple[Mark, ...]:
        """What people said of devices, by id."""

    async def pipelines(self) -> tuple[PipelineRecord, ...]:
        """Every pipeline, by id."""

    async def put_pipeline(self, record: PipelineRecord) -> None:
        """Adds a pipeline or replaces it."""

    async def remove_pipeline(self, pipeline_id: PipelineId) -> None:
        """Removes a pipeline, if there is one. Its profiles stay."""

    async def queries(self) -> tuple[Query, ...]:
        """Every query, in the order of submission."""

    async def put_queries(self, queries: Sequence[Query]) -> None:
        """Adds new queries, all or none."""

    async def remove_query(self, query_id: QueryId) -> None:
        """Removes a query and its search, if there is one."""

    async def apply_changes(self, changes: Changes) -> None:
        """Makes all of these changes, or none. A query in the place of another one keeps its turn."""

    async def put_search(self, record: SearchRecord) -> None:
        """Keeps how far a query's search is, in place of what was kept before."""

    async def searches(self) -> tuple[SearchRecord, ...]:
        """How far every search is, by query."""

    async def add_profiles(
        self,
        bundle_digest: Digest,
        content_digest: Digest,
        device_class: DeviceClass,
        profiles: Sequence[ConfigurationProfile],
        at: datetime | None = None,
    ) -> None:
        """Adds results; those of the same sample, configuration and class replace the older ones. ``at``: of when."""

    async def profiled_at(self, bundle_digest: Digest, content_digest: Digest) -> Mapping[DeviceClass, datetime]:
        """When results last came in, by class of devices; without those of which nobody said when."""

    async def profile_table(self, bundle_digest: Digest, content_digest: Digest) -> ProfileTable:
        """All results for a bundle and content; empty if there are none."""

    async def put_generation(self, record: GenerationRecord) -> None:
        """Makes a generation durable, directives and all.

        Raises:
            AlreadyExists: there is one with this number.
        """

    async def add_directive(self, directive: types_pb2.Directive) -> None:
        """Adds the directive of one more device to a generation; one that is there already stands."""

    async def set_phase(self, generation: Generation, phase: RolloutPhase) -> None:
        """Notes how far a generation has come."""

    async def newest_generation(self) -> GenerationRecord | None:
        """The newest generation, by epoch and number."""

    async def generation(self, generation: Generation) -> GenerationRecord | None:
        """A generation; None: there is none."""

    async def put_decision(self, selection: planner_pb2.SelectionSummary) -> None:
        """Keeps the last decision."""

    async def decision(self) -> planner_pb2.SelectionSummary | None:
        """The last decision."""

    async def add_telemetry(self, records: Sequence[TelemetryRecord], epoch: int) -> int:
        """Adds telemetry, leaving out what is there already. Gives how many records were new."""

    async def windows(
        self, since: datetime, generation: Generation | None = None, queries: Sequence[QueryId] | None = None
    ) -> Windows:
        """Windows that start at or after a moment, of one generation or of all, of these queries or of all."""

    async def put_episodes(self, device_id: DeviceId, episodes: Sequence[control_pb2.StandByEpisode]) -> None:
        """Keeps when stand-bys served; told again, with its end or without, one stays one, and an end stands."""

    async def episodes(self, query_id: QueryId, limit: int) -> tuple[control_pb2.StandByEpisode, ...]:
        """The newest episodes of a query, newest first."""

    async def prune_episodes(self, before: datetime) -> None:
        """Forgets episodes from before a moment."""

    async def put_gaps(self, device_id: DeviceId, sequence: int, gaps: Sequence[control_pb2.TelemetryGap]) -> None:
        """Keeps what telemetry was lost, as one message told; told again, they stay one."""

    async def gaps(
        self, query_id: QueryId, devices: Sequence[DeviceId], since: datetime, limit: int
    ) -> tuple[control_pb2.TelemetryGap, ...]:
        """The newest gaps of a query that end after a moment, newest first; and of all that these devices served."""

    async def prune_gaps(self, before: datetime, keep: int) -> None:
        """Forgets gaps that ended before a moment, and all but the newest so many."""

    async def prune_telemetry(self, before: datetime, keep: int) -> None:
        """Forgets windows that start before a moment, and all but the newest so many."""

    async def put_drift(self, record: DriftRecord) -> None:
        """Keeps what drift found, in place of what was kept before."""

    async def drift(self) -> DriftRecord | None:
        """What drift found; None: nothing yet."""

    async def put_accounts(self, records: Sequence[AccountRecord]) -> None:
        """Opens accounts; one that is there already stands."""

    async def accounts(self, limit: int) -> tuple[AccountRecord, ...]:
        """The newest accounts, newest first."""

    async def unseen_windows(self, record: AccountRecord, limit: int) -> tuple[StoredWindow, ...]:
        """The first windows of an account that were not seen yet, by number."""

    async def put_seen(self, records: Sequence[AccountRecord]) -> None:
        """Keeps what was seen, with up to which window."""

    async def prune_accounts(self, before: datetime, keep: int) -> None:
        """Forgets accounts that were opened before a moment, and all but the newest so many."""

    async def generation_heads(self, limit: int, before: Generation | None = None) -> tuple[GenerationHead, ...]:
        """The newest generations, newest first, without their selections; those before one, if one is given."""

    async def selection_of(self, generation: Generation) -> planner_pb2.SelectionSummary | None:
        """What a generation carries out; None: there is no such generation."""

    async def windows_of(self, query_id: QueryId, since: datetime, limit: int) -> tuple[StoredWindow, ...]:
        """The newest windows of a query, and of its operators, that start at or after a moment; oldest first."""

    async def accounts_of(self, query_id: QueryId, limit: int) -> tuple[AccountRecord, ...]:
        """The newest accounts of a query, newest first."""
