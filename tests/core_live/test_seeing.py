from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.seeing import WARM_UP_S, see_operator, see_query


def window(at_s: float, *, emitted: int = 10, latency_ms: float = 20.0, **changes: object) -> types_pb2.QueryWindow:
    values = {"duration_s": 2.0, "answered": emitted, "scores_ratio": [0.5], **changes}
    made = types_pb2.QueryWindow(
        query_id="q", emitted=emitted, latency_ms=Sketch([latency_ms] * emitted).message(), **values
    )
    made.start.seconds = 1_000_000 + int(at_s)
    return made


def operator(at_s: float, items: int) -> types_pb2.OperatorWindow:
    made = types_pb2.OperatorWindow(query_id="q", operator_id="read", items=items, duration_s=2.0)
    made.service_ms.CopyFrom(Sketch([5.0] * items).message())
    made.dropped_by_cause["deadline"] = 1
    made.start.seconds = 1_000_000 + int(at_s)
    return made


def seen_of(*windows: types_pb2.QueryWindow, rate_per_s: float = 5.0) -> planner_pb2.Seen:
    seen = planner_pb2.Seen()
    for one in windows:
        see_query(seen, one, rate_per_s)
    return seen


def test_the_first_seconds_do_not_count() -> None:
    early = [window(at_s, latency_ms=500.0) for at_s in (0.0, WARM_UP_S / 2)]
    seen = seen_of(*early, window(WARM_UP_S), window(WARM_UP_S + 2))
    assert (seen.windows, seen.windows_left_out, seen.answered, seen.duration_s) == (2, 2, 20, 4.0)
    assert Sketch.of(seen.latency_ms).max == 20.0
    assert (seen.score_sum, seen.scored) == (1.0, 2)


def test_windows_off_the_planned_rate_or_with_excess_do_not_count() -> None:
    first = window(0.0)
    wild = [window(10.0, emitted=30), window(12.0, emitted=0), window(14.0, excess_emitted=5)]
    by_stand_by = window(16.0, stand_by_answered=1)
    seen = seen_of(first, *wild, by_stand_by, window(20.0))
    assert (seen.windows, seen.answered) == (1, 10)


def test_bytes_of_other_devices_add_no_time() -> None:
    elsewhere = types_pb2.QueryWindow(query_id="q", bytes_sent=500)
    seen = seen_of(window(0.0), window(10.0, bytes_sent=100), elsewhere)
    assert (seen.bytes_sent, seen.duration_s) == (600, 2.0)


def test_operators_are_told_apart_by_device() -> None:
    seen = seen_of(window(0.0), window(10.0))
    see_operator(seen, "edge", operator(0.0, 50))
    for device_id in ("edge", "edge", "cloud"):
        see_operator(seen, device_id, operator(10.0, 4))
    found = {one.device_id: one for one in seen.operators}
    assert {device_id: one.items for device_id, one in found.items()} == {"edge": 8, "cloud": 4}
    assert Sketch.of(found["edge"].service_ms).count == 8
    assert dict(found["edge"].dropped_by_cause) == {"deadline": 2}
