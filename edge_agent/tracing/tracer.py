"""Which items of this device are traced, and the spans that wait for the collector."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

from circinus.clock import Clock
from circinus.exposition import Histogram
from circinus.model.device import DeviceId
from edge_agent.tracing.context import Span, Trace, asked_of

#: Spans that wait at most: a few megabytes. What comes when it is full is dropped, and counted.
MAX_WAITING = 4_096
_NS_PER_S = 1_000_000_000


class Tracer:
    """Samples items at a ratio (0..1), and takes spans. Nothing here waits or raises."""

    def __init__(self, *, ratio: float, clock: Clock, rng: Random) -> None:
        self._ratio = ratio
        self._clock = clock
        self._rng = rng
        self._waiting: deque[Span] = deque()
        #: Spans that were taken, and those for which there was no room.
        self.taken = self.dropped = 0
        #: How long hops of sampled items took, by the peer they came from.
        self.hops: dict[DeviceId, Histogram] = {}

    def begin(self, traceparent: str = "") -> Trace | None:
        """The trace of a new item; None: it is not traced.

        A caller who has decided decides: an item whose caller samples is traced, one whose caller does not is not.
        """
        asked = asked_of(traceparent) if traceparent else None
        if asked is not None:
            if not asked.sampled:
                return None
            return self._trace(asked.trace_id, asked.span_id)
        if self._ratio <= 0.0 or self._rng.random() >= self._ratio:
            return None
        return self._trace(self._id(128), b"")

    def adopt(self, trace: Trace) -> Trace:
        """A trace that came with an item: what is told of it here goes here."""
        return replace(trace, sink=self)

    def hop(self, peer: DeviceId, since_ns: int, now_s: float) -> None:
        """An item came from a peer, whose last step ended then by its own clock."""
        self.hops.setdefault(peer, Histogram()).add_s(max(0.0, (self.wall_ns(now_s) - since_ns) / _NS_PER_S))

    def put(self, span: Span) -> None:
        """Takes a span."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self.taken += 1
        self._waiting.append(span)

    def span_id(self) -> bytes:
        """The id of a new span."""
        return self._id(64)

    def wall_ns(self, at_s: float) -> int:
        """A moment of the monotonic clock as nanoseconds since 1970."""
        return round((self._clock.now().timestamp() - (self._clock.monotonic_s() - at_s)) * _NS_PER_S)

    def __len__(self) -> int:
        """How many spans wait."""
        return len(self._waiting)

    def take(self, limit: int) -> list[Span]:
        """The oldest spans that wait, at most so many, taken out."""
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def put_back(self, spans: list[Span]) -> None:
        """Spans that could not be sent wait again, first of all, as far as there is room."""
        room = max(0, MAX_WAITING - len(self._waiting))
        kept = spans[len(spans) - min(room, len(spans)) :]
        self.dropped += len(spans) - len(kept)
        self._waiting.extendleft(reversed(kept))

    def lost(self, count: int) -> None:
        """Spans that the collector would not have."""
        self.dropped += count

    def _trace(self, trace_id: bytes, parent_id: bytes) -> Trace:
        since_ns = self.wall_ns(self._clock.monotonic_s())
        return Trace(trace_id=trace_id, span_id=self.span_id(), since_ns=since_ns, parent_id=parent_id, sink=self)

    def _id(self, bits: int) -> bytes:
        # No id is zero.
        return (self._rng.getrandbits(bits) or 1).to_bytes(bits // 8, "big")


__all__ = ["MAX_WAITING", "Tracer"]
