"""Telemetry is acknowledged when it is stored, stamped by the planner's clock, and its gaps are kept."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from circinus.errors import InvalidInput
from circinus.v1 import control_pb2
from cloud_planner.ageing import Ageing
from cloud_planner.core.stamps import offset_s, shift
from cloud_planner.store import SqliteStore
from cloud_planner.telemetry import TelemetryWriter

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    """A wall that stands still."""

    def __init__(self):
        self.moment = NOW

    def now(self):
        return self.moment

    def monotonic_s(self):
        return 0.0

    async def sleep(self, seconds):
        raise NotImplementedError


@pytest.fixture
async def store():
    made = await SqliteStore.open(None)
    yield made
    await made.close()


def telemetry(sequence, *, made_at=NOW, age_s=None, duration_s=1.0, gaps=()):
    message = control_pb2.Telemetry(sequence=sequence, age_s=age_s, gaps=gaps)
    message.made_at.FromDatetime(made_at)
    window = message.queries.add(query_id="q", generation=1, emitted=3, duration_s=duration_s)
    window.start.FromDatetime(made_at - timedelta(seconds=duration_s))
    return message


async def starts(store):
    windows = await store.windows(datetime.fromtimestamp(0, UTC))
    return [window.start.ToDatetime(tzinfo=UTC) for window in windows.queries]


async def test_a_message_is_acknowledged_once_it_is_stored_and_again_when_it_comes_again(store):
    writer, told = TelemetryWriter(store, Clock(), 1), []
    writer.put("box", telemetry(7), told.append)
    writer.put("box", telemetry(8), told.append)
    assert told == []
    await writer.flush()
    assert told == [[7, 8]]
    writer.put("box", telemetry(7), told.append)
    await writer.flush()
    assert told == [[7, 8], [7]]
    assert len(await starts(store)) == 2


class FullStore:
    """A store whose disk is full until it is not."""

    def __init__(self, store):
        self._store = store
        self.full = True

    async def add_telemetry(self, batch, epoch):
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return await self._store.add_telemetry(batch, epoch)


async def test_a_full_disk_of_the_planner_acknowledges_nothing_and_heals(store):
    full, told = FullStore(store), []
    writer = TelemetryWriter(full, Clock(), 1)
    writer.put("box", telemetry(7), told.append)
    await writer.flush()
    assert told == []
    full.full = False
    writer.put("box", telemetry(8), told.append)
    await writer.flush()
    assert told == [[7, 8]]
    assert len(await starts(store)) == 2


async def test_stamps_of_a_clock_that_is_off_by_a_year_are_put_right(store):
    writer = TelemetryWriter(store, Clock(), 1)
    for sequence, off in enumerate((timedelta(days=-365), timedelta(0), timedelta(days=365))):
        writer.put("box", telemetry(sequence, made_at=NOW + off - timedelta(seconds=60), age_s=60.0))
    await writer.flush()
    assert await starts(store) == [NOW - timedelta(seconds=61)] * 3


async def test_stamps_from_before_a_restart_are_believed_if_they_can_be_and_else_are_those_of_their_coming(store):
    writer = TelemetryWriter(store, Clock(), 1)
    cases = (NOW - timedelta(days=3), datetime(1970, 1, 2, tzinfo=UTC), NOW + timedelta(days=300))
    for sequence, made_at in enumerate(cases):
        writer.put("box", telemetry(sequence, made_at=made_at))
    await writer.flush()
    second = timedelta(seconds=1)
    assert await starts(store) == [NOW - timedelta(days=3) - second, NOW - second, NOW - second]


def test_small_differences_and_slow_links_are_let_be_and_one_clock_has_one_offset():
    message = telemetry(1, made_at=NOW - timedelta(seconds=10), age_s=1.0)
    assert offset_s(message, NOW.timestamp(), 0.0) == 0.0
    first = telemetry(1, made_at=NOW - timedelta(days=365), age_s=0.0)
    year_s = offset_s(first, NOW.timestamp(), 0.0)
    assert year_s == 365 * 86_400.0
    # Ten seconds late: the same clock, so the same offset.
    assert offset_s(first, NOW.timestamp() + 10.0, year_s) == year_s


def test_episodes_and_gaps_move_with_their_message():
    message = control_pb2.Telemetry(
        stand_bys=[control_pb2.StandByEpisode(query_id="q")], gaps=[control_pb2.TelemetryGap(cause="age")]
    )
    for stamp in (message.stand_bys[0].start, message.gaps[0].start, message.gaps[0].end):
        stamp.FromSeconds(100)
    shift(message, 50.5)
    assert message.stand_bys[0].start.ToNanoseconds() == message.gaps[0].end.ToNanoseconds() == 150_500_000_000
    assert not message.stand_bys[0].HasField("end")
    shift(message, -1e6)
    assert message.gaps[0].start.seconds == 0


def gap(query_id, start_s, end_s, cause="number"):
    made = control_pb2.TelemetryGap(query_id=query_id, generation=1, cause=cause, messages=2)
    made.start.FromSeconds(start_s)
    made.end.FromSeconds(end_s)
    return made


async def test_gaps_are_kept_once_by_query_and_those_of_a_device_for_its_queries(store):
    writer = TelemetryWriter(store, Clock(), 1)
    at_s = int(NOW.timestamp())
    gaps = [gap("q", at_s - 50, at_s - 40), gap("other", at_s, at_s), gap("", at_s - 9, at_s - 8, "restart")]
    for _ in range(2):
        writer.put("box", telemetry(3, gaps=gaps))
        await writer.flush()
    since = NOW - timedelta(seconds=45)
    assert [one.cause for one in await store.gaps("q", ("box",), since, 10)] == ["restart", "number"]
    assert [one.cause for one in await store.gaps("q", ("elsewhere",), since, 10)] == ["number"]
    assert await store.gaps("q", ("elsewhere",), NOW, 10) == ()
    await store.prune_gaps(NOW - timedelta(seconds=20), keep=1_000)
    assert [one.cause for one in await store.gaps("q", ("box",), NOW - timedelta(days=1), 10)] == ["restart"]
    await store.prune_gaps(NOW - timedelta(days=30), keep=1)
    assert len(await store.gaps("other", ("box",), NOW - timedelta(days=1), 10)) == 1


async def test_gaps_of_nonsense_are_refused(store):
    writer = TelemetryWriter(store, Clock(), 1)
    for bad in (gap("../q", 1, 2), gap("q", 1, 2, ""), gap("q", 1, 2)):
        if bad.cause and not bad.query_id.startswith(".."):
            bad.generation = 2**63
        with pytest.raises(InvalidInput):
            writer.put("box", control_pb2.Telemetry(sequence=1, gaps=[bad]))
    with pytest.raises(InvalidInput):
        writer.put("box", control_pb2.Telemetry(sequence=1, age_s=float("nan")))


async def test_the_newest_windows_stay_however_many_there_are(store):
    writer = TelemetryWriter(store, Clock(), 1)
    for sequence in range(10):
        writer.put("box", telemetry(sequence, made_at=NOW - timedelta(seconds=10 - sequence)))
    await writer.flush()
    await store.prune_telemetry(NOW - timedelta(days=1), 4)
    assert await starts(store) == [NOW - timedelta(seconds=11 - sequence) for sequence in range(6, 10)]


def test_after_a_jump_of_the_planners_clock_nothing_is_forgotten_for_a_day():
    clock = Clock()
    clock.ran_s = 0.0
    clock.monotonic_s = lambda: clock.ran_s
    ageing = Ageing(clock)
    assert ageing.believed()
    clock.moment += timedelta(days=365)
    assert not ageing.believed()
    clock.moment -= timedelta(days=365)
    assert not ageing.believed()
    clock.ran_s += 90_000.0
    clock.moment += timedelta(seconds=90_000)
    assert ageing.believed()
