"""PURE. The trace that a sampled item carries: whose child the next span is, and where spans of this device go.

An item that is not sampled carries None, and nobody does anything for it. The context travels in an item's frame beside
the request id: 16 bytes of trace, 8 of the last span, 8 of the moment at which that ended on its device. So the device
that gets the item can tell the hop as one span, from one device's clock to the other's. Callers speak W3C Trace Context
(https://www.w3.org/TR/trace-context/) instead.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

#: What a context has on the wire.
WIRE_BYTES = 32
_NS = struct.Struct(">Q")
_MAX_NS = 2**63
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of an item. Times are nanoseconds since 1970 by the clocks of the devices. ``error`` empty: none.

    ``parent_id`` empty: it is the first of its trace. ``served``: it answers somebody outside.
    """

    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Attribute]
    error: str = ""
    served: bool = False


class Sink(Protocol):
    """Where the spans of a device go."""

    def put(self, span: Span) -> None:
        """Takes a span; it neither waits nor raises."""

    def span_id(self) -> bytes:
        """The id of a new span."""

    def wall_ns(self, at_s: float) -> int:
        """A moment of the monotonic clock as nanoseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """An item's trace as it stands. ``sink`` None: this device exports nothing, and only passes the trace on.

    ``span_id`` is the parent of the next span, ``since_ns`` when that one ended. ``parent_id``: the caller's span.
    """

    trace_id: bytes
    span_id: bytes
    since_ns: int
    parent_id: bytes = b""
    sink: Sink | None = field(default=None, compare=False)

    def span(
        self, name: str, start_s: float, end_s: float, attributes: Mapping[str, Attribute], *, error: str = ""
    ) -> Trace:
        """Tells of a step, in seconds of the monotonic clock; gives the trace with which the item goes on."""
        sink = self.sink
        if sink is None:
            return self
        return self._step(sink, name, sink.wall_ns(start_s), sink.wall_ns(end_s), attributes, error)

    def arrived(self, name: str, now_s: float, attributes: Mapping[str, Attribute], *, error: str = "") -> Trace:
        """Tells of a step that began when the last one ended, perhaps by another device's clock, and ends now."""
        sink = self.sink
        if sink is None:
            return self
        return self._step(sink, name, self.since_ns, sink.wall_ns(now_s), attributes, error)

    def end(
        self, name: str, start_s: float, end_s: float, attributes: Mapping[str, Attribute], *, error: str, served: bool
    ) -> None:
        """Tells of the whole item, under the id that its steps have as their parent."""
        sink = self.sink
        if sink is not None:
            sink.put(
                Span(
                    name=name,
                    trace_id=self.trace_id,
                    span_id=self.span_id,
                    parent_id=self.parent_id,
                    start_ns=sink.wall_ns(start_s),
                    end_ns=sink.wall_ns(end_s),
                    attributes=attributes,
                    error=error,
                    served=served,
                )
            )

    def _step(
        self, sink: Sink, name: str, start_ns: int, end_ns: int, attributes: Mapping[str, Attribute], error: str
    ) -> Trace:
        span_id = sink.span_id()
        sink.put(
            Span(
                name=name,
                trace_id=self.trace_id,
                span_id=span_id,
                parent_id=self.span_id,
                # Of two clocks the one that is ahead must not make a step end before it began.
                start_ns=min(start_ns, end_ns),
                end_ns=end_ns,
                attributes=attributes,
                error=error,
            )
        )
        return replace(self, span_id=span_id, since_ns=end_ns)

    def wire(self) -> bytes:
        """As it travels between devices."""
        return self.trace_id + self.span_id + _NS.pack(self.since_ns)

    @property
    def traceparent(self) -> str:
        """As callers are told it."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-01"


def from_wire(data: bytes) -> Trace | None:
    """The trace that came with an item; None: none did, or it is none that can be."""
    if len(data) < WIRE_BYTES:
        return None
    # A newer agent may say more.
    trace_id, span_id, (since_ns,) = data[:16], data[16:24], _NS.unpack(data[24:WIRE_BYTES])
    if trace_id == _NO_TRACE or span_id == _NO_SPAN or since_ns >= _MAX_NS:
        return None
    return Trace(trace_id=trace_id, span_id=span_id, since_ns=since_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller's traceparent says."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


def asked_of(traceparent: str) -> Asked | None:
    """What a traceparent says; None: there is none, or it is none, and a trace begins anew (as W3C asks)."""
    match = _TRACEPARENT.fullmatch(traceparent.strip()) if len(traceparent) < 300 else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = bytes.fromhex(match[2]), bytes.fromhex(match[3])
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Asked(trace_id=trace_id, span_id=span_id, sampled=bool(int(match[4], 16) & _SAMPLED))


__all__ = ["WIRE_BYTES", "Asked", "Attribute", "Sink", "Span", "Trace", "asked_of", "from_wire"]
