"""PURE. One message of a stream between devices <-> its bytes.

The bytes are those of PeerFrame; a test holds both ways against protobuf itself. They are put together here by hand
because protobuf copies a payload twice on each side (into the message and out of it): for a payload of 1 MB that is as
long as the socket takes. Here a payload is copied once on each side, or not at all where it is joined later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from circinus.errors import InvalidInput
from circinus.v1 import dataplane_pb2

#: Frames up to here are left to protobuf: its copies cost less than our loop.
_BY_HAND_BYTES = 8 * 1024
_MAX_LENGTH_BYTES = 5
#: Keys of the fields: ``items``, ``outcomes``, ``credits`` and ``chunks`` of the message, ``payload`` of the first two,
#: ``data`` of a chunk. A payload goes before the rest of its message, so that it is found without a search.
_ITEMS, _OUTCOMES, _CREDITS, _CHUNKS = (number << 3 | 2 for number in (2, 3, 4, 5))
_PAYLOAD, _DATA = 8 << 3 | 2, 2 << 3 | 2
_PAYLOAD_KEYS = {_ITEMS: _PAYLOAD, _OUTCOMES: _PAYLOAD, _CHUNKS: _DATA}

#: Parts of a frame, to be joined once.
Parts = list[bytes | memoryview]


@dataclass(slots=True, kw_only=True)
class Frame:
    """What came in one message. A payload may be a view of the message's bytes."""

    hello: dataplane_pb2.PeerHello | None = None
    items: list[tuple[dataplane_pb2.ItemMessage, bytes | memoryview]] = field(default_factory=list)
    outcomes: list[tuple[dataplane_pb2.OutcomeMessage, bytes | memoryview]] = field(default_factory=list)
    credits: Sequence[dataplane_pb2.CreditReturn] = ()
    chunks: list[tuple[dataplane_pb2.Chunk, bytes | memoryview]] = field(default_factory=list)


def add_item(parts: Parts, header: bytes, payload: bytes | memoryview) -> None:
    """Adds an item; ``header`` is its message without the payload."""
    _add(parts, _ITEMS, header, _PAYLOAD, payload)


def add_outcome(parts: Parts, header: bytes, payload: bytes | memoryview) -> None:
    """Adds an outcome; ``header`` is its message without the payload."""
    _add(parts, _OUTCOMES, header, _PAYLOAD, payload)


def add_chunk(parts: Parts, stream: int, data: bytes | memoryview) -> None:
    """Adds what follows of a payload."""
    _add(parts, _CHUNKS, dataplane_pb2.Chunk(stream=stream).SerializeToString(), _DATA, data)


def add_abandoned(parts: Parts, stream: int) -> None:
    """Adds the word that no more comes of a payload."""
    _add(parts, _CHUNKS, dataplane_pb2.Chunk(stream=stream, abandoned=True).SerializeToString(), _DATA, b"")


def add_credit(parts: Parts, query_id: str, size_bytes: int, items: int) -> None:
    """Adds credit that is free again."""
    back = dataplane_pb2.CreditReturn(query_id=query_id, bytes=size_bytes, items=items)
    _add(parts, _CREDITS, back.SerializeToString(), 0, b"")


def padding_frame(size_bytes: int) -> bytes:
    """A message of about so many bytes that means nothing."""
    return dataplane_pb2.PeerFrame(padding=bytes(size_bytes)).SerializeToString()


def hello_frame(hello: dataplane_pb2.PeerHello) -> bytes:
    """The first message."""
    return dataplane_pb2.PeerFrame(hello=hello).SerializeToString()


def decode(data: bytes | bytearray) -> Frame:
    """The message in these bytes.

    Raises:
        InvalidInput: they are none.
    """
    try:
        if len(data) > _BY_HAND_BYTES and (frame := _as_we_send(data)) is not None:
            return frame
        return _whole(data)
    except DecodeError as error:
        raise InvalidInput(f"{len(data)} bytes came that are no message: {error}") from error


def _whole(data: bytes | bytearray) -> Frame:
    """Any message, by protobuf."""
    message = dataplane_pb2.PeerFrame.FromString(bytes(data))
    return Frame(
        hello=message.hello if message.HasField("hello") else None,
        items=[(one, one.payload) for one in message.items],
        outcomes=[(one, one.payload) for one in message.outcomes],
        credits=message.credits,
        chunks=[(one, one.data) for one in message.chunks],
    )


def _as_we_send(data: bytes | bytearray) -> Frame | None:
    """A message laid out as ours are, its payloads left where they are; None: it is laid out in another way."""
    frame, view, at, size = Frame(), memoryview(data), 0, len(data)
    credits_back = []
    while at < size:
        key = data[at]
        length, at = _read_length(data, at + 1, size)
        if length < 0:
            return None
        end = at + length
        if key == _CREDITS:
            credits_back.append(dataplane_pb2.CreditReturn.FromString(bytes(data[at:end])))
            at = end
            continue
        payload, rest = view[:0], at
        if key not in _PAYLOAD_KEYS:
            return None
        if at < end and data[at] == _PAYLOAD_KEYS[key]:
            payload_length, start = _read_length(data, at + 1, end)
            if payload_length < 0:
                return None
            rest = start + payload_length
            payload = view[start:rest]
        header = bytes(data[rest:end])
        if key == _ITEMS:
            item = dataplane_pb2.ItemMessage.FromString(header)
            frame.items.append((item, item.payload or payload))
        elif key == _OUTCOMES:
            outcome = dataplane_pb2.OutcomeMessage.FromString(header)
            frame.outcomes.append((outcome, outcome.payload or payload))
        else:
            chunk = dataplane_pb2.Chunk.FromString(header)
            frame.chunks.append((chunk, chunk.data or payload))
        at = end
    frame.credits = credits_back
    return frame


def _read_length(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """A length that ends before ``end``, and where what it is of begins; -1: there is none."""
    value = 0
    for index in range(min(_MAX_LENGTH_BYTES, end - at)):
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            start = at + index + 1
            return (value, start) if start + value <= end else (-1, at)
    return -1, at


def varint(value: int) -> bytes:
    """A number of 0 or more, as protobuf writes it."""
    if value < 0x80:
        return bytes((value,))
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _add(parts: Parts, key: int, header: bytes, payload_key: int, payload: bytes | memoryview) -> None:
    size = len(payload)
    if size == 0:
        parts.append(b"%c%b%b" % (key, varint(len(header)), header))
        return
    before = b"%c%b" % (payload_key, varint(size))
    parts.append(b"%c%b%b" % (key, varint(len(before) + size + len(header)), before))
    parts.append(payload)
    parts.append(header)
