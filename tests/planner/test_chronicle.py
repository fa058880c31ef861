"""What happened, in a ring with cursors: kept over restarts, bounded, listed and followed."""

import asyncio
from datetime import UTC, datetime

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus.client import Client
from circinus.clock import SystemClock
from circinus.errors import InvalidInput
from circinus.events import event, warning
from circinus.v1 import planner_pb2
from cloud_planner.chronicle import Chronicle
from cloud_planner.store import EventKind, EventRecord, SqliteStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(name, kind=EventKind.DEVICE):
    return EventRecord(at=NOW, kind=kind, name=name, warning=False, fields={"device": "g1"})


async def listed(client, **how):
    return [one async for one in client.events(**how)]


async def test_the_ring_keeps_the_newest_and_its_cursors_only_rise(tmp_path):
    store = await SqliteStore.open(tmp_path / "planner.sqlite3")
    await store.add_events([record(f"e{number}") for number in range(5)], keep=3)
    assert [one.cursor for one in await store.events(0, 10)] == [3, 4, 5]
    assert [one.name for one in await store.events(0, 2, newest=True)] == ["e3", "e4"]
    assert [one.name for one in await store.events(3, 1)] == ["e3"]
    assert await store.first_event() == 3
    await store.add_events([record("plan", EventKind.PLAN)], keep=0)
    await store.close()
    store = await SqliteStore.open(tmp_path / "planner.sqlite3")
    assert await store.first_event() == 0
    await store.add_events([record("e6")])
    (found,) = await store.events(0, 10)
    assert found == EventRecord(
        cursor=7, at=NOW, kind=EventKind.DEVICE, name="e6", warning=False, fields={"device": "g1"}
    )
    await store.close()


async def test_events_of_the_log_that_people_act_on_are_kept_and_others_are_not(tmp_path):
    store = await SqliteStore.open(None)
    chronicle = Chronicle(store, SystemClock())
    running = asyncio.create_task(chronicle.run())
    await asyncio.sleep(0)
    event("agent_connected", device="g1", generation=3)
    event("search_step", query="q1")
    warning("directive_refused", device="g1", reason="a\nforged line")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # Nobody listens any more.
    event("agent_left", device="g1")
    await chronicle.flush()
    found = await chronicle.list(0, 10)
    assert [(one.name, one.kind, one.warning, dict(one.fields)) for one in found] == [
        ("agent_connected", EventKind.DEVICE, False, {"device": "g1", "generation": "3"}),
        ("directive_refused", EventKind.REFUSAL, True, {"device": "g1", "reason": "a forged line"}),
    ]
    await store.close()


@pytest.mark.slow
async def test_what_happens_at_a_planner_is_listed_followed_and_kept_over_a_restart(tmp_path):
    where = settings(tmp_path)
    async with serving(where, FirstFit()) as (people, _), Client(people.address) as client:
        following = client.events(follow=True)
        async with FakeAgent(people.address, device("camera")):
            first = await anext(following)
            assert (first.name, first.kind, first.fields["device"]) == ("agent_connected", "device", "camera")
            await people.add_pipeline()
            await people.submit(query())
            await people.settled()
            await client.cordon("camera", "a new fan")
            async with asyncio.timeout(10):
                while (one := await anext(following)).name != "device_kept":
                    pass
            assert one.fields == {"device": "camera", "keeping": "cordoned", "why": "a new fan"}
        await following.aclose()
        found = await listed(client)
        names = [one.name for one in found]
        assert names.index("query_submitted") < names.index("generation_created") < names.index("device_kept")
        assert [one.cursor for one in found] == sorted(one.cursor for one in found)
        assert {one.kind for one in await listed(client, kinds=["plan"])} == {"plan"}
        assert len(await listed(client, limit=2)) == 2
        later = await listed(client, after=found[1].cursor)
        assert later[0].cursor == found[2].cursor
        with pytest.raises(InvalidInput, match="no kind of event"):
            await listed(client, kinds=["news"])
    async with serving(where, FirstFit()) as (people, parts), Client(people.address) as client:
        again = await listed(client)
        assert [one.cursor for one in again][: len(found)] == [one.cursor for one in found]
        await parts.store.add_events([record("device_left")], keep=1)
        (last,) = await listed(client, after=found[0].cursor)
        assert last.missed
        # A cursor whose next is still there has missed nothing.
        assert [one async for one in people.stub.WatchEvents(planner_pb2.WatchEventsRequest(after=last.cursor))] == []
