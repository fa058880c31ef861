"""What was seen of a query: latency beside its promise, times by operator, losses by place and cause."""

from __future__ import annotations

import pytest
from plan_values import NOW, NOW_S, operator_window, plan, query_window

from circinus import wire
from circinus.model.directive import Generation
from circinus.model.plan import Interval
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.seen import Loss, Promised, promised_of, seen_of, series_of
from cloud_planner.store import AccountRecord


def test_latency_is_that_of_all_windows_together() -> None:
    seen = seen_of([query_window(NOW_S, *range(1, 51)), query_window(NOW_S + 1, *range(51, 101), late=3)], 0.95)
    assert seen.latency_ms == pytest.approx(95.0, rel=0.02)
    assert (seen.items, seen.in_time, seen.emitted) == (103, 100, 100)
    assert seen.rate_per_s == pytest.approx(50.0)


def test_without_items_nothing_is_told() -> None:
    seen = seen_of([], 0.95)
    assert (seen.latency_ms, seen.rate_per_s, seen.losses, seen.p95_ms) == (None, None, (), {})


def test_operators_are_told_by_device() -> None:
    seen = seen_of(
        [
            operator_window("a", "read", 10.0, 20.0),
            operator_window("b", "read", 40.0, failures=1),
            operator_window("a", "cut"),
        ],
        0.95,
    )
    assert seen.p95_ms == {("read", "a"): pytest.approx(20.0, rel=0.02), ("read", "b"): pytest.approx(40.0, rel=0.02)}
    assert seen.operators["read", "a"].wait_ms == pytest.approx(2.0)
    assert seen.operators["read", "b"].failures == 1
    assert seen.operators["cut", "a"].p95_ms is None


def test_losses_are_by_place_and_cause_the_most_first() -> None:
    windows = [
        query_window(
            NOW_S,
            late=4,
            dropped_by_cause={"queue_full": 5, "no_route": 2},
            dropped_by_place={"read/queue_full": 5},
            failed_by_cause={"crashed": 1},
        ),
        query_window(NOW_S + 1, dropped_by_cause={"queue_full": 3}, dropped_by_place={"source/queue_full": 3}),
    ]
    assert seen_of(windows, 0.95).losses == (
        Loss(place="read", cause="queue_full", kind="dropped", items=5),
        Loss(place="", cause="after its deadline", kind="late", items=4),
        Loss(place="source", cause="queue_full", kind="dropped", items=3),
        Loss(place="", cause="no_route", kind="dropped", items=2),
        Loss(place="", cause="crashed", kind="failed", items=1),
    )


def _promised(since_s: float, value: float, generation: int = 1) -> Promised:
    interval = Interval(value=value, low=value - 10.0, high=value + 10.0)
    return Promised(since_s=since_s, generation=generation, latency_ms=interval)


def test_each_moment_is_held_against_the_promise_in_force_then() -> None:
    windows = [query_window(NOW_S + 5.0, 100.0, 110.0), query_window(NOW_S + 25.0, 200.0)]
    found = series_of(
        windows,
        [_promised(NOW_S + 10.0, 150.0, 4), _promised(NOW_S + 30.0, 90.0, 5)],
        from_s=NOW_S,
        until_s=NOW_S + 40.0,
        percentile_ratio=0.95,
        points=4,
    )
    assert [round(at - NOW_S) for at in found.at_s] == [5, 15, 25, 35]
    assert [None if one is None else round(one / 10.0) * 10 for one in found.seen_ms] == [110, None, 200, None]
    assert found.promised_ms == (150.0, 150.0, 90.0, 90.0)
    assert found.low_ms[0] == 140.0
    assert found.generations == (4, 4, 5, 5)


def test_before_anything_was_promised_there_is_no_promise() -> None:
    found = series_of([], [], from_s=NOW_S, until_s=NOW_S + 10.0, percentile_ratio=0.95, points=2)
    assert found.promised_ms == (None, None)
    assert found.seen_ms == (None, None)


def test_windows_outside_of_the_span_are_left_out() -> None:
    found = series_of(
        [query_window(NOW_S - 60.0, 10.0), query_window(NOW_S + 999.0, 10.0), operator_window("a", "read", 5.0)],
        [],
        from_s=NOW_S,
        until_s=NOW_S + 10.0,
        percentile_ratio=0.95,
    )
    assert set(found.seen_ms) == {None}


def test_a_promise_with_too_few_items_has_the_plans_interval_at_90_percent() -> None:
    promise = planner_pb2.Promise(plan=wire.plan_to_message(plan()), latency_ms=100.0)
    record = AccountRecord(
        generation=Generation(epoch=1, number=3),
        query_id="gate",
        created_at=NOW,
        promise=promise,
        seen=planner_pb2.Seen(),
    )
    (found,) = promised_of([record])
    assert (found.generation, found.since_s) == (3, NOW_S)
    # The plan's 180 to 220 ms of 95% about 200 ms, halved by the correction.
    assert found.latency_ms.value == 100.0
    assert found.latency_ms.low == pytest.approx(100.0 - 10.0 * 1.6449 / 1.96, abs=0.01)
