"""The ledger: accounts in the store, and what a running planner books in them."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus.errors import InvalidInput
from circinus.model.directive import Generation
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.accounts import Accounts
from cloud_planner.store import AccountRecord, SqliteStore, TelemetryRecord
from cloud_planner.telemetry import TelemetryWriter

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class _Clock:
    def now(self):
        return NOW

    def monotonic_s(self):
        return 0.0

    async def sleep(self, seconds):
        raise AssertionError


def record(number=1, query_id="q1", **changes):
    promise = planner_pb2.Promise(pipeline_id="words", rate_per_s=5.0, latency_ms=20.0, spread_ratio=0.1, freedom=6.0)
    promise.plan.latency_ms.value = 20.0
    promise.operators.add(operator_id="read", device_id="camera", service_ms=types_pb2.Interval(value=10.0))
    values = {
        "generation": Generation(epoch=1, number=number),
        "query_id": query_id,
        "created_at": NOW,
        "promise": promise,
        "seen": planner_pb2.Seen(),
    }
    return AccountRecord(**(values | changes))


def telemetry(sequence, at_s, *, emitted=10, service_ms=15.0, number=1):
    start = NOW + timedelta(seconds=at_s)
    window = types_pb2.QueryWindow(query_id="q1", generation=number, duration_s=2.0, emitted=emitted, answered=emitted)
    window.latency_ms.CopyFrom(Sketch([20.0] * emitted).message())
    window.start.FromDatetime(start)
    operator = types_pb2.OperatorWindow(
        query_id="q1", operator_id="read", generation=number, duration_s=2.0, items=emitted
    )
    operator.service_ms.CopyFrom(Sketch([service_ms] * emitted).message())
    operator.start.FromDatetime(start)
    return TelemetryRecord(
        device_id="camera", sequence=sequence, received_at=start, queries=(window,), operators=(operator,)
    )


@pytest.fixture
async def store():
    opened = await SqliteStore.open(None)
    yield opened
    await opened.close()


async def test_a_store_of_before_there_was_a_ledger_keeps_its_windows_and_takes_accounts(tmp_path):
    path = tmp_path / "planner.sqlite3"
    folder = resources.files("cloud_planner.store").joinpath("migrations")
    window = types_pb2.QueryWindow(query_id="q1", generation=1, emitted=3)
    with sqlite3.connect(path) as connection:
        for name in ("0001_first.sql", "0002_searches.sql"):
            connection.executescript(folder.joinpath(name).read_text())
        connection.execute(
            "INSERT INTO windows (kind, epoch, generation, query_id, start_at_s, device_id, message) "
            "VALUES ('query', 1, 1, 'q1', 5.0, 'camera', ?)",
            (window.SerializeToString(),),
        )
        connection.execute("PRAGMA user_version=2")
    connection.close()
    store = await SqliteStore.open(path)
    await store.put_accounts([record()])
    (found,) = await store.unseen_windows(record(), 10)
    assert (found.device_id, found.window) == ("camera", window)
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.accounts(10) == (record(),)
    await store.close()


async def test_an_account_stands_and_what_was_seen_is_kept(store):
    await store.put_accounts([record(1), record(2)])
    await store.put_accounts([record(1, created_at=NOW + timedelta(days=1))])
    seen = replace(record(2), seen=planner_pb2.Seen(answered=7), window_id=9)
    await store.put_seen([seen])
    assert await store.accounts(10) == (seen, record(1))
    assert await store.accounts(1) == (seen,)


async def test_old_accounts_and_too_many_are_forgotten(store):
    await store.put_accounts([record(1, created_at=NOW - timedelta(days=9)), record(2), record(3), record(4)])
    await store.prune_accounts(NOW - timedelta(days=1), 2)
    assert [one.generation.number for one in await store.accounts(10)] == [4, 3]


async def test_each_window_counts_once_however_often_it_is_looked_at(store):
    await store.put_accounts([record()])
    accounts = Accounts(store, _Clock())
    await accounts.load()
    await store.add_telemetry([telemetry(number, 2.0 * number) for number in range(5)], 1)
    await accounts.refresh()
    await accounts.refresh()
    await store.add_telemetry([telemetry(number, 2.0 * number) for number in range(9)], 1)
    # A planner that starts anew goes on where the other one stopped.
    accounts = Accounts(store, _Clock())
    await accounts.load()
    ((found,), calibration) = await accounts.list(10)
    assert (found.seen.answered, found.seen.windows, found.seen.windows_left_out) == (70, 7, 2)
    assert calibration.accounts == 1
    (correction,) = calibration.corrections
    assert 1.0 < correction.ratio < 1.5


async def test_a_correction_is_handed_on_only_when_it_is_more_than_noise(store):
    await store.put_accounts([record(1), record(2)])
    accounts = Accounts(store, _Clock())
    await accounts.load()
    await store.add_telemetry([telemetry(number, 2.0 * number) for number in range(30)], 1)
    await accounts.refresh()
    assert dict(accounts.service_ratio) == {}  # of one account alone
    await store.add_telemetry([telemetry(number, 2.0 * number, number=2) for number in range(30, 60)], 1)
    await accounts.refresh()
    given = accounts.service_ratio
    assert given["words", "read", "camera"] == pytest.approx(1.29, abs=0.05)
    more = [telemetry(number, 2.0 * number, service_ms=15.2, number=2) for number in range(60, 70)]
    await store.add_telemetry(more, 1)
    await accounts.refresh()
    assert accounts.service_ratio is given


async def test_a_running_planner_books_promises_and_holds_them_against_what_is_seen(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query(latency_ms=100.0, rate_per_s=5.0))
        await people.settled()
        await agent.until("retire")
        (newest,) = (await people.stub.GetAccounts(planner_pb2.GetAccountsRequest(limit=1))).accounts
        assert (newest.query_id, newest.promise.pipeline_id, newest.promise.rate_per_s) == ("q1", "words", 5.0)
        assert newest.open
        assert [one.operator_id for one in newest.promise.operators] == ["cut", "read"]
        for number in range(8):
            sent = telemetry(number + 1, 2.0 * number)
            for window in (*sent.queries, *sent.operators):
                window.generation = newest.generation
            await agent.send(
                telemetry=control_pb2.Telemetry(sequence=number + 1, queries=sent.queries, operators=sent.operators)
            )
        async with asyncio.timeout(10):
            while True:
                answer = await people.stub.GetAccounts(planner_pb2.GetAccountsRequest(query_id="q1"))
                found = next(one for one in answer.accounts if one.generation == newest.generation)
                if found.seen.answered == 60:
                    break
                await people.status()
        provisional = found.promise.plan.certainty == types_pb2.CERTAINTY_PROVISIONAL
        assert found.open == provisional
        if not found.open:
            assert found.latency_seen_ms == pytest.approx(20.0, rel=0.01)
            assert found.throughput_seen_per_s == pytest.approx(5.0)


@pytest.mark.parametrize(
    "window",
    [
        {"latency_ms": types_pb2.Sketch(indices=[3, 1], counts=[1, 1], sum=2.0)},
        {"latency_ms": types_pb2.Sketch(indices=[1], counts=[2**63], sum=1.0)},
        {"emitted": 2**63},
        {"bytes_sent": 2**64 - 1},
        {"shadow_score_sum": 3.0, "shadow_scored": 1},
        {"dropped_by_cause": {"deadline": 2**63}},
        {"dropped_by_place": {"../etc": 1}},
    ],
)
async def test_telemetry_that_can_not_be_is_refused(store, window):
    writer = TelemetryWriter(store, _Clock(), 1)
    hostile = types_pb2.QueryWindow(query_id="q1", **window)
    with pytest.raises(InvalidInput):
        writer.put("camera", control_pb2.Telemetry(sequence=1, queries=[hostile]))
