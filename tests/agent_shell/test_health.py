"""What is wrong with the box is named, told when it changes, and never a reason to fall over."""

from __future__ import annotations

import resource
import sqlite3
from datetime import timedelta
from typing import TextIO

import pytest
from shell_fakes import FakeServing, directive_message
from test_outbox_faults import FakeClock, FullDisk, remount, small_disk  # noqa: F401  # a fixture

from circinus.clock import SystemClock
from circinus.errors import NotRunnable, Unreachable
from circinus.model.directive import Generation
from edge_agent.disk_guard import DiskGuard, fault_of, is_damage, scratch_folder, set_aside
from edge_agent.health import Health
from edge_agent.last_address import start_where_it_was
from edge_agent.ledger import Ledger


class Box:
    """A health with what others say, and how often it told."""

    def __init__(self, folder) -> None:
        self.clock = FakeClock()
        self.others: tuple[str, ...] = ()
        self.told = 0
        self.health = Health(
            guard=DiskGuard(folder, reserve_bytes=4_096),
            others=lambda: self.others,
            clock=self.clock,
            ran_s=self.clock.monotonic_s,
            on_change=self.tell,
        )

    def tell(self) -> None:
        self.told += 1


def test_a_healthy_box_tells_nothing(tmp_path):
    box = Box(tmp_path)
    for _ in range(3):
        box.health.look()
        box.clock.go(10)
    assert box.health.troubles() == ()
    assert box.told == 0


@pytest.mark.parametrize("by", [timedelta(days=365), timedelta(days=-365)])
def test_a_wall_clock_that_jumps_is_named_for_a_while(tmp_path, by):
    box = Box(tmp_path)
    box.health.look()
    box.clock.wall += by
    box.health.look()
    (trouble,) = box.health.troubles()
    assert f"set by {by.total_seconds():+.0f} s" in trouble
    box.clock.go(1_000)
    box.health.look()
    assert box.health.troubles() == ()
    assert box.told == 2


def test_what_others_say_is_told_when_it_changes(tmp_path):
    box = Box(tmp_path)
    box.others = ("outbox: no space", "outbox: no space", "x" * 1_000)
    box.health.look()
    box.health.look()
    assert [len(trouble) for trouble in box.health.troubles()] == [16, 400]
    assert box.told == 1


def open_all(path, held) -> None:
    while True:
        held.append(path.open("w"))


def test_files_that_run_out_are_named(tmp_path):
    box = Box(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, before[1]))
        held: list[TextIO] = []
        with pytest.raises(OSError, match="Too many open files") as caught:
            open_all(tmp_path / "file", held)
        assert fault_of(caught.value) == "too many open files in this process"
        box.health.look()
        assert any(trouble.startswith("files: ") for trouble in box.health.troubles())
        for one in held:
            one.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    box.health.look()
    assert box.health.troubles() == ()


def test_faults_of_the_disk_are_no_damage(tmp_path):
    (tmp_path / "no.db").write_bytes(b"x" * 5_000)
    with pytest.raises(sqlite3.DatabaseError) as caught, sqlite3.connect(tmp_path / "no.db") as connection:
        connection.execute("SELECT * FROM sqlite_master")
    connection.close()
    assert is_damage(caught.value)
    assert fault_of(caught.value) == ""
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "nowhere" / "x.db")
    assert not is_damage(caught.value)
    assert fault_of(caught.value) == "the file can't be opened"


def test_what_is_set_aside_keeps_its_log_and_only_the_newest_stay(tmp_path):
    for number in range(4):
        (tmp_path / "a.db").write_text(str(number))
        (tmp_path / "a.db-wal").write_text(f"log {number}")
        aside = set_aside(tmp_path / "a.db")
    assert aside.read_text() == "3"
    assert (tmp_path / f"{aside.name}-wal").read_text() == "log 3"
    assert len(list(tmp_path.iterdir())) <= 6


def test_scratch_goes_to_memory_where_the_disk_is_full(small_disk):  # noqa: F811
    assert scratch_folder(small_disk / "run") == small_disk / "run"
    FullDisk(small_disk).fill()
    instead = scratch_folder(small_disk / "run")
    assert instead != small_disk / "run"
    (instead / "x").write_bytes(bytes(10_000))
    (instead / "x").unlink()
    instead.rmdir()


async def test_a_ledger_on_a_disk_that_is_full_or_read_only_still_boots_and_takes_nothing_new(small_disk):  # noqa: F811
    path, disk = small_disk / "ledger.db", FullDisk(small_disk)
    async with Ledger(path, "camera") as ledger:
        await ledger.store(directive_message(number=1))
        await ledger.activate(Generation(epoch=1, number=1))
    remount(small_disk, "ro")
    async with Ledger(path, "camera") as ledger:
        held = await ledger.load()
        assert [one.generation.number for one in held.directives] == [1]
        assert held.active == Generation(epoch=1, number=1)
        assert "read-only" in ledger.trouble or "opened" in ledger.trouble
        with pytest.raises(NotRunnable, match="written down"):
            await ledger.store(directive_message(number=2))
        assert ledger.accepted.generation.number == 1
        remount(small_disk, "rw")
        await ledger.store(directive_message(number=3))
        assert ledger.trouble == ""
    disk.fill()
    async with Ledger(path, "camera") as ledger:
        held = await ledger.load()
        assert [one.generation.number for one in held.directives] == [1, 3]
    assert not list(small_disk.glob("*.damaged-*"))


async def test_the_reserve_has_room_for_a_directive_on_a_full_disk(small_disk):  # noqa: F811
    guard, disk = DiskGuard(small_disk, reserve_bytes=262_144), FullDisk(small_disk)
    async with Ledger(small_disk / "ledger.db", "camera", guard) as ledger:
        await ledger.store(directive_message(number=1))
        assert guard.look() == ""
        disk.fill()
        await ledger.store(directive_message(number=2))
        assert ledger.accepted.generation.number == 2


class Listening(FakeServing):
    """Serves on what it is told, unless that is taken."""

    def __init__(self, *taken: str) -> None:
        super().__init__(clock=SystemClock(), on_change=lambda: None)
        self.taken = taken

    async def start(self, listen: str) -> str:
        if listen in self.taken:
            raise Unreachable(f"{listen} is taken")
        return listen.replace(":0", ":4711")


async def test_the_data_plane_comes_back_where_it_was_unless_somebody_is_there(tmp_path):
    assert await start_where_it_was(Listening(), "127.0.0.1:0", tmp_path) == "127.0.0.1:4711"
    (tmp_path / "data-address").write_text("127.0.0.1:5000")
    assert await start_where_it_was(Listening(), "127.0.0.1:0", tmp_path) == "127.0.0.1:5000"
    assert await start_where_it_was(Listening("127.0.0.1:5000"), "127.0.0.1:0", tmp_path) == "127.0.0.1:4711"
    # A port that was chosen is what it is.
    with pytest.raises(Unreachable):
        await start_where_it_was(Listening("127.0.0.1:6000"), "127.0.0.1:6000", tmp_path)
    (tmp_path / "data-address").write_text("nonsense")
    assert await start_where_it_was(Listening(), "127.0.0.1:0", tmp_path) == "127.0.0.1:4711"
