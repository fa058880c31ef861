"""An item on its way, as one device sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId

#: Longest id that may come in from another device.
MAX_ID_CHARS = 200
#: Longest text about an outcome.
MAX_DETAIL_CHARS = 500
#: Largest payload that travels between devices.
MAX_PAYLOAD_BYTES = 3_500_000


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

    ``deadline_s`` is on this device's monotonic clock. ``excess``: above the query's planned rate.
    """

    request_id: str
    query_id: QueryId
    generation: Generation
    operator_id: OperatorId
    input_name: OperatorId
    deadline_s: float | None
    payload: bytes
    excess: bool = False
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An item with all the inputs that one operator needs."""

    request_id: str
    query_id: QueryId
    generation: Generation
    operator_id: OperatorId
    deadline_s: float | None
    inputs: Mapping[str, bytes]
    excess: bool = False
    part: int = 0
    parts: int = 1

    @property
    def size_bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(len(payload) for payload in self.inputs.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an item at one operator, on its way back to the source device."""

    request_id: str
    query_id: QueryId
    generation_number: int
    verdict: Verdict
    cause: str = ""
    detail: str = ""
    operator_id: OperatorId
    payload: bytes = b""
