from test_dataplane_book import emission, outcome
from test_dataplane_sending import FakeClock

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.sketch import Sketch
from edge_agent.dataplane.book import Book
from edge_agent.dataplane.item import Verdict
from edge_agent.telemetry import MAX_PLACES, OTHER, Windows

QUERY, GENERATION = QueryId("q"), Generation(epoch=1, number=3)
PLACE = (QUERY, OperatorId("read"), GENERATION)


def test_latencies_are_a_sketch_and_drops_have_a_place() -> None:
    windows, book = Windows(FakeClock()), Book()
    for number in range(100):
        book.emit(emission(f"r{number}", -float(number), outputs=(OperatorId("a"),)))
        verdict = Verdict.DROPPED if number % 10 == 9 else Verdict.ANSWERED
        ended = book.record(outcome(f"r{number}", verdict=verdict), 0.0)
        assert ended is not None
        windows.ended(ended)
    (window,), _ = windows.take()
    latency_ms = Sketch.of(window.latency_ms)
    assert latency_ms.count == window.answered == 90
    assert latency_ms.max == 98_000.0
    assert dict(window.dropped_by_place) == {"a/queue_full": 10}
    assert dict(window.dropped_by_cause) == {"queue_full": 10}


def test_places_of_drops_are_bounded() -> None:
    windows, book = Windows(FakeClock()), Book()
    for number in range(2 * MAX_PLACES):
        book.emit(emission("r", 0.0))
        ended = book.record(outcome("r", operator=f"op{number}", verdict=Verdict.DROPPED), 0.0)
        assert ended is not None
        windows.ended(ended)
    (window,), _ = windows.take()
    assert len(window.dropped_by_place) == MAX_PLACES + 1
    assert window.dropped_by_place[OTHER] == MAX_PLACES


def test_time_counts_only_where_the_source_is() -> None:
    clock = FakeClock()
    windows = Windows(clock)
    windows.sent(QUERY, GENERATION, 500)
    windows.sent(QUERY, GENERATION, 700)
    clock.passed_s += 2.0
    (window,), _ = windows.take()
    assert (window.bytes_sent, window.duration_s) == (1200, 0.0)
    windows.sent(QUERY, GENERATION, 10)
    windows.emitted(QUERY, GENERATION, excess=True)
    clock.passed_s += 2.0
    (window,), _ = windows.take()
    assert (window.bytes_sent, window.duration_s, window.emitted, window.excess_emitted) == (10, 2.0, 1, 1)


def test_an_operator_has_sketches_batches_and_drops_by_cause() -> None:
    windows = Windows(FakeClock())
    windows.batched(PLACE)
    for queue_ms in (1.0, 3.0):
        windows.queued(PLACE, queue_ms)
        windows.served(PLACE, service_ms=10.0, cpu_ms=4.0, output_bytes=7, memory_bytes=5)
    windows.dropped_at(PLACE, "deadline")
    _, (window,) = windows.take()
    assert (window.items, window.batches, window.service_ms_sum, window.queue_ms_sum) == (2, 1, 20.0, 4.0)
    assert Sketch.of(window.service_ms).count == Sketch.of(window.queue_ms).count == 2
    assert dict(window.dropped_by_cause) == {"deadline": 1}


def test_agreement_with_the_reference_adds_up() -> None:
    windows = Windows(FakeClock())
    for score_ratio in (0.5, 1.0):
        windows.shadowed(QUERY, GENERATION, score_ratio)
    windows.stand_by_answered(QUERY, GENERATION)
    (window,), _ = windows.take()
    assert (window.shadow_scored, window.shadow_score_sum, window.shadow_score_square_sum) == (2, 1.5, 1.25)
    assert window.stand_by_answered == 1
