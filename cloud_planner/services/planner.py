"""PlannerService: what people and programs ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import grpc.aio

import circinus
from circinus import wire
from circinus.channel import CHUNK_BYTES
from circinus.errors import InvalidInput, aborts_with_status
from circinus.model.device import Digest
from circinus.model.pipeline import ContentRef, PipelineId
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2, planner_pb2_grpc
from circinus.wire import check
from cloud_planner.lines import Lines
from cloud_planner.overview import Overview
from cloud_planner.plan_details import plan_details
from cloud_planner.record import dump_record
from cloud_planner.services import states
from cloud_planner.services.declared import DeclaredCalls
from cloud_planner.services.devices import DeviceCalls, check_page, selected
from cloud_planner.services.events import EventCalls
from cloud_planner.services.ledger_calls import EPISODES, LedgerCalls
from cloud_planner.services.lines import LineCalls
from cloud_planner.services.looks import LookCalls
from cloud_planner.services.pages import Page

_MAX_QUERIES_AT_ONCE = 1_000
_MAX_CHANGES = 1_000
_MAX_SPEC_CHARS = 1_000_000
#: How often progress is told at most, and at least.
_PROGRESS_S = 0.25
_PROGRESS_IDLE_S = 2.0

Context = grpc.aio.ServicerContext[Any, Any]
#: Findings of drift that are told: of all queries, of one.
_FINDINGS = 20
_FINDINGS_OF_QUERY = 5


class PlannerService(
    DeclaredCalls,
    DeviceCalls,
    EventCalls,
    LedgerCalls,
    LookCalls,
    LineCalls,
    planner_pb2_grpc.PlannerServiceServicer,
):
    """Serves people and programs."""

    def __init__(self, overview: Overview, *, started_at: datetime) -> None:
        self._overview = overview
        self._started_at = started_at
        self._lines = Lines(overview)

    @aborts_with_status
    async def GetStatus(self, request: planner_pb2.GetStatusRequest, context: Context) -> planner_pb2.GetStatusResponse:
        """The planner as a whole."""
        overview = self._overview
        newest = overview.rollout.newest
        decided = states.Decided.of(overview.loop.decision, newest)
        found = [states.query_state(query, decided) for query in overview.catalog.queries]
        phases = [state.phase for state in found]
        response = planner_pb2.GetStatusResponse(
            planner_version=circinus.__version__,
            epoch=overview.rollout.epoch,
            generation=newest.generation.number if newest is not None else 0,
            activity=overview.activity(),
            devices_connected=len(overview.registry.connected()),
            devices_known=len(overview.registry.records()),
            queries_placed=phases.count(planner_pb2.QUERY_PHASE_PLACED),
            queries_unplaced=phases.count(planner_pb2.QUERY_PHASE_UNPLACED),
        )
        response.queries_pending = len(phases) - response.queries_placed - response.queries_unplaced
        response.devices_draining = len(overview.marks.draining)
        response.devices_cordoned = len(overview.marks.cordoned) - response.devices_draining
        response.started_at.FromDatetime(self._started_at)
        response.now.FromDatetime(overview.clock.now())
        response.findings.extend(states.finding(one) for one in overview.watching.findings[-_FINDINGS:])
        return response

    @aborts_with_status
    async def UploadBlob(
        self, request_iterator: AsyncIterator[planner_pb2.UploadBlobRequest], context: Context
    ) -> planner_pb2.UploadBlobResponse:
        """Takes in a bundle or sample set."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise InvalidInput("an upload begins with a message that has the digest and the total size")
        blobs, digest = self._overview.blobs, Digest(first.digest)
        if await asyncio.to_thread(blobs.has, digest):
            return planner_pb2.UploadBlobResponse(existed=True)
        with blobs.receive(digest, first.total_bytes) as incoming:
            await asyncio.to_thread(incoming.append, first.chunk)
            async for request in request_iterator:
                await asyncio.to_thread(incoming.append, request.chunk)
            await asyncio.to_thread(incoming.commit)
        return planner_pb2.UploadBlobResponse(existed=False)

    @aborts_with_status
    async def AddPipeline(
        self, request: planner_pb2.AddPipelineRequest, context: Context
    ) -> planner_pb2.AddPipelineResponse:
        """Registers a pipeline whose bundle and sample sets were uploaded."""
        if len(request.spec_yaml) > _MAX_SPEC_CHARS:
            raise InvalidInput(f"spec_yaml: {len(request.spec_yaml)} characters are more than {_MAX_SPEC_CHARS}")
        check.size("contents", request.contents, 1_000)
        bundle_digest = Digest(check.digest("bundle_digest", request.bundle_digest))
        contents = [
            ContentRef(
                name=check.name("contents.name", content.name),
                digest=Digest(check.digest("contents.digest", content.digest)),
                samples=int(check.number("contents.samples", content.samples, low=1, high=1e6)),
            )
            for content in request.contents
        ]
        for digest in [bundle_digest, *(content.digest for content in contents)]:
            await asyncio.to_thread(self._overview.blobs.size_bytes, digest)
        registered = await self._overview.catalog.add_pipeline(request.spec_yaml, bundle_digest, contents)
        self._overview.replan.ring()
        return planner_pb2.AddPipelineResponse(pipeline_id=registered.pipeline.id)

    @aborts_with_status
    async def ListPipelines(
        self, request: planner_pb2.ListPipelinesRequest, context: Context
    ) -> planner_pb2.ListPipelinesResponse:
        """Every pipeline."""
        catalog = self._overview.catalog
        return planner_pb2.ListPipelinesResponse(
            pipelines=[
                states.pipeline_state(registered, len(catalog.queries_of(pipeline_id)))
                for pipeline_id, registered in sorted(catalog.pipelines.items())
            ]
        )

    @aborts_with_status
    async def RemovePipeline(
        self, request: planner_pb2.RemovePipelineRequest, context: Context
    ) -> planner_pb2.RemovePipelineResponse:
        """Forgets a pipeline that no query uses."""
        await self._overview.catalog.remove_pipeline(PipelineId(request.pipeline_id[:200]))
        self._overview.replan.ring()
        return planner_pb2.RemovePipelineResponse()

    @aborts_with_status
    async def SubmitQueries(
        self, request: planner_pb2.SubmitQueriesRequest, context: Context
    ) -> planner_pb2.SubmitQueriesResponse:
        """Takes in queries, all or none."""
        check.size("queries", request.queries, _MAX_QUERIES_AT_ONCE)
        queries = [wire.query_from_message(query) for query in request.queries]
        devices = [record.device.id for record in self._overview.registry.records()]
        submitted = await self._overview.catalog.submit(queries, devices)
        self._overview.replan.ring()
        return planner_pb2.SubmitQueriesResponse(query_ids=[query.id for query in submitted])

    @aborts_with_status
    async def ListQueries(
        self, request: planner_pb2.ListQueriesRequest, context: Context
    ) -> planner_pb2.ListQueriesResponse:
        """Every query, or one; a page of them."""
        overview = self._overview
        meant = selected(overview, request.selector)
        page: Page[planner_pb2.QueryState] = Page(check_page(request.page_size))
        found = overview.catalog.select(QueryId(request.query_id[:200]))
        decided = states.Decided.of(overview.loop.decision, overview.rollout.newest)
        for query in sorted(found, key=lambda one: one.id):
            if query.id <= request.page_token or not (meant is None or query.source_device_id in meant):
                continue
            if not page.add(query.id, await self._query_state(query, decided)):
                break
        return planner_pb2.ListQueriesResponse(queries=page.messages, next_page_token=page.next_token)

    async def _query_state(self, query: Query, decided: states.Decided | None = None) -> planner_pb2.QueryState:
        overview = self._overview
        decided = decided or states.Decided.of(overview.loop.decision, overview.rollout.newest)
        search = overview.searching.state(query.id)
        episodes = await overview.store.episodes(query.id, EPISODES) if query.stand_by else ()
        state = states.query_state(query, decided, search, episodes)
        mine = [one for one in overview.watching.findings if query.id in one.query_ids]
        state.findings.extend(states.finding(one) for one in mine[-_FINDINGS_OF_QUERY:])
        return state

    @aborts_with_status
    async def WatchQuery(self, request: planner_pb2.WatchQueryRequest, context: Context) -> None:
        """Tells what is known of a query until its search has ended and it is served or refused."""
        overview = self._overview
        query_id = QueryId(check.name("query_id", request.query_id))
        told: planner_pb2.QueryState | None = None
        while True:
            heard = overview.watched.rings
            (query,) = overview.catalog.select(query_id)
            state = await self._query_state(query)
            if state != told:
                told = state
                await context.write(planner_pb2.WatchQueryResponse(query=state))
            refused = state.phase == planner_pb2.QUERY_PHASE_UNPLACED
            if state.search.finished and overview.loop.up_to_date and (state.serving or refused):
                return
            await overview.clock.sleep(_PROGRESS_S)
            await overview.watched.wait(heard, _PROGRESS_IDLE_S)

    @aborts_with_status
    async def RemoveQuery(
        self, request: planner_pb2.RemoveQueryRequest, context: Context
    ) -> planner_pb2.RemoveQueryResponse:
        """Forgets a query."""
        await self._overview.catalog.remove_query(QueryId(request.query_id[:200]))
        self._overview.replan.ring()
        return planner_pb2.RemoveQueryResponse()

    @aborts_with_status
    async def PlanSelection(
        self, request: planner_pb2.PlanSelectionRequest, context: Context
    ) -> planner_pb2.PlanSelectionResponse:
        """What would be planned now."""
        check.size("extra_queries", request.extra_queries, _MAX_QUERIES_AT_ONCE)
        extra = [wire.query_from_message(query) for query in request.extra_queries]
        devices = [record.device.id for record in self._overview.registry.records()]
        for query in extra:
            self._overview.catalog.check_query(query, devices)
        found = await self._overview.trials.dry_run(extra, frozenset(map(QueryId, request.without_queries)))
        return planner_pb2.PlanSelectionResponse(
            selection=found.summary,
            diff=await asyncio.to_thread(wire.plan_diff_to_message, found.diff),
            details=await plan_details(self._overview, found, request.rivals_of),
        )

    @aborts_with_status
    async def WhatIf(self, request: planner_pb2.WhatIfRequest, context: Context) -> planner_pb2.WhatIfResponse:
        """What would be planned if things were different."""
        check.size("changes", request.changes, _MAX_CHANGES)
        changes = [wire.what_if_from_message(change) for change in request.changes]
        told, diff = await self._overview.trials.what_if(changes)
        return planner_pb2.WhatIfResponse(told=told, diff=await asyncio.to_thread(wire.plan_diff_to_message, diff))

    @aborts_with_status
    async def Explain(self, request: planner_pb2.ExplainRequest, context: Context) -> planner_pb2.ExplainResponse:
        """Why a query has its plan, or none."""
        query_id = QueryId(check.name("query_id", request.query_id))
        return wire.explanation_to_message(await self._overview.trials.explain(query_id))

    @aborts_with_status
    async def ExportRecord(self, request: planner_pb2.ExportRecordRequest, context: Context) -> None:
        """The last decision with its problem."""
        record = self._overview.trials.record()
        data = (await asyncio.to_thread(dump_record, record)).encode()
        for start in range(0, len(data), CHUNK_BYTES):
            await context.write(planner_pb2.ExportRecordResponse(chunk=data[start : start + CHUNK_BYTES]))

    @aborts_with_status
    async def WatchProgress(self, request: planner_pb2.WatchProgressRequest, context: Context) -> None:
        """Tells of progress until there is nothing more to wait for."""
        overview = self._overview
        while True:
            heard = overview.watched.rings
            progress = overview.progress()
            await context.write(progress)
            if progress.settled:
                return
            await overview.clock.sleep(_PROGRESS_S)
            await overview.watched.wait(heard, _PROGRESS_IDLE_S)
