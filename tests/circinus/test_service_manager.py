"""What the service manager hears: that a daemon is ready, that its loop turns; and nothing where there is none."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from circinus import service_manager


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
        incoming.bind(str(tmp_path / "notify"))
        incoming.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield incoming


def test_what_is_told_arrives_as_lines(manager):
    assert service_manager.tell(service_manager.READY, "STATUS=serving")
    assert manager.recv(1000) == b"READY=1\nSTATUS=serving"


def test_an_abstract_address_is_known():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
        name = f"circinus-test-{os.getpid()}"
        incoming.bind(f"\0{name}")
        incoming.settimeout(5.0)
        assert service_manager.tell(service_manager.STOPPING, environment={"NOTIFY_SOCKET": f"@{name}"})
        assert incoming.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/none/such"])
def test_where_nobody_listens_nothing_is_told_and_nothing_fails(address):
    assert not service_manager.tell(service_manager.READY, environment={"NOTIFY_SOCKET": address})


@pytest.mark.parametrize(
    ("environment", "period_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_asks_for(environment, period_s):
    assert service_manager.watchdog_period_s(environment) == period_s


class Steps:
    """A clock whose sleeps end when the test says so."""

    def __init__(self):
        self.slept = asyncio.Queue()

    async def sleep(self, seconds):
        await self.slept.put(seconds)
        await asyncio.Event().wait()


async def test_a_loop_that_turns_feeds_the_watchdog(manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    clock = Steps()
    feeding = asyncio.create_task(service_manager.feed_watchdog(clock))
    assert await clock.slept.get() == 2.0
    feeding.cancel()
    assert manager.recv(1000) == b"WATCHDOG=1"


async def test_without_a_watchdog_feeding_ends_at_once(monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await service_manager.feed_watchdog(Steps())
