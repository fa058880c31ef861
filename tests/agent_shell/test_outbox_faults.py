"""The outbox under bounds, kills, damage and disks that can't be written to."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from circinus.v1 import control_pb2, types_pb2
from edge_agent.disk_guard import DiskGuard
from edge_agent.outbox import Outbox
from edge_agent.outbox_queue import Limits

START = datetime(2026, 1, 31, tzinfo=UTC)


class FakeClock:
    """Wall and running time, moved by hand."""

    def __init__(self) -> None:
        self.ran_s = 1_000.0
        self.wall = START

    def now(self) -> datetime:
        return self.wall

    def monotonic_s(self) -> float:
        return self.ran_s

    def go(self, seconds: float) -> None:
        self.ran_s += seconds
        self.wall += timedelta(seconds=seconds)


def outbox_on(path, clock=None, **options):
    clock = clock or FakeClock()
    options = {"boot": "first", **options}
    return Outbox(path, clock=clock, ran_s=clock.monotonic_s, **options)


def window(name, *, emitted=3, start=START, duration_s=1.0):
    made = types_pb2.QueryWindow(query_id=name, generation=7, emitted=emitted, duration_s=duration_s)
    made.start.FromDatetime(start)
    return made


def report(name, size=0):
    part = control_pb2.ProfileReport(id=name, done=True, error="x" * size)
    return control_pb2.ConnectRequest(profile_report=part)


def names(messages):
    return [one.query_id for message in messages for one in message.queries]


async def told_gaps(outbox):
    await outbox.tell_gaps()
    return [gap for message in await outbox.peek(0, 10_000) for gap in message.gaps]


async def test_what_is_let_go_over_the_number_is_a_named_gap_with_its_counts(tmp_path):
    async with outbox_on(tmp_path / "o.db", limits=Limits(telemetry=2)) as outbox:
        for step in range(5):
            await outbox.put([window("q", start=START + timedelta(seconds=step))], [])
        (gap,) = await told_gaps(outbox)
    assert (gap.query_id, gap.generation, gap.cause) == ("q", 7, "number")
    assert (gap.messages, gap.emitted) == (3, 9)
    assert gap.start.ToDatetime(tzinfo=UTC) == START
    assert gap.end.ToDatetime(tzinfo=UTC) == START + timedelta(seconds=3)


async def test_bytes_are_bounded_too(tmp_path):
    async with outbox_on(tmp_path / "o.db", limits=Limits(telemetry_bytes=2_000)) as outbox:
        for step in range(50):
            await outbox.put([window(f"q{step}" + "x" * 90)], [])
        kept = await outbox.peek(0, 1_000)
        assert sum(message.ByteSize() for message in kept) < 3_000
        assert names(kept)[-1].startswith("q49")
        assert {gap.cause for gap in await told_gaps(outbox)} == {"bytes"}


async def test_telemetry_ages_by_the_time_that_the_device_ran_not_by_the_wall_clock(tmp_path):
    clock = FakeClock()
    async with outbox_on(tmp_path / "o.db", clock, limits=Limits(age_s=3_600.0)) as outbox:
        await outbox.put([window("early")], [])
        clock.wall += timedelta(days=365)
        clock.go(100)
        await outbox.put([window("later")], [])
        assert names(await outbox.peek(0)) == ["early", "later"]
        clock.wall -= timedelta(days=730)
        clock.go(3_550)
        await outbox.put([window("now")], [])
        assert names(await outbox.peek(0)) == ["later", "now"]
        assert [gap.cause for gap in await told_gaps(outbox)] == ["age"]


async def test_messages_say_how_old_they_are_until_the_device_restarts(tmp_path):
    clock = FakeClock()
    async with outbox_on(tmp_path / "o.db", clock) as outbox:
        await outbox.put([window("q")], [])
        clock.go(5)
    async with outbox_on(tmp_path / "o.db", clock) as outbox:
        (message,) = await outbox.peek(0)
        assert message.age_s == pytest.approx(5.0)
        assert message.made_at.ToDatetime(tzinfo=UTC) == START
    clock.ran_s = 3.0
    async with outbox_on(tmp_path / "o.db", clock, boot="second") as outbox:
        (message,) = await outbox.peek(0)
        assert not message.HasField("age_s")
        # Its age goes on from what it was known to be.
        clock.go(40 * 86_400.0)
        await outbox.put([window("new")], [])
        assert names(await outbox.peek(0)) == ["new"]


async def test_results_and_episodes_are_never_let_go_for_telemetry(tmp_path):
    episode = control_pb2.StandByEpisode(query_id="q", generation=1)
    async with outbox_on(tmp_path / "o.db", limits=Limits(telemetry=3)) as outbox:
        assert await outbox.promise(report("first"))
        await outbox.put([], [], [episode])
        for step in range(20):
            await outbox.put([window(f"q{step}")], [])
    async with outbox_on(tmp_path / "o.db", limits=Limits(telemetry=3)) as outbox:
        assert [message.profile_report.id for message in await outbox.promised(0)] == ["first"]
        assert [len(message.stand_bys) for message in await outbox.peek(0)] == [1, 0, 0, 0]


async def test_over_its_bound_the_newest_result_is_refused_and_small_messages_still_fit(tmp_path):
    async with outbox_on(tmp_path / "o.db", limits=Limits(promised_bytes=20_000)) as outbox:
        assert await outbox.promise(report("first", 12_000))
        assert not await outbox.promise(report("second", 12_000))
        assert await outbox.promise(report("small"))
        assert [message.profile_report.id for message in await outbox.promised(0)] == ["first", "small"]
        assert any("refused" in trouble for trouble in outbox.troubles)
        (first, _) = await outbox.promised(0)
        await outbox.forget([first.outbox_sequence])
        assert await outbox.promise(report("third", 12_000))


async def test_numbers_never_come_again_even_if_the_file_is_lost(tmp_path):
    path = tmp_path / "o.db"
    async with outbox_on(path) as outbox:
        await outbox.put([window("q")], [])
        (before,) = await outbox.peek(0)
    path.unlink()
    async with outbox_on(path) as outbox:
        await outbox.put([window("q")], [])
        (after,) = await outbox.peek(0)
    assert abs(after.sequence - before.sequence) > 10_000


async def test_a_file_that_is_no_database_is_set_aside_and_named(tmp_path):
    (tmp_path / "o.db").write_bytes(b"x" * 9_000)
    async with outbox_on(tmp_path / "o.db") as outbox:
        await outbox.put([window("q")], [])
        assert names(await outbox.peek(0)) == ["q"]
        assert any("set aside as o.db.damaged-1" in trouble for trouble in outbox.troubles)
        assert [gap.cause for gap in await told_gaps(outbox)] == ["damaged"]
    assert (tmp_path / "o.db.damaged-1").read_bytes() == b"x" * 9_000


@pytest.mark.slow
async def test_damaged_files_do_not_pile_up(tmp_path):
    for _ in range(5):
        (tmp_path / "o.db").write_bytes(b"x" * 9_000)
        async with outbox_on(tmp_path / "o.db"):
            pass
        (tmp_path / "o.db").unlink()
    assert len(list(tmp_path.glob("o.db.damaged-*"))) <= 3


async def test_a_flipped_bit_in_a_row_is_seen_and_the_row_is_a_gap(tmp_path):
    async with outbox_on(tmp_path / "o.db") as outbox:
        await outbox.put([window("right")], [])
        await outbox.put([window("wrong")], [])
    with sqlite3.connect(tmp_path / "o.db") as connection:
        connection.execute(
            "UPDATE waiting SET body = CAST(replace(body, 'wrong', 'wrung') AS BLOB) WHERE instr(body, 'wrong')"
        )
    connection.close()
    async with outbox_on(tmp_path / "o.db") as outbox:
        assert names(await outbox.peek(0)) == ["right"]
        (gap,) = await told_gaps(outbox)
        assert (gap.cause, gap.messages) == ("damaged", 1)


_CRASHING = """
import asyncio, os, sys
from circinus.v1 import control_pb2, types_pb2
from edge_agent.outbox import Outbox

async def main():
    async with Outbox(__import__("pathlib").Path(sys.argv[1])) as outbox:
        for number in range(1_000_000):
            await outbox.put([types_pb2.QueryWindow(query_id=f"q{number}", duration_s=1.0)], [])
            part = control_pb2.ProfileReport(id=f"r{number}", done=True)
            await outbox.promise(control_pb2.ConnectRequest(profile_report=part))
            print(number, flush=True)

asyncio.run(main())
"""


def put_until_killed(path, times) -> list[int]:
    """What a process said that it had put, before it was killed."""
    with subprocess.Popen([sys.executable, "-c", _CRASHING, str(path)], stdout=subprocess.PIPE) as child:
        said = [int(child.stdout.readline()) for _ in range(times)]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    return said


@pytest.mark.slow
@pytest.mark.system
async def test_what_was_put_survives_kill_9_and_the_cut_is_a_named_gap(tmp_path):
    path = tmp_path / "o.db"
    said = put_until_killed(path, 50)
    async with Outbox(path) as outbox:
        found = names(await outbox.peek(0, 10_000))
        results = [message.profile_report.id for message in await outbox.promised(0, 10_000)]
        assert found[: len(said)] == [f"q{number}" for number in said]
        assert results[: len(said)] == [f"r{number}" for number in said]
        assert [gap.cause for gap in await told_gaps(outbox)] == ["restart"]


async def test_a_kill_while_nothing_was_counted_is_no_gap(tmp_path):
    path = tmp_path / "o.db"
    outbox = outbox_on(path)
    await outbox.__aenter__()
    await outbox.put([window("q")], [])
    await outbox.rest()
    # As after a kill: nobody closed it.
    async with outbox_on(path) as again:
        assert await told_gaps(again) == []
    await outbox.__aexit__(None, None, None)


@pytest.mark.slow
async def test_the_file_gives_its_pages_back(tmp_path):
    path = tmp_path / "o.db"
    async with outbox_on(path) as outbox:
        for step in range(400):
            await outbox.put([window(f"q{step}" + "x" * 10_000)], [])
        large = path.stat().st_size + (tmp_path / "o.db-wal").stat().st_size
        while batch := await outbox.peek(0):
            await outbox.forget([message.sequence for message in batch])
    assert path.stat().st_size < large / 2


async def test_telemetry_of_an_agent_from_before_is_taken_over(tmp_path):
    path = tmp_path / "o.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE telemetry (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL)")
        body = control_pb2.Telemetry(queries=[window("old")]).SerializeToString()
        connection.execute("INSERT INTO telemetry VALUES (41, ?)", (body,))
    connection.close()
    async with outbox_on(path) as outbox:
        await outbox.put([window("new")], [])
        old, new = await outbox.peek(0)
        assert (names([old, new]), old.sequence) == (["old", "new"], 41)
        assert new.sequence > 41


class FullDisk:
    """Fills what is left of a file system."""

    def __init__(self, folder) -> None:
        self._path = folder / "filler"

    def fill(self) -> None:
        with self._path.open("ab", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        self._path.unlink()


def remount(folder, how) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
async def test_a_full_disk_is_named_and_what_waits_goes_back_when_there_is_space(small_disk):
    clock, disk = FakeClock(), FullDisk(small_disk)
    async with outbox_on(small_disk / "o.db", clock) as outbox:
        await outbox.put([window("before")], [])
        disk.fill()
        for step in range(300):
            await outbox.put([window(f"full{step}" + "x" * 1_000)], [])
        assert await outbox.promise(report("promised", 5_000))
        assert any("no space left" in trouble for trouble in outbox.troubles)
        assert names(await outbox.peek(0, 1_000))[0] == "before"
        assert len(names(await outbox.peek(0, 1_000))) == 301
        # What is acknowledged meanwhile does not come again.
        (first, *_) = await outbox.peek(0)
        await outbox.forget([first.sequence])
        assert names(await outbox.peek(0))[0].startswith("full0")
        disk.free()
        clock.go(10)
        await outbox.put([window("after")], [])
        assert outbox.troubles == ()
    async with outbox_on(small_disk / "o.db", clock) as outbox:
        found = names(await outbox.peek(0, 1_000))
        assert (len(found), found[-1]) == (301, "after")
        assert [message.profile_report.id for message in await outbox.promised(0)] == ["promised"]
        assert await told_gaps(outbox) == []


async def test_memory_is_bounded_while_the_disk_is_full(small_disk):
    clock, disk = FakeClock(), FullDisk(small_disk)
    async with outbox_on(small_disk / "o.db", clock, limits=Limits(memory=20)) as outbox:
        disk.fill()
        assert await outbox.promise(report("promised", 5_000))
        for step in range(200):
            await outbox.put([window(f"q{step}" + "x" * 500)], [])
        assert [message.profile_report.id for message in await outbox.promised(0)] == ["promised"]
        assert names(await outbox.peek(0, 1_000))[-1].startswith("q199")
        disk.free()
        clock.go(10)
        gaps = await told_gaps(outbox)
        assert {gap.cause for gap in gaps} == {"memory"}
        kept = len(names(await outbox.peek(0, 1_000)))
        assert kept + sum(gap.messages for gap in gaps) == 200


async def test_a_read_only_file_system_is_named_and_survived(small_disk):
    clock = FakeClock()
    async with outbox_on(small_disk / "o.db", clock) as outbox:
        await outbox.put([window("before")], [])
    remount(small_disk, "ro")
    async with outbox_on(small_disk / "o.db", clock) as outbox:
        await outbox.put([window("during")], [])
        assert outbox.troubles != ()
        assert "during" in names(await outbox.peek(0))
        remount(small_disk, "rw")
        clock.go(10)
        await outbox.put([window("after")], [])
        assert outbox.troubles == ()
        # Also what was in the file before, though its numbers are lower.
        assert set(names(await outbox.peek(0))) == {"before", "during", "after"}


async def test_the_guard_names_what_is_wrong_and_keeps_a_reserve(small_disk):
    guard, disk = DiskGuard(small_disk, reserve_bytes=65_536), FullDisk(small_disk)
    assert guard.look() == ""
    assert (small_disk / "reserve").stat().st_size == 65_536
    disk.fill()
    assert "no space left" in guard.look()
    assert guard.low()
    assert guard.release()
    (small_disk / "written").write_bytes(bytes(40_000))
    assert not guard.release()
    disk.free()
    assert guard.look() == ""
    assert (small_disk / "reserve").exists()
    remount(small_disk, "ro")
    assert "read-only" in guard.look()
