"""What every store must do; run over SQLite on disk and in memory."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from planner_fleet import device, fake_digest

from circinus.errors import AlreadyExists, BadDigest, Internal, InvalidInput, NotFound, TooLarge
from circinus.model.directive import Generation
from circinus.model.pipeline import ContentRef
from circinus.model.profile import ConfigurationProfile, OperatorSample, SampleResult
from circinus.model.query import Query, Slo
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.search_terms import (
    Attempt,
)
from cloud_planner.store import (
    BlobStore,
    Changes,
    GenerationRecord,
    Keeping,
    Mark,
    PipelineRecord,
    RolloutPhase,
    SearchRecord,
    SqliteStore,
    TelemetryRecord,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(params=["file", "memory"])
async def store(request, tmp_path):
    opened = await SqliteStore.open(tmp_path / "planner.sqlite3" if request.param == "file" else None)
    yield opened
    await opened.close()


def a_query(query_id, **changes):
    values = {
        "id": query_id,
        "pipeline_id": "words",
        "content": "plain",
        "source_device_id": "camera",
        "rate_per_s": 2.0,
        "slo": Slo(latency_ms=100.0),
    }
    return Query(**(values | changes))


def a_profile(length, scores, *, wall_ms=10.0):
    return ConfigurationProfile(
        configuration={"cut.length": length, "read.fast": True},
        samples=tuple(
            SampleResult(
                sample_index=index,
                score_ratio=score,
                operators=(
                    OperatorSample(operator_id="cut", cpu_ms=9.0, wall_ms=wall_ms, output_bytes=7, cached=False),
                    OperatorSample(operator_id="read", cpu_ms=9.0, wall_ms=wall_ms, output_bytes=8, cached=True),
                ),
            )
            for index, score in scores.items()
        ),
        memory_bytes={"cut": 100},
        source_bytes=55,
        accelerator_memory_bytes={"read": 3 * 2**30},
    )


def a_generation(number, *, phase=RolloutPhase.STARTING, devices=("camera",)):
    return GenerationRecord(
        generation=Generation(epoch=1, number=number),
        created_at=NOW,
        phase=phase,
        selection=planner_pb2.SelectionSummary(goodput_per_s=number),
        directives={
            found: types_pb2.Directive(device_id=found, epoch=1, generation=number, digest=fake_digest(found))
            for found in devices
        },
    )


async def test_a_new_store_is_of_epoch_one_and_empty(store):
    assert await store.epoch() == 1
    assert await store.devices() == ()
    assert await store.queries() == ()
    assert await store.newest_generation() is None
    assert await store.decision() is None


async def test_the_newest_fingerprint_of_a_device_stands(store):
    await store.put_device(device("camera"), NOW)
    newer = device("camera", links=["cloud"], environments=[fake_digest("e")])
    await store.put_device(newer, NOW + timedelta(seconds=1))
    assert await store.devices() == ((newer, NOW + timedelta(seconds=1)),)


async def test_pipelines_are_replaced_whole_and_removed(store):
    record = PipelineRecord(
        id="words",
        spec_yaml="text",
        bundle_digest=fake_digest("b"),
        environment_digest=fake_digest("e"),
        contents=(ContentRef(name="plain", digest=fake_digest("c"), samples=3),),
    )
    await store.put_pipeline(record)
    assert await store.pipelines() == (record,)
    other = PipelineRecord(
        id="words",
        spec_yaml="other",
        bundle_digest=fake_digest("b2"),
        environment_digest=fake_digest("e"),
        contents=(ContentRef(name="odd", digest=fake_digest("c2"), samples=4),),
    )
    await store.put_pipeline(other)
    assert await store.pipelines() == (other,)
    await store.remove_pipeline("words")
    await store.remove_pipeline("words")
    assert await store.pipelines() == ()


async def test_queries_keep_the_order_of_submission(store):
    await store.put_queries([a_query("z"), a_query("a")])
    await store.put_queries([a_query("m", slo=Slo(), weight=2.0)])
    assert [query.id for query in await store.queries()] == ["z", "a", "m"]
    assert (await store.queries())[2] == a_query("m", slo=Slo(), weight=2.0)
    await store.remove_query("a")
    assert [query.id for query in await store.queries()] == ["z", "m"]


async def test_queries_are_added_all_or_none(store):
    await store.put_queries([a_query("a")])
    with pytest.raises(AlreadyExists):
        await store.put_queries([a_query("b"), a_query("a")])
    assert [query.id for query in await store.queries()] == ["a"]


def a_search(query_id, *, samples=3, attempts=()):
    state = planner_pb2.SearchState(
        phase=planner_pb2.SEARCH_PHASE_PROVISIONAL, samples_done=samples, operator_s=1.5, stopped="by hand"
    )
    state.history.add(samples_done=samples).at.FromDatetime(NOW)
    return SearchRecord(query_id=query_id, submitted_at=NOW, attempts=attempts, state=state)


async def test_a_search_comes_back_as_it_was_kept_last(store):
    await store.put_queries([a_query("z"), a_query("a")])
    await store.put_search(a_search("z"))
    await store.put_search(a_search("a"))
    later = a_search("z", samples=9, attempts=(Attempt(configuration=5, start=2), Attempt(configuration=1, start=8)))
    await store.put_search(later)
    assert await store.searches() == (a_search("a"), later)


async def test_a_search_goes_with_its_query(store):
    await store.put_queries([a_query("z"), a_query("a")])
    await store.put_search(a_search("z"))
    await store.put_search(a_search("a"))
    await store.remove_query("z")
    assert await store.searches() == (a_search("a"),)


async def test_query_numbers_are_given_once(store):
    assert await store.name_queries(2) == 1
    assert await store.name_queries(1) == 3


async def test_profiles_add_up_sample_by_sample(store):
    key = (fake_digest("b"), fake_digest("c"))
    await store.add_profiles(*key, "fast", [a_profile(1, {0: 0.5, 1: 1.0})])
    await store.add_profiles(*key, "fast", [a_profile(1, {2: 0.0}), a_profile(2, {0: 0.25})])
    await store.add_profiles(*key, "slow", [a_profile(1, {0: None}, wall_ms=40.0)])
    table = await store.profile_table(*key)
    first = '{"cut.length":1,"read.fast":true}'
    assert table.scores == {first: {0: 0.5, 1: 1.0, 2: 0.0}, '{"cut.length":2,"read.fast":true}': {0: 0.25}}
    assert sorted(table.times) == ["fast", "slow"]
    assert table.times["slow"] == (a_profile(1, {0: 0.5}, wall_ms=40.0),)
    assert [sample.sample_index for sample in table.times["fast"][0].samples] == [0, 1, 2]
    assert table.times["fast"][0].configuration == {"cut.length": 1, "read.fast": True}
    empty = await store.profile_table(fake_digest("b"), fake_digest("other"))
    assert (empty.scores, empty.times) == ({}, {})


async def test_hurried_times_stay_hurried_until_they_are_measured_at_leisure(store):
    key = (fake_digest("b"), fake_digest("c"))
    calm = a_profile(1, {0: 0.5})
    (sample,) = calm.samples
    operators = tuple(replace(one, hurried=True) for one in sample.operators)
    hurried = replace(calm, samples=(replace(sample, operators=operators),))
    await store.add_profiles(*key, "fast", [hurried])
    assert (await store.profile_table(*key)).times["fast"] == (hurried,)
    await store.add_profiles(*key, "fast", [calm])
    assert (await store.profile_table(*key)).times["fast"] == (calm,)


async def test_a_sample_measured_again_replaces_the_older_result(store):
    key = (fake_digest("b"), fake_digest("c"))
    await store.add_profiles(*key, "fast", [a_profile(1, {0: 0.5})])
    await store.add_profiles(*key, "fast", [a_profile(1, {0: 0.75}, wall_ms=12.0)])
    assert (await store.profile_table(*key)).times["fast"] == (a_profile(1, {0: 0.75}, wall_ms=12.0),)


async def test_the_newest_generation_comes_back_byte_for_byte(store):
    await store.put_generation(a_generation(9))
    await store.put_generation(a_generation(10, devices=("camera", "cloud")))
    found = await store.newest_generation()
    assert found == a_generation(10, devices=("camera", "cloud"))
    assert await store.generation(Generation(epoch=1, number=9)) == a_generation(9)
    assert await store.generation(Generation(epoch=1, number=3)) is None
    assert (await store.decision()).goodput_per_s == 10.0


async def test_a_generation_is_never_written_twice(store):
    await store.put_generation(a_generation(1))
    with pytest.raises(AlreadyExists):
        await store.put_generation(a_generation(1, devices=("cloud",)))
    assert await store.newest_generation() == a_generation(1)


async def test_phases_move_and_a_directive_once_added_stands(store):
    await store.put_generation(a_generation(1))
    await store.set_phase(Generation(epoch=1, number=1), RolloutPhase.ACTIVE)
    await store.add_directive(types_pb2.Directive(device_id="late", epoch=1, generation=1, digest="first"))
    await store.add_directive(types_pb2.Directive(device_id="late", epoch=1, generation=1, digest="second"))
    found = await store.newest_generation()
    assert found.phase is RolloutPhase.ACTIVE
    assert found.directives["late"].digest == "first"


def a_window(query_id, generation, start):
    window = types_pb2.QueryWindow(query_id=query_id, generation=generation, emitted=1)
    window.start.FromDatetime(start)
    return window


def some_telemetry(sequence, *windows, device_id="camera", at=NOW):
    return TelemetryRecord(device_id=device_id, sequence=sequence, received_at=at, queries=windows, operators=())


async def test_repeated_telemetry_counts_once(store):
    window = a_window("q", 1, NOW)
    assert await store.add_telemetry([some_telemetry(1, window), some_telemetry(1, window)], 1) == 1
    assert await store.add_telemetry([some_telemetry(1, window), some_telemetry(2, window)], 1) == 1
    assert await store.add_telemetry([some_telemetry(1, window, device_id="cloud")], 1) == 1
    assert len((await store.windows(NOW)).queries) == 3


async def test_windows_are_found_by_moment_and_generation(store):
    later = NOW + timedelta(seconds=10)
    await store.add_telemetry([some_telemetry(1, a_window("q", 1, later), a_window("q", 2, NOW))], 1)
    assert [window.generation for window in (await store.windows(NOW)).queries] == [2, 1]
    assert [window.generation for window in (await store.windows(later)).queries] == [1]
    found = await store.windows(NOW, Generation(epoch=1, number=2))
    assert [window.generation for window in found.queries] == [2]


async def test_windows_are_found_by_query(store):
    windows = [a_window(name, 1, NOW) for name in ("a", "b", "c")]
    await store.add_telemetry([some_telemetry(1, *windows)], 1)
    found = await store.windows(NOW, queries=["c", "a", "none"])
    assert [window.query_id for window in found.queries] == ["a", "c"]
    assert (await store.windows(NOW, queries=[])).queries == ()


async def test_old_windows_are_forgotten_but_their_repeats_stay_known(store):
    old, new = NOW, NOW + timedelta(days=2)
    await store.add_telemetry([some_telemetry(1, a_window("q", 1, old)), some_telemetry(2, a_window("q", 1, old))], 1)
    await store.prune_telemetry(new, 1_000)
    assert (await store.windows(old)).queries == ()
    assert await store.add_telemetry([some_telemetry(2, a_window("q", 1, old))], 1) == 0


async def test_tasks_that_are_cancelled_leave_no_transaction_behind(store):
    for delay in range(6):
        task = asyncio.create_task(store.put_queries([a_query(f"a{delay}")]))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await store.put_queries([a_query("last")])
    assert (await store.queries())[-1].id == "last"


async def test_what_was_written_is_there_after_reopening(tmp_path):
    path = tmp_path / "planner.sqlite3"
    store = await SqliteStore.open(path)
    await store.put_generation(a_generation(1))
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.newest_generation() == a_generation(1)
    await store.close()


async def test_a_store_of_before_there_were_searches_keeps_its_times_and_takes_searches(tmp_path):
    path = tmp_path / "planner.sqlite3"
    first = resources.files("cloud_planner.store").joinpath("migrations", "0001_first.sql").read_text()
    row = (fake_digest("b"), fake_digest("c"), "fast", '{"cut.length":1}', 3, "cut", 9.0, 10.0, 7, 1)
    with sqlite3.connect(path) as connection:
        connection.executescript(first)
        connection.execute(f"INSERT INTO times VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("PRAGMA user_version=1")
    connection.close()
    store = await SqliteStore.open(path)
    (profile,) = (await store.profile_table(*row[:2])).times["fast"]
    (sample,) = profile.samples
    assert (sample.sample_index, sample.operators) == (
        3,
        (OperatorSample(operator_id="cut", cpu_ms=9.0, wall_ms=10.0, output_bytes=7, cached=True, hurried=False),),
    )
    await store.put_search(a_search("q"))
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.searches() == (a_search("q"),)
    await store.close()


async def test_what_people_say_of_a_device_is_kept_until_it_is_forgotten(store):
    await store.put_device(device("g1"), NOW)
    mark = Mark(
        device_id="g1",
        keeping=Keeping.DRAINING,
        why="a new fan",
        since=NOW,
        people={"gpu": "", "old": None},
        bound={"zone": "a"},
    )
    await store.put_mark(Mark(device_id="g1"))
    await store.put_mark(mark)
    # A token may come before the device.
    await store.put_mark(Mark(device_id="g0", bound={"zone": "b"}))
    assert await store.marks() == (Mark(device_id="g0", bound={"zone": "b"}), mark)
    record = TelemetryRecord(
        device_id="g1", sequence=7, received_at=NOW, queries=(a_window("q", 1, NOW),), operators=()
    )
    assert await store.add_telemetry([record], epoch=1) == 1
    await store.remove_device("g1")
    assert [one.device_id for one in await store.marks()] == ["g0"]
    assert await store.devices() == ()
    # Another box with its name begins anew; what this one served stays.
    assert await store.add_telemetry([record], epoch=1) == 1
    assert len((await store.windows(NOW - timedelta(days=1))).queries) == 2


async def test_a_store_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "planner.sqlite3"
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Internal, match="newer"):
        await SqliteStore.open(path)


def test_a_blob_is_there_only_when_it_is_whole_and_right(tmp_path):
    blobs = BlobStore(tmp_path)
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(NotFound):
        blobs.size_bytes(digest)
    for wrong in (b"abd", b"ab"):
        with blobs.receive(digest, 3) as incoming:
            incoming.append(wrong)
            with pytest.raises(BadDigest):
                incoming.commit()
    with pytest.raises(TooLarge), blobs.receive(digest, 3) as incoming:
        incoming.append(b"abcd")
    assert list(tmp_path.iterdir()) == []
    with blobs.receive(digest, 3) as incoming:
        incoming.append(b"ab")
        incoming.append(b"c")
        assert not blobs.has(digest)
        incoming.commit()
    assert blobs.read(digest, 1, 5) == b"bc"
    with pytest.raises(TooLarge):
        blobs.receive(digest, 2**40)
    with pytest.raises(InvalidInput):
        blobs.receive("sha256:../../x", 3)


def test_what_was_left_half_received_is_swept_at_the_start(tmp_path):
    (tmp_path / "incoming-abc").write_bytes(b"half")
    BlobStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_what_files_declare_is_put_in_at_once_or_not_at_all(store):
    await store.put_pipeline(a_pipeline("old"))
    await store.put_queries([a_query("first"), a_query("second"), a_query("third")])
    for name in ("first", "second"):
        await store.put_search(
            SearchRecord(query_id=name, submitted_at=NOW, attempts=(), state=planner_pb2.SearchState())
        )
    mark = Mark(device_id="camera", people={"zone": "north"})
    await store.apply_changes(
        Changes(
            pipelines=(a_pipeline("words"),),
            queries=(a_query("first", rate_per_s=9.0), a_query("fourth")),
            marks=(mark,),
            removed_queries=("second",),
            removed_pipelines=("old",),
            begun_anew=("first",),
        )
    )
    assert [record.id for record in await store.pipelines()] == ["words"]
    # One in the place of another keeps its turn.
    assert [(query.id, query.rate_per_s) for query in await store.queries()] == [
        ("first", 9.0),
        ("third", 2.0),
        ("fourth", 2.0),
    ]
    assert await store.marks() == (mark,)
    assert await store.searches() == ()
    with pytest.raises(sqlite3.IntegrityError):
        await store.apply_changes(
            Changes(removed_queries=("third",), pipelines=(replace(a_pipeline("bad"), spec_yaml=None),))
        )
    assert len(await store.queries()) == 3


async def test_nothing_was_numbered_before_a_restore_until_there_was_one(store):
    assert await store.generation_floor() == 0


def a_pipeline(pipeline_id):
    return PipelineRecord(
        id=pipeline_id,
        spec_yaml="pipeline: x",
        bundle_digest=fake_digest("bundle"),
        environment_digest=fake_digest("environment"),
        contents=(ContentRef(name="plain", digest=fake_digest("samples"), samples=4),),
    )
