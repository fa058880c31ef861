"""What devices tell of their stand-bys is kept, once each."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from circinus.clock import SystemClock
from circinus.errors import InvalidInput
from circinus.v1 import control_pb2
from cloud_planner.store import SqliteStore
from cloud_planner.telemetry import TelemetryWriter


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "planner.sqlite3")
    yield opened
    await opened.close()


def episode(start_s: int, end_s: int | None = None, **changes: object) -> control_pb2.StandByEpisode:
    values: dict[str, object] = {"query_id": "q", "generation": 1, "reason": "cloud out of reach"}
    made = control_pb2.StandByEpisode(**(values | changes))  # type: ignore[arg-type]
    made.start.FromSeconds(start_s)
    if end_s is not None:
        made.end.FromSeconds(end_s)
    return made


async def test_an_episode_told_again_is_one_and_its_end_stands(store: SqliteStore) -> None:
    for told in (episode(100), episode(100, 160), episode(100)):
        await store.put_episodes("box", [told])
    assert await store.episodes("q", 5) == (episode(100, 160),)


async def test_of_a_device_that_was_killed_an_episode_ends_with_the_next(store: SqliteStore) -> None:
    await store.put_episodes("box", [episode(200)])
    await store.put_episodes("box", [episode(300)])
    await store.put_episodes("other", [episode(400)])
    assert await store.episodes("q", 5) == (episode(400), episode(300), episode(200, 300))
    assert await store.episodes("q", 1) == (episode(400),)


async def test_old_episodes_are_forgotten(store: SqliteStore) -> None:
    await store.put_episodes("box", [episode(100, 160), episode(200, 300)])
    await store.prune_episodes(datetime.fromtimestamp(250, UTC))
    assert await store.episodes("q", 5) == (episode(200, 300),)


async def test_telemetry_brings_episodes_however_often_it_is_sent(store: SqliteStore) -> None:
    writer = TelemetryWriter(store, SystemClock(), 1)
    for _ in range(2):
        writer.put("box", control_pb2.Telemetry(sequence=1, stand_bys=[episode(100), episode(100, 160)]))
        await writer.flush()
    assert await store.episodes("q", 5) == (episode(100, 160),)


async def test_a_bad_episode_is_refused(store: SqliteStore) -> None:
    writer = TelemetryWriter(store, SystemClock(), 1)
    with pytest.raises(InvalidInput):
        writer.put("box", control_pb2.Telemetry(sequence=1, stand_bys=[episode(100, query_id="")]))
    with pytest.raises(InvalidInput):
        writer.put("box", control_pb2.Telemetry(sequence=1, stand_bys=[episode(-5)]))
