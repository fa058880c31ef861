"""Made-up accounts of the board's queries: promises, and what was seen of them."""

import random
from datetime import timedelta

from circinus.clock import SystemClock
from circinus.model.directive import Generation
from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.store import AccountRecord

PLACES = (("cut", "camera"), ("read", "box"))
ITEMS = 120


def records(count=60, seed=3):
    """So many accounts, newest first; every ninth saw nothing."""
    chance, now = random.Random(seed), SystemClock().now()
    return [
        AccountRecord(
            generation=Generation(epoch=1, number=1_000 - at),
            query_id="gate" if at % 3 else "yard",
            created_at=now - timedelta(minutes=at),
            promise=_promise(latency_ms := chance.choice([40.0, 90.0, 400.0]) * chance.uniform(0.8, 1.2), chance),
            seen=_seen(latency_ms * chance.uniform(0.85, 1.3), chance) if at % 9 else planner_pb2.Seen(),
        )
        for at in range(count)
    ]


def put(board, found):
    """Has the board's planner know them."""
    board.run(board.overview.store.put_accounts(found))
    board.run(board.overview.accounts.load())


def _promise(latency_ms, chance):
    promise = planner_pb2.Promise(
        pipeline_id="words",
        content="plain",
        rate_per_s=5.0,
        latency_ms=latency_ms,
        spread_ratio=0.1,
        sampling_ratio=1.0,
        freedom=8.0,
        accuracy_error_ratio=0.01,
        slo=types_pb2.Slo(latency_ms=latency_ms * chance.uniform(0.9, 1.5), percentile_ratio=0.95, accuracy_ratio=0.85),
    )
    promise.plan.query_id = "gate"
    promise.plan.latency_ms.CopyFrom(_interval(latency_ms))
    promise.plan.latency_p50_ms = latency_ms * 0.6
    promise.plan.accuracy_ratio.CopyFrom(types_pb2.Interval(value=0.9, low=0.88, high=0.92))
    promise.plan.certainty = types_pb2.CERTAINTY_CERTIFIED
    for operator_id, device_id in PLACES:
        promise.operators.add(
            operator_id=operator_id, device_id=device_id, service_ms=_interval(20.0), share_ratio=1.0, output_bytes=3e3
        )
    return promise


def _seen(latency_ms, chance):
    seen = planner_pb2.Seen(
        duration_s=24.0, emitted=ITEMS, answered=ITEMS - 2, late=2, scored=60, score_sum=60 * chance.uniform(0.86, 0.93)
    )
    seen.latency_ms.CopyFrom(Sketch([latency_ms * chance.uniform(0.4, 1.02) for _ in range(ITEMS)]).message())
    for operator_id, device_id in PLACES:
        found = seen.operators.add(
            operator_id=operator_id, device_id=device_id, items=ITEMS, output_bytes=3_100 * ITEMS, memory_bytes=2**26
        )
        found.service_ms.CopyFrom(Sketch([20.0 * chance.uniform(0.9, 1.2) for _ in range(ITEMS)]).message())
        found.queue_ms.CopyFrom(Sketch([2.0] * ITEMS).message())
    return seen


def _interval(value):
    return types_pb2.Interval(value=value, low=value * 0.85, high=value * 1.15)
