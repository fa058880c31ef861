"""PURE. The book of outcomes: every item that a source device emits ends in exactly one recorded outcome.

An item is booked when it is emitted. It ends answered (in time), late, dropped or failed; if nothing is heard
of it within max(3 x deadline, 10 s) it failed for time-out. The first outcome stands: whatever comes later for
the same item is a duplicate, ignored and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.item import Cause, Outcome, Verdict

MS_PER_S = 1000.0
_MIN_TIMEOUT_S = 10.0
_TIMEOUT_DEADLINES = 3.0


class Ending(StrEnum):
    """How an item ended, with the time looked at."""

    ANSWERED = "answered"
    LATE = "late"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """An item as it was emitted. ``deadline_ms`` 0: no bound. ``source_key`` is who knows its truth."""

    request_id: str
    sequence: int
    query_id: QueryId
    generation: Generation
    source_key: str
    emitted_at_s: float
    deadline_ms: float
    output_operator_ids: tuple[OperatorId, ...]

    @property
    def timeout_at_s(self) -> float:
        """When it has failed if nothing was heard of it."""
        return self.emitted_at_s + max(_TIMEOUT_DEADLINES * self.deadline_ms / MS_PER_S, _MIN_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The one outcome of an item. ``outputs`` are payloads by output operator; empty unless answered or late."""

    emission: Emission
    ending: Ending
    cause: str = ""
    detail: str = ""
    latency_ms: float
    outputs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Open:
    emission: Emission
    outputs: dict[str, bytes] = field(default_factory=dict)


class Book:
    """The items of one source device that have not ended yet. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self.duplicates = 0

    def emit(self, emission: Emission) -> None:
        """Books an item."""
        self._open[emission.request_id] = _Open(emission=emission)

    def holds(self, request_id: str) -> bool:
        """Whether the item was emitted here and has not ended."""
        return request_id in self._open

    def record(self, outcome: Outcome, now_s: float) -> Ended | None:
        """Takes what one operator says of an item; gives the item's outcome if it ends with this.

        None: outputs of other operators are still missing, or the outcome is a duplicate or of nobody's item.
        """
        entry = self._open.get(outcome.request_id)
        if entry is None or entry.emission.query_id != outcome.query_id:
            self.duplicates += 1
            return None
        emission = entry.emission
        if outcome.verdict is not Verdict.ANSWERED:
            ending = Ending.DROPPED if outcome.verdict is Verdict.DROPPED else Ending.FAILED
            return self._end(emission, ending, now_s, cause=outcome.cause, detail=outcome.detail)
        if outcome.operator_id not in emission.output_operator_ids or outcome.operator_id in entry.outputs:
            self.duplicates += 1
            return None
        entry.outputs[outcome.operator_id] = outcome.payload
        if len(entry.outputs) < len(set(emission.output_operator_ids)):
            return None
        latency_ms = (now_s - emission.emitted_at_s) * MS_PER_S
        in_time = emission.deadline_ms <= 0 or latency_ms <= emission.deadline_ms
        return self._end(emission, Ending.ANSWERED if in_time else Ending.LATE, now_s, outputs=entry.outputs)

    def expire(self, now_s: float) -> list[Ended]:
        """Ends every item of which nothing was heard for too long."""
        overdue = [entry.emission for entry in self._open.values() if entry.emission.timeout_at_s <= now_s]
        detail = "no outcome came back in time"
        return [self._end(one, Ending.FAILED, now_s, cause=Cause.TIMEOUT, detail=detail) for one in overdue]

    def count(self) -> int:
        """How many items have not ended."""
        return len(self._open)

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation have not ended."""
        return sum(1 for entry in self._open.values() if entry.emission.generation < than)

    def _end(
        self,
        emission: Emission,
        ending: Ending,
        now_s: float,
        *,
        cause: str = "",
        detail: str = "",
        outputs: Mapping[str, bytes] | None = None,
    ) -> Ended:
        del self._open[emission.request_id]
        return Ended(
            emission=emission,
            ending=ending,
            cause=cause,
            detail=detail,
            latency_ms=(now_s - emission.emitted_at_s) * MS_PER_S,
            outputs=outputs or {},
        )
