import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from planner_fleet import (
    BUNDLE,
    PIPELINE,
    FakeAgent,
    FirstFit,
    device,
    fake_digest,
    query,
    serving,
    settings,
)

from circinus.bundle import digest_of
from circinus.channel import open_channel
from circinus.client import Client
from circinus.errors import AlreadyExists, BadDigest, InvalidInput, NotFound, from_rpc
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, control_pb2_grpc, planner_pb2, types_pb2
from cloud_planner.store import TelemetryRecord

pytestmark = pytest.mark.slow


async def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc(caught.value)


async def test_a_dry_run_applies_nothing(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        request = planner_pb2.PlanSelectionRequest(extra_queries=[query("", rate_per_s=1.0)])
        selection = (await people.stub.PlanSelection(request)).selection
        assert sorted(plan.query_id for plan in selection.plans) == ["extra-1", "q1"]
        assert list(await people.queries()) == ["q1"]
        assert agent.count("directive") == 1


async def test_submissions_are_idempotent_and_named(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await people.add_pipeline()
        assert await people.submit(query("a"), query("")) == ["a", "query-1"]
        assert await people.submit(query("a")) == ["a"]
        error = await refused(people.submit(query("a", rate_per_s=9.0)))
        assert isinstance(error, AlreadyExists)
        assert len(await people.queries()) == 2


async def test_bad_submissions_name_what_is_wrong(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        error = await refused(people.submit(query()))
        assert isinstance(error, NotFound)
        await people.add_pipeline()
        error = await refused(people.submit(query(source="kamera")))
        assert isinstance(error, NotFound)
        assert "camera" in error.message
        error = await refused(people.submit(query(rate_per_s=-1.0)))
        assert isinstance(error, InvalidInput)
        assert error.violations[0].field == "rate_per_s"
        error = await refused(people.submit(query(latency_ms=0.0)))
        assert error.violations[0].field == "slo.latency_ms"
        error = await refused(people.submit(query("Not An Id")))
        assert isinstance(error, InvalidInput)
        seen = query()
        seen.input = "camera:0"
        error = await refused(people.submit(seen))
        assert isinstance(error, InvalidInput)
        assert "add a feed to its pipeline.yaml" in error.violations[0].message
        error = await refused(people.submit(query("twice"), query("twice")))
        assert isinstance(error, InvalidInput)
        assert await people.queries() == {}


async def test_pipelines_need_their_blobs_and_a_sound_spec(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        add = planner_pb2.AddPipelineRequest(spec_yaml=PIPELINE, bundle_digest=digest_of(BUNDLE))
        assert isinstance(await refused(people.stub.AddPipeline(add)), NotFound)
        await people.upload(BUNDLE)
        error = await refused(people.stub.AddPipeline(add))
        assert isinstance(error, InvalidInput)
        assert "plain" in error.message
        add.spec_yaml = "pipeline: [oh"
        assert isinstance(await refused(people.stub.AddPipeline(add)), InvalidInput)
        wide = PIPELINE.replace("[1, 2]", f"{list(range(667))}\n      way: [1, 2, 3]")
        error = await refused(people.add_pipeline(wide))
        assert "2001 configurations" in error.message
        assert (await people.add_pipeline()).pipeline_id == "words"
        assert (await people.add_pipeline()).pipeline_id == "words"
        listed = (await people.stub.ListPipelines(planner_pb2.ListPipelinesRequest())).pipelines
        assert [(state.id, state.configurations) for state in listed] == [("words", 2)]
        await people.stub.RemovePipeline(planner_pb2.RemovePipelineRequest(pipeline_id="words"))
        error = await refused(people.stub.RemovePipeline(planner_pb2.RemovePipelineRequest(pipeline_id="words")))
        assert isinstance(error, NotFound)


async def test_a_pipeline_in_use_stays(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await people.add_pipeline()
        await people.submit(query())
        error = await refused(people.stub.RemovePipeline(planner_pb2.RemovePipelineRequest(pipeline_id="words")))
        assert "q1" in error.message
        error = await refused(people.add_pipeline(PIPELINE.replace("[1, 2]", "[1, 2, 3]")))
        assert isinstance(error, AlreadyExists)


async def test_blobs_are_checked_and_fetched_by_digest(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        data = bytes(range(256)) * 12_000
        assert not (await people.upload(data[:1000])).existed
        assert (await people.upload(data[:1000])).existed
        assert isinstance(await refused(people.upload(b"abc", fake_digest("else"))), BadDigest)
        assert isinstance(await refused(people.upload(b"abc", "../../etc/passwd")), InvalidInput)
        long = [planner_pb2.UploadBlobRequest(digest=digest_of(data), total_bytes=len(data))]
        long += [planner_pb2.UploadBlobRequest(chunk=data[at : at + 2**20]) for at in range(0, len(data), 2**20)]
        await people.stub.UploadBlob(iter(long))
        assert {path.name[:8] for path in (tmp_path / "state" / "blobs").iterdir()} == {
            digest_of(blob)[7:15] for blob in (data, data[:1000])
        }
        async with FakeAgent(people.address, device("camera")) as agent:
            stub = control_pb2_grpc.ControlServiceStub(agent._channel)
            chunks = [chunk async for chunk in stub.FetchBlob(control_pb2.FetchBlobRequest(digest=digest_of(data)))]
            assert b"".join(chunk.chunk for chunk in chunks) == data
            assert chunks[0].total_bytes == len(data)

            async def fetch(digest):
                return [chunk async for chunk in stub.FetchBlob(control_pb2.FetchBlobRequest(digest=digest))]

            assert isinstance(await refused(fetch(fake_digest("else"))), NotFound)


async def test_the_ledger_sets_what_was_seen_beside_what_was_planned(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(latency_ms=100.0))
        await people.settled()
        await agent.until("retire")
        window = types_pb2.QueryWindow(
            query_id="q1",
            generation=1,
            duration_s=2.0,
            emitted=5,
            answered=3,
            late=1,
            dropped_by_cause={"queue_full": 1},
            latency_ms=Sketch([10.0, 20.0, 30.0, 400.0]).message(),
            scores_ratio=[1.0, 0.5, 0.5, 1.0],
            on_time_score_sum=2.0,
            on_time_scored=3,
        )
        window.start.FromDatetime(datetime.now(UTC))
        bad = types_pb2.QueryWindow(query_id="q1", generation=1, duration_s=float("nan"))
        for sequence, found in ((1, window), (1, window), (2, bad)):
            await agent.send(telemetry=control_pb2.Telemetry(sequence=sequence, queries=[found]))
        async with asyncio.timeout(10):
            while not (entries := (await people.stub.GetLedger(planner_pb2.GetLedgerRequest())).entries) or (
                entries[0].emitted == 0
            ):
                await people.status()
        entry = entries[0]
        assert (entry.emitted, entry.answered, entry.late, entry.dropped, entry.failed) == (5, 3, 1, 1, 0)
        assert (entry.latency_p50_ms, entry.latency_p95_ms) == pytest.approx((20.0, 400.0), rel=0.01)
        assert (entry.accuracy_ratio, entry.scored, entry.item_goodput_per_s) == (0.75, 4, 1.0)
        assert entry.plan.query_id == "q1"
        assert entry.planned_item_goodput_per_s == 2.0
        assert entry.predicted_accuracy_ratio.low <= entry.predicted_accuracy_ratio.high


async def test_a_ledger_of_many_queries_comes_in_pages(tmp_path):
    names = [f"q{number:03}" for number in range(60)]
    async with serving(settings(tmp_path), FirstFit()) as (people, parts), FakeAgent(people.address, device("camera")):
        await people.add_pipeline()
        await people.submit(*(query(name) for name in names))
        start = datetime.now(UTC)
        windows = [types_pb2.QueryWindow(query_id=name, duration_s=1.0, emitted=2, answered=2) for name in names]
        for window in windows:
            window.start.FromDatetime(start)
        record = TelemetryRecord(device_id="camera", sequence=1, received_at=start, queries=windows, operators=())
        await parts.store.add_telemetry([record], 1)
        request, pages = planner_pb2.GetLedgerRequest(since=windows[0].start, page_size=25), []
        while not pages or request.page_token:
            page = await people.stub.GetLedger(request)
            pages.append([entry.query_id for entry in page.entries])
            assert all(entry.answered == 2 for entry in page.entries)
            request.page_token = page.next_page_token
        assert [len(page) for page in pages] == [25, 25, 10]
        assert [name for page in pages for name in page] == names
        async with Client(people.address) as client:
            assert [entry.query_id for entry in await client.ledger(start)] == names


@pytest.mark.parametrize("seconds", [-1, 2**38])
async def test_a_ledger_since_no_moment_is_refused_by_name(tmp_path, seconds):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        error = await refused(people.stub.GetLedger(planner_pb2.GetLedgerRequest(since={"seconds": seconds})))
        assert isinstance(error, InvalidInput)
        assert error.violations[0].field == "since.seconds"


async def test_a_second_connection_of_a_device_takes_the_place_of_the_first(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as first,
        FakeAgent(people.address, device("camera")),
    ):
        async with asyncio.timeout(10):
            await asyncio.wait([first._task])
        assert (await people.status()).devices_connected == 1


async def test_an_agent_that_does_not_say_hello_is_refused(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), open_channel(people.address) as channel:
        call = control_pb2_grpc.ControlServiceStub(channel).Connect()
        await call.write(control_pb2.ConnectRequest(heartbeat=control_pb2.Heartbeat(sequence=1)))
        assert isinstance(await refused(call.read()), InvalidInput)
