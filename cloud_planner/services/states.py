"""The planner's state as messages: devices, queries, pipelines, the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from circinus import wire
from circinus.model.pipeline import RegisteredPipeline
from circinus.model.plan import Interval
from circinus.model.query import Query, QueryId
from circinus.model.search import SearchState
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.core.calibration import Account, judge
from cloud_planner.core.ledger import Observed
from cloud_planner.planning_loop import Decision
from cloud_planner.registry import DeviceRecord
from cloud_planner.store import AccountRecord, GenerationRecord, RolloutPhase
from cloud_planner.watching import Noted


def device_state(record: DeviceRecord, newest: GenerationRecord | None) -> planner_pb2.DeviceState:
    """A device. Its process ids stand under "query/operator" (with #2, #3 ... for further replicas)."""
    status = record.status
    phase = control_pb2.GenerationPhase.Name(status.phase).removeprefix("GENERATION_PHASE_").lower()
    state = planner_pb2.DeviceState(
        fingerprint=wire.device_to_message(record.device),
        connected=record.session is not None,
        accepted_generation=status.generation,
        active_generation=status.active_generation,
        generation_phase=phase if status.phase else "",
        reason=(record.refusal or status.reason)[:2000],
        pids=_pids(record, newest),
    )
    state.last_seen_at.FromDatetime(record.last_seen_at)
    return state


def _pids(record: DeviceRecord, newest: GenerationRecord | None) -> dict[str, int]:
    names: dict[str, str] = {}
    directive = newest.directives.get(record.device.id) if newest is not None else None
    if directive is not None:
        names = {found.key: f"{found.query_id}/{found.operator_id}" for found in directive.replica_sets}
        names |= {found.key: f"{found.query_id}/source" for found in directive.sources}
        for found in (one for stand_by in directive.stand_bys for one in stand_by.replica_sets):
            names.setdefault(found.key, f"{found.query_id}/stand-by/{found.operator_id}")
    pids: dict[str, int] = {}
    for key, replicas in record.status.pids.items():
        for number, pid in enumerate(replicas.pids, start=1):
            pids[names.get(key, key) + (f"#{number}" if number > 1 else "")] = pid
    return pids


def query_state(
    query: Query,
    decision: Decision,
    newest: GenerationRecord | None,
    search: SearchState | None = None,
    episodes: Sequence[control_pb2.StandByEpisode] = (),
) -> planner_pb2.QueryState:
    """A query, with its plan or the reason why it has none, and what its search knows."""
    state = planner_pb2.QueryState(query=wire.query_to_message(query), phase=planner_pb2.QUERY_PHASE_PENDING)
    if search is not None:
        state.search.CopyFrom(wire.search_to_message(search))
    stand_by = next((one for one in decision.summary.stand_bys if one.query_id == query.id), None)
    if stand_by is not None or episodes:
        state.stand_by.query_id = query.id
        if stand_by is not None:
            state.stand_by.CopyFrom(stand_by)
        state.stand_by.episodes.extend(episodes)
    plan = plan_of(decision.summary, query.id)
    if plan is not None:
        state.phase = planner_pb2.QUERY_PHASE_PLACED
        state.plan.CopyFrom(plan)
        if newest is not None and plan_of(newest.selection, query.id) is not None:
            state.generation = newest.generation.number
            state.serving = newest.phase is not RolloutPhase.STARTING
        return state
    for unplaced in decision.summary.unplaced:
        if unplaced.query_id == query.id:
            state.phase, state.reason = planner_pb2.QUERY_PHASE_UNPLACED, unplaced.reason
            return state
    for waiting in decision.summary.pending:
        if waiting.query_id == query.id:
            state.reason = waiting.reason
            if query.id in decision.profiling:
                state.phase = planner_pb2.QUERY_PHASE_PROFILING
            return state
    state.reason = "it is being looked at"
    return state


def finding(noted: Noted) -> planner_pb2.DriftFinding:
    """A finding of drift."""
    found = noted.finding
    message = planner_pb2.DriftFinding(
        kind=found.kind.value,
        subject=found.subject,
        stated=found.stated,
        before=found.before,
        after=found.after,
        began_before_s=max(0.0, found.at_s - found.since_s),
        evidence=found.evidence,
        returned=found.returned,
        query_ids=noted.query_ids,
    )
    message.found_at.FromDatetime(noted.at)
    return message


def plan_of(summary: planner_pb2.SelectionSummary, query_id: QueryId) -> types_pb2.Plan | None:
    """A query's plan in a selection; None: it has none."""
    return next((plan for plan in summary.plans if plan.query_id == query_id), None)


def pipeline_state(registered: RegisteredPipeline, queries: int) -> planner_pb2.PipelineState:
    """A pipeline, with how many queries use it."""
    pipeline = registered.pipeline
    return planner_pb2.PipelineState(
        id=pipeline.id,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        contents=[
            planner_pb2.ContentRef(name=content.name, digest=content.digest, samples=content.samples)
            for content in registered.contents
        ],
        operator_ids=[operator.id for operator in pipeline.operators],
        configurations=pipeline.configuration_count,
        queries=queries,
    )


def ledger_entry(
    query: Query,
    generation: int,
    seen: Observed,
    operators: tuple[types_pb2.OperatorWindow, ...],
    plan: types_pb2.Plan | None,
    prediction: Interval | None,
) -> planner_pb2.LedgerEntry:
    """Observed beside predicted. Item goodput carries the query's weight, as planned goodput does."""
    causes: Mapping[str, int] = seen.causes
    entry = planner_pb2.LedgerEntry(
        query_id=query.id,
        generation=generation,
        duration_s=seen.duration_s,
        emitted=seen.emitted,
        answered=seen.answered,
        late=seen.late,
        dropped=seen.dropped,
        failed=seen.failed,
        causes=causes,
        latency_p50_ms=seen.latency_p50_ms,
        latency_p95_ms=seen.latency_p95_ms,
        latency_p99_ms=seen.latency_p99_ms,
        agreement_ratio=seen.agreement_ratio,
        agreement_items=seen.agreement_items,
        bytes_sent=seen.bytes_sent,
        accuracy_ratio=seen.accuracy_ratio,
        scored=seen.scored,
        item_goodput_per_s=seen.item_goodput_per_s * query.weight,
        operators=operators,
    )
    if plan is not None:
        entry.plan.CopyFrom(plan)
        entry.planned_item_goodput_per_s = plan.item_goodput_per_s
    if prediction is not None:
        entry.predicted_accuracy_ratio.CopyFrom(
            types_pb2.Interval(value=prediction.value, low=prediction.low, high=prediction.high)
        )
    return entry


def account_message(record: AccountRecord) -> planner_pb2.Account:
    """An account, judged if enough was seen."""
    account = Account(promise=record.promise, seen=record.seen)
    message = planner_pb2.Account(
        query_id=record.query_id,
        generation=record.generation.number,
        promise=record.promise,
        seen=record.seen,
        open=account.open,
    )
    message.created_at.FromDatetime(record.created_at)
    if not account.open:
        judged = judge(account)
        message.latency_ms.CopyFrom(
            types_pb2.Interval(value=judged.latency_ms.value, low=judged.latency_ms.low, high=judged.latency_ms.high)
        )
        message.latency_seen_ms = judged.latency_seen_ms
        message.throughput_seen_per_s = judged.throughput_seen_per_s
        message.slo_probability_ratio = judged.slo_probability_ratio
        message.slo_met = judged.slo_met
    return message
