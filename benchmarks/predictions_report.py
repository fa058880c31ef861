"""What benchmarks/predictions.py tells of a ledger."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from circinus import wire
from circinus.v1 import planner_pb2
from cloud_planner.core.calibration import Account, calibration

if TYPE_CHECKING:
    from collections.abc import Collection

#: The bars.
LATENCY_ERROR_RATIO = 0.15
THROUGHPUT_ERROR_RATIO = 0.10
HALF_WIDTH_RATIO = 0.20
COVERAGE_RATIO = (0.84, 0.96)
LEAST_PLANS = 30


def measured(
    found: planner_pb2.GetAccountsResponse, places: Collection[tuple[int, str]]
) -> planner_pb2.GetAccountsResponse:
    """The accounts of these generations and queries alone, and what they say.

    All devices are this one machine: while some query is still being profiled, its runs take the cores that the plans
    of others were promised, which no fleet of machines of its own would do.
    """
    kept = [account for account in found.accounts if (account.generation, account.query_id) in places]
    told = planner_pb2.GetAccountsResponse(
        calibration=calibration([Account(promise=account.promise, seen=account.seen) for account in kept])
    )
    told.accounts.extend(kept)
    return told


def document(found: planner_pb2.GetAccountsResponse) -> dict[str, object]:
    """All figures, as JSON."""
    calibration = found.calibration
    judged = [account for account in found.accounts if not account.open]
    within = [account for account in judged if _within(account)]
    narrow = sum(_half_width(account) <= HALF_WIDTH_RATIO for account in judged)
    kept = {
        f"plans_at_least_{LEAST_PLANS}": len(judged) >= LEAST_PLANS,
        "p95_median_error_at_most_15_percent": bool(judged)
        and calibration.latency_error_median_ratio <= LATENCY_ERROR_RATIO,
        "throughput_median_error_at_most_10_percent": bool(judged)
        and calibration.throughput_error_median_ratio <= THROUGHPUT_ERROR_RATIO,
        "intervals_hold_84_to_96_percent": COVERAGE_RATIO[0] <= calibration.coverage_ratio <= COVERAGE_RATIO[1],
        "half_width_at_most_20_percent": bool(judged) and calibration.half_width_median_ratio <= HALF_WIDTH_RATIO,
    }
    return {
        "benchmark": "predictions",
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "plans": len(judged),
        "within": len(within),
        "narrow": narrow,
        "pipelines": {
            name: sum(account.promise.pipeline_id == name for account in judged)
            for name in sorted({account.promise.pipeline_id for account in judged})
        },
        "p95_median_error_ratio": round(calibration.latency_error_median_ratio, 4),
        "throughput_median_error_ratio": round(calibration.throughput_error_median_ratio, 4),
        "coverage_ratio": round(calibration.coverage_ratio, 4),
        "half_width_median_ratio": round(calibration.half_width_median_ratio, 4),
        "brier": round(calibration.brier, 4),
        "reliability": [
            {
                "from": one.low_ratio,
                "to": one.high_ratio,
                "plans": one.count,
                "promised": round(one.probability_mean_ratio, 4),
                "met": round(one.met_ratio, 4),
            }
            for one in calibration.reliability
        ],
        "service_median_error_ratio": round(calibration.service_error_median_ratio, 4),
        "kept": kept,
        "accounts": [_account(account) for account in reversed(judged)],
    }


def _half_width(account: planner_pb2.Account) -> float:
    one = account.latency_ms
    return (one.high - one.low) / 2.0 / max(one.value, 1e-9)


def _within(account: planner_pb2.Account) -> bool:
    return account.latency_ms.low <= account.latency_seen_ms <= account.latency_ms.high


def _account(account: planner_pb2.Account) -> dict[str, object]:
    promise, seen = account.promise, account.seen
    return {
        "query": account.query_id,
        "generation": account.generation,
        "configuration": dict(wire.configuration_from_message(promise.plan.configuration)),
        "devices": {f"{one.operator_id}@{one.device_id}": one.cores for one in promise.operators},
        "rate_per_s": promise.rate_per_s,
        "items": seen.answered + seen.late,
        "model_p95_ms": round(promise.plan.latency_ms.value, 1),
        "promised_p50_ms": round(promise.latency_p50_ms, 1),
        "promised_p95_ms": [round(x, 1) for x in (account.latency_ms.low, promise.latency_ms, account.latency_ms.high)],
        "seen_p95_ms": round(account.latency_seen_ms, 1),
        "within": _within(account),
        "throughput_per_s": round(account.throughput_seen_per_s, 3),
        "slo_probability": round(account.slo_probability_ratio, 4),
        "slo_met": account.slo_met,
        "service_ms": {
            f"{one.operator_id}@{one.device_id}": [
                round(next((p.service_ms.value for p in promise.operators if _same(p, one)), 0.0), 2),
                round(one.service_ms.sum / max(1, one.items), 2),
            ]
            for one in seen.operators
        },
        "queue_ms": {
            f"{one.operator_id}@{one.device_id}": [
                round(next((p.queue_ms for p in promise.operators if _same(p, one)), 0.0), 2),
                round(one.queue_ms.sum / max(1, one.items), 2),
            ]
            for one in seen.operators
        },
    }


def _same(promised: planner_pb2.OperatorPromise, seen: planner_pb2.OperatorSeen) -> bool:
    return (promised.operator_id, promised.device_id) == (seen.operator_id, seen.device_id)


def told(found: planner_pb2.GetAccountsResponse) -> str:
    """For people: the figures beside their bars, first the shortest summary."""
    figures = document(found)
    calibration = found.calibration
    lines = [
        f"{figures['plans']} plans; p95 off by {calibration.latency_error_median_ratio:.1%} (median, at most 15%), "
        f"throughput by {calibration.throughput_error_median_ratio:.1%} (at most 10%); 90% intervals held "
        f"{calibration.coverage_ratio:.0%} (84% to 96%), half-width {calibration.half_width_median_ratio:.1%} of p95 "
        "(at most 20%)",
        f"Brier score of P(SLO): {calibration.brier:.4f}; operators' service times off by "
        f"{calibration.service_error_median_ratio:.1%} (median)",
        "P(SLO)         plans  promised  met",
    ]
    lines += [
        f"{one.low_ratio:.2f} to {one.high_ratio:.2f}   {one.count:5d}  {one.probability_mean_ratio:8.3f}  "
        f"{one.met_ratio:.3f}"
        for one in calibration.reliability
    ]
    kept = figures["kept"]
    if isinstance(kept, dict):
        lines += [f"{name.replace('_', ' ')}: {'kept' if value else 'MISSED'}" for name, value in kept.items()]
    return "\n".join(lines)
