"""What becomes of items, told to subscribers and sinks. Whoever is slow loses the oldest, and is told how many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from circinus.channel import MAX_PAYLOAD_BYTES
from circinus.errors import NotFound, TooLarge, abort
from circinus.model.query import QueryId
from circinus.v1 import results_pb2, results_pb2_grpc
from edge_agent.dataplane.book import Ended, Ending

if TYPE_CHECKING:
    import grpc.aio

#: What waits for one subscriber at most.
MAX_WAITING = 256
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_SUBSCRIBERS = 64

_ENDINGS = {
    Ending.ANSWERED: results_pb2.ENDING_ANSWERED,
    Ending.LATE: results_pb2.ENDING_LATE,
    Ending.DROPPED: results_pb2.ENDING_DROPPED,
    Ending.FAILED: results_pb2.ENDING_FAILED,
}


class Subscription:
    """One subscriber's results, in order; iterate over it. ``lost`` counts what was let go and not told yet."""

    def __init__(self, *, max_waiting: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[results_pb2.Result, int]] = deque()
        self._size_bytes = 0
        self._lost = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, result: results_pb2.Result, size_bytes: int) -> None:
        """Takes a result; the oldest make room for it."""
        self._waiting.append((result, size_bytes))
        self._size_bytes += size_bytes
        while len(self._waiting) > self._max_waiting or (self._size_bytes > self._max_bytes and len(self._waiting) > 1):
            _, gone_bytes = self._waiting.popleft()
            self._size_bytes -= gone_bytes
            self._lost += 1
        self._changed.set()

    def close(self) -> None:
        """No more results come; those that wait are still given."""
        self._closed = True
        self._changed.set()

    async def next(self) -> tuple[results_pb2.Result, int] | None:
        """The next result, and how many before it were lost; None: there are no more."""
        while not self._waiting:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        result, size_bytes = self._waiting.popleft()
        self._size_bytes -= size_bytes
        lost, self._lost = self._lost, 0
        return result, lost


class Results:
    """Who wants to hear of which query. ``now`` tells the time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._queries: frozenset[QueryId] = frozenset()
        self._subscriptions: dict[QueryId, list[Subscription]] = {}

    def serve(self, queries: Collection[QueryId]) -> None:
        """The queries whose sources this device has, from now on; subscriptions to others end."""
        self._queries = frozenset(queries)
        for query_id in [one for one in self._subscriptions if one not in self._queries]:
            for subscription in self._subscriptions.pop(query_id):
                subscription.close()

    def publish(self, ended: Ended) -> None:
        """Tells of an item's outcome."""
        subscriptions = self._subscriptions.get(ended.emission.query_id)
        if not subscriptions:
            return
        result = result_message(ended, self._now())
        size_bytes = result.ByteSize()
        for subscription in subscriptions:
            subscription.put(result, size_bytes)

    def subscribe(self, query_id: QueryId, subscription: Subscription) -> None:
        """Adds a subscriber.

        Raises:
            NotFound: this device has no source of the query.
            TooLarge: there are too many subscribers.
        """
        if query_id not in self._queries:
            there = ", ".join(sorted(self._queries)[:50]) or "none"
            raise NotFound(f"there is no query {query_id[:100]!r} with its source on this device; there are: {there}")
        if sum(map(len, self._subscriptions.values())) >= MAX_SUBSCRIBERS:
            raise TooLarge(f"there are {MAX_SUBSCRIBERS} subscribers, at most so many may be")
        self._subscriptions.setdefault(query_id, []).append(subscription)

    def unsubscribe(self, query_id: QueryId, subscription: Subscription) -> None:
        """Takes a subscriber away; one that isn't there is none."""
        found = self._subscriptions.get(query_id, [])
        if subscription in found:
            found.remove(subscription)
        if not found:
            self._subscriptions.pop(query_id, None)


def result_message(ended: Ended, now: datetime) -> results_pb2.Result:
    """An item's outcome as its message."""
    emission = ended.emission
    message = results_pb2.Result(
        request_id=emission.request_id,
        sequence=emission.sequence,
        query_id=emission.query_id,
        generation=emission.generation.number,
        ending=_ENDINGS[ended.ending],
        cause=ended.cause,
        detail=ended.detail,
        latency_ms=ended.latency_ms,
    )
    message.ended_at.FromDatetime(now)
    if sum(len(payload) for payload in ended.outputs.values()) > MAX_PAYLOAD_BYTES:
        message.outputs_left_out = True
        return message
    for name, payload in ended.outputs.items():
        message.outputs[name] = bytes(payload)
    return message


class ResultsService(results_pb2_grpc.ResultsServiceServicer):
    """circinus.v1.ResultsService."""

    def __init__(self, results: Results) -> None:
        self._results = results

    async def Subscribe(
        self, request: results_pb2.SubscribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[results_pb2.SubscribeResponse]:
        """Results of a query from now on."""
        query_id = QueryId(request.query_id)
        subscription = Subscription()
        try:
            self._results.subscribe(query_id, subscription)
        except (NotFound, TooLarge) as error:
            await abort(context, error)
        try:
            yield results_pb2.SubscribeResponse()
            while (told := await subscription.next()) is not None:
                yield results_pb2.SubscribeResponse(result=told[0], lost=told[1])
        finally:
            self._results.unsubscribe(query_id, subscription)
