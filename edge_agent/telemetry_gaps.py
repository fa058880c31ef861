"""What telemetry was lost before it was told: by query, generation and cause. PURE.

A ledger that silently lacks an hour is wrong; one that says which hour it lacks is only incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from circinus.v1 import control_pb2, types_pb2

#: More are told as one, of everything that the device served.
MAX_GAPS = 1_000
#: query id, generation, cause.
Key = tuple[str, int, str]
_Window = types_pb2.QueryWindow | types_pb2.OperatorWindow


@dataclass(slots=True, kw_only=True)
class Gap:
    """From when to when (wall clock, seconds), and how much."""

    start_s: float
    end_s: float
    messages: int = 0
    emitted: int = 0

    def add(self, other: Gap) -> None:
        """Takes in another one."""
        self.start_s, self.end_s = min(self.start_s, other.start_s), max(self.end_s, other.end_s)
        self.messages += other.messages
        self.emitted += other.emitted


class Gaps:
    """Gaps that the planner has not been told of."""

    def __init__(self) -> None:
        self._gaps: dict[Key, Gap] = {}

    def __bool__(self) -> bool:
        return bool(self._gaps)

    def items(self) -> list[tuple[Key, Gap]]:
        """All, in order."""
        return sorted(self._gaps.items())

    def copy(self) -> Gaps:
        """These, to be added to without a change here."""
        other = Gaps()
        for key, gap in self._gaps.items():
            other.add(key, replace(gap))
        return other

    def add(self, key: Key, gap: Gap) -> None:
        """Notes one."""
        if key not in self._gaps and len(self._gaps) >= MAX_GAPS:
            key = ("", 0, key[2])
        known = self._gaps.get(key)
        if known is None:
            self._gaps[key] = gap
        else:
            known.add(gap)

    def add_message(self, body: bytes, cause: str, made_at_s: float) -> None:
        """Notes a message of telemetry that was let go."""
        message = control_pb2.Telemetry()
        try:
            message.ParseFromString(body)
        except Exception:  # protobuf's DecodeError differs between its runtimes
            self.add(("", 0, cause), Gap(start_s=made_at_s, end_s=made_at_s, messages=1))
            return
        found: dict[Key, Gap] = {}
        windows: list[_Window] = [*message.queries, *message.operators]
        for window in windows:
            key, gap = (window.query_id, window.generation, cause), _gap_of(window)
            if key in found:
                found[key].add(gap)
            else:
                found[key] = gap
        for key, gap in found.items():
            gap.messages = 1
            self.add(key, gap)

    def message(self) -> control_pb2.Telemetry:
        """What the planner is told."""
        message = control_pb2.Telemetry()
        for (query_id, generation, cause), gap in self.items():
            told = message.gaps.add(
                query_id=query_id, generation=generation, cause=cause, messages=gap.messages, emitted=gap.emitted
            )
            told.start.FromNanoseconds(round(max(0.0, gap.start_s) * 1e9))
            told.end.FromNanoseconds(round(max(0.0, gap.start_s, gap.end_s) * 1e9))
        return message


def of_rows(rows: Iterable[tuple[str, int, str, float, float, int, int]]) -> Gaps:
    """Gaps as they were written down: query id, generation, cause, start, end, messages, emitted."""
    gaps = Gaps()
    for query_id, generation, cause, start_s, end_s, messages, emitted in rows:
        gap = Gap(start_s=start_s, end_s=end_s, messages=messages, emitted=emitted)
        gaps.add((query_id, generation, cause), gap)
    return gaps


def _gap_of(window: _Window) -> Gap:
    start_s = window.start.seconds + window.start.nanos / 1e9
    emitted = window.emitted if isinstance(window, types_pb2.QueryWindow) else 0
    return Gap(start_s=start_s, end_s=start_s + max(0.0, window.duration_s), emitted=emitted)
