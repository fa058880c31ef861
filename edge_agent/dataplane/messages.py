"""PURE. Items and outcomes <-> their messages. What comes in is checked field by field."""

from __future__ import annotations

from math import isfinite

from circinus.errors import InvalidInput, TooLarge
from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.item import MAX_DETAIL_CHARS, MAX_ID_CHARS, MAX_PAYLOAD_BYTES, Cause, Input, Outcome, Verdict

MS_PER_S = 1000.0
#: A deadline further off than this is none (and no sum of seconds that overflows).
_MAX_REMAINING_MS = 24 * 3600 * 1000.0
_KIND_OF = {
    Verdict.ANSWERED: dataplane_pb2.OUTCOME_KIND_ANSWERED,
    Verdict.DROPPED: dataplane_pb2.OUTCOME_KIND_DROPPED,
    Verdict.FAILED: dataplane_pb2.OUTCOME_KIND_FAILED,
}
_KNOWN_CAUSES = frozenset(cause.value for cause in Cause)
_VERDICT_OF = {kind: verdict for verdict, kind in _KIND_OF.items()}


def item_message(one: Input, now_s: float) -> dataplane_pb2.ItemMessage:
    """An item's message, with what is left of its deadline now."""
    return dataplane_pb2.ItemMessage(
        request_id=one.request_id,
        query_id=one.query_id,
        epoch=one.generation.epoch,
        generation=one.generation.number,
        operator_id=one.operator_id,
        input_name=one.input_name,
        remaining_ms=None if one.deadline_s is None else (one.deadline_s - now_s) * MS_PER_S,
        payload=one.payload,
    )


def input_of(message: dataplane_pb2.ItemMessage, now_s: float) -> Input:
    """The item in a message.

    Raises:
        InvalidInput: an id is empty or too long, or the deadline is not a number.
        TooLarge: the payload is over the limit.
    """
    remaining_ms = message.remaining_ms if message.HasField("remaining_ms") else None
    if remaining_ms is not None and not isfinite(remaining_ms):
        raise InvalidInput(f"item {message.request_id[:MAX_ID_CHARS]!r}: remaining_ms is {remaining_ms}")
    return Input(
        request_id=_id("request_id", message.request_id),
        query_id=QueryId(_id("query_id", message.query_id)),
        generation=Generation(epoch=message.epoch, number=message.generation),
        operator_id=OperatorId(_id("operator_id", message.operator_id)),
        input_name=OperatorId(_id("input_name", message.input_name)),
        deadline_s=None if remaining_ms is None else now_s + min(remaining_ms, _MAX_REMAINING_MS) / MS_PER_S,
        payload=_payload(message.payload),
    )


def outcome_message(outcome: Outcome) -> dataplane_pb2.OutcomeMessage:
    """An outcome's message."""
    return dataplane_pb2.OutcomeMessage(
        request_id=outcome.request_id,
        query_id=outcome.query_id,
        generation=outcome.generation_number,
        kind=_KIND_OF[outcome.verdict],
        cause=outcome.cause,
        detail=outcome.detail[:MAX_DETAIL_CHARS],
        operator_id=outcome.operator_id,
        payload=outcome.payload,
    )


def outcome_of(message: dataplane_pb2.OutcomeMessage) -> Outcome:
    """The outcome in a message.

    Raises:
        InvalidInput: an id is empty or too long, or the kind is unknown.
        TooLarge: the payload is over the limit.
    """
    verdict = _VERDICT_OF.get(message.kind)
    if verdict is None:
        raise InvalidInput(f"outcome of item {message.request_id[:MAX_ID_CHARS]!r} has unknown kind {message.kind}")
    return Outcome(
        request_id=_id("request_id", message.request_id),
        query_id=QueryId(_id("query_id", message.query_id)),
        generation_number=message.generation,
        verdict=verdict,
        # Causes become keys of counters: another device must not make them grow without end.
        cause=_cause(message.cause) if verdict is not Verdict.ANSWERED else "",
        detail=message.detail[:MAX_DETAIL_CHARS],
        operator_id=OperatorId(_id("operator_id", message.operator_id)),
        payload=_payload(message.payload),
    )


def _cause(text: str) -> str:
    return text if text in _KNOWN_CAUSES else "unknown"


def _id(field: str, text: str) -> str:
    if not text:
        raise InvalidInput(f"{field} is empty")
    if len(text) > MAX_ID_CHARS:
        raise InvalidInput(f"{field} has {len(text)} characters, at most {MAX_ID_CHARS} may be")
    return text


def _payload(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"a payload of {len(payload)} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return payload
