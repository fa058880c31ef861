"""What became of items lately, kept in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.recent import Recent

NOON_S = 1_764_331_200.0


class Clock:
    def __init__(self):
        self.now_s = NOON_S

    def now(self):
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.now_s)

    def monotonic_s(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recent(clock):
    return Recent(clock)


def message(sequence, start_s, *, answered=9, late=1, scores=(), latency=(), cpu_ms=0.0):
    window = types_pb2.QueryWindow(
        query_id="gate",
        duration_s=1.0,
        emitted=answered + late,
        answered=answered,
        late=late,
        scores_ratio=scores,
        on_time_score_sum=sum(scores),
        on_time_scored=len(scores),
    )
    window.latency_ms.CopyFrom(Sketch(latency).message())
    window.start.FromSeconds(int(start_s))
    found = control_pb2.Telemetry(sequence=sequence, queries=[window])
    if cpu_ms:
        operator = found.operators.add(query_id="gate", operator_id="read", cpu_ms_sum=cpu_ms, duration_s=1.0)
        operator.start.FromSeconds(int(start_s))
    return found


def test_goodput_is_of_what_was_answered_in_time_and_right(recent):
    for second in range(10):
        recent.put("camera", message(second + 1, NOON_S - 10 + second, scores=[0.5] * 10))
    lately = recent.lately("gate")
    assert lately.goodput_per_s == pytest.approx(4.5)
    assert lately.accuracy_ratio == pytest.approx(0.5)
    assert lately.spans.short.attained_ratio == pytest.approx(0.9)


def test_without_scores_an_answer_in_time_counts_whole(recent):
    recent.put("camera", message(1, NOON_S - 1))
    assert recent.lately("gate").goodput_per_s == pytest.approx(9.0)


def test_what_a_reconnecting_agent_sends_again_is_counted_once(recent):
    for _ in range(3):
        recent.put("camera", message(7, NOON_S - 1))
    assert recent.spans("gate").short.ended == 10


def test_after_five_minutes_only_the_hour_knows_of_it(recent, clock):
    recent.put("camera", message(1, NOON_S - 1))
    clock.now_s += 600.0
    spans = recent.spans("gate")
    assert (spans.short.ended, spans.long.ended) == (0, 10)
    assert recent.lately("gate").goodput_per_s is None


def test_windows_that_come_late_count_where_they_belong(recent):
    recent.put("camera", message(1, NOON_S - 1_800))
    spans = recent.spans("gate")
    assert (spans.short.ended, spans.long.ended) == (0, 10)
    assert recent.lately("gate").goodput_per_s is None


def test_the_percentile_is_of_the_last_minutes(recent, clock):
    recent.put("camera", message(1, NOON_S - 1, latency=[100.0] * 19 + [500.0]))
    assert recent.latency_ms("gate", 0.95) == pytest.approx(100.0, rel=0.02)
    assert recent.latency_ms("gate", 0.99) == pytest.approx(500.0, rel=0.02)
    clock.now_s += 180.0
    assert recent.latency_ms("gate", 0.95) is None


def test_a_device_is_as_busy_as_its_operators_say(recent, clock):
    for second in range(30):
        clock.now_s = NOON_S + second
        recent.put("camera", message(second + 1, NOON_S + second - 1, cpu_ms=500.0))
    assert recent.busy_cores("camera") == pytest.approx(0.5)
    clock.now_s += 60.0
    assert recent.busy_cores("camera") is None


def test_queries_that_are_gone_are_forgotten(recent):
    recent.put("camera", message(1, NOON_S - 1))
    recent.forget(["other"])
    assert recent.spans("gate").day.ended == 0


def test_nothing_is_said_of_what_nothing_was_told_of(recent):
    assert recent.lately("dream").goodput_per_s is None
    assert recent.busy_cores("cloud") is None
    assert recent.latency_ms("dream", 0.95) is None
