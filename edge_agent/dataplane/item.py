"""An item on its way, as one device sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from zlib import crc32

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.shared import SharedPayload
from edge_agent.tracing.context import Trace

#: A serialised circinus.v1.Payload: bytes, or a place in shared memory. Whoever only passes it on needs ``len()``;
#: ``bytes()`` gives its bytes, a slice some of them.
Payload = bytes | SharedPayload

#: Longest id that may come in from another device.
MAX_ID_CHARS = 200
#: Longest text about an outcome.
MAX_DETAIL_CHARS = 500
#: Largest payload that travels between devices.
MAX_PAYLOAD_BYTES = 32 * 1024 * 1024

#: Parts that an item may be split into.
MAX_PARTS = 4096


class Verdict(StrEnum):
    """How an item ended, before anybody looked at the time."""

    ANSWERED = "answered"
    DROPPED = "dropped"
    FAILED = "failed"


class Cause(StrEnum):
    """Why an item was dropped or failed."""

    QUEUE_FULL = "queue_full"
    DEADLINE = "deadline"
    LINK_FULL = "link_full"
    #: Above the planned rate, and worth less than what it would have kept waiting.
    SHED = "shed"
    OPERATOR_RAISED = "operator_raised"
    OPERATOR_DIED = "operator_died"
    OPERATOR_HUNG = "operator_hung"
    LINK_DOWN = "link_down"
    NO_ROUTE = "no_route"
    ITEM_TOO_LARGE = "item_too_large"
    BAD_OUTPUT = "bad_output"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of one operator for one item, or for one of its ``parts``.

    ``deadline_s`` is on this device's monotonic clock. ``excess``: above the query's planned rate. ``trace`` None: the
    item is not sampled.
    """

    request_id: str
    query_id: QueryId
    generation: Generation
    operator_id: OperatorId
    input_name: OperatorId
    deadline_s: float | None
    payload: Payload
    excess: bool = False
    part: int = 0
    parts: int = 1
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An item, or one of its ``parts``, with all the inputs that one operator needs.

    ``gathered`` are inputs that came in parts, which the operator gets as one. The output is cut by the field
    ``split_by``; empty: it isn't. ``whole``: beside that somebody wants it in one piece.
    """

    request_id: str
    query_id: QueryId
    generation: Generation
    operator_id: OperatorId
    deadline_s: float | None
    inputs: Mapping[str, Payload]
    excess: bool = False
    part: int = 0
    parts: int = 1
    gathered: Mapping[str, tuple[Payload, ...]] = field(default_factory=dict)
    split_by: str = ""
    whole: bool = True
    trace: Trace | None = None

    @property
    def is_counted(self) -> bool:
        """Whether figures are taken of it: windows count items, so one part of each, any of them, stands for all."""
        return self.parts == 1 or crc32(self.request_id.encode()) % self.parts == self.part

    @property
    def size_bytes(self) -> int:
        """Bytes of all inputs."""
        parts = (part for parts in self.gathered.values() for part in parts)
        return sum(len(payload) for payload in (*self.inputs.values(), *parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an item, or one of its ``parts``, at one operator, on its way back to the source device."""

    request_id: str
    query_id: QueryId
    generation_number: int
    verdict: Verdict
    cause: str = ""
    detail: str = ""
    operator_id: OperatorId
    payload: bytes = b""
    part: int = 0
    parts: int = 1
    trace: Trace | None = None
