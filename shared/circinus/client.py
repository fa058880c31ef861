"""The client: what people and programs ask of a planner, in model values.

async with Client("127.0.0.1:7400") as client:
    await client.add_pipeline(Path("examples/documents"))
    await client.submit(queries)
    async for progress in client.watch_progress():
        print(progress.activity)

So it is in the clear, on this machine; elsewhere `Client.of(contexts.chosen(path))` knows address, root and who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from circinus import bundle, samples
from circinus.accounts import AccountsReport, accounts_from_message
from circinus.admin import Admin
from circinus.channel import CHUNK_BYTES, MAX_BLOB_BYTES
from circinus.contexts import Context, Credentials
from circinus.declared_calls import DeclaredCalls, Upload
from circinus.device_calls import DeviceCalls
from circinus.errors import NotFound, TimedOut, TooLarge, Unreachable
from circinus.event_calls import EventCalls
from circinus.line_calls import LineCalls
from circinus.look_calls import LookCalls
from circinus.model.device import Digest
from circinus.model.pipeline import PipelineId
from circinus.model.query import Query, QueryId
from circinus.model.what_if import WhatIf
from circinus.planner_link import CALL_TIMEOUT_S, PlannerLink
from circinus.reports import (
    LedgerEntry,
    PipelineState,
    PlannerStatus,
    Progress,
    QueryState,
    SelectionReport,
    WhatIfReport,
    ledger_entry_from_message,
    pipeline_state_from_message,
    progress_from_message,
    query_state_from_message,
    selection_report_from_message,
    status_from_message,
    what_if_report_from_message,
)
from circinus.v1 import planner_pb2, planner_pb2_grpc
from circinus.wire import explanation_from_message, query_to_message, what_if_to_message

DEFAULT_ADDRESS = "127.0.0.1:7400"
#: A dry run solves the whole selection.
PLAN_TIMEOUT_S = 300.0
UPLOAD_TIMEOUT_S = 600.0
#: A record that is larger is not read.
MAX_RECORD_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AddProgress:
    """How far ``add_pipeline`` has come.

    ``step`` is pack, samples or upload; ``done`` of ``total`` is in bytes for an upload, else in pieces.
    ``existed``: the planner had it already, nothing was sent.
    """

    step: str
    what: str
    done: int
    total: int
    existed: bool = False


class Client(DeclaredCalls, DeviceCalls, EventCalls, LookCalls, LineCalls):
    """A connection to one planner. Every call has a deadline; what the planner refuses comes as its own error.

    ``credentials``: a certificate or a token, and the root that is trusted; None: in the clear, on loopback only.

    Raises (each method):
        Unreachable: no planner answers at the address, or it speaks TLS where it was asked in the clear.
        WrongAuthority: what answers there is not the planner that the credentials are for.
        NotKnown, NotAllowed: the planner doesn't know who asks, or does not let them.
        TimedOut: no answer within the deadline.
        CircinusError: what the planner says.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        credentials: Credentials | None = None,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._link = PlannerLink(address, credentials, call_timeout_s=call_timeout_s)

    @classmethod
    def of(cls, context: Context, *, call_timeout_s: float = CALL_TIMEOUT_S) -> Self:
        """A client of the planner of a context."""
        return cls(context.planner, credentials=context.credentials, call_timeout_s=call_timeout_s)

    @property
    def address(self) -> str:
        """Where the planner is dialled."""
        return self._link.address

    @property
    def credentials(self) -> Credentials | None:
        """Who asks; None: in the clear."""
        return self._link.credentials

    @property
    def admin(self) -> Admin:
        """What only admins may do."""
        return Admin(self._link)

    async def __aenter__(self) -> Self:
        self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    @property
    def _stub(self) -> Any:
        stub: Any = planner_pb2_grpc.PlannerServiceStub(self._link.channel)  # type: ignore[no-untyped-call]  # generated
        return stub

    async def _ask(self, method: str, request: Any, timeout_s: float | None = None) -> Any:
        return await self._link.ask(self._stub, method, request, timeout_s)

    async def status(self) -> PlannerStatus:
        """Where the planner stands."""
        asked_at = datetime.now(UTC)
        response = await self._ask("GetStatus", planner_pb2.GetStatusRequest())
        # It was made half way between the question and the answer, as far as anybody can tell.
        return status_from_message(response, at=asked_at + (datetime.now(UTC) - asked_at) / 2)

    async def add_pipeline(
        self, folder: Path, *, on_progress: Callable[[AddProgress], None] = lambda _: None
    ) -> PipelineId:
        """Packs a folder, has its source make each content's samples, uploads both and registers the pipeline.

        Raises:
            InvalidInput: the folder's pipeline.yaml, code or source is wrong.
        """
        made = await self.upload_pipeline(folder, on_progress=on_progress)
        request = planner_pb2.AddPipelineRequest(spec_yaml=made.spec_yaml, bundle_digest=made.bundle_digest)
        for name, digest, count in made.contents:
            request.contents.add(name=name, digest=digest, samples=count)
        response = await self._ask("AddPipeline", request)
        return PipelineId(response.pipeline_id)

    async def upload_pipeline(
        self, folder: Path, *, on_progress: Callable[[AddProgress], None] = lambda _: None
    ) -> Upload:
        """Does all that ``add_pipeline`` does, but register the pipeline.

        Raises:
            InvalidInput: the folder's pipeline.yaml, code or source is wrong.
        """
        # YAML belongs to those who read files, not to every client.
        from circinus.spec.folder import PIPELINE_FILE, load_pipeline, read_text

        pipeline = await asyncio.to_thread(load_pipeline, folder)
        text = await asyncio.to_thread(read_text, folder / PIPELINE_FILE)
        on_progress(AddProgress(step="pack", what=pipeline.id, done=0, total=1))
        data = await asyncio.to_thread(bundle.pack_folder, folder, pipeline)
        on_progress(AddProgress(step="pack", what=pipeline.id, done=1, total=1))
        bundle_digest = await self.upload(data, what="bundle", on_progress=on_progress)
        contents = []
        for index, content in enumerate(pipeline.contents):
            step = AddProgress(step="samples", what=content.name, done=index, total=len(pipeline.contents))
            on_progress(step)
            data = await samples.generate(folder, pipeline, content)
            digest = await self.upload(data, what=content.name, on_progress=on_progress)
            contents.append((content.name, digest, content.samples))
        return Upload(spec_yaml=text, bundle_digest=bundle_digest, contents=tuple(contents))

    async def upload(
        self, data: bytes, *, what: str = "blob", on_progress: Callable[[AddProgress], None] = lambda _: None
    ) -> Digest:
        """Stores a blob under its digest; what the planner has already is not sent again.

        Raises:
            TooLarge: it is over MAX_BLOB_BYTES.
        """
        total = len(data)
        if total > MAX_BLOB_BYTES:
            raise TooLarge(f"{what} has {total:,} bytes; the limit is {MAX_BLOB_BYTES:,}")
        digest = await asyncio.to_thread(bundle.digest_of, data)

        async def requests() -> AsyncIterator[planner_pb2.UploadBlobRequest]:
            # The planner ends the call after this first message if it has the blob.
            yield planner_pb2.UploadBlobRequest(digest=digest, total_bytes=total)
            for start in range(0, total, CHUNK_BYTES):
                on_progress(AddProgress(step="upload", what=what, done=start, total=total))
                yield planner_pb2.UploadBlobRequest(chunk=data[start : start + CHUNK_BYTES])

        response: Any = await self._link.call(
            self._stub.UploadBlob(requests(), timeout=UPLOAD_TIMEOUT_S, metadata=self._link.metadata), UPLOAD_TIMEOUT_S
        )
        done = AddProgress(step="upload", what=what, done=total, total=total, existed=response.existed)
        on_progress(done)
        return digest

    async def pipelines(self) -> tuple[PipelineState, ...]:
        """Every registered pipeline, by id."""
        response = await self._ask("ListPipelines", planner_pb2.ListPipelinesRequest())
        return tuple(sorted(map(pipeline_state_from_message, response.pipelines), key=lambda state: state.id))

    async def remove_pipeline(self, pipeline_id: str) -> None:
        """Forgets a pipeline."""
        await self._ask("RemovePipeline", planner_pb2.RemovePipelineRequest(pipeline_id=pipeline_id))

    async def submit(self, queries: Sequence[Query]) -> tuple[QueryId, ...]:
        """Submits queries, that are planned together; gives their ids in the same order."""
        request = planner_pb2.SubmitQueriesRequest(queries=[query_to_message(query) for query in queries])
        response = await self._ask("SubmitQueries", request)
        return tuple(QueryId(query_id) for query_id in response.query_ids)

    async def queries(self, selector: str = "") -> tuple[QueryState, ...]:
        """Every query, by id; with a selector, those whose source device it means.

        Raises:
            InvalidInput: the text is no selector.
        """
        request = planner_pb2.ListQueriesRequest(selector=selector)
        messages = await self._pages("ListQueries", request, "queries")
        return tuple(sorted(map(query_state_from_message, messages), key=lambda state: state.query.id))

    async def query(self, query_id: str) -> QueryState:
        """One query.

        Raises:
            NotFound: there is no such query.
        """
        response = await self._ask("ListQueries", planner_pb2.ListQueriesRequest(query_id=query_id))
        if not response.queries:
            raise NotFound(f"there is no query {query_id!r}; `circinus query ls` shows those there are")
        return query_state_from_message(response.queries[0])

    async def remove_query(self, query_id: str) -> None:
        """Stops serving a query and forgets it."""
        await self._ask("RemoveQuery", planner_pb2.RemoveQueryRequest(query_id=query_id))

    async def plan(
        self, extra: Sequence[Query] = (), *, without: Sequence[str] = (), rivals_of: int = 0
    ) -> SelectionReport:
        """What would be planned now, with these queries too; nothing is applied, nothing is profiled.

        One of ``extra`` with the id of another query stands in its place; those ``without`` are left out.
        ``rivals_of``: of so many plans, those of ``extra`` first, what was not chosen and why is worked out, too.
        """
        request = planner_pb2.PlanSelectionRequest(
            extra_queries=[query_to_message(query) for query in extra], without_queries=without, rivals_of=rivals_of
        )
        response = await self._ask("PlanSelection", request, PLAN_TIMEOUT_S)
        return selection_report_from_message(response)

    async def what_if(self, changes: Sequence[WhatIf]) -> WhatIfReport:
        """What would be planned if things were different; nothing is applied, nothing is profiled.

        Raises:
            InvalidInput: a change names what is not there.
        """
        request = planner_pb2.WhatIfRequest(changes=[what_if_to_message(change) for change in changes])
        return what_if_report_from_message(await self._ask("WhatIf", request, 2 * PLAN_TIMEOUT_S))

    async def explain(self, query_id: str) -> dict[str, Any]:
        """Why a query has its plan, or none: the document of docs/explain.md.

        Raises:
            NotFound: there is no such query, or nothing was decided yet.
        """
        request = planner_pb2.ExplainRequest(query_id=query_id)
        return explanation_from_message(await self._ask("Explain", request, PLAN_TIMEOUT_S))

    async def record(self) -> bytes:
        """The last decision with the problem that it was made for, as the document that `circinus audit` reads.

        Raises:
            NotFound: nothing was decided yet.
            TooLarge: it is over MAX_RECORD_BYTES.
        """
        call = self._stub.ExportRecord(
            planner_pb2.ExportRecordRequest(), timeout=UPLOAD_TIMEOUT_S, metadata=self._link.metadata
        )
        found = bytearray()
        try:
            async for message in call:
                found += message.chunk
                if len(found) > MAX_RECORD_BYTES:
                    raise TooLarge(f"the record has more than the {MAX_RECORD_BYTES:,} bytes that are read")
        except grpc.aio.AioRpcError as error:
            raise await self._link.error(error, UPLOAD_TIMEOUT_S) from error
        finally:
            call.cancel()
        return bytes(found)

    async def watch_progress(self, *, timeout_s: float = 3_600.0) -> AsyncIterator[Progress]:
        """Progress until all that was submitted is decided and rolled out; ends after one that is settled.

        Raises:
            TimedOut: it is not settled within ``timeout_s``.
            Unreachable: the planner went away meanwhile.
        """
        call = self._stub.WatchProgress(
            planner_pb2.WatchProgressRequest(), timeout=timeout_s, metadata=self._link.metadata
        )
        try:
            async for message in call:
                progress = progress_from_message(message)
                yield progress
                if progress.settled:
                    return
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimedOut(
                    f"not settled within {timeout_s:g} s; it goes on, `circinus watch` shows how far it is"
                ) from error
            raise await self._link.error(error, timeout_s) from error
        finally:
            call.cancel()
        raise Unreachable(f"the planner at {self.address} ended the progress before all was settled; try again")

    async def watch_query(self, query_id: str, timeout_s: float = 3_600.0) -> AsyncIterator[QueryState]:
        """What the search for a query's plan knows, at once and at every change; ends when it is settled.

        Raises:
            NotFound: there is no such query.
            TimedOut: it is not settled within ``timeout_s``.
            Unreachable: the planner went away meanwhile.
        """
        settled = False
        call = self._stub.WatchQuery(
            planner_pb2.WatchQueryRequest(query_id=query_id), timeout=timeout_s, metadata=self._link.metadata
        )
        try:
            async for message in call:
                state = query_state_from_message(message.query)
                yield state
                settled = state.settled
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimedOut(
                    f"{query_id} is not settled within {timeout_s:g} s; it goes on, "
                    f"`circinus query watch {query_id}` shows how far it is"
                ) from error
            raise await self._link.error(error, timeout_s) from error
        finally:
            call.cancel()
        if not settled:
            raise Unreachable(f"the planner at {self.address} ended the watch before {query_id} was served; try again")

    async def accounts_message(self, *, limit: int = 0, query_id: str = "") -> planner_pb2.GetAccountsResponse:
        """What generations promised of each query beside what was seen, as it crosses the wire; newest first."""
        request = planner_pb2.GetAccountsRequest(limit=limit, query_id=query_id)
        response: planner_pb2.GetAccountsResponse = await self._ask("GetAccounts", request)
        return response

    async def accounts(self, *, limit: int = 0, query_id: str = "") -> AccountsReport:
        """What generations promised of each query beside what was seen, newest first; ``limit`` 0: the newest 200."""
        return accounts_from_message(await self.accounts_message(limit=limit, query_id=query_id))

    async def ledger(self, since: datetime | None = None) -> tuple[LedgerEntry, ...]:
        """Predicted against observed for each query, by id; ``since`` None: all of the running generation."""
        request = planner_pb2.GetLedgerRequest()
        if since is not None:
            request.since.FromDatetime(since)
        return tuple(map(ledger_entry_from_message, await self._pages("GetLedger", request, "entries")))
