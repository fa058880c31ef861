"""The client against a planner on real gRPC."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_planner import DEVICE, FakePlanner, a_query_state, serve

from circinus import errors
from circinus.bundle import digest_of
from circinus.client import AddProgress, Client
from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import Budget, Guarantee, Query, QueryId, Slo
from circinus.model.search import SearchPhase, SearchState
from circinus.reports import QueryPhase
from circinus.v1 import planner_pb2, types_pb2

QUERY = Query(
    id=QueryId("gate"),
    pipeline_id=PipelineId("documents"),
    content="clean",
    source_device_id=DeviceId("camera-1"),
    rate_per_s=2.0,
    slo=Slo(latency_ms=500.0, accuracy_ratio=0.8, accuracy_margin_ratio=0.02),
    guarantee=Guarantee.POPULATION,
    budget=Budget(samples=5_000, seconds=60.0, cost=0.25),
)
KNOWN = SearchState(phase=SearchPhase.CERTIFIED, finished=True, agreement=True, probability_ratio=1.0)
TOY = {
    "pipeline.yaml": """\
pipeline: toy
source: toy:Numbers
scorer: toy:Same
operators:
  - {id: up, class: "toy:Up", inputs: [source]}
outputs: [up]
contents: {day: {seed: 7, samples: 3}, night: {seed: 8, samples: 2}}
""",
    "toy.py": """\
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        while True:
            yield Sample(payload={"n": self.seed})

class Up(Operator):
    def process(self, inputs):
        return inputs["source"]

class Same(Scorer):
    def score(self, outputs, truth):
        return 1.0
""",
}


@pytest.fixture
def planner() -> FakePlanner:
    return FakePlanner()


@pytest.fixture
def address(planner: FakePlanner) -> Iterator[str]:
    server, address = serve(planner)
    yield address
    planner.hang.set()
    server.stop(None).wait()


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in TOY.items():
        (folder / name).write_text(text)
    return folder


async def test_answers_come_as_values(address: str) -> None:
    async with Client(address) as client:
        status = await client.status()
        assert (status.activity, status.generation, status.started_at) == ("idle", 3, None)
        (device,) = await client.devices()
        assert device.device == DEVICE
        assert device.last_seen_at is not None
        assert device.last_seen_at.tzinfo is UTC


async def test_a_query_is_submitted_shown_and_removed(address: str) -> None:
    async with Client(address) as client:
        assert await client.submit([QUERY]) == ("gate",)
        state = await client.query("gate")
        assert state.query == QUERY
        assert state.phase is QueryPhase.PLACED
        assert state.plan is not None
        assert state.plan.configuration == {"rectify.scale": 0.75, "read.engine": "rapidocr", "read.spell": True}
        await client.remove_query("gate")
        assert await client.queries() == ()
        with pytest.raises(errors.NotFound, match="there is no query 'gate'"):
            await client.query("gate")


@pytest.mark.slow
@pytest.mark.system
async def test_a_pipeline_is_packed_sampled_uploaded_and_registered(
    planner: FakePlanner, address: str, toy: Path
) -> None:
    seen: list[AddProgress] = []
    async with Client(address) as client:
        assert await client.add_pipeline(toy, on_progress=seen.append) == "toy"
        (state,) = await client.pipelines()
    added = planner.pipelines["toy"]
    assert [(content.name, content.samples) for content in added.contents] == [("day", 3), ("night", 2)]
    found = types_pb2.SampleSet.FromString(planner.blobs[added.contents[1].digest])
    assert [sample.items[0].payload.fields["n"].integer for sample in found.samples] == [8, 8]
    assert state.bundle_digest == added.bundle_digest
    assert added.spec_yaml == TOY["pipeline.yaml"]
    assert {progress.step for progress in seen} == {"pack", "samples", "upload"}


async def test_a_large_blob_travels_in_chunks_and_only_once(planner: FakePlanner, address: str) -> None:
    data = bytes(range(256)) * 20_000
    async with Client(address) as client:
        digest = await client.upload(data)
        assert digest == digest_of(data)
        assert planner.blobs[digest] == data
        assert planner.chunks_received == 5
        seen: list[AddProgress] = []
        await client.upload(data, on_progress=seen.append)
        assert seen[-1].existed
    assert planner.chunks_received == 5


async def test_an_empty_blob_travels(planner: FakePlanner, address: str) -> None:
    async with Client(address) as client:
        assert planner.blobs[await client.upload(b"")] == b""


async def test_progress_ends_when_settled(address: str) -> None:
    async with Client(address) as client:
        seen = [progress async for progress in client.watch_progress()]
    assert [progress.activity for progress in seen] == ["profiling", "profiling", "rolling out", "idle"]
    assert seen[1].profiles[0].eta_s == 12


async def test_progress_that_ends_before_all_is_settled_is_an_error(planner: FakePlanner, address: str) -> None:
    planner.progress = [planner_pb2.WatchProgressResponse(activity="profiling")]
    async with Client(address) as client:
        with pytest.raises(errors.Unreachable, match="before all was settled"):
            _ = [progress async for progress in client.watch_progress()]


async def test_what_is_not_settled_in_time_is_an_error(planner: FakePlanner, address: str) -> None:
    planner.hanging = True
    async with Client(address) as client:
        with pytest.raises(errors.TimedOut, match="not settled within 0.1 s"):
            _ = [progress async for progress in client.watch_progress(timeout_s=0.1)]


async def test_a_query_is_watched_until_it_is_served(planner: FakePlanner, address: str) -> None:
    searching = SearchState(phase=SearchPhase.UNKNOWN, samples_done=12, eta_s=30.0)
    planner.watched = [a_query_state(searching), a_query_state(KNOWN), a_query_state(KNOWN, serving=True)]
    async with Client(address) as client:
        await client.submit([QUERY])
        assert (await client.query("gate")).search is None
        seen = [state async for state in client.watch_query("gate", 30.0)]
    assert [(state.search, state.agreement, state.settled) for state in seen] == [
        (searching, False, False),
        (KNOWN, True, False),
        (KNOWN, True, True),
    ]


async def test_a_query_that_is_refused_is_settled(planner: FakePlanner, address: str) -> None:
    planner.watched = [a_query_state(SearchState(phase=SearchPhase.REFUSED, finished=True), reason="best is 0.97")]
    async with Client(address) as client:
        await client.submit([QUERY])
        (state,) = [state async for state in client.watch_query("gate")]
    assert (state.refused, state.settled, state.reason) == (True, True, "best is 0.97")


async def test_a_query_that_is_not_there_cannot_be_watched(address: str) -> None:
    async with Client(address) as client:
        with pytest.raises(errors.NotFound, match="there is no query 'gate'"):
            _ = [state async for state in client.watch_query("gate")]


async def test_a_watch_that_ends_before_the_query_is_served_is_an_error(planner: FakePlanner, address: str) -> None:
    planner.watched = [a_query_state(KNOWN)]
    async with Client(address) as client:
        await client.submit([QUERY])
        with pytest.raises(errors.Unreachable, match="ended the watch before gate was served"):
            _ = [state async for state in client.watch_query("gate")]


async def test_what_is_not_served_in_time_is_an_error(planner: FakePlanner, address: str) -> None:
    async with Client(address) as client:
        await client.submit([QUERY])
        planner.hanging = True
        with pytest.raises(errors.TimedOut, match="gate is not settled within 0.1 s"):
            _ = [state async for state in client.watch_query("gate", 0.1)]


async def test_a_dry_run_has_plans_and_what_is_pending(planner: FakePlanner, address: str) -> None:
    async with Client(address) as client:
        await client.submit([QUERY])
        report = await client.plan([QUERY])
    assert planner.extra == ["gate"]
    assert [plan.query_id for plan in report.selection.plans] == ["gate"]
    assert report.pending[0].reason == "content hard is not profiled yet"


async def test_the_ledger_has_means_by_item(planner: FakePlanner, address: str) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    async with Client(address) as client:
        (entry,) = await client.ledger(moment)
    assert planner.since == moment.replace(tzinfo=None)
    assert entry.operators[0].service_ms == 140
    assert entry.causes == {"queue_full": 2}


async def test_what_the_planner_refuses_comes_as_its_own_error(planner: FakePlanner, address: str) -> None:
    planner.fail_with = errors.InvalidInput("bad rate", (errors.Violation(field="rate_per_s", message="is -1"),))
    async with Client(address) as client:
        with pytest.raises(errors.InvalidInput, match="bad rate") as caught:
            await client.submit([QUERY])
    assert caught.value.violations == (errors.Violation(field="rate_per_s", message="is -1"),)


async def test_a_planner_that_is_not_there_is_named() -> None:
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(errors.Unreachable, match="no planner answers at 127.0.0.1:1"):
            await client.status()


async def test_a_planner_that_does_not_answer_times_out(planner: FakePlanner, address: str) -> None:
    planner.hanging = True
    async with Client(address, call_timeout_s=0.1) as client:
        with pytest.raises(errors.TimedOut, match="gave no answer within 0.1 s"):
            await client.status()


@pytest.mark.slow
@pytest.mark.system
def test_the_client_needs_neither_yaml_nor_the_command_line() -> None:
    code = "import sys, circinus.client; print({'yaml', 'typer', 'rich', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
