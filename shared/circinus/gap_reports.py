"""What a planner tells of telemetry that was lost before it was told, as values and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from circinus.v1 import control_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryGap:
    """A time whose telemetry is missing, and why; ``query_id`` empty: of all that a device served; 0: unknown."""

    query_id: str
    generation: int
    cause: str
    start: datetime
    end: datetime
    messages: int
    emitted: int


def gaps_from_messages(messages: Iterable[control_pb2.TelemetryGap]) -> tuple[TelemetryGap, ...]:
    """The gaps in messages."""
    return tuple(
        TelemetryGap(
            query_id=message.query_id,
            generation=message.generation,
            cause=message.cause,
            start=message.start.ToDatetime(tzinfo=UTC),
            end=message.end.ToDatetime(tzinfo=UTC),
            messages=message.messages,
            emitted=message.emitted,
        )
        for message in messages
    )


def gaps_summary(gaps: Sequence[TelemetryGap]) -> str:
    """How much is missing and why, on one line."""
    lacking_s = sum((gap.end - gap.start).total_seconds() for gap in gaps)
    emitted = sum(gap.emitted for gap in gaps)
    causes = ", ".join(sorted({gap.cause for gap in gaps}))
    items = f", with {emitted:,} items or more" if emitted else ""
    return f"telemetry of up to {lacking_s:.0f} s is missing ({causes}){items}"
