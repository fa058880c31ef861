"""Queues and windows, on a fake clock."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from serving_fleet import QUERY, generation
from test_dataplane_book import emission, outcome

from circinus.model.directive import Use
from circinus.model.pipeline import OperatorId
from circinus.sketch import Sketch
from edge_agent.dataplane import waiting
from edge_agent.dataplane.book import Book
from edge_agent.dataplane.item import Input, Verdict, Work
from edge_agent.dataplane.queues import WorkQueue
from edge_agent.telemetry import MAX_SCORES, Windows


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


def a_queue(replicas: int = 1) -> tuple[WorkQueue, list[tuple[str, str]]]:
    dropped: list[tuple[str, str]] = []
    use = Use(query_id=QUERY, operator_id=OperatorId("op"), inputs=())
    queue = WorkQueue(
        [use],
        clock=FakeClock(),
        replicas=replicas,
        batch=1,
        on_dropped=lambda one: dropped.append((one.work.request_id, one.cause)),
    )
    return queue, dropped


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
    queue, dropped = a_queue()
    for number in range(100):
        queue.put(work(f"r{number}"))
    assert len(queue) == waiting.MAX_ITEMS
    assert dropped == [(f"r{number}", "queue_full") for number in range(waiting.MAX_ITEMS, 100)]
    slow, _ = a_queue(replicas=2)
    slow.put(work("first"))
    taken = await slow.take(1, asyncio.get_running_loop().create_future())
    slow.done(taken, 3.0)
    for number in range(100):
        slow.put(work(f"r{number}"))
    assert len(slow) == 3
    big, _ = a_queue()
    for number in range(100):
        big.put(work(f"r{number}", payload=bytes(waiting.MAX_BYTES // 2)))
    assert len(big) == 2


async def test_a_queue_gives_batches_in_order_and_drops_what_is_overdue() -> None:
    queue, dropped = a_queue()
    for number in range(5):
        queue.put(work(f"r{number}", deadline_s=99.0 if number == 1 else 101.0))
    gone = asyncio.get_running_loop().create_future()
    taken = await queue.take(3, gone)
    assert [queued.work.request_id for queued in taken.batch] == ["r0", "r2", "r3"]
    assert dropped == [("r1", "deadline")]
    assert len(queue) == 1


async def test_takers_share_what_comes_and_one_that_is_abandoned_takes_nothing() -> None:
    queue, _ = a_queue(replicas=2)
    loop = asyncio.get_running_loop()
    gone, alive = loop.create_future(), loop.create_future()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(queue.take(1, gone))
        second = group.create_task(queue.take(1, alive))
        await asyncio.sleep(0)
        gone.set_result(None)
        queue.put(work("r1"))
    assert first.result().batch == ()
    assert [queued.work.request_id for queued in second.result().batch] == ["r1"]


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
    count = 5 * MAX_SCORES
    for number in range(count):
        book.emit(emission("r", -float(number), outputs=(OperatorId("a"),)))
        ended = book.record(outcome("r"), 0.0)
        assert ended is not None
        windows.ended(ended)
        windows.scored(ended, 1.0)
    (window,), _ = windows.take()
    assert window.answered == count
    assert len(window.scores_ratio) == MAX_SCORES * 5 / 8
    latency_ms = Sketch.of(window.latency_ms)
    assert latency_ms.count == count
    assert latency_ms.quantile(0.95) == pytest.approx(0.95 * count * 1000.0, rel=0.011)
