"""The shell that ends what an agent can't end any more."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edge_agent.isolation.undertaker import Undertaker

pytestmark = pytest.mark.slow
_WAIT_S = 30.0


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that lead their groups."""
    started = [subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) for _ in range(3)]
    yield started
    for one in started:
        one.kill()
        one.wait()


def test_process_groups_that_are_left_are_ended_and_those_that_ended_are_forgotten(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    undertaker = Undertaker(())
    for one in sleepers:
        undertaker.expect(one.pid)
    undertaker.forget(sleepers[1].pid)
    # As when the agent is gone: its end of the pipe closes.
    undertaker.close()
    assert [sleepers[place].wait(_WAIT_S) for place in (0, 2)] == [-signal.SIGKILL, -signal.SIGKILL]
    assert sleepers[1].poll() is None


def test_what_is_left_in_the_agents_groups_is_ended(sleepers: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    ours, others = tmp_path / "circinus-77-1", tmp_path / "circinus-770-1"
    for place, child in ((ours, sleepers[0]), (others, sleepers[1])):
        place.mkdir()
        (place / "cgroup.procs").write_text(f"{child.pid}\n")
    undertaker = Undertaker((str(tmp_path / "circinus-77-"),))
    undertaker.expect(sleepers[2].pid)
    undertaker.close()
    assert [sleepers[place].wait(_WAIT_S) for place in (0, 2)] == [-signal.SIGKILL, -signal.SIGKILL]
    assert sleepers[1].poll() is None


def test_it_is_there_only_while_something_is_expected(sleepers: list[subprocess.Popen[bytes]]) -> None:
    before = {child.pid for child in psutil.Process().children()}
    undertaker = Undertaker(())
    for one in sleepers[:2]:
        undertaker.expect(one.pid)
        undertaker.forget(one.pid)
    assert {child.pid for child in psutil.Process().children()} <= before
    assert all(one.poll() is None for one in sleepers)
