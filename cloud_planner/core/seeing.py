"""Windows -> what was seen of a query under a generation. PURE.

Left out is what says nothing of the promise: the first seconds, in which processes warm up, and windows in which the
offered load was not as planned. Items above the planned rate are told apart by the source; a window with more than a
few of them is left out whole, since all items of it shared the queues.
"""

from __future__ import annotations

from circinus.sketch import add_message
from circinus.v1 import planner_pb2, types_pb2

#: So long after the first item of a generation nothing counts.
WARM_UP_S = 4.0
#: How far the items of a window may be off the planned rate, relative, and always by so many.
OFF_PLAN_RATIO = 0.25
OFF_PLAN_ITEMS = 3.0
#: The largest share of excess items.
EXCESS_RATIO = 0.05


def see_query(seen: planner_pb2.Seen, window: types_pb2.QueryWindow, rate_per_s: float) -> None:
    """Adds a query's window to what was seen. ``rate_per_s``: the planned one."""
    seen.bytes_sent += window.bytes_sent
    seen.shadow_score_sum += window.shadow_score_sum
    seen.shadow_score_square_sum += window.shadow_score_square_sum
    seen.shadow_scored += window.shadow_scored
    if window.duration_s <= 0.0:
        return  # another device than the source's
    start_s = _start_s(window)
    if window.emitted and not seen.first_at_s:
        seen.first_at_s = start_s
    expected = rate_per_s * window.duration_s
    warm = bool(seen.first_at_s) and start_s >= seen.first_at_s + WARM_UP_S
    on_plan = abs(window.emitted - expected) <= max(OFF_PLAN_ITEMS, OFF_PLAN_RATIO * expected)
    if not warm or not on_plan or window.excess_emitted > EXCESS_RATIO * window.emitted or window.stand_by_answered:
        seen.windows_left_out += 1
        return
    seen.windows += 1
    seen.duration_s += window.duration_s
    seen.emitted += window.emitted
    seen.answered += window.answered
    seen.late += window.late
    seen.dropped += sum(window.dropped_by_cause.values())
    seen.failed += sum(window.failed_by_cause.values())
    seen.score_sum += sum(window.scores_ratio)
    seen.scored += len(window.scores_ratio)
    add_message(seen.latency_ms, window.latency_ms)


def see_operator(seen: planner_pb2.Seen, device_id: str, window: types_pb2.OperatorWindow) -> None:
    """Adds an operator's window, as a device has it, to what was seen of the query."""
    if not seen.first_at_s or _start_s(window) < seen.first_at_s + WARM_UP_S:
        return
    key = (window.operator_id, device_id)
    found = next((one for one in seen.operators if (one.operator_id, one.device_id) == key), None)
    if found is None:
        found = seen.operators.add(operator_id=window.operator_id, device_id=device_id)
    found.items += window.items
    found.cpu_ms_sum += window.cpu_ms_sum
    found.output_bytes += window.output_bytes
    found.memory_bytes = max(found.memory_bytes, window.memory_bytes)
    found.failures += window.failures
    for cause, count in window.dropped_by_cause.items():
        found.dropped_by_cause[cause] += count
    add_message(found.service_ms, window.service_ms)
    add_message(found.queue_ms, window.queue_ms)


def _start_s(window: types_pb2.QueryWindow | types_pb2.OperatorWindow) -> float:
    return window.start.seconds + window.start.nanos / 1e9
