"""Admission, service times and the waiting line, one decision at a time."""

from dataclasses import replace

import pytest
from test_dataplane_book import emission

from circinus.model.directive import Generation, Use
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.admission import BURST_ITEMS, Admission, Admissions, Ticket
from edge_agent.dataplane.book import Ended, Ending
from edge_agent.dataplane.item import Cause, Work
from edge_agent.dataplane.service_times import ServiceTime
from edge_agent.dataplane.waiting import PROBE_ITEMS, PROBE_S, WaitingLine


def work(number: int, deadline_s: float | None = None, query: str = "a", **changes: object) -> Work:
    made = Work(
        request_id=f"cam-{number}",
        query_id=QueryId(query),
        generation=Generation(epoch=1, number=1),
        operator_id=OperatorId("op"),
        deadline_s=deadline_s,
        inputs={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def use(query: str = "a", **changes: float) -> Use:
    return Use(query_id=QueryId(query), operator_id=OperatorId("op"), inputs=(), **{"rate_per_s": 5.0, **changes})


def a_line(*uses: Use, batch: int = 1, service_s: float = 0.1, replicas: int = 1) -> WaitingLine:
    """A line that has learnt how long each use takes."""
    line = WaitingLine(uses or (use(),), replicas=replicas, batch=batch)
    for one in uses or (use(),):
        for number in range(20):
            line.put(work(number, query=one.query_id), -100.0)
            taken, _ = line.take(1, -100.0)
            line.done(taken.number, taken.batch, service_s)
    return line


def names(line: WaitingLine, now_s: float, limit: int = 1) -> list[str]:
    taken, _ = line.take(limit, now_s)
    line.done(taken.number, taken.batch, None)
    return [f"{queued.work.query_id}{queued.work.request_id.removeprefix('cam-')}" for queued in taken.batch]


def test_items_at_the_planned_rate_are_never_excess() -> None:
    admission = Admission(7.0)
    assert {admission.admit(number / 7.0) for number in range(5000)} == {Ticket.IN_RATE}


def test_what_is_above_the_rate_is_excess_and_then_shed() -> None:
    admission = Admission(2.0)
    tickets = [admission.admit(0.0) for _ in range(10)]
    burst = int(BURST_ITEMS)
    assert tickets == [Ticket.IN_RATE] * burst + [Ticket.EXCESS] * 2 + [Ticket.SHED] * (8 - burst)


def test_excess_in_vain_is_let_in_less_and_in_time_more_and_the_plan_always() -> None:
    admission = Admission(10.0)
    for number in range(200):
        admission.told(Ending.DROPPED, number * 0.1, excess=True)
    assert admission.excess_per_s == pytest.approx(0.2)
    assert admission.admit(20.0) is Ticket.IN_RATE
    for number in range(200):
        admission.told(Ending.ANSWERED, 20.0 + number * 0.1, excess=True)
    assert admission.excess_per_s > 5.0
    admission.told(Ending.FAILED, 41.0, excess=True)
    assert admission.excess_per_s > 5.0


def test_an_item_that_could_not_be_made_gives_its_token_back() -> None:
    admissions, query_id = Admissions(), QueryId("a")
    for _ in range(50):
        ticket = admissions.admit(query_id, 2.0, 0.0)
        assert ticket is Ticket.IN_RATE
        admissions.refund(query_id, ticket)


def test_admissions_know_their_queries_by_what_ends() -> None:
    admissions = Admissions()
    one = emission("r", 0.0, 50.0, outputs=(OperatorId("a"),))
    admissions.admit(one.query_id, 5.0, 0.0)
    before = admissions.excess_per_s(one.query_id)
    admissions.told(Ended(emission=replace(one, excess=True), ending=Ending.LATE, latency_ms=100.0))
    assert admissions.excess_per_s(one.query_id) < before
    assert admissions.excess_per_s(QueryId("unknown")) == 0.0


def test_batches_of_two_sizes_tell_overhead_from_time_per_item() -> None:
    time = ServiceTime()
    assert (time.settled, time.batch_s(3)) == (False, 0.0)
    for items in (1, 4) * 30:
        time.learn(items, 0.1 + 0.02 * items)
    assert time.batching_gains
    assert time.batch_s(8) == pytest.approx(0.26, rel=0.02)
    assert time.batch_s(1) == pytest.approx(0.12, rel=0.02)


def test_a_slow_start_and_one_stall_are_soon_forgotten() -> None:
    time = ServiceTime()
    time.learn(1, 5.0)
    time.learn(1, 0.1)
    assert time.batch_s(1) == pytest.approx(0.1)
    for _ in range(20):
        time.learn(1, 0.1)
    time.learn(1, 30.0)
    assert time.batch_s(1) < 0.15


def test_in_rate_goes_before_excess_of_others() -> None:
    line = a_line(use("a"), use("b"))
    line.put(work(1, 9.0, "a", excess=True), 0.0)
    line.put(work(2, 9.0, "b"), 0.0)
    assert [names(line, 0.0), names(line, 0.0)] == [["b2"], ["a1"]]


def test_a_use_that_floods_takes_turns_with_one_that_does_not() -> None:
    line = a_line(use("a"), use("b"))
    for number in range(1, 7):
        line.put(work(number, 9.0, "a"), 0.0)
    line.put(work(7, 9.0, "b"), 0.0)
    assert "b7" in [name for _ in range(3) for name in names(line, 0.0)]


def test_excess_is_not_begun_where_an_item_of_the_plan_could_not_wait_for_it() -> None:
    line = a_line(use("a"), use("b"))
    line.put(work(1, 0.15, "b"), 0.0)  # what comes for b has half a service time to spare
    assert names(line, 0.0) == ["b1"]
    line.put(work(2, 9.0, "a", excess=True), 0.1)
    assert names(line, 0.1) == []


def test_nothing_is_dropped_for_the_first_slow_items_of_a_process() -> None:
    line = a_line(use("b"))
    line.update([use("a")], batch=1)
    for number in range(3):
        assert line.put(work(number, 0.5), 0.0) == []
        taken, _ = line.take(1, 0.0)
        line.done(taken.number, taken.batch, 0.4)
    assert [one for number in range(4, 9) for one in line.put(work(number, 0.5), 0.0)] == []


def test_what_cannot_make_it_goes_at_once_and_what_can_stays() -> None:
    line = a_line(use(after_ms=200.0))
    (dropped,) = line.put(work(1, 0.2), 0.0)
    assert (dropped.work.request_id, dropped.cause) == ("cam-1", Cause.DEADLINE)
    assert line.put(work(2, 0.5), 0.0) == []


def test_the_oldest_goes_when_those_behind_it_gain_more() -> None:
    line = a_line()
    assert line.put(work(1, 0.1), 0.0) == []
    (dropped,) = line.put(work(2, 0.198), 0.0)
    assert (dropped.work.request_id, dropped.cause) == ("cam-1", Cause.DEADLINE)
    # These gain nothing: each is in time where it is.
    assert line.put(work(3, 0.3), 0.0) == []
    assert [name for _ in range(2) for name in names(line, 0.0)] == ["a2", "a3"]


def test_an_item_above_the_rate_makes_room_for_those_that_are_not() -> None:
    line = a_line()
    line.put(work(1, 0.25, excess=True), 0.0)
    line.put(work(2, 0.25), 0.0)
    (dropped,) = line.put(work(3, 0.25), 0.0)
    assert (dropped.work.request_id, dropped.cause) == ("cam-1", Cause.SHED)


def test_a_wrong_prediction_is_found_out() -> None:
    line = a_line(service_s=5.0)
    for number in range(PROBE_ITEMS):
        assert [one.cause for one in line.put(work(number, 1.0), 0.0)] == [Cause.DEADLINE]
    assert line.put(work(10, 1.0), 0.0) == []  # nothing was served for long: this one finds out
    assert names(line, 0.0) == ["a10"]
    dropped = [one for number in range(20, 30) for one in line.put(work(number, 1.0), PROBE_S / 2)]
    assert len(dropped) == 10


def test_items_that_come_out_of_order_are_served_in_order() -> None:
    line = a_line()
    for number in (3, 1, 2):
        line.put(work(number), 0.0)
    assert [name for _ in range(3) for name in names(line, 0.0)] == ["a1", "a2", "a3"]


def test_an_item_that_lost_one_part_is_given_up_with_all_of_them() -> None:
    line = a_line()
    line.put(work(1, 9.0, part=0, parts=3), 0.0)
    line.put(work(1, 0.01, part=1, parts=3), 0.0)
    assert len(line) == 0
    assert line.put(work(1, 9.0, part=2, parts=3), 0.0) == []
    assert len(line) == 0


def test_new_uses_rates_and_weights_take_effect_and_what_waits_is_still_served() -> None:
    line = a_line(use("a"), use("b"))
    line.put(work(1, query="a"), 0.0)
    line.update([use("b", rate_per_s=50.0), use("c")], batch=1)
    line.put(work(2, query="b"), 0.0)
    line.put(work(3, query="c"), 0.0)
    assert sorted(name for _ in range(3) for name in names(line, 0.0)) == ["a1", "b2", "c3"]


def test_a_batch_waits_for_the_next_item_within_the_slack_and_goes_when_none_comes() -> None:
    line = WaitingLine([use(after_ms=100.0)], replicas=1, batch=4)
    for number in range(20):
        line.put(work(number), number * 0.1)
        taken, _ = line.take(1, number * 0.1)
        line.done(taken.number, taken.batch, 0.05)
    line.put(work(30, 3.0), 2.0)
    held, _ = line.take(4, 2.0)
    assert held.batch == ()
    assert held.again_at_s is not None
    # Twice the usual gap went by and nothing came.
    assert 2.1 < held.again_at_s <= 2.3
    gone, _ = line.take(4, held.again_at_s + 1e-6)
    assert len(gone.batch) == 1


@pytest.mark.parametrize(("batch", "deadline_s"), [(1, 9.0), (4, 2.2)])
def test_nothing_is_held_without_a_batch_or_without_slack(batch: int, deadline_s: float) -> None:
    line = WaitingLine([use()], replicas=1, batch=batch)
    for number in range(20):
        line.put(work(number), number * 0.1)
        taken, _ = line.take(1, number * 0.1)
        line.done(taken.number, taken.batch, 0.05)
    line.put(work(30, deadline_s), 2.0)
    taken, _ = line.take(batch, 2.0)
    assert len(taken.batch) == 1
