"""Queues, links to peers, messages and windows, on a fake clock."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fleet import QUERY, generation
from test_dataplane_book import emission, outcome

from circinus.errors import InvalidInput, TooLarge
from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.v1 import dataplane_pb2
from edge_agent import cgroups
from edge_agent.dataplane import peers, queues
from edge_agent.dataplane.book import Book
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome, Verdict, Work
from edge_agent.dataplane.messages import input_of, item_message, outcome_message, outcome_of
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.queues import WorkQueue
from edge_agent.dataplane.shaping import Shaper
from edge_agent.telemetry import MAX_LATENCIES, Windows


class FakeClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        await asyncio.sleep(0)


def work(request_id: str, deadline_s: float | None = None, payload: bytes = b"x") -> Work:
    return Work(
        request_id=request_id,
        query_id=QUERY,
        generation=generation(1),
        operator_id=OperatorId("op"),
        deadline_s=deadline_s,
        inputs={"source": payload},
    )


def an_input(request_id: str = "cam-1", deadline_s: float | None = None, payload: bytes = b"x") -> Input:
    return Input(
        request_id=request_id,
        query_id=QUERY,
        generation=generation(3),
        operator_id=OperatorId("op"),
        input_name=OperatorId("source"),
        deadline_s=deadline_s,
        payload=payload,
    )


async def test_a_queue_is_bounded_by_items_and_by_the_work_they_are() -> None:
    queue = WorkQueue(clock=FakeClock(), replicas=1, on_overdue=lambda _: None)
    assert sum(queue.put(work(f"r{number}")) for number in range(100)) == queues.MAX_ITEMS
    slow = WorkQueue(clock=FakeClock(), replicas=2, on_overdue=lambda _: None)
    slow.service_s = 3.0
    assert sum(slow.put(work(f"r{number}")) for number in range(100)) == 3
    big = WorkQueue(clock=FakeClock(), replicas=1, on_overdue=lambda _: None)
    payload = bytes(queues.MAX_BYTES // 2)
    assert sum(big.put(work(f"r{number}", payload=payload)) for number in range(100)) == 2


async def test_a_queue_gives_batches_in_order_and_drops_what_is_overdue() -> None:
    overdue: list[Work] = []
    queue = WorkQueue(clock=FakeClock(), replicas=1, on_overdue=overdue.append)
    for number in range(5):
        queue.put(work(f"r{number}", deadline_s=99.0 if number == 1 else 101.0))
    gone = asyncio.get_running_loop().create_future()
    batch = await queue.take(3, gone)
    assert [queued.work.request_id for queued in batch] == ["r0", "r2", "r3"]
    assert [one.request_id for one in overdue] == ["r1"]
    assert len(queue) == 1


async def test_takers_share_what_comes_and_one_that_is_abandoned_takes_nothing() -> None:
    queue = WorkQueue(clock=FakeClock(), replicas=2, on_overdue=lambda _: None)
    loop = asyncio.get_running_loop()
    gone, alive = loop.create_future(), loop.create_future()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(queue.take(1, gone))
        second = group.create_task(queue.take(1, alive))
        await asyncio.sleep(0)
        gone.set_result(None)
        queue.put(work("r1"))
    assert first.result() == []
    assert [queued.work.request_id for queued in second.result()] == ["r1"]


def a_link(shaper: Shaper | None = None) -> tuple[PeerLink, FakeClock, list[tuple[str, Cause]]]:
    lost: list[tuple[str, Cause]] = []
    clock = FakeClock()
    link = PeerLink(
        DeviceId("cloud"),
        shaper=shaper or Shaper(0, 0.0),
        clock=clock,
        on_lost=lambda one, cause: lost.append((one.request_id, cause)),
    )
    return link, clock, lost


async def pumped(link: PeerLink, number: int, count: int) -> list[Input | Outcome]:
    written: list[Input | Outcome] = []
    done = asyncio.Event()

    async def write(message: Input | Outcome) -> None:
        written.append(message)
        if len(written) == count:
            done.set()

    pump = asyncio.create_task(link.pump(number, write))
    await done.wait()
    pump.cancel()
    await asyncio.wait((pump,))
    return written


async def test_a_link_refuses_what_it_cannot_carry_by_name() -> None:
    link, clock, _ = a_link(Shaper(8_000, 100.0))
    assert link.send_input(an_input()) is Cause.LINK_DOWN
    link.attach()
    assert link.send_input(an_input(payload=bytes(MAX_PAYLOAD_BYTES + 1))) is Cause.ITEM_TOO_LARGE
    assert link.send_input(an_input(deadline_s=clock.monotonic_s() + 0.1)) is Cause.DEADLINE
    assert link.send_input(an_input(deadline_s=clock.monotonic_s() + 10.0)) is None
    causes = [link.send_input(an_input()) for _ in range(peers.MAX_ITEMS)]
    assert causes[-2:] == [None, Cause.LINK_FULL]


async def test_a_link_delivers_in_order_when_each_is_through() -> None:
    link, clock, _ = a_link(Shaper(8_000, 100.0))
    number = link.attach()
    one = an_input(payload=bytes(840))  # with its envelope, a second on this link
    for index in range(3):
        link.send_input(replace(one, request_id=f"r{index}"))
    written = await pumped(link, number, 3)
    assert [message.request_id for message in written] == ["r0", "r1", "r2"]
    assert clock.monotonic_s() == pytest.approx(103.05)


async def test_a_lost_stream_loses_items_by_name_and_keeps_outcomes() -> None:
    link, _, lost = a_link()
    number = link.attach()
    link.send_input(an_input("r1"))
    link.send_outcome(outcome("r2"))
    link.detach(number)
    assert lost == [("r1", Cause.LINK_DOWN)]
    assert not link.connected
    (kept,) = await pumped(link, link.attach(), 1)
    assert kept.request_id == "r2"


async def test_the_end_of_a_replaced_stream_changes_nothing() -> None:
    link, _, lost = a_link()
    old = link.attach()
    link.attach()
    link.send_input(an_input("r1"))
    link.detach(old)
    assert link.connected
    assert not lost


def test_items_and_outcomes_survive_the_wire() -> None:
    one = an_input(deadline_s=105.0)
    assert input_of(item_message(one, 100.0), 200.0) == replace(one, deadline_s=205.0)
    assert input_of(item_message(an_input(), 100.0), 200.0).deadline_s is None
    for verdict in Verdict:
        said = outcome("r1", verdict=verdict)
        assert outcome_of(outcome_message(said)) == said


@pytest.mark.parametrize("field", ["request_id", "query_id", "operator_id", "input_name"])
@pytest.mark.parametrize("text", ["", "x" * 201])
def test_ids_from_the_wire_are_bounded(field: str, text: str) -> None:
    message = item_message(an_input(), 0.0)
    setattr(message, field, text)
    with pytest.raises(InvalidInput, match=field):
        input_of(message, 0.0)


def test_bad_numbers_sizes_and_kinds_from_the_wire_are_refused() -> None:
    message = item_message(an_input(), 0.0)
    message.remaining_ms = float("nan")
    with pytest.raises(InvalidInput, match="remaining_ms"):
        input_of(message, 0.0)
    message = item_message(an_input(), 0.0)
    message.payload = bytes(MAX_PAYLOAD_BYTES + 1)
    with pytest.raises(TooLarge):
        input_of(message, 0.0)
    with pytest.raises(InvalidInput, match="kind"):
        outcome_of(dataplane_pb2.OutcomeMessage(request_id="r", query_id="q", operator_id="o"))
    strange = outcome_message(outcome("r1", verdict=Verdict.FAILED))
    strange.cause = "made up"
    assert outcome_of(strange).cause == "unknown"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_item_or_refused(data: bytes) -> None:
    message = dataplane_pb2.ItemMessage()
    try:
        message.ParseFromString(data)
    except Exception:  # no message at all: gRPC refuses it
        return
    with contextlib.suppress(InvalidInput, TooLarge):
        input_of(message, 0.0)


def test_windows_count_each_item_once_and_start_anew_when_taken() -> None:
    clock, book = FakeClock(), Book()
    windows = Windows(clock)
    for number, deadline_ms in ((1, 0.0), (2, 50.0), (3, 0.0)):
        one = emission(f"r{number}", 0.0, deadline_ms, outputs=(OperatorId("a"),))
        windows.emitted(one.query_id, one.generation)
        book.emit(one)
    for number, verdict in ((1, Verdict.ANSWERED), (2, Verdict.ANSWERED), (3, Verdict.DROPPED)):
        ended = book.record(outcome(f"r{number}", verdict=verdict), 0.1)
        assert ended is not None
        windows.ended(ended)
        if verdict is Verdict.ANSWERED:
            windows.scored(ended, 0.5)
    clock.passed_s += 2.0
    (window,), _ = windows.take()
    assert (window.emitted, window.answered, window.late, window.duration_s) == (3, 1, 1, 2.0)
    assert dict(window.dropped_by_cause) == {"queue_full": 1}
    assert list(window.scores_ratio) == [0.5, 0.5]
    assert (window.on_time_score_sum, window.on_time_scored) == (0.5, 1)
    assert windows.take() == ([], [])


def test_a_full_window_is_thinned_evenly() -> None:
    windows, book = Windows(FakeClock()), Book()
    count = 5 * MAX_LATENCIES
    for number in range(count):
        book.emit(emission("r", -float(number), outputs=(OperatorId("a"),)))
        ended = book.record(outcome("r"), 0.0)
        assert ended is not None
        windows.ended(ended)
        windows.scored(ended, 1.0)
    (window,), _ = windows.take()
    assert window.answered == count
    assert len(window.latencies_ms) == len(window.scores_ratio) <= MAX_LATENCIES
    gaps = {round(b - a) for a, b in zip(window.latencies_ms, window.latencies_ms[1:], strict=False)}
    assert gaps == {8000}


def test_a_process_is_limited_where_groups_can_be_made(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("3:cpu:/mine\n0::/\n")
    assert cgroups.detect(tmp_path / "nothing", own) is None
    base = tmp_path / "cpu" / "mine"
    base.mkdir(parents=True)
    (base / "cpu.cfs_quota_us").write_text("-1")
    found = cgroups.detect(tmp_path, own)
    assert found is not None
    assert found.limit(4711, cores=1.5, memory_bytes=0) is not None
    (group,) = base.glob("circinus-*")
    assert (group / "cpu.cfs_quota_us").read_text() == "15000"
    assert (group / "cgroup.procs").read_text() == "4711"


def test_the_unified_hierarchy_also_limits_memory(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/agent\n")
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    base = tmp_path / "agent"
    base.mkdir()
    (base / "cgroup.subtree_control").write_text("cpu memory")
    found = cgroups.detect(tmp_path, own)
    assert found is not None
    found.limit(4711, cores=0.25, memory_bytes=1000)
    (group,) = base.glob("circinus-*")
    assert (group / "cpu.max").read_text() == "2500 10000"
    assert (group / "memory.max").read_text() == "1000"
