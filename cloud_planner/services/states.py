"""The planner's state as messages: devices, queries, pipelines, the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.pipeline import RegisteredPipeline
from circinus.model.plan import Interval
from circinus.model.query import Query, QueryId
from circinus.model.search import SearchState
from circinus.spec.digest import spec_digest
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
        reason=(record.doubled or record.refusal or status.reason)[:2000],
        troubles=status.troubles,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision by query, so that a list of thousands does not look through it for each.

    ``rolled_out``: the queries with a plan in the newest generation.
    """

    plans: Mapping[str, types_pb2.Plan]
    unplaced: Mapping[str, str]
    waiting: Mapping[str, str]
    stand_bys: Mapping[str, planner_pb2.StandByState]
    profiling: Collection[QueryId]
    rolled_out: Collection[str]
    newest: GenerationRecord | None

    @classmethod
    def of(cls, decision: Decision, newest: GenerationRecord | None) -> Decided:
        """A decision and the newest generation."""
        summary = decision.summary
        return cls(
            plans={plan.query_id: plan for plan in summary.plans},
            unplaced={one.query_id: one.reason for one in summary.unplaced},
            waiting={one.query_id: one.reason for one in summary.pending},
            stand_bys={one.query_id: one for one in summary.stand_bys},
            profiling=decision.profiling.keys(),
            rolled_out=frozenset(plan.query_id for plan in newest.selection.plans) if newest is not None else (),
            newest=newest,
        )


def query_state(
    query: Query,
    decided: Decided,
    search: SearchState | None = None,
    episodes: Sequence[control_pb2.StandByEpisode] = (),
) -> planner_pb2.QueryState:
    """A query, with its plan or the reason why it has none, and what its search knows."""
    state = planner_pb2.QueryState(query=wire.query_to_message(query), phase=planner_pb2.QUERY_PHASE_PENDING)
    if search is not None:
        state.search.CopyFrom(wire.search_to_message(search))
    stand_by = decided.stand_bys.get(query.id)
    if stand_by is not None or episodes:
        state.stand_by.query_id = query.id
        if stand_by is not None:
            state.stand_by.CopyFrom(stand_by)
        state.stand_by.episodes.extend(episodes)
    plan = decided.plans.get(query.id)
    if plan is not None:
        state.phase = planner_pb2.QUERY_PHASE_PLACED
        state.plan.CopyFrom(plan)
        if decided.newest is not None and query.id in decided.rolled_out:
            state.generation = decided.newest.generation.number
            state.serving = decided.newest.phase is not RolloutPhase.STARTING
    elif query.id in decided.unplaced:
        state.phase, state.reason = planner_pb2.QUERY_PHASE_UNPLACED, decided.unplaced[query.id]
    elif query.id in decided.waiting:
        state.reason = decided.waiting[query.id]
        if query.id in decided.profiling:
            state.phase = planner_pb2.QUERY_PHASE_PROFILING
    else:
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
        inputs=[planner_pb2.OperatorInputs(operator_id=one.id, inputs=one.inputs) for one in pipeline.operators],
        spec_digest=spec_digest(pipeline),
    )


def devices_of(query: Query, plan: types_pb2.Plan | None) -> tuple[DeviceId, ...]:
    """The devices that a query is served by: its source's, and its operators'."""
    placed = [DeviceId(one.device_id) for one in plan.operators] if plan is not None else []
    return tuple(dict.fromkeys((query.source_device_id, *placed)))


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
