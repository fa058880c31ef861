"""PURE. The book of outcomes: every item that a source device emits ends in exactly one recorded outcome.

An item is booked when it is emitted. It ends answered (in time), late, dropped or failed; if nothing is heard
of it within max(3 x deadline, 10 s) it failed for time-out. The first outcome stands: whatever comes later for
the same item is a duplicate, ignored and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.parts import joined_bytes
from edge_agent.dataplane.item import Cause, Outcome, Verdict
from edge_agent.tracing.context import Trace

MS_PER_S = 1000.0
#: Stands where no operator is known.
NOWHERE = OperatorId("")
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
    """An item as it was emitted. ``deadline_ms`` 0: no bound. ``source_key`` is who knows its truth.

    ``excess``: above the query's planned rate. ``readers``: so many queries read the item, each of which books it.
    ``given_by``: operators that another query's run does for this one, and what the source is, to that query.
    """

    request_id: str
    sequence: int
    query_id: QueryId
    generation: Generation
    source_key: str
    emitted_at_s: float
    deadline_ms: float
    output_operator_ids: tuple[OperatorId, ...]
    excess: bool = False
    readers: int = 1
    given_by: Mapping[OperatorId, QueryId] = field(default_factory=dict)
    trace: Trace | None = None

    @property
    def timeout_at_s(self) -> float:
        """When it has failed if nothing was heard of it."""
        return self.emitted_at_s + max(_TIMEOUT_DEADLINES * self.deadline_ms / MS_PER_S, _MIN_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The one outcome of an item. ``outputs`` are payloads by output operator; empty unless answered or late.

    ``operator_id``: where it was dropped or failed; empty: nobody said.
    """

    emission: Emission
    ending: Ending
    cause: str = ""
    detail: str = ""
    latency_ms: float
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    operator_id: OperatorId = NOWHERE


@dataclass(slots=True, kw_only=True)
class _Open:
    emission: Emission
    outputs: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def joined(self, outcome: Outcome) -> bytes | None:
        """Takes a part of an answer; gives the answer when it was the last one that was missing.

        Raises:
            ValueError: the parts don't fit together.
        """
        known = self.parts.setdefault(outcome.operator_id, {})
        known.setdefault(outcome.part, outcome.payload)
        if len(known) < outcome.parts:
            return None
        del self.parts[outcome.operator_id]
        return joined_bytes([known[part] for part in sorted(known)])


class Book:
    """The items of one source device that have not ended yet. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[QueryId, str], _Open] = OrderedDict()
        #: Open items that depend on another query's run, by request id.
        self._given: dict[str, dict[QueryId, Emission]] = {}
        self.duplicates = 0

    def emit(self, emission: Emission) -> None:
        """Books an item."""
        self._open[emission.query_id, emission.request_id] = _Open(emission=emission)
        if emission.given_by:
            self._given.setdefault(emission.request_id, {})[emission.query_id] = emission

    def holds(self, request_id: str) -> bool:
        """Whether the item was emitted here and has not ended for some query."""
        return any(name == request_id for _, name in self._open)

    def for_all(self, outcome: Outcome) -> list[Outcome]:
        """What one run says of an item, for each query that depends on the run: whose it is first."""
        found = [outcome]
        for query_id, emission in self._given.get(outcome.request_id, {}).items():
            given = emission.given_by.get(outcome.operator_id) == outcome.query_id
            if given and (
                outcome.verdict is not Verdict.ANSWERED or outcome.operator_id in emission.output_operator_ids
            ):
                found.append(replace(outcome, query_id=query_id))
        return found

    def record(self, outcome: Outcome, now_s: float) -> Ended | None:
        """Takes what one operator says of an item; gives the item's outcome if it ends with this.

        None: outputs of other operators are still missing, or the outcome is a duplicate or of nobody's item.
        """
        entry = self._open.get((outcome.query_id, outcome.request_id))
        if entry is None:
            # Of an item in parts only the first bad end counts; those of other parts are no second outcome of it.
            self.duplicates += outcome.parts == 1
            return None
        emission = entry.emission
        if outcome.verdict is not Verdict.ANSWERED:
            ending = Ending.DROPPED if outcome.verdict is Verdict.DROPPED else Ending.FAILED
            return self._end(
                emission, ending, now_s, cause=outcome.cause, detail=outcome.detail, operator_id=outcome.operator_id
            )
        if outcome.operator_id not in emission.output_operator_ids or outcome.operator_id in entry.outputs:
            self.duplicates += 1
            return None
        payload = outcome.payload
        if outcome.parts > 1:
            try:
                joined = entry.joined(outcome)
            except ValueError as error:
                return self._end(
                    emission,
                    Ending.FAILED,
                    now_s,
                    cause=Cause.BAD_OUTPUT,
                    detail=f"the answer's parts can't be joined: {error}",
                    operator_id=outcome.operator_id,
                )
            if joined is None:
                return None
            payload = joined
        entry.outputs[outcome.operator_id] = payload
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
        operator_id: OperatorId = NOWHERE,
    ) -> Ended:
        del self._open[emission.query_id, emission.request_id]
        given = self._given.get(emission.request_id)
        if given is not None:
            given.pop(emission.query_id, None)
            if not given:
                del self._given[emission.request_id]
        return Ended(
            emission=emission,
            ending=ending,
            cause=cause,
            detail=detail,
            latency_ms=(now_s - emission.emitted_at_s) * MS_PER_S,
            outputs=outputs or {},
            operator_id=operator_id,
        )
