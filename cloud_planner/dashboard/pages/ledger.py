"""Predicted against observed: how good promises were, and each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from circinus.accounts import AccountsReport, ServiceCorrection, accounts_from_message
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.page import Page, Route
from cloud_planner.dashboard.table import Column, Wanted, cut
from cloud_planner.dashboard.truth import OperatorRow, PlanRow, Truth, reliability_chart, scatter_chart, truth_of
from cloud_planner.services.states import account_message
from cloud_planner.store import AccountRecord

if TYPE_CHECKING:
    from starlette.responses import Response

    from cloud_planner.dashboard.visit import Visit

#: The newest accounts are looked at; the ledger's own limit for one call.
MOST_ACCOUNTS = 500
_FRESH_FOR_S = 10.0
#: Corrections that are shown: those that say most.
_MOST_CORRECTIONS = 30
_TEMPLATE = "ledger.html"

_PLANS: tuple[Column[PlanRow], ...] = (
    Column(key="query", label="Query", sort=lambda row: row.query_id, narrow=True),
    Column(key="generation", label="Generation", sort=lambda row: row.generation, numeric=True),
    Column(key="at", label="Promised", sort=lambda row: row.created_at),
    Column(key="items", label="Items", sort=lambda row: row.items, numeric=True),
    Column(
        key="latency",
        label="Latency promised",
        sort=lambda row: row.latency_ms.promised if row.latency_ms else None,
        numeric=True,
        title="At the SLO's percentile, with the 90% interval for as many items as were seen",
    ),
    Column(
        key="seen",
        label="Seen",
        sort=lambda row: row.latency_ms.seen if row.latency_ms else None,
        numeric=True,
        narrow=True,
        title="What was dropped or failed counts as slower than all that came back",
    ),
    Column(
        key="off",
        label="Off by",
        sort=lambda row: row.latency_ms.error_ratio if row.latency_ms else None,
        numeric=True,
        title="The promised latency, relative to what was seen",
    ),
    Column(key="rate", label="Items/s", sort=lambda row: row.rate_error_ratio, numeric=True, title="Planned and seen"),
    Column(
        key="accuracy",
        label="Accuracy",
        sort=lambda row: row.accuracy_ratio.error_ratio if row.accuracy_ratio else None,
        numeric=True,
        title="Promised and the mean score that was seen",
    ),
    Column(
        key="slo",
        label="P(SLO)",
        sort=lambda row: row.slo_probability_ratio,
        numeric=True,
        title="The probability that latency, accuracy and cost meet their bounds together, as it was promised",
    ),
    Column(key="verdict", label="SLO", sort=lambda row: row.verdict, narrow=True),
)
_OPERATORS: tuple[Column[OperatorRow], ...] = (
    Column(key="query", label="Query", sort=lambda row: row.query_id, narrow=True),
    Column(key="generation", label="Generation", sort=lambda row: row.generation, numeric=True),
    Column(key="operator", label="Operator", sort=lambda row: row.operator_id, narrow=True),
    Column(key="device", label="Device", sort=lambda row: row.device_id),
    Column(key="items", label="Items", sort=lambda row: row.items, numeric=True),
    Column(
        key="service",
        label="Service promised",
        sort=lambda row: row.promised_ms,
        numeric=True,
        title="The mean of one item, with its 90% interval",
    ),
    Column(
        key="seen",
        label="Seen",
        sort=lambda row: row.service_ms.seen if row.service_ms else None,
        numeric=True,
        narrow=True,
    ),
    Column(
        key="off",
        label="Off by",
        sort=lambda row: row.service_ms.error_ratio if row.service_ms else None,
        numeric=True,
    ),
    Column(key="queue", label="Wait", sort=lambda row: row.queue_seen_ms, numeric=True, title="Promised and seen"),
    Column(key="output", label="Output", sort=lambda row: row.output_seen_bytes, numeric=True),
    Column(key="memory", label="Memory", sort=lambda row: row.memory_seen_bytes, numeric=True),
    Column(key="dropped", label="Dropped"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A correction that the accounts say, and whether estimates have it already."""

    found: ServiceCorrection
    in_force_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ledger:
    truth: Truth
    corrections: tuple[Correction, ...]


async def _ledger(desk: Desk) -> _Ledger:
    async def made() -> _Ledger:
        await desk.overview.telemetry.flush()
        records, found = await desk.overview.accounts.list(MOST_ACCOUNTS)
        in_force = dict(desk.overview.accounts.service_ratio)
        return await asyncio.to_thread(_made, records, found, in_force)

    return await desk.remembered("ledger", made, for_s=_FRESH_FOR_S)


def _made(records: Sequence[AccountRecord], found: planner_pb2.Calibration, in_force: Mapping[Any, float]) -> _Ledger:
    report: AccountsReport = accounts_from_message(
        planner_pb2.GetAccountsResponse(accounts=[account_message(record) for record in records], calibration=found)
    )
    corrections = tuple(
        Correction(
            found=one,
            in_force_ratio=in_force.get((PipelineId(one.pipeline_id), OperatorId(one.operator_id), one.device_id)),
        )
        for one in sorted(report.calibration.corrections, key=lambda one: -abs(log(max(one.ratio, 1e-9))))
    )
    return _Ledger(truth=truth_of(report), corrections=corrections)


async def show_plans(visit: Visit) -> Response:
    """How good promises were, and the account of each query and generation."""
    ledger = await _ledger(visit.desk)
    wanted = Wanted.read(visit.query, _PLANS, sort="at", descending=True, only=("verdict", "pipeline"))
    truth = ledger.truth
    found = await asyncio.to_thread(
        cut,
        truth.plans,
        wanted,
        _PLANS,
        lambda row: f"{row.query_id} {row.pipeline} {row.verdict} {row.open}",
        {"verdict": lambda row: row.verdict, "pipeline": lambda row: row.pipeline},
    )
    pipelines = [(name, name) for name in sorted({row.pipeline for row in truth.plans})]
    return await visit.page(
        _TEMPLATE,
        truth=truth,
        corrections=ledger.corrections[:_MOST_CORRECTIONS],
        corrections_more=max(0, len(ledger.corrections) - _MOST_CORRECTIONS),
        most=MOST_ACCOUNTS,
        shown="plans",
        cut=found,
        pipelines=pipelines,
        charts=_charts(truth),
    )


async def show_operators(visit: Visit) -> Response:
    """The accounts of operators."""
    ledger = await _ledger(visit.desk)
    wanted = Wanted.read(visit.query, _OPERATORS, sort="query", only=("device",))
    truth = ledger.truth
    found = await asyncio.to_thread(
        cut,
        truth.operators,
        wanted,
        _OPERATORS,
        lambda row: f"{row.query_id} {row.operator_id} {row.device_id}",
        {"device": lambda row: row.device_id},
    )
    return await visit.page(
        _TEMPLATE,
        truth=truth,
        corrections=ledger.corrections[:_MOST_CORRECTIONS],
        corrections_more=max(0, len(ledger.corrections) - _MOST_CORRECTIONS),
        most=MOST_ACCOUNTS,
        shown="operators",
        cut=found,
        pipelines=[],
        charts=_charts(truth),
    )


def _charts(truth: Truth) -> dict[str, object]:
    return {
        "reliability": reliability_chart(truth.reliability),
        "latency": scatter_chart(truth.plans, lambda row: row.latency_ms, log=True),
    }


PAGE = Page(
    title="Ledger",
    path="/ledger",
    order=60,
    routes=(
        Route(path="/ledger", show=show_plans, needs="GetAccounts"),
        Route(path="/ledger/operators", show=show_operators, needs="GetAccounts"),
    ),
)
