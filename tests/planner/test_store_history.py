"""What a store tells of what was: generations, one query's windows and accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from circinus.model.directive import Generation
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.store import AccountRecord, GenerationRecord, RolloutPhase, SqliteStore, TelemetryRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(params=["file", "memory"])
async def store(request, tmp_path):
    opened = await SqliteStore.open(tmp_path / "planner.sqlite3" if request.param == "file" else None)
    yield opened
    await opened.close()


async def put_generations(store, *numbers, epoch=1):
    for number in numbers:
        await store.put_generation(
            GenerationRecord(
                generation=Generation(epoch=epoch, number=number),
                created_at=NOW + timedelta(seconds=number),
                phase=RolloutPhase.SETTLED,
                selection=planner_pb2.SelectionSummary(goodput_per_s=number),
                directives={},
            )
        )


def numbers_of(heads):
    return [(head.generation.epoch, head.generation.number) for head in heads]


async def test_the_newest_generations_come_first_across_epochs(store):
    await put_generations(store, 7, 8)
    await put_generations(store, 2, 9, epoch=2)
    assert numbers_of(await store.generation_heads(10)) == [(2, 9), (2, 2), (1, 8), (1, 7)]
    assert numbers_of(await store.generation_heads(1)) == [(2, 9)]
    head = (await store.generation_heads(1))[0]
    assert (head.created_at, head.phase) == (NOW + timedelta(seconds=9), RolloutPhase.SETTLED)


async def test_older_generations_than_one_are_found(store):
    await put_generations(store, 7, 8)
    await put_generations(store, 2, epoch=2)
    assert numbers_of(await store.generation_heads(10, Generation(epoch=2, number=2))) == [(1, 8), (1, 7)]
    assert numbers_of(await store.generation_heads(10, Generation(epoch=1, number=8))) == [(1, 7)]
    assert await store.generation_heads(10, Generation(epoch=1, number=1)) == ()


async def test_what_a_generation_carries_out_is_told_alone(store):
    await put_generations(store, 3)
    assert (await store.selection_of(Generation(epoch=1, number=3))).goodput_per_s == 3.0
    assert await store.selection_of(Generation(epoch=1, number=4)) is None


def a_window(query_id, seconds, kind=types_pb2.QueryWindow, **changes):
    window = kind(query_id=query_id, generation=1, **changes)
    window.start.FromDatetime(NOW + timedelta(seconds=seconds))
    return window


async def test_the_newest_windows_of_one_query_come_oldest_first(store):
    record = TelemetryRecord(
        device_id="box",
        sequence=1,
        received_at=NOW,
        queries=(a_window("q", 5, emitted=5), a_window("q", 1, emitted=1), a_window("other", 3)),
        operators=(a_window("q", 3, types_pb2.OperatorWindow, operator_id="read", items=2),),
    )
    await store.add_telemetry([record], 1)
    found = await store.windows_of("q", NOW, 10)
    assert [(one.device_id, one.window.start.seconds - round(NOW.timestamp())) for one in found] == [
        ("box", 1),
        ("box", 3),
        ("box", 5),
    ]
    assert found[1].window.items == 2
    assert [one.window.emitted for one in await store.windows_of("q", NOW + timedelta(seconds=4), 10)] == [5]
    assert [one.window.emitted for one in await store.windows_of("q", NOW, 1)] == [5]
    assert await store.windows_of("nobody", NOW, 10) == ()


async def test_the_accounts_of_one_query_are_newest_first(store):
    await store.put_accounts(
        [
            AccountRecord(
                generation=Generation(epoch=1, number=number),
                query_id=query_id,
                created_at=NOW,
                promise=planner_pb2.Promise(latency_ms=number),
                seen=planner_pb2.Seen(),
            )
            for number in (1, 2, 3)
            for query_id in ("q", "other")
        ]
    )
    found = await store.accounts_of("q", 2)
    assert [(one.query_id, one.promise.latency_ms) for one in found] == [("q", 3.0), ("q", 2.0)]
