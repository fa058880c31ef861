from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from identity_fakes import DAY, Enrolment, Root, enrolling

from circinus.errors import IdentityOver, Revoked
from edge_agent.identity.credentials import Credentials
from edge_agent.identity.files import read_identity, write_identity
from edge_agent.identity.keys import Ends, ends_of
from edge_agent.identity.renewal import Renewal, due_at


class Passing:
    """A clock on which whoever sleeps lets the time pass; after ``until`` it stands, for ever."""

    def __init__(self, until: timedelta = 400 * DAY, off: timedelta = timedelta()) -> None:
        self.started = datetime.now(UTC) + off
        self.passed = timedelta()
        self.until = until
        self.waits: list[float] = []
        self.stood = asyncio.Event()

    def now(self) -> datetime:
        return self.started + self.passed

    def monotonic_s(self) -> float:
        return self.passed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed += timedelta(seconds=seconds)
        if self.passed >= self.until:
            self.stood.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


def an_end(begins: datetime, life: timedelta) -> Ends:
    return Ends(name="box-1", begins_at=begins, ends_at=begins + life, der=b"")


def test_renewal_is_due_after_half_of_a_life_and_long_before_its_end_and_not_for_all_at_once():
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    ends = an_end(begins, DAY)
    due = [due_at(ends, begins, Random(number)) for number in range(100)]
    assert all(begins + DAY / 2 <= one <= begins + DAY * 0.7 for one in due)
    assert max(due) - min(due) > timedelta(hours=2)


def test_a_certificate_that_was_dated_back_lives_from_when_it_came():
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    assert due_at(an_end(begins, DAY), begins + DAY * 0.8, Random(1)) >= begins + DAY * 0.9
    # A file's time may be nonsense after a clock was set: never due after the end, never before half of the life.
    assert begins + DAY / 2 <= due_at(an_end(begins, DAY), begins - 900 * DAY, Random(1)) <= begins + DAY
    assert due_at(an_end(begins, DAY), begins + 900 * DAY, Random(1)) == begins + DAY


def renewal(tls, folder: Path, address: str, clock: Passing) -> tuple[Renewal, Credentials]:
    credentials = Credentials(tls)
    write_identity(folder, tls)
    return Renewal("box-1", credentials, folder, address=address, clock=clock, rng=Random(1)), credentials


async def run_until(one: Renewal, event: asyncio.Event) -> None:
    task = asyncio.create_task(one.run())
    async with asyncio.timeout(30.0):
        await event.wait()
    task.cancel()
    await asyncio.wait((task,))


@pytest.mark.slow
async def test_it_is_renewed_in_time_and_written_down(root: Root, tmp_path):
    async with enrolling(Enrolment(root)) as address:
        first = root.tls("box-1", begins=-DAY / 4, ends=DAY)
        clock = Passing()
        one, credentials = renewal(first, tmp_path, address, clock)
        renewed = asyncio.Event()
        credentials.on_renewed(renewed.set)
        await run_until(one, renewed)
        assert DAY / 4 < clock.passed < DAY
        assert credentials.tls != first
        assert read_identity(tmp_path) == credentials.tls
        assert one.trouble == ""


@pytest.mark.slow
async def test_a_box_that_was_away_for_a_month_comes_back(root: Root, tmp_path):
    enrolment = Enrolment(root)
    async with enrolling(enrolment) as address:
        over = root.tls("box-1", begins=-31 * DAY, ends=-30 * DAY)
        clock = Passing()
        one, credentials = renewal(over, tmp_path, address, clock)
        renewed = asyncio.Event()
        credentials.on_renewed(renewed.set)
        await run_until(one, renewed)
        assert clock.passed < timedelta(seconds=2)
        assert (await ends_of(credentials.tls.certificate)).ends_at > clock.now()
        assert enrolment.renewed == 1


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [Revoked("box-1 was revoked: lost"), IdentityOver("it ended 91 days ago")])
async def test_a_refusal_is_said_plainly_and_asked_again_seldom(root: Root, tmp_path, refusal):
    enrolment = Enrolment(root)
    enrolment.refusal = refusal
    async with enrolling(enrolment) as address:
        clock = Passing(until=timedelta(minutes=40))
        over = root.tls("box-1", begins=-2 * DAY, ends=-DAY)
        one, credentials = renewal(over, tmp_path, address, clock)
        await run_until(one, clock.stood)
        assert type(refusal).__name__ in one.trouble
        assert refusal.message in one.trouble
        assert "edge-agent join" in one.trouble
        assert 2 <= enrolment.asked <= 7
        assert credentials.tls == over
        # A person thought better of it: no hands are needed.
        enrolment.refusal = None
        assert await one.attempt() > 0.0
        assert one.trouble == ""


@pytest.mark.slow
async def test_a_planner_that_is_away_is_tried_with_growing_waits(root: Root, tmp_path, caplog):
    clock = Passing(until=timedelta(minutes=20))
    one, _ = renewal(root.tls("box-1", begins=-2 * DAY, ends=-DAY), tmp_path, "127.0.0.1:1", clock)
    await run_until(one, clock.stood)
    assert "no planner answers" in one.trouble
    assert max(clock.waits) <= 30.0
    assert sum(clock.waits[:3]) < 10.0
    # Of 20 minutes a few looks.
    assert caplog.text.count("identity_not_renewed") < 60


@pytest.mark.slow
async def test_a_clock_that_is_wrong_is_blamed_and_nothing_is_renewed_in_circles(root: Root, tmp_path, caplog):
    # The box believes that it is a year ago. What the planner shows is judged by that.
    enrolment = Enrolment(root)
    async with enrolling(enrolment, begins=365 * DAY, ends=366 * DAY) as address:
        clock = Passing(until=timedelta(minutes=20))
        one, _ = renewal(root.tls("box-1", begins=365 * DAY, ends=366 * DAY), tmp_path, address, clock)
        await run_until(one, clock.stood)
        assert "set the clock" in one.trouble
        assert caplog.text.count("identity_not_renewed") < 30
        assert enrolment.asked == 0


@pytest.mark.slow
async def test_a_refused_box_that_is_let_join_again_goes_on_without_a_start(root: Root, tmp_path):
    enrolment = Enrolment(root)
    enrolment.refusal = Revoked("box-1 was revoked: lost")
    async with enrolling(enrolment) as address:
        clock = Passing()
        one, credentials = renewal(root.tls("box-1", begins=-2 * DAY, ends=-DAY), tmp_path, address, clock)
        taken = asyncio.Event()
        credentials.on_renewed(taken.set)
        refused = asyncio.Event()
        one._notify = refused.set
        task = asyncio.create_task(one.run())
        async with asyncio.timeout(30.0):
            await refused.wait()
            joined = root.tls("box-1")
            write_identity(tmp_path, joined)
            await taken.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert credentials.tls == joined
        assert one.trouble == ""
        assert clock.passed < timedelta(minutes=20)


@pytest.mark.slow
async def test_a_fault_of_ours_is_said_and_tried_again(root: Root, tmp_path, monkeypatch):
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("edge_agent.identity.renewal.renew", broken)
    clock = Passing(until=timedelta(minutes=2))
    one, _ = renewal(root.tls("box-1", begins=-2 * DAY, ends=-DAY), tmp_path, "127.0.0.1:1", clock)
    await run_until(one, clock.stood)
    assert one.trouble == "RuntimeError: a bug"


@pytest.mark.slow
async def test_a_disk_that_takes_nothing_does_not_stop_a_renewal(root: Root, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with enrolling(Enrolment(root)) as address:
        first = root.tls("box-1", begins=-2 * DAY, ends=-DAY)
        one, credentials = renewal(first, tmp_path, address, Passing())
        monkeypatch.setattr("edge_agent.identity.renewal.write_identity", full)
        await one.attempt()
        assert credentials.tls != first
        assert read_identity(tmp_path) == first
        # From what is on disk the next start renews again.
        monkeypatch.undo()
        again = Renewal("box-1", Credentials(first), tmp_path, address=address, clock=Passing(), rng=Random(1))
        await again.attempt()
        assert again.trouble == ""
