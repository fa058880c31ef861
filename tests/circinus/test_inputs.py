"""Feeds, inputs and sinks: in files, over the wire, and at the command line."""

from __future__ import annotations

import json
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import grpc
import jsonschema
import pytest
import yaml

import circinus.spec
from circinus.cli.main import main
from circinus.errors import InvalidInput
from circinus.model.pipeline import Feed, FeedKind
from circinus.model.query import input_fault
from circinus.operator import Payload
from circinus.payload import encode
from circinus.spec.dump import pipeline_yaml
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries
from circinus.v1 import results_pb2, results_pb2_grpc, types_pb2
from circinus.wire import query_from_message, query_to_message
from circinus.wire.feed import feed_from_message, feed_to_message

SCHEMAS = Path(circinus.spec.__file__).parent / "schema"
PIPELINE = """
pipeline: gate
source: camera:Camera
scorer: score:Right
{feed}
operators:
  - {{id: find, class: operators:Find, inputs: [source]}}
outputs: [find]
contents:
  day: {{seed: 1, samples: 2}}
"""
QUERY = "- {{id: g, pipeline: gate, content: day, source: box, rate_per_s: 1, {more}}}"
FEEDS = {
    "feed: {image: {}}": Feed(kind=FeedKind.IMAGE, field="image", form="bgr"),
    "feed: {image: {field: frame, as: jpeg, number: n}}": Feed(
        kind=FeedKind.IMAGE, field="frame", form="jpeg", number_field="n"
    ),
    "feed: {audio: {}}": Feed(
        kind=FeedKind.AUDIO, field="audio", form="int16", rate_hz=16_000, chunk_ms=1_000, channels=1
    ),
    "feed: {audio: {as: float32, rate: hz, rate_hz: 8000, chunk_ms: 250, channels: 2}}": Feed(
        kind=FeedKind.AUDIO,
        field="audio",
        form="float32",
        rate_hz=8_000,
        rate_field="hz",
        chunk_ms=250,
        channels=2,
    ),
    "feed: {bytes: {field: page}}": Feed(kind=FeedKind.BYTES, field="page", form="bytes"),
}


def pipeline(feed=""):
    return parse_pipeline(PIPELINE.format(feed=feed))


@pytest.mark.parametrize("text", FEEDS)
def test_a_feed_is_read_written_and_sent_as_it_is(text):
    read = pipeline(text)
    assert read.feed == FEEDS[text]
    assert parse_pipeline(pipeline_yaml(read)) == read
    assert feed_from_message(feed_to_message(read.feed)) == read.feed
    schema = json.loads((SCHEMAS / "pipeline.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(PIPELINE.format(feed=text)), schema)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feed: {}", "say what items are made of: image, audio, bytes"),
        ("feed: {image: {}, bytes: {}}", "a pipeline has one kind of item"),
        ("feed: {video: {}}", "video"),
        ("feed: {image: {as: gray}}", "unknown as 'gray'; did you mean 'grey'?"),
        ("feed: {image: {rate_hz: 8000}}", "rate_hz"),
        ("feed: {image: {field: frame, number: frame}}", "can't both be the field 'frame'"),
        ("feed: {audio: {chunk_ms: 1}}", "chunk_ms"),
        ("feed: {audio: {channels: 3}}", "channels"),
        ("feed: {image: {field: 'a b'}}", "a field's name"),
    ],
)
def test_a_wrong_feed_is_named_with_its_line(text, message):
    with pytest.raises(SpecErrors) as caught:
        pipeline(text)
    assert any(message in error.message and error.line == 5 for error in caught.value.errors), caught.value.errors


@pytest.mark.parametrize(
    "changes", [{"kind": 9}, {"form": "gray"}, {"field": "../x"}, {"kind": types_pb2.FEED_KIND_AUDIO, "form": "int16"}]
)
def test_a_feed_from_the_wire_is_checked(changes):
    message = types_pb2.Feed(kind=types_pb2.FEED_KIND_IMAGE, field="image", form="bgr")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(InvalidInput):
        feed_from_message(message)


def test_input_and_sink_are_read_and_sent_as_they_are():
    (query,) = parse_queries(QUERY.format(more="input: 'file:/srv/a.mp4', sink: 'file:/var/r.jsonl'"))
    assert (query.input, query.sink) == ("file:/srv/a.mp4", "file:/var/r.jsonl")
    assert query_from_message(query_to_message(query)) == query
    schema = json.loads((SCHEMAS / "queries.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(QUERY.format(more="input: 'push:', sink: 'file:/r'")), schema)


@pytest.mark.parametrize(
    "more", ["sink: 'file:r.jsonl'", "sink: '/r.jsonl'", "sink: 'http://x/r'", "input: '/dev/video0'"]
)
def test_a_sink_or_input_that_is_none_is_named(more):
    with pytest.raises(SpecErrors, match="file: and an absolute path|camera:, file:"):
        parse_queries(QUERY.format(more=more))
    message = query_to_message(parse_queries(QUERY.format(more="weight: 1"))[0])
    name, _, value = more.partition(": ")
    setattr(message, name, value.strip("'"))
    with pytest.raises(InvalidInput):
        query_from_message(message)


@pytest.mark.parametrize(
    ("feed", "query_input", "reason"),
    [
        ("", "", ""),
        ("", "stream:road", ""),
        ("", "push:", ""),
        ("", "camera:0", "doesn't say how a camera becomes items; add a feed"),
        ("feed: {image: {}}", "camera:0", ""),
        (
            "feed: {image: {}}",
            "microphone:/a.wav",
            "a microphone gives audio, and the feed of pipeline 'gate' is image",
        ),
        ("feed: {bytes: {}}", "directory:/srv/in", ""),
    ],
)
def test_a_pipeline_takes_inputs_that_its_feed_can_read(feed, query_input, reason):
    (query,) = parse_queries(QUERY.format(more="weight: 1"))
    fault = input_fault(replace(query, input=query_input), pipeline(feed))
    assert reason in fault
    assert bool(fault) == bool(reason)


def test_an_input_by_flags_is_checked_as_a_files_is(capsys):
    flags = ["--pipeline", "gate", "--content", "day", "--source", "box", "--rate", "1"]
    assert main(["query", "submit", *flags, "--input", "/dev/video0"]) == 2
    assert "write camera:, file:" in capsys.readouterr().err
    assert main(["query", "submit", *flags, "--sink", "results"]) == 2
    assert "file: and an absolute path" in capsys.readouterr().err


class Agent(results_pb2_grpc.ResultsServiceServicer):
    """Tells of two items of one query."""

    def Subscribe(self, request, context):
        if request.query_id != "gate-1":
            context.set_trailing_metadata((("circinus-error", "NotFound"),))
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such query")
        yield results_pb2.SubscribeResponse()
        outputs: Payload = {"text": "ABC", "sure": 0.5, "plate": b"1234", "count": 2}
        answered = results_pb2.Result(
            query_id="gate-1", request_id="r-1", sequence=1, ending=results_pb2.ENDING_ANSWERED, latency_ms=12.3456
        )
        answered.outputs["read"] = encode(outputs)
        yield results_pb2.SubscribeResponse(result=answered, lost=3)
        dropped = results_pb2.Result(
            query_id="gate-1", request_id="r-2", ending=results_pb2.ENDING_DROPPED, cause="deadline", detail="too late"
        )
        yield results_pb2.SubscribeResponse(result=dropped)


@pytest.fixture
def agent():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    results_pb2_grpc.add_ResultsServiceServicer_to_server(Agent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_results_are_printed_as_lines_of_json(agent, capsys):
    assert main(["query", "results", "gate-1", "--agent", agent, "--count", "2"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["ending"], first["latency_ms"], first["lost"]) == ("answered", 12.346, 3)
    assert first["outputs"] == {"read": {"text": "ABC", "sure": 0.5, "plate": {"bytes": 4}, "count": 2}}
    assert (second["ending"], second["cause"], second["outputs"]) == ("dropped", "deadline", {})


def test_results_end_with_an_exit_code_that_says_how(agent, capsys):
    assert main(["query", "results", "gate-1", "--agent", agent]) == 0
    assert main(["query", "results", "gate-1", "--agent", agent, "--count", "9"]) == 7
    assert main(["query", "results", "gate-2", "--agent", agent]) == 1
    assert main(["query", "results", "gate-1", "--agent", "127.0.0.1:1"]) == 4
    assert "configuration's key `ingress`" in capsys.readouterr().err
