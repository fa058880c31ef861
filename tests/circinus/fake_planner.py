"""A planner that holds what it is told and answers from memory, on real gRPC."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import grpc

from circinus.errors import AlreadyExists, CircinusError, InvalidInput, NotFound, status_of, trailing_metadata
from circinus.model.device import Device, DeviceClass, DeviceId, Link, SiteId, Tier
from circinus.model.search import SearchState
from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, planner_pb2_grpc, types_pb2
from circinus.wire import device_to_message, search_to_message

DEVICE = Device(
    id=DeviceId("camera-1"),
    tier=Tier.EDGE,
    site=SiteId("hall"),
    device_class=DeviceClass("slow-box"),
    cpu_model="Small CPU",
    logical_cores=2,
    max_frequency_mhz=1500.0,
    cpu_flags=("sse2",),
    cores=2.0,
    memory_bytes=2**31,
    disk_free_bytes=2**33,
    accelerators=(),
    links=(Link(peer=DeviceId("cloud-1"), bandwidth_bit_per_s=20_000_000, rtt_ms=30.0, emulated=True),),
    price_per_h=0.02,
    speed_ratio=0.25,
    environments=(),
    data_address="",
    agent_version="0.1.0",
)


def a_plan(query_id: str = "gate") -> types_pb2.Plan:
    """A plan split between the camera and the cloud."""
    configuration = types_pb2.Configuration()
    configuration.values["rectify.scale"].real = 0.75
    configuration.values["read.engine"].text = "rapidocr"
    configuration.values["read.spell"].flag = True
    return types_pb2.Plan(
        query_id=query_id,
        configuration=configuration,
        operators=[
            types_pb2.OperatorPlan(
                operator_id="rectify",
                device_id="camera-1",
                replicas=1,
                share_ratio=1,
                cores=0.5,
                batch=1,
                service_ms=31.4,
            ),
            types_pb2.OperatorPlan(
                operator_id="read", device_id="cloud-1", replicas=2, share_ratio=0.6, cores=1, batch=1, service_ms=140.2
            ),
        ],
        latency_ms=types_pb2.Interval(value=412.3, low=390, high=450.2),
        accuracy_ratio=types_pb2.Interval(value=0.9142, low=0.88, high=0.95),
        cost_per_h=0.0312,
        slo_probability_ratio=0.981,
        item_goodput_per_s=1.8,
        runner_up="all on [red]camera-1[/red]",
        runner_up_cost_per_h=0.0412,
        latency_p50_ms=300,
    )


def a_query_state(search: SearchState | None, *, serving: bool = False, reason: str = "") -> planner_pb2.QueryState:
    """A query called gate, searched for, served or (with a reason) unplaced."""
    query = types_pb2.Query(
        id="gate", pipeline_id="documents", content="clean", source_device_id="camera-1", rate_per_s=2
    )
    phase = planner_pb2.QUERY_PHASE_UNPLACED if reason else planner_pb2.QUERY_PHASE_PROFILING
    state = planner_pb2.QueryState(
        query=query, phase=planner_pb2.QUERY_PHASE_PLACED if serving else phase, serving=serving, reason=reason
    )
    if search is not None:
        state.search.CopyFrom(search_to_message(search))
    return state


class FakePlanner(planner_pb2_grpc.PlannerServiceServicer):
    """Answers from what it holds; ``fail_with`` makes every call end in an error."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.chunks_received = 0
        self.pipelines: dict[str, planner_pb2.AddPipelineRequest] = {}
        self.queries: dict[str, planner_pb2.QueryState] = {}
        self.extra: list[str] = []
        self.since: Any = None
        self.pending: list[str] = []
        self.diff: planner_pb2.PlanDiff | None = None
        self.changes: list[planner_pb2.WhatIfChange] = []
        self.explanation = planner_pb2.ExplainResponse()
        self.record: list[bytes] = []
        self.watched: list[planner_pb2.QueryState] = []
        self.now: datetime | None = None
        self.fail_with: CircinusError | None = None
        self.device = planner_pb2.DeviceState(
            fingerprint=device_to_message(DEVICE), connected=True, active_generation=3
        )
        self.device.last_seen_at.FromSeconds(1_700_000_000)
        self.device.pids["read/0"] = 4711
        self.selectors: list[str] = []
        self.page_of: tuple[str, ...] = ()
        self.drains: list[planner_pb2.DrainProgress] = []
        self.forced = False
        self.happened: list[planner_pb2.PlannerEvent] = []
        self.missed = False
        self.asked_events = planner_pb2.WatchEventsRequest()
        self.hang = threading.Event()
        self.hanging = False
        self.progress = [
            planner_pb2.WatchProgressResponse(activity="profiling", profiles=[_task(0), _task(5)]),
            planner_pb2.WatchProgressResponse(activity="profiling", profiles=[_task(50)]),
            planner_pb2.WatchProgressResponse(activity="rolling out", message="generation 3", generation=3),
            planner_pb2.WatchProgressResponse(activity="idle", settled=True, generation=3),
        ]

    def _enter(self, context: grpc.ServicerContext) -> None:
        if self.fail_with is not None:
            self._abort(context, self.fail_with)
        if self.hanging:
            self.hang.wait(30)

    def _abort(self, context: grpc.ServicerContext, error: CircinusError) -> None:
        context.set_trailing_metadata(trailing_metadata(error))
        context.abort(status_of(error), error.message)

    def GetStatus(self, request: Any, context: Any) -> Any:
        self._enter(context)
        response = planner_pb2.GetStatusResponse(
            planner_version="0.1.0", epoch=1, generation=3, activity="idle", devices_connected=1, devices_known=2
        )
        if self.now is not None:
            response.now.FromDatetime(self.now)
        return response

    def ListDevices(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if request.device_id not in ("", self.device.fingerprint.device_id):
            self._abort(context, NotFound(f"there is no device {request.device_id!r}; known: camera-1"))
        self.selectors.append(request.selector)
        if not self.page_of:
            return planner_pb2.ListDevicesResponse(devices=[self.device])
        # A page for each.
        names = [name for name in self.page_of if name > request.page_token]
        found = planner_pb2.DeviceState()
        found.CopyFrom(self.device)
        found.fingerprint.device_id = names[0]
        return planner_pb2.ListDevicesResponse(devices=[found], next_page_token=names[0] if len(names) > 1 else "")

    def CordonDevice(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.device.cordoned, self.device.why = not request.lift, request.why
        return planner_pb2.CordonDeviceResponse(device=self.device)

    def LabelDevice(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if request.reset:
            self.device.labels.clear()
        self.device.labels.update(request.set)
        for key in request.remove:
            self.device.labels.pop(key, None)
        return planner_pb2.LabelDeviceResponse(device=self.device)

    def DrainDevice(self, request: Any, context: Any) -> Any:
        self.device.cordoned = self.device.draining = True
        self.device.why = request.why
        for progress in self.drains if request.wait else self.drains[:1]:
            yield planner_pb2.DrainDeviceResponse(progress=progress)
        self._enter(context)

    def LeaveDevice(self, request: Any, context: Any) -> Any:
        self.forced = request.force
        for progress in self.drains:
            yield planner_pb2.LeaveDeviceResponse(progress=progress, gone=progress.ended and not progress.staying)
        self._enter(context)

    def WatchEvents(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.asked_events = request
        found = [one for one in self.happened if one.cursor > request.after]
        yield planner_pb2.WatchEventsResponse(events=found, missed=self.missed)

    def ListDeviceLines(self, request: Any, context: Any) -> Any:
        self._enter(context)
        line = planner_pb2.DeviceLine(
            device_id="camera-1",
            site="hall",
            tier="edge",
            connected=True,
            cores=2,
            cores_planned=0.5,
            cores_seen=0.25,
            memory_bytes=2**31,
            replicas=1,
            runs=["gate/read"],
            generation=3,
        )
        line.last_seen_at.FromSeconds(1_700_000_000)
        return planner_pb2.ListDeviceLinesResponse(lines=[line], matching=1, total=1)

    def ListQueryLines(self, request: Any, context: Any) -> Any:
        self._enter(context)
        lines = [
            planner_pb2.QueryLine(
                query_id=name,
                pipeline_id=state.query.pipeline_id,
                content=state.query.content,
                source_device_id=state.query.source_device_id,
                phase=state.phase,
                serving=state.serving,
                rate_per_s=state.query.rate_per_s,
                weight=1,
                planned_goodput_per_s=1.8,
                goodput_per_s=1.75,
                items=600,
                attained_ratio=0.98,
                wanted_ratio=0.95,
                burn_ratio=0.4,
                burn_hour_ratio=0.4,
                burning="kept",
                latency_planned_ms=412.3,
                devices=["camera-1", "cloud-1"],
            )
            for name, state in self.queries.items()
            if request.query_id in ("", name)
        ]
        return planner_pb2.ListQueryLinesResponse(
            lines=lines, matching=len(lines), total=len(lines), goodput_per_s=1.75
        )

    def UploadBlob(self, requests: Iterator[Any], context: Any) -> Any:
        self._enter(context)
        first = next(requests)
        if first.digest in self.blobs:
            return planner_pb2.UploadBlobResponse(existed=True)
        data = first.chunk
        for request in requests:
            self.chunks_received += 1
            data += request.chunk
        if len(data) != first.total_bytes or "sha256:" + hashlib.sha256(data).hexdigest() != first.digest:
            self._abort(context, InvalidInput("wrong bytes"))
        self.blobs[first.digest] = data
        return planner_pb2.UploadBlobResponse(existed=False)

    def AddPipeline(self, request: Any, context: Any) -> Any:
        self._enter(context)
        for digest in (request.bundle_digest, *(content.digest for content in request.contents)):
            if digest not in self.blobs:
                self._abort(context, NotFound(f"no blob {digest}"))
        name = request.spec_yaml.split("\n")[0].removeprefix("pipeline: ")
        self.pipelines[name] = request
        return planner_pb2.AddPipelineResponse(pipeline_id=name)

    def ListPipelines(self, request: Any, context: Any) -> Any:
        self._enter(context)
        states = [
            planner_pb2.PipelineState(
                id=name,
                bundle_digest=added.bundle_digest,
                contents=added.contents,
                operator_ids=["up"],
                configurations=2,
            )
            for name, added in self.pipelines.items()
        ]
        return planner_pb2.ListPipelinesResponse(pipelines=states)

    def RemovePipeline(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if self.pipelines.pop(request.pipeline_id, None) is None:
            self._abort(context, NotFound(f"there is no pipeline {request.pipeline_id!r}"))
        return planner_pb2.RemovePipelineResponse()

    def SubmitQueries(self, request: Any, context: Any) -> Any:
        self._enter(context)
        names = []
        for query in request.queries:
            query.id = query.id or f"q{len(self.queries) + 1}"
            if query.id in self.queries:
                self._abort(context, AlreadyExists(f"there is another query {query.id!r}"))
            state = planner_pb2.QueryState(
                query=query, phase=planner_pb2.QUERY_PHASE_PLACED, generation=3, serving=True
            )
            if query.slo.accuracy_ratio > 0.99:
                state = planner_pb2.QueryState(
                    query=query,
                    phase=planner_pb2.QUERY_PHASE_UNPLACED,
                    reason="accuracy 0.995 is out of reach: best 0.97",
                )
            else:
                state.plan.CopyFrom(a_plan(query.id))
            self.queries[query.id] = state
            names.append(query.id)
        return planner_pb2.SubmitQueriesResponse(query_ids=names)

    def ListQueries(self, request: Any, context: Any) -> Any:
        self._enter(context)
        wanted = [s for name, s in self.queries.items() if request.query_id in ("", name)]
        return planner_pb2.ListQueriesResponse(queries=wanted)

    def WatchQuery(self, request: Any, context: Any) -> Any:
        if request.query_id not in self.queries:
            self._abort(context, NotFound(f"there is no query {request.query_id!r}"))
        for state in self.watched:
            yield planner_pb2.WatchQueryResponse(query=state)
        self._enter(context)

    def RemoveQuery(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if self.queries.pop(request.query_id, None) is None:
            self._abort(context, NotFound(f"there is no query {request.query_id!r}"))
        return planner_pb2.RemoveQueryResponse()

    def PlanSelection(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.extra = [query.id for query in request.extra_queries]
        found = planner_pb2.SelectionSummary(
            goodput_per_s=2,
            goodput_bound_per_s=2.1,
            gap_ratio=0.05,
            cost_per_h=0.03,
            cost_bound_per_h=0.03,
            solver_status="optimal",
            solver_s=0.2,
        )
        for state in self.queries.values():
            if state.HasField("plan"):
                found.plans.append(state.plan)
                if state.plan.certainty == types_pb2.CERTAINTY_PROVISIONAL:
                    found.provisional_per_s += state.query.weight * state.query.rate_per_s
            else:
                found.unplaced.add(query_id=state.query.id, reason=state.reason)
        for name in self.extra:
            found.pending.add(query_id=name, reason="content hard is not profiled yet")
        return planner_pb2.PlanSelectionResponse(selection=found, diff=self.diff)

    def WhatIf(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.changes = list(request.changes)
        return planner_pb2.WhatIfResponse(told=["q: 1 -> 2 items/s"], diff=self.diff)

    def Explain(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if request.query_id != self.explanation.query:
            self._abort(context, NotFound(f"there is no query {request.query_id!r}"))
        return self.explanation

    def ExportRecord(self, request: Any, context: Any) -> Any:
        self._enter(context)
        for chunk in self.record:
            yield planner_pb2.ExportRecordResponse(chunk=chunk)

    def WatchProgress(self, request: Any, context: Any) -> Any:
        self._enter(context)
        yield from self.progress

    def GetLedger(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.since = request.since.ToDatetime() if request.HasField("since") else None
        entry = planner_pb2.LedgerEntry(
            query_id="gate",
            generation=3,
            duration_s=30,
            emitted=60,
            answered=55,
            late=3,
            dropped=2,
            failed=0,
            causes={"queue_full": 2},
            latency_p50_ms=290,
            latency_p95_ms=431,
            accuracy_ratio=0.9,
            scored=58,
            item_goodput_per_s=1.75,
            plan=a_plan(),
            planned_item_goodput_per_s=1.8,
            predicted_accuracy_ratio=types_pb2.Interval(value=0.914, low=0.87, high=0.95),
            operators=[types_pb2.OperatorWindow(query_id="gate", operator_id="read", items=10, service_ms_sum=1400)],
        )
        return planner_pb2.GetLedgerResponse(entries=[entry])

    def GetAccounts(self, request: Any, context: Any) -> Any:
        self._enter(context)
        seen = planner_pb2.Seen(duration_s=30, emitted=60, answered=58, late=1, dropped=1, score_sum=54.0, scored=60)
        seen.latency_ms.CopyFrom(Sketch([300.0, 400.0]).message())
        read = Sketch([90.0] * 59).message()
        seen.operators.add(
            operator_id="read", device_id="cloud-1", items=59, service_ms=read, dropped_by_cause={"deadline": 1}
        )
        promise = planner_pb2.Promise(pipeline_id="documents", content="clean", rate_per_s=2, plan=a_plan())
        promise.operators.add(
            operator_id="read",
            device_id="cloud-1",
            service_ms=types_pb2.Interval(value=84.1, low=70, high=98),
            queue_ms=3,
            output_bytes=90,
        )
        judged = planner_pb2.Account(
            query_id="gate",
            generation=3,
            promise=promise,
            seen=seen,
            latency_ms=types_pb2.Interval(value=412, low=380, high=440),
            latency_seen_ms=450,
            throughput_seen_per_s=1.97,
            slo_probability_ratio=0.97,
            slo_met=True,
        )
        fresh = planner_pb2.Account(query_id="gate", generation=4, promise=promise, open=True)
        calibration = planner_pb2.Calibration(
            accounts=1,
            latency_error_median_ratio=0.084,
            throughput_error_median_ratio=0.015,
            coverage_ratio=0.0,
            half_width_median_ratio=0.073,
            brier=0.001,
            operator_accounts=1,
            service_error_median_ratio=0.07,
            service_coverage_ratio=1.0,
            reliability=[
                planner_pb2.ReliabilityBin(
                    low_ratio=0.95, high_ratio=0.99, count=1, probability_mean_ratio=0.97, met_ratio=1.0
                )
            ],
            corrections=[
                planner_pb2.ServiceCorrection(
                    pipeline_id="documents", operator_id="read", device_id="cloud-1", ratio=1.05, items=59
                )
            ],
        )
        return planner_pb2.GetAccountsResponse(accounts=[fresh, judged], calibration=calibration)


def _task(done: int) -> planner_pb2.ProfileTask:
    return planner_pb2.ProfileTask(
        id="p1",
        device_id="cloud-1",
        pipeline_id="documents",
        content="clean",
        accuracy=True,
        samples_done=done,
        samples_total=100,
        elapsed_s=1,
        eta_s=12,
    )


def serve(planner: FakePlanner) -> tuple[grpc.Server, str]:
    """Starts a server for it on a free port; gives the server and its address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(planner, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
