import pytest

from circinus.sketch import Sketch
from circinus.v1 import types_pb2
from cloud_planner.core.ledger import observed, operators


def test_windows_of_a_query_add_up():
    one = types_pb2.QueryWindow(
        query_id="q",
        duration_s=2.0,
        emitted=3,
        answered=2,
        latency_ms=Sketch([30.0, 10.0]).message(),
        scores_ratio=[1.0, 0.5],
    )
    one.on_time_score_sum, one.on_time_scored = 1.5, 2
    two = types_pb2.QueryWindow(
        query_id="q", duration_s=2.0, emitted=2, late=1, latency_ms=Sketch([900.0]).message(), scores_ratio=[0.0]
    )
    two.failed_by_cause["operator_died"] = 2
    two.dropped_by_cause["queue_full"] = 1
    found = observed([one, two])["q"]
    assert (found.emitted, found.answered, found.late, found.dropped, found.failed) == (5, 2, 1, 1, 2)
    assert found.causes == {"operator_died": 2, "queue_full": 1}
    assert (found.latency_p50_ms, found.latency_p95_ms) == pytest.approx((30.0, 900.0), rel=0.01)
    assert (found.accuracy_ratio, found.scored) == (0.5, 3)
    assert found.item_goodput_per_s == 1.5 / 4.0


def test_without_truth_every_answer_in_time_counts():
    found = observed([types_pb2.QueryWindow(query_id="q", duration_s=2.0, answered=4, late=1)])["q"]
    assert found.accuracy_ratio is None
    assert found.item_goodput_per_s == 2.0


def test_scores_that_become_known_later_count_for_the_answers_that_they_are_of():
    # A clip of 4 ended in the first window but for its last item, and had its score in the second one.
    one = types_pb2.QueryWindow(query_id="q", duration_s=2.0, answered=3)
    two = types_pb2.QueryWindow(query_id="q", duration_s=2.0, answered=3, scores_ratio=[0.5] * 4)
    two.on_time_score_sum, two.on_time_scored = 2.0, 4
    found = observed([one, two])["q"]
    assert (found.accuracy_ratio, found.scored) == (0.5, 4)
    assert found.item_goodput_per_s == 6 * 0.5 / 4.0


def test_nothing_seen_is_zero_and_not_a_fault():
    found = observed([types_pb2.QueryWindow(query_id="q")])["q"]
    assert (found.item_goodput_per_s, found.latency_p95_ms) == (0.0, 0.0)
    assert observed([]) == {}


def test_operator_windows_are_summed_by_operator():
    windows = [
        types_pb2.OperatorWindow(query_id="q", operator_id="read", items=2, service_ms_sum=10.0, memory_bytes=5),
        types_pb2.OperatorWindow(query_id="q", operator_id="read", items=3, service_ms_sum=20.0, memory_bytes=3),
        types_pb2.OperatorWindow(query_id="q", operator_id="cut", items=1),
    ]
    cut, read = operators(windows)["q"]
    assert (cut.operator_id, cut.items) == ("cut", 1)
    assert (read.items, read.service_ms_sum, read.memory_bytes) == (5, 30.0, 5)
