"""What people ask of the ledger: predicted against observed, and what each generation promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from circinus.errors import aborts_with_status
from circinus.model.directive import Generation
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2, types_pb2
from circinus.wire import check
from cloud_planner.core import ledger
from cloud_planner.core.profiles import accuracy_prediction
from cloud_planner.overview import Overview
from cloud_planner.services import states
from cloud_planner.services.devices import check_page
from cloud_planner.services.pages import Page

#: Episodes of a query's stand-by that are told, and gaps.
EPISODES = 20
_GAPS = 20
_EVER = datetime.fromtimestamp(0, UTC)
#: Queries whose windows are read at once.
_AT_ONCE = 50
#: Accounts that are told where no number is asked for, and at most.
_ACCOUNTS = 200
_MAX_ACCOUNTS = 500
#: The oldest are left out where all would be more: a message is at most 4 MiB.
_MAX_ACCOUNTS_BYTES = 3_500_000
#: The end of the year 9999: no later moment has a date.
_LAST_SECOND = 253_402_300_799

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """What is looked at: windows since a moment, only those of ``of`` if given; beside ``plans`` of ``generation``."""

    since: datetime
    of: Generation | None
    generation: int
    plans: Mapping[str, types_pb2.Plan]


class LedgerCalls:
    """The calls of PlannerService that read the ledger."""

    _overview: Overview

    @aborts_with_status
    async def GetLedger(self, request: planner_pb2.GetLedgerRequest, context: Context) -> planner_pb2.GetLedgerResponse:
        """Predicted against observed; a page of it."""
        page: Page[planner_pb2.LedgerEntry] = Page(check_page(request.page_size))
        await self._overview.telemetry.flush()
        span = await self._span(request)
        queries = sorted(self._overview.catalog.queries, key=lambda query: query.id)
        left = [query for query in queries if query.id > request.page_token]
        for start in range(0, len(left), _AT_ONCE):
            for entry in await self._entries(left[start : start + _AT_ONCE], span):
                if not page.add(entry.query_id, entry):
                    return planner_pb2.GetLedgerResponse(entries=page.messages, next_page_token=page.next_token)
        return planner_pb2.GetLedgerResponse(entries=page.messages)

    async def _span(self, request: planner_pb2.GetLedgerRequest) -> _Span:
        generation = self._overview.serving_generation()
        record = await self._overview.store.generation(generation) if generation is not None else None
        of = None if request.HasField("since") else generation
        since = record.created_at if record is not None else _EVER
        if request.HasField("since"):
            check.number("since.seconds", request.since.seconds, high=_LAST_SECOND)
            check.number("since.nanos", request.since.nanos, high=999_999_999)
            since = request.since.ToDatetime(UTC)
        return _Span(
            since=since,
            of=of,
            generation=generation.number if generation is not None else 0,
            plans={plan.query_id: plan for plan in record.selection.plans} if record is not None else {},
        )

    async def _entries(self, queries: Sequence[Query], span: _Span) -> list[planner_pb2.LedgerEntry]:
        overview = self._overview
        since = _EVER if span.of is not None else span.since
        windows = await overview.store.windows(since, span.of, [query.id for query in queries])
        seen, operators = ledger.observed(windows.queries), ledger.operators(windows.operators)
        stood_by: Counter[str] = Counter()
        for window in windows.queries:
            stood_by[window.query_id] += window.stand_by_answered
        entries = []
        for query in queries:
            plan = span.plans.get(query.id)
            if query.id not in seen and plan is None:
                continue
            found = seen.get(query.id) or ledger.observed([types_pb2.QueryWindow(query_id=query.id)])[query.id]
            scores = await overview.scores_of(query, plan) if plan is not None and found.scored else None
            # The items of a clip have one score.
            clip = overview.catalog.pipelines[query.pipeline_id].pipeline.content(query.content).clip
            prediction = accuracy_prediction(scores, items=max(1, found.scored // clip)) if scores else None
            entry = states.ledger_entry(query, span.generation, found, operators.get(query.id, ()), plan, prediction)
            entry.stand_by_answered = stood_by[query.id]
            entry.stand_bys.extend(await overview.store.episodes(query.id, EPISODES))
            entry.gaps.extend(await overview.store.gaps(query.id, states.devices_of(query, plan), span.since, _GAPS))
            entries.append(entry)
        return entries

    @aborts_with_status
    async def GetAccounts(
        self, request: planner_pb2.GetAccountsRequest, context: Context
    ) -> planner_pb2.GetAccountsResponse:
        """What each generation promised of each query beside what was seen."""
        check.number("limit", request.limit, high=_MAX_ACCOUNTS)
        query_id: QueryId | str = check.name("query_id", request.query_id, empty=True)
        await self._overview.telemetry.flush()
        records, found = await self._overview.accounts.list(request.limit or _ACCOUNTS, query_id)
        page: Page[planner_pb2.Account] = Page(0, _MAX_ACCOUNTS_BYTES)
        for record in records:
            if not page.add(record.query_id, states.account_message(record)):
                break
        return planner_pb2.GetAccountsResponse(calibration=found, accounts=page.messages)


__all__ = ["EPISODES", "LedgerCalls"]
