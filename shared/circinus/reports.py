"""What a planner tells of itself, as values: status, devices, pipelines, queries, selections, progress, ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from circinus.drift_reports import DriftFinding, findings_from_messages
from circinus.gap_reports import TelemetryGap, gaps_from_messages
from circinus.model.device import Device, DeviceId, Digest
from circinus.model.pipeline import ContentRef, OperatorId, PipelineId
from circinus.model.plan import Interval, Plan, Selection, UnplacedQuery
from circinus.model.plan_diff import PlanDiff
from circinus.model.query import Query, QueryId
from circinus.model.search import SearchPhase, SearchState
from circinus.plan_details import PlanDetail, plan_detail_from_message
from circinus.stand_by_reports import (
    StandByEpisode,
    StandByState,
    episodes_from_messages,
    stand_by_state_from_message,
)
from circinus.v1 import planner_pb2, types_pb2
from circinus.wire import (
    device_from_message,
    plan_diff_from_message,
    plan_from_message,
    query_from_message,
    search_from_message,
    selection_from_message,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerStatus:
    """Where the planner stands. ``activity`` says in words what it does; ``findings``: what drifted lately.

    ``clock_ahead_s``: how far the planner's clock is ahead of this machine's; None: it did not tell its time.
    """

    version: str
    epoch: int
    generation: int
    activity: str
    devices_connected: int
    devices_known: int
    queries_placed: int
    queries_unplaced: int
    queries_pending: int
    started_at: datetime | None
    findings: tuple[DriftFinding, ...] = ()
    clock_ahead_s: float | None = None
    devices_cordoned: int = 0
    devices_draining: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A device as the planner knows it. ``pids`` by replica; ``troubles``: what is wrong with the box itself.

    ``labels``: all that were set, by whomever; ``device.labels`` are its own ones. ``cordoned``: nothing new is put on
    it, also while it is ``draining`` or, with that, ``leaving``; ``why``, and ``since`` when.
    """

    device: Device
    connected: bool
    accepted_generation: int
    active_generation: int
    generation_phase: str
    reason: str
    last_seen_at: datetime | None
    pids: Mapping[str, int]
    troubles: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    cordoned: bool = False
    draining: bool = False
    leaving: bool = False
    why: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """A registered pipeline. ``queries``: how many use it; ``inputs``: what each operator reads (or "source")."""

    id: PipelineId
    bundle_digest: Digest
    environment_digest: Digest
    contents: tuple[ContentRef, ...]
    operator_ids: tuple[OperatorId, ...]
    configurations: int
    queries: int
    inputs: Mapping[OperatorId, tuple[OperatorId, ...]] = field(default_factory=dict)
    spec_digest: str = ""


class QueryPhase(StrEnum):
    """How far a query has come."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    PROFILING = "profiling"
    PLACED = "placed"
    UNPLACED = "unplaced"


_PHASES = {
    planner_pb2.QUERY_PHASE_PENDING: QueryPhase.PENDING,
    planner_pb2.QUERY_PHASE_PROFILING: QueryPhase.PROFILING,
    planner_pb2.QUERY_PHASE_PLACED: QueryPhase.PLACED,
    planner_pb2.QUERY_PHASE_UNPLACED: QueryPhase.UNPLACED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryState:
    """A query, its plan if it has one, and why it waits or is unplaced.

    ``search`` is what the candidate search knows; None: there is none for it. ``stand_by`` None: it allows none.
    """

    query: Query
    phase: QueryPhase
    reason: str
    plan: Plan | None
    generation: int
    serving: bool
    search: SearchState | None = None
    stand_by: StandByState | None = None
    findings: tuple[DriftFinding, ...] = ()

    @property
    def agreement(self) -> bool:
        """Whether its content has no labels, so that its accuracy is agreement with a reference."""
        return self.search is not None and self.search.agreement

    @property
    def refused(self) -> bool:
        """Whether it has no plan and, as things are, gets none."""
        searched_in_vain = self.search is not None and self.search.phase is SearchPhase.REFUSED
        return self.phase is QueryPhase.UNPLACED or searched_in_vain

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for: its search has ended, and it is served or refused."""
        return (self.search is None or self.search.finished) and (self.serving or self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionReport:
    """What would be planned now; ``pending`` are the queries whose profile is missing.

    ``diff``: against the running generation; None: the planner doesn't tell.
    """

    selection: Selection
    pending: tuple[UnplacedQuery, ...]
    solver_s: float
    diff: PlanDiff | None = None
    stand_bys: tuple[StandByState, ...] = ()
    details: tuple[PlanDetail, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfReport:
    """What would be planned if things were different; ``told``: what was changed, a line each."""

    told: tuple[str, ...]
    diff: PlanDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTask:
    """A profile run that goes on; ``accuracy`` False: it measures times only."""

    id: str
    device_id: DeviceId
    pipeline_id: PipelineId
    content: str
    accuracy: bool
    samples_done: int
    samples_total: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where profiling, planning and rollout stand; ``settled``: nothing more to wait for."""

    activity: str
    profiles: tuple[ProfileTask, ...]
    generation: int
    settled: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLedger:
    """One operator of a query as it was observed; means are of one item, None without items."""

    operator_id: OperatorId
    items: int
    service_ms: float | None
    cpu_ms: float | None
    queue_ms: float | None
    output_bytes: float | None
    failures: int
    restarts: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What became of a query's items, beside what its plan said.

    ``predicted_accuracy_ratio`` holds the mean score of that many items with 95%. ``agreement_ratio`` is that of so
    many live answers with the reference configuration's.
    """

    query_id: QueryId
    generation: int
    duration_s: float
    emitted: int
    answered: int
    late: int
    dropped: int
    failed: int
    causes: Mapping[str, int]
    latency_p50_ms: float
    latency_p95_ms: float
    accuracy_ratio: float | None
    scored: int
    item_goodput_per_s: float
    plan: Plan | None
    predicted_accuracy_ratio: Interval | None
    planned_item_goodput_per_s: float
    operators: tuple[OperatorLedger, ...]
    stand_by_answered: int = 0
    stand_bys: tuple[StandByEpisode, ...] = ()
    latency_p99_ms: float = 0.0
    agreement_ratio: float | None = None
    agreement_items: int = 0
    bytes_sent: int = 0
    gaps: tuple[TelemetryGap, ...] = ()


def _moment(message: Any, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    moment: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return moment


def status_from_message(message: planner_pb2.GetStatusResponse, *, at: datetime | None = None) -> PlannerStatus:
    """The status in a message. ``at``: when it was made, by this machine's clock."""
    now = _moment(message, "now")
    return PlannerStatus(
        version=message.planner_version,
        epoch=message.epoch,
        generation=message.generation,
        activity=message.activity,
        devices_connected=message.devices_connected,
        devices_known=message.devices_known,
        queries_placed=message.queries_placed,
        queries_unplaced=message.queries_unplaced,
        queries_pending=message.queries_pending,
        devices_cordoned=message.devices_cordoned,
        devices_draining=message.devices_draining,
        started_at=_moment(message, "started_at"),
        findings=findings_from_messages(message.findings),
        clock_ahead_s=(now - at).total_seconds() if now is not None and at is not None else None,
    )


def device_state_from_message(message: planner_pb2.DeviceState) -> DeviceState:
    """The device's state in a message.

    Raises:
        InvalidInput: its fingerprint is bad.
    """
    return DeviceState(
        device=device_from_message(message.fingerprint),
        connected=message.connected,
        accepted_generation=message.accepted_generation,
        active_generation=message.active_generation,
        generation_phase=message.generation_phase,
        reason=message.reason,
        last_seen_at=_moment(message, "last_seen_at"),
        pids=dict(sorted(message.pids.items())),
        troubles=tuple(message.troubles),
        labels=dict(sorted(message.labels.items())),
        cordoned=message.cordoned,
        draining=message.draining,
        leaving=message.leaving,
        why=message.why,
        since=_moment(message, "since"),
    )


def pipeline_state_from_message(message: planner_pb2.PipelineState) -> PipelineState:
    """The pipeline's state in a message."""
    return PipelineState(
        id=PipelineId(message.id),
        bundle_digest=Digest(message.bundle_digest),
        environment_digest=Digest(message.environment_digest),
        contents=tuple(
            ContentRef(name=content.name, digest=Digest(content.digest), samples=content.samples)
            for content in message.contents
        ),
        operator_ids=tuple(OperatorId(operator_id) for operator_id in message.operator_ids),
        configurations=message.configurations,
        queries=message.queries,
        inputs={OperatorId(one.operator_id): tuple(map(OperatorId, one.inputs)) for one in message.inputs},
        spec_digest=message.spec_digest,
    )


def query_state_from_message(message: planner_pb2.QueryState) -> QueryState:
    """The query's state in a message.

    Raises:
        InvalidInput: the query, its plan or what is known of its search is bad.
    """
    return QueryState(
        query=query_from_message(message.query),
        phase=_PHASES.get(message.phase, QueryPhase.UNKNOWN),
        reason=message.reason,
        plan=plan_from_message(message.plan) if message.HasField("plan") else None,
        generation=message.generation,
        serving=message.serving,
        search=search_from_message(message.search) if message.HasField("search") else None,
        stand_by=stand_by_state_from_message(message.stand_by) if message.HasField("stand_by") else None,
        findings=findings_from_messages(message.findings),
    )


def selection_report_from_message(response: planner_pb2.PlanSelectionResponse) -> SelectionReport:
    """The selection in a message, and what it changes.

    Raises:
        InvalidInput: a plan is bad.
    """
    message = response.selection
    return SelectionReport(
        selection=selection_from_message(message),
        pending=tuple(
            UnplacedQuery(query_id=QueryId(entry.query_id), reason=entry.reason) for entry in message.pending
        ),
        solver_s=message.solver_s,
        diff=plan_diff_from_message(response.diff) if response.HasField("diff") else None,
        stand_bys=tuple(map(stand_by_state_from_message, message.stand_bys)),
        details=tuple(map(plan_detail_from_message, response.details)),
    )


def what_if_report_from_message(message: planner_pb2.WhatIfResponse) -> WhatIfReport:
    """The consequences in a message.

    Raises:
        InvalidInput: a plan is bad.
    """
    return WhatIfReport(told=tuple(message.told), diff=plan_diff_from_message(message.diff))


def progress_from_message(message: planner_pb2.WatchProgressResponse) -> Progress:
    """The progress in a message."""
    return Progress(
        activity=message.activity,
        profiles=tuple(
            ProfileTask(
                id=task.id,
                device_id=DeviceId(task.device_id),
                pipeline_id=PipelineId(task.pipeline_id),
                content=task.content,
                accuracy=task.accuracy,
                samples_done=task.samples_done,
                samples_total=task.samples_total,
                elapsed_s=task.elapsed_s,
                eta_s=task.eta_s if task.HasField("eta_s") else None,
            )
            for task in message.profiles
        ),
        generation=message.generation,
        settled=message.settled,
        message=message.message,
    )


def ledger_entry_from_message(message: planner_pb2.LedgerEntry) -> LedgerEntry:
    """The ledger's entry in a message.

    Raises:
        InvalidInput: its plan is bad.
    """
    predicted = message.predicted_accuracy_ratio
    return LedgerEntry(
        query_id=QueryId(message.query_id),
        generation=message.generation,
        duration_s=message.duration_s,
        emitted=message.emitted,
        answered=message.answered,
        late=message.late,
        dropped=message.dropped,
        failed=message.failed,
        causes=dict(sorted(message.causes.items())),
        latency_p50_ms=message.latency_p50_ms,
        latency_p95_ms=message.latency_p95_ms,
        accuracy_ratio=message.accuracy_ratio if message.HasField("accuracy_ratio") else None,
        scored=message.scored,
        item_goodput_per_s=message.item_goodput_per_s,
        plan=plan_from_message(message.plan) if message.HasField("plan") else None,
        predicted_accuracy_ratio=Interval(value=predicted.value, low=predicted.low, high=predicted.high)
        if message.HasField("predicted_accuracy_ratio")
        else None,
        planned_item_goodput_per_s=message.planned_item_goodput_per_s,
        operators=tuple(_operator_ledger(window) for window in message.operators),
        latency_p99_ms=message.latency_p99_ms,
        agreement_ratio=message.agreement_ratio if message.HasField("agreement_ratio") else None,
        agreement_items=message.agreement_items,
        bytes_sent=message.bytes_sent,
        stand_by_answered=message.stand_by_answered,
        stand_bys=episodes_from_messages(message.stand_bys),
        gaps=gaps_from_messages(message.gaps),
    )


def _operator_ledger(window: types_pb2.OperatorWindow) -> OperatorLedger:
    def mean(total: float) -> float | None:
        return total / window.items if window.items else None

    return OperatorLedger(
        operator_id=OperatorId(window.operator_id),
        items=window.items,
        service_ms=mean(window.service_ms_sum),
        cpu_ms=mean(window.cpu_ms_sum),
        queue_ms=mean(window.queue_ms_sum),
        output_bytes=mean(window.output_bytes),
        failures=window.failures,
        restarts=window.restarts,
        memory_bytes=window.memory_bytes,
    )
