"""PURE. Items and outcomes <-> the headers of their messages. What comes in is checked field by field.

The payload travels beside the header (frames.py).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import isfinite

from circinus.errors import InvalidInput, TooLarge
from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.frames import varint
from edge_agent.dataplane.item import (
    MAX_DETAIL_CHARS,
    MAX_ID_CHARS,
    MAX_PARTS,
    MAX_PAYLOAD_BYTES,
    Cause,
    Input,
    Outcome,
    Payload,
    Verdict,
)
from edge_agent.tracing.context import from_wire

MS_PER_S = 1000.0
_DOUBLE = struct.Struct("<d")
#: A deadline further off than this is none (and no sum of seconds that overflows).
_MAX_REMAINING_MS = 24 * 3600 * 1000.0
_KIND_OF = {
    Verdict.ANSWERED: dataplane_pb2.OUTCOME_KIND_ANSWERED,
    Verdict.DROPPED: dataplane_pb2.OUTCOME_KIND_DROPPED,
    Verdict.FAILED: dataplane_pb2.OUTCOME_KIND_FAILED,
}
_KNOWN_CAUSES = frozenset(cause.value for cause in Cause)
_VERDICT_OF = {kind: verdict for verdict, kind in _KIND_OF.items()}


def item_header(one: Input, now_s: float, stream: int = 0) -> bytes:
    """An item's message without its payload, with what is left of its deadline now. ``stream`` 0: it goes whole.

    Most of it is the same for all items of a place, and kept: making it anew costs more than all else.
    """
    generation = one.generation
    same = _same_header(one.query_id, generation.epoch, generation.number, one.operator_id, one.input_name, one.excess)
    request_id = one.request_id.encode()
    header = b"%b\x0a%b%b" % (same, varint(len(request_id)), request_id)
    if one.deadline_s is not None:
        header += b"\x39" + _DOUBLE.pack((one.deadline_s - now_s) * MS_PER_S)
    if one.part or one.parts != 1:
        header += dataplane_pb2.ItemMessage(part=one.part, parts=one.parts).SerializeToString()
    if stream:
        header += dataplane_pb2.ItemMessage(size_bytes=len(one.payload), stream=stream).SerializeToString()
    if one.trace is not None:
        header += dataplane_pb2.ItemMessage(trace=one.trace.wire()).SerializeToString()
    return header


@lru_cache(maxsize=256)
def _same_header(query_id: str, epoch: int, number: int, operator_id: str, input_name: str, excess: bool) -> bytes:
    return dataplane_pb2.ItemMessage(
        query_id=query_id,
        epoch=epoch,
        generation=number,
        operator_id=operator_id,
        input_name=input_name,
        excess=excess,
    ).SerializeToString()


def input_of(header: dataplane_pb2.ItemMessage, payload: Payload, now_s: float) -> Input:
    """The item of a header and its payload.

    Raises:
        InvalidInput: an id is empty or too long, the deadline is not a number, or the part is none of the parts.
        TooLarge: the payload is over the limit.
    """
    remaining_ms = header.remaining_ms if header.HasField("remaining_ms") else None
    if remaining_ms is not None and not isfinite(remaining_ms):
        raise InvalidInput(f"item {header.request_id[:MAX_ID_CHARS]!r}: remaining_ms is {remaining_ms}")
    parts = _parts(header.part, header.parts)
    return Input(
        request_id=_id("request_id", header.request_id),
        query_id=QueryId(_id("query_id", header.query_id)),
        generation=Generation(epoch=header.epoch, number=header.generation),
        operator_id=OperatorId(_id("operator_id", header.operator_id)),
        input_name=OperatorId(_id("input_name", header.input_name)),
        deadline_s=None if remaining_ms is None else now_s + min(remaining_ms, _MAX_REMAINING_MS) / MS_PER_S,
        payload=_payload(payload),
        excess=header.excess,
        part=header.part,
        parts=parts,
        trace=from_wire(header.trace) if header.trace else None,
    )


def outcome_header(outcome: Outcome, stream: int = 0) -> bytes:
    """An outcome's message without its payload. ``stream`` 0: it goes whole."""
    header = dataplane_pb2.OutcomeMessage(
        request_id=outcome.request_id,
        query_id=outcome.query_id,
        generation=outcome.generation_number,
        kind=_KIND_OF[outcome.verdict],
        cause=outcome.cause,
        detail=outcome.detail[:MAX_DETAIL_CHARS],
        operator_id=outcome.operator_id,
        size_bytes=len(outcome.payload) if stream else 0,
        stream=stream,
        part=outcome.part,
        parts=outcome.parts if outcome.parts != 1 else 0,
    ).SerializeToString()
    if outcome.trace is not None:
        header += dataplane_pb2.OutcomeMessage(trace=outcome.trace.wire()).SerializeToString()
    return header


def outcome_of(header: dataplane_pb2.OutcomeMessage, payload: bytes) -> Outcome:
    """The outcome of a header and its payload.

    Raises:
        InvalidInput: an id is empty or too long, or the kind is unknown.
        TooLarge: the payload is over the limit.
    """
    parts = _parts(header.part, header.parts)
    verdict = _VERDICT_OF.get(header.kind)
    if verdict is None:
        raise InvalidInput(f"outcome of item {header.request_id[:MAX_ID_CHARS]!r} has unknown kind {header.kind}")
    return Outcome(
        request_id=_id("request_id", header.request_id),
        query_id=QueryId(_id("query_id", header.query_id)),
        generation_number=header.generation,
        verdict=verdict,
        # Causes become keys of counters: another device must not make them grow without end.
        cause=_cause(header.cause) if verdict is not Verdict.ANSWERED else "",
        detail=header.detail[:MAX_DETAIL_CHARS],
        operator_id=OperatorId(_id("operator_id", header.operator_id)),
        payload=bytes(_payload(payload)),
        part=header.part,
        parts=parts,
        trace=from_wire(header.trace) if header.trace else None,
    )


def _parts(part: int, parts: int) -> int:
    parts = parts or 1
    if parts > MAX_PARTS or part >= parts:
        raise InvalidInput(f"part {part} of {parts} is none; at most {MAX_PARTS} parts may be")
    return parts


def _cause(text: str) -> str:
    return text if text in _KNOWN_CAUSES else "unknown"


def _id(field: str, text: str) -> str:
    if not text:
        raise InvalidInput(f"{field} is empty")
    if len(text) > MAX_ID_CHARS:
        raise InvalidInput(f"{field} has {len(text)} characters, at most {MAX_ID_CHARS} may be")
    return text


def _payload(payload: Payload) -> Payload:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"a payload of {len(payload)} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return payload
