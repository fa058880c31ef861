"""Traces of sampled items: what travels, which spans come of it, and how they reach a collector, or don't."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from random import Random

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_receiver import attributes_of, receiving
from serving_fleet import QUERY, directive, replica_set, route, source
from test_dataplane_book import emission
from test_dataplane_plane import CAMERA, CLOUD, a_plane
from test_dataplane_sending import FakeClock, an_input
from test_ingress import GREY, serve

from circinus.clock import SystemClock
from circinus.errors import InvalidInput
from circinus.model.pipeline import OperatorId
from circinus.v1 import dataplane_pb2, open_inference_pb2_grpc
from circinus.v1 import open_inference_pb2 as protocol
from edge_agent.config import parse_config
from edge_agent.dataplane.item import Input, Outcome
from edge_agent.dataplane.messages import input_of, item_header, outcome_header, outcome_of
from edge_agent.tracing.context import Span, Trace, asked_of, from_wire
from edge_agent.tracing.exporter import Exporter
from edge_agent.tracing.settings import TracesConfig, endpoint_fault, target_of
from edge_agent.tracing.steps import queued, ran
from edge_agent.tracing.tracer import MAX_WAITING, Tracer

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESOURCE = {"service.name": "circinus-agent", "circinus.device": "camera"}


def a_tracer(ratio=1.0, clock=None):
    return Tracer(ratio=ratio, clock=clock or FakeClock(), rng=Random(4))


def a_trace(**changes):
    values = {"trace_id": bytes(range(1, 17)), "span_id": bytes(range(1, 9)), "since_ns": 1_700_000_000_000_000_123}
    return Trace(**(values | changes))


def spans_of(*tracers):
    return {span.name: span for tracer in tracers for span in tracer.take(MAX_WAITING)}


# What travels.


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(0, 2**63 - 1))
def test_a_trace_comes_off_the_wire_as_it_went(trace_id, span_id, since_ns):
    trace = Trace(trace_id=trace_id, span_id=span_id, since_ns=since_ns)
    found = from_wire(trace.wire() + b"and more of a newer agent")
    assert found == (trace if any(trace_id) and any(span_id) else None)


@given(st.binary(max_size=40))
def test_whatever_comes_as_a_trace_is_a_trace_or_none(data):
    found = from_wire(data)
    assert found is None or found.wire() == data[:32]


def test_an_item_and_its_outcome_carry_their_trace_between_devices():
    for trace in (a_trace(), None):
        one = replace(an_input(), trace=trace)
        header = dataplane_pb2.ItemMessage.FromString(item_header(one, 1.0))
        assert input_of(header, b"x", 1.0) == one
        outcome = Outcome(**{**AN_OUTCOME, "trace": trace})
        assert outcome_of(dataplane_pb2.OutcomeMessage.FromString(outcome_header(outcome)), b"") == outcome


def test_an_item_that_is_not_sampled_has_no_byte_more_on_the_wire():
    bare, traced = an_input(), replace(an_input(), trace=a_trace())
    assert len(item_header(traced, 1.0)) - len(item_header(bare, 1.0)) == 34
    message = dataplane_pb2.ItemMessage.FromString(item_header(bare, 1.0))
    assert b"trace" not in {field.name.encode() for field, _ in message.ListFields()}


AN_OUTCOME = {
    "request_id": "cam-1",
    "query_id": QUERY,
    "generation_number": 3,
    "verdict": "answered",
    "operator_id": OperatorId("op"),
}


# What callers say.


def test_a_caller_s_trace_is_read_as_w3c_writes_it():
    asked = asked_of(CALLER)
    assert (asked.trace_id.hex(), asked.span_id.hex(), asked.sampled) == (CALLER[3:35], CALLER[36:52], True)
    assert asked_of(CALLER[:-2] + "00").sampled is False
    assert asked_of("cc" + CALLER[2:] + "-what-a-later-version-adds").sampled is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "ff" + CALLER[2:],
        CALLER + "-more",
        CALLER.upper(),
        "00-" + "0" * 32 + CALLER[35:],
        CALLER[:36] + "0" * 16 + "-01",
        CALLER * 10,
    ],
)
def test_what_is_no_traceparent_begins_a_trace_anew(text):
    assert asked_of(text) is None
    trace = a_tracer().begin(text)
    assert trace.parent_id == b""
    assert trace.trace_id.hex() != CALLER[3:35]


def test_a_caller_who_has_decided_decides():
    trace = a_tracer(ratio=0.0).begin(CALLER)
    assert (trace.trace_id.hex(), trace.parent_id.hex()) == (CALLER[3:35], CALLER[36:52])
    assert trace.traceparent.startswith(CALLER[:36])
    assert trace.traceparent != CALLER
    assert a_tracer(ratio=1.0).begin(CALLER[:-2] + "00") is None


def test_so_many_items_are_sampled_as_the_ratio_says():
    tracer = a_tracer(ratio=0.25)
    assert 200 < sum(tracer.begin() is not None for _ in range(1000)) < 300
    assert a_tracer(ratio=0.0).begin() is None


# What comes of it.


def over(one: Input | Outcome):
    """A message as it comes to the other device."""
    if isinstance(one, Input):
        return input_of(dataplane_pb2.ItemMessage.FromString(item_header(one, 0.0)), one.payload, 0.0)
    return outcome_of(dataplane_pb2.OutcomeMessage.FromString(outcome_header(one)), one.payload)


def two_planes(tracers):
    camera, cloud = a_plane(CAMERA), a_plane(CLOUD)
    camera[0].install(directive("camera", 1, routes=(route("op", ("source",), "cloud"),), sources=(source(("op",)),)))
    cloud[0].install(directive("cloud", 1, sets=(replica_set("op", "Pass"),)))
    for (plane, _, _), tracer in zip((camera, cloud), tracers, strict=True):
        plane.tracer = tracer
    return camera, cloud


def one_item(camera, cloud):
    """An item of the camera, served by the cloud; gives what the cloud's operator got."""
    plane, port, settled = camera
    request_id, _ = plane.next_request()
    one = emission(request_id, 100.0, deadline_ms=500.0, outputs=(OperatorId("op"),))
    plane.emit(replace(one, query_id=QUERY), b"x")
    ((_, sent),) = port.inputs
    cloud[0].receive_input(over(sent), CAMERA)
    ((_, work),) = cloud[1].offered
    clock = FakeClock()
    served = work
    if work.trace is not None:
        served = ran(queued(work, clock.monotonic_s(), clock.monotonic_s() + 1), 101.0, 103.0, cpu_ms=2.0)
    cloud[0].finished(served, b"answer")
    ((_, outcome),) = cloud[1].outcomes
    plane.receive_outcome(over(outcome), CLOUD)
    assert [ended.ending for ended in settled] == ["answered"]
    return work


def test_an_item_over_two_devices_is_one_trace():
    mine, theirs = a_tracer(), a_tracer(ratio=0.0)
    theirs._rng.seed(9)
    one_item(*two_planes((mine, theirs)))
    spans = spans_of(mine, theirs)
    assert list(spans) == ["outcome", f"item {QUERY}", "hop op", "queue op", "operator op"]
    assert len({span.trace_id for span in spans.values()}) == 1
    assert len({span.span_id for span in spans.values()}) == 5
    order = [f"item {QUERY}", "hop op", "queue op", "operator op", "outcome"]
    assert [spans[name].parent_id for name in order[1:]] == [spans[name].span_id for name in order[:-1]]
    assert spans[order[0]].parent_id == b""
    assert spans["operator op"].end_ns - spans["operator op"].start_ns == 2_000_000_000
    assert spans["operator op"].attributes["circinus.cpu_ms"] == 2.0
    assert spans[order[0]].attributes["circinus.ending"] == "answered"
    assert theirs.hops["camera"].count == 1


def test_a_device_without_a_collector_passes_traces_on_and_tells_nothing():
    mine = a_tracer()
    camera, cloud = two_planes((mine, None))
    work = one_item(camera, cloud)
    assert work.trace.sink is None
    spans = spans_of(mine)
    assert list(spans) == ["outcome", f"item {QUERY}"]
    assert spans["outcome"].parent_id == spans[f"item {QUERY}"].span_id


def test_nothing_is_made_for_items_that_are_not_sampled():
    tracers = a_tracer(ratio=0.0), a_tracer(ratio=0.0)
    work = one_item(*two_planes(tracers))
    assert work.trace is None
    assert [(tracer.taken, len(tracer), tracer.hops) for tracer in tracers] == [(0, 0, {}), (0, 0, {})]


def test_what_several_inputs_waited_for_is_a_join():
    tracer, (plane, port, _) = a_tracer(), a_plane(CLOUD)
    plane.tracer = tracer
    plane.install(directive("cloud", 3, sets=(replica_set("both", "Pass", ("left", "right")),)))
    halves = [
        replace(
            an_input("cam-n-1"),
            operator_id=OperatorId("both"),
            input_name=OperatorId(name),
            trace=a_trace(span_id=span_id),
        )
        for name, span_id in (("left", b"leftleft"), ("right", b"rightrig"))
    ]
    plane.receive_input(halves[0], CAMERA)
    assert port.offered == []
    plane._clock.passed_s += 0.5
    plane.receive_input(halves[1], CAMERA)
    ((_, work),) = port.offered
    spans = tracer.take(10)
    assert [span.name for span in spans] == ["hop both", "hop both", "join both"]
    join = spans[-1]
    # It goes on behind the input that the other one waited for.
    assert join.parent_id == spans[1].span_id
    assert (join.end_ns - join.start_ns, join.attributes["circinus.inputs"]) == (500_000_000, 2)
    assert work.trace.span_id == join.span_id


def test_a_step_that_failed_says_why():
    work = replace(a_work(), trace=a_trace(sink=(tracer := a_tracer())))
    ran(work, 1.0, 2.0, error="operator_raised: no voice " + "x" * 1000)
    (span,) = tracer.take(10)
    assert span.error.startswith("operator_raised: no voice")
    assert len(span.error) == 200


def test_a_clock_that_is_behind_makes_no_span_end_before_it_begins():
    tracer = a_tracer()
    trace = tracer.adopt(a_trace(since_ns=2**62)).arrived("hop op", 100.0, {})
    (span,) = tracer.take(1)
    assert span.start_ns == span.end_ns == trace.since_ns < 2**62


def a_work():
    plane, port, _ = a_plane(CLOUD)
    plane.install(directive("cloud", 3, sets=(replica_set("op", "Pass"),)))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    return port.offered[0][1]


# How they reach a collector.


def a_span(number=1):
    return Span(
        name=f"step {number}",
        trace_id=b"t" * 16,
        span_id=number.to_bytes(8, "big"),
        parent_id=b"",
        start_ns=1,
        end_ns=2,
        attributes={"a": "x", "b": 2, "c": 0.5, "d": True},
    )


def an_exporter(endpoint, tracer, clock):
    return Exporter(TracesConfig(endpoint=endpoint), tracer, RESOURCE, clock=clock, rng=Random(1))


async def test_spans_come_to_the_collector_as_they_are():
    async with receiving() as collector:
        tracer, clock = a_tracer(), FakeClock()
        exporter = an_exporter(collector.address, tracer, clock)
        for number in range(1, 301):
            tracer.put(a_span(number))
        tracer.put(replace(a_span(301), error="it went wrong", served=True))
        assert await exporter.attempt() == 0.0
        assert (exporter.sent, len(tracer)) == (256, 45)
        assert await exporter.attempt() == 0.0
    assert [span.name for _, span in collector.spans] == [f"step {number}" for number in range(1, 302)]
    device, last = collector.spans[-1]
    assert (device, last.kind, last.status.code, last.status.message) == ("camera", 2, 2, "it went wrong")
    assert attributes_of(last) == {"a": "x", "b": 2, "c": 0.5, "d": True}


async def test_a_collector_that_is_away_is_asked_ever_more_rarely_and_nothing_waits_for_it(caplog):
    async with receiving() as collector:
        address = collector.address
    tracer, clock = a_tracer(), FakeClock()
    exporter = an_exporter(address, tracer, clock)
    tracer.put(a_span())
    waits_s = [await exporter.attempt() for _ in range(8)]
    assert max(waits_s[4:]) > 1.0
    assert max(waits_s) <= 60.0
    assert (len(tracer), exporter.sent) == (1, 0)
    assert caplog.text.count("traces_not_sent") == 1
    for number in range(2 * MAX_WAITING):
        tracer.put(a_span(number))
    assert (len(tracer), tracer.dropped) == (MAX_WAITING, MAX_WAITING + 1)


@pytest.mark.parametrize(("status", "kept"), [(503, 1), (429, 1), (400, 0), (404, 0)])
async def test_what_a_collector_would_have_later_is_kept_and_what_it_refuses_is_not(status, kept):
    async with receiving() as collector:
        collector.status = status
        tracer = a_tracer()
        exporter = an_exporter(collector.address, tracer, FakeClock())
        tracer.put(a_span())
        await exporter.attempt()
        assert (len(tracer), tracer.dropped) == (kept, 1 - kept)
        assert str(status) in exporter.trouble
        collector.status = 200
        tracer.put(a_span(2))
        await exporter.attempt()
    assert (len(collector.spans), exporter.trouble) == (kept + 1, "")


async def test_what_answers_and_is_no_collector_harms_nobody():
    async def babble(reader, writer):
        writer.write(b"x" * 100_000)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    tracer = a_tracer()
    port = server.sockets[0].getsockname()[1]
    exporter = an_exporter(f"http://127.0.0.1:{port}", tracer, FakeClock())
    tracer.put(a_span())
    await exporter.attempt()
    server.close()
    await server.wait_closed()
    assert (len(tracer), exporter.trouble != "") == (1, True)


async def test_the_exporter_goes_on_until_it_is_cancelled():
    async with receiving() as collector:
        tracer, clock = a_tracer(), FakeClock()
        task = asyncio.create_task(an_exporter(collector.address, tracer, clock).run())
        tracer.put(a_span())
        async with asyncio.timeout(10.0):
            while not collector.spans:  # noqa: ASYNC110 - the fake clock lets nobody wait
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))


def test_spans_that_come_back_are_the_first_to_go_again_as_far_as_there_is_room():
    tracer = a_tracer()
    for number in range(MAX_WAITING):
        tracer.put(a_span(number))
    taken = tracer.take(3)
    tracer.put(a_span(9_001))
    tracer.put(a_span(9_002))
    tracer.put_back(taken)
    assert (len(tracer), tracer.dropped) == (MAX_WAITING, 2)
    assert [span.name for span in tracer.take(2)] == ["step 2", "step 3"]


def test_waiting_spans_have_a_bound_in_memory():
    tracer = a_tracer()
    tracemalloc.start()
    for number in range(3 * MAX_WAITING):
        tracer.put(a_span(number))
    used_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used_bytes < 8 * 1024 * 1024


# The agent's file.

FILE = 'device_id = "camera"\ntier = "edge"\nstate_dir = "x"\n'


def test_traces_are_off_unless_the_file_says_where_they_go():
    assert parse_config(FILE).traces == TracesConfig()
    found = parse_config(FILE + '[traces]\nendpoint = "http://127.0.0.1:4318"\nratio = 0.01\n').traces
    assert (found.endpoint, found.ratio, found.ca_file) == ("http://127.0.0.1:4318", 0.01, None)


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ("", ""),
        ("http://127.0.0.1", ""),
        ("http://[::1]:4318/v1/traces", ""),
        ("http://localhost:4318", ""),
        ("https://collector.example", ""),
        ("http://collector.example:4318", "https"),
        ("grpc://127.0.0.1:4317", "no collector"),
        ("127.0.0.1:4318", "no collector"),
        ("https://user:secret@collector.example", "no collector"),
        ("http://127.0.0.1:x", "no URL"),
        ("http://127.0.0.1:4318/a\r\nX: y", "no collector"),
    ],
)
def test_an_endpoint_that_can_t_be_is_said(endpoint, fault):
    said = endpoint_fault(endpoint)
    assert (fault in said) if fault else said == ""
    if fault:
        with pytest.raises(InvalidInput, match=r"traces\.endpoint"):
            parse_config(FILE + f"[traces]\nendpoint = {endpoint!r}\n".replace("'", '"'))


def test_a_collector_s_port_and_path_may_be_left_out():
    assert [(one.port, one.path) for one in (target_of("http://127.0.0.1"), target_of("https://c.example/otlp"))] == [
        (4318, "/v1/traces"),
        (443, "/otlp"),
    ]


# A caller's own trace, through a real device.


@pytest.mark.slow
@pytest.mark.system
async def test_a_caller_s_item_is_part_of_the_caller_s_trace_and_is_told_where(fleet):
    device = await serve(fleet, "push:", GREY)
    device.trace_with(tracer := Tracer(ratio=0.0, clock=SystemClock(), rng=Random(4)))
    request = a_frame("q1")
    async with grpc.aio.insecure_channel(device.ingress_address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer(request, metadata=(("traceparent", CALLER),))
        answer, trailing = await call, dict(await call.trailing_metadata())
        spans = spans_of(tracer)
        assert "traceparent" not in (await stub.ModelInfer(request)).parameters
        request.parameters["traceparent"].string_param = CALLER[:-2] + "00"
        assert "traceparent" not in (await stub.ModelInfer(request)).parameters
        alone = a_frame("q1/level")
        alone.parameters["traceparent"].string_param = CALLER
        (reply,) = [one async for one in stub.ModelStreamInfer(iter([alone]))]
    item = spans["item q1"]
    told = answer.parameters["traceparent"].string_param
    assert trailing["traceparent"] == told == f"00-{CALLER[3:35]}-{item.span_id.hex()}-01"
    assert (item.trace_id.hex(), item.parent_id.hex(), item.served) == (CALLER[3:35], CALLER[36:52], True)
    assert set(spans) == {"item q1", "queue level", "operator level", "queue twice", "operator twice", "outcome"}
    assert {span.trace_id for span in spans.values()} == {item.trace_id}
    assert reply.infer_response.parameters["traceparent"].string_param[:36] == told[:36]
    assert set(spans_of(tracer)) == {"call level", "queue level", "operator level"}


def a_frame(model):
    frame = protocol.ModelInferRequest.InferInputTensor(name="frame", datatype="INT64", shape=[1])
    frame.contents.int64_contents.append(1)
    image = protocol.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=[2, 2])
    image.contents.uint_contents.extend([1, 2, 3, 4])
    return protocol.ModelInferRequest(model_name=model, inputs=[image, frame])
