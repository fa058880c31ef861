"""The ledger's accounts as programs get them: promises beside what was seen, and how good promises are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.plan import Interval, Plan
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, types_pb2
from circinus.wire import plan_from_message


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAccount:
    """One operator on one device; means are of one item. What was seen is None without items."""

    operator_id: OperatorId
    device_id: DeviceId
    items: int
    service_ms: Interval
    service_seen_ms: float | None
    service_seen_p95_ms: float | None
    queue_ms: float
    queue_seen_ms: float | None
    output_bytes: float
    output_seen_bytes: float | None
    cpu_seen_ms: float | None
    memory_seen_bytes: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a generation promised of a query beside what was seen of it.

    ``scored``: items that ``accuracy_seen_ratio`` is the mean of. ``open``: too little was seen to judge, the figures
    that follow it are 0. ``latency_ms`` is the 90% interval of the percentile that the SLO is of over as many items as
    were seen; ``slo_probability_ratio`` likewise.
    """

    query_id: QueryId
    generation: int
    created_at: datetime
    pipeline_id: PipelineId
    content: str
    rate_per_s: float
    plan: Plan
    items: int
    duration_s: float
    dropped: int
    failed: int
    accuracy_seen_ratio: float | None
    agreement_seen_ratio: float | None
    agreement_items: int
    operators: tuple[OperatorAccount, ...]
    open: bool
    latency_ms: Interval
    latency_seen_ms: float
    latency_seen_p50_ms: float
    latency_seen_p99_ms: float
    throughput_seen_per_s: float
    slo_probability_ratio: float
    slo_met: bool
    scored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Promises whose P(SLO) lies within bounds: their mean, and how often the SLO was met."""

    low_ratio: float
    high_ratio: float
    accounts: int
    promised_ratio: float
    met_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCorrection:
    """What an operator's profiled service time is off by on a device."""

    pipeline_id: PipelineId
    operator_id: OperatorId
    device_id: DeviceId
    ratio: float
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How good promises were; errors are medians, relative to what was seen."""

    accounts: int
    latency_error_ratio: float
    throughput_error_ratio: float
    coverage_ratio: float
    half_width_ratio: float
    brier: float
    reliability: tuple[ReliabilityBin, ...]
    operator_accounts: int
    service_error_ratio: float
    service_coverage_ratio: float
    corrections: tuple[ServiceCorrection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsReport:
    """Accounts, newest first, and how good their promises were."""

    accounts: tuple[Account, ...]
    calibration: Calibration


def accounts_from_message(message: planner_pb2.GetAccountsResponse) -> AccountsReport:
    """The accounts in a message.

    Raises:
        InvalidInput: a plan or a sketch is bad.
    """
    return AccountsReport(
        accounts=tuple(_account(one) for one in message.accounts), calibration=_calibration(message.calibration)
    )


def _account(message: planner_pb2.Account) -> Account:
    promise, seen = message.promise, message.seen
    latency = Sketch.of(seen.latency_ms, "seen.latency_ms")
    by_place = {(one.operator_id, one.device_id): one for one in seen.operators}
    return Account(
        query_id=QueryId(message.query_id),
        generation=message.generation,
        created_at=message.created_at.ToDatetime(tzinfo=UTC),
        pipeline_id=PipelineId(promise.pipeline_id),
        content=promise.content,
        rate_per_s=promise.rate_per_s,
        plan=plan_from_message(promise.plan),
        items=seen.answered + seen.late,
        duration_s=seen.duration_s,
        dropped=seen.dropped,
        failed=seen.failed,
        accuracy_seen_ratio=seen.score_sum / seen.scored if seen.scored else None,
        agreement_seen_ratio=seen.shadow_score_sum / seen.shadow_scored if seen.shadow_scored else None,
        agreement_items=seen.shadow_scored,
        operators=tuple(_operator(one, by_place.get((one.operator_id, one.device_id))) for one in promise.operators),
        open=message.open,
        latency_ms=_interval(message.latency_ms),
        latency_seen_ms=message.latency_seen_ms,
        latency_seen_p50_ms=latency.quantile(0.5),
        latency_seen_p99_ms=latency.quantile(0.99),
        throughput_seen_per_s=message.throughput_seen_per_s,
        slo_probability_ratio=message.slo_probability_ratio,
        slo_met=message.slo_met,
        scored=seen.scored,
    )


def _operator(promised: planner_pb2.OperatorPromise, seen: planner_pb2.OperatorSeen | None) -> OperatorAccount:
    found = seen if seen is not None else planner_pb2.OperatorSeen()
    service, queue = Sketch.of(found.service_ms), Sketch.of(found.queue_ms)
    return OperatorAccount(
        operator_id=OperatorId(promised.operator_id),
        device_id=DeviceId(promised.device_id),
        items=found.items,
        service_ms=_interval(promised.service_ms),
        service_seen_ms=service.mean if service.count else None,
        service_seen_p95_ms=service.quantile(0.95) if service.count else None,
        queue_ms=promised.queue_ms,
        queue_seen_ms=queue.mean if queue.count else None,
        output_bytes=promised.output_bytes,
        output_seen_bytes=found.output_bytes / found.items if found.items else None,
        cpu_seen_ms=found.cpu_ms_sum / found.items if found.items else None,
        memory_seen_bytes=found.memory_bytes,
        dropped=dict(sorted(found.dropped_by_cause.items())),
    )


def _calibration(message: planner_pb2.Calibration) -> Calibration:
    return Calibration(
        accounts=message.accounts,
        latency_error_ratio=message.latency_error_median_ratio,
        throughput_error_ratio=message.throughput_error_median_ratio,
        coverage_ratio=message.coverage_ratio,
        half_width_ratio=message.half_width_median_ratio,
        brier=message.brier,
        reliability=tuple(
            ReliabilityBin(
                low_ratio=one.low_ratio,
                high_ratio=one.high_ratio,
                accounts=one.count,
                promised_ratio=one.probability_mean_ratio,
                met_ratio=one.met_ratio,
            )
            for one in message.reliability
        ),
        operator_accounts=message.operator_accounts,
        service_error_ratio=message.service_error_median_ratio,
        service_coverage_ratio=message.service_coverage_ratio,
        corrections=tuple(
            ServiceCorrection(
                pipeline_id=PipelineId(one.pipeline_id),
                operator_id=OperatorId(one.operator_id),
                device_id=DeviceId(one.device_id),
                ratio=one.ratio,
                items=one.items,
            )
            for one in message.corrections
        ),
    )


def _interval(message: types_pb2.Interval) -> Interval:
    return Interval(value=message.value, low=message.low, high=message.high)
