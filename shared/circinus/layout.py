"""A payload's bytes without copies: written as pieces, read as views, cut and joined along the first axis.

The bytes are a serialised circinus.v1.Payload, and any protobuf library reads them. What is done here by hand is to
leave large arrays where they are: protobuf's own code copies every bytes field, once when it writes and once when it
reads. Large arrays stand last, each with a pad before it so that its numbers begin at a multiple of ``ALIGNMENT_BYTES``
from the start (Arrow and safetensors do likewise), whatever the process's memory they are mapped to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from circinus.v1 import types_pb2

#: Where the numbers of a large array begin: what any vector instruction wants, and a cache line.
ALIGNMENT_BYTES = 64
#: Arrays of fewer bytes are copied: a view would keep all of the memory for their sake.
LARGE_BYTES = 4096

#: Bytes, or a view of bytes.
Buffer = bytes | memoryview

_FIELDS_TAG = 0x0A
_KEY_TAG = 0x0A
_VALUE_TAG = 0x12
_TENSOR_TAG = 0x0A
_DTYPE_TAG = 0x0A
_SHAPE_TAG = 0x12
_RAW_TAG = 0x1A
_PAD_TAG = 0x22
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorView:
    """An array as it stands in a payload's bytes."""

    dtype: str
    shape: tuple[int, ...]
    raw: memoryview


#: A field as it is read here: a large or small array in place, or anything else as its message.
FieldView = TensorView | types_pb2.Field


def pieces(fields: Mapping[str, FieldView]) -> list[Buffer]:
    """What a payload's bytes consist of, in order; arrays are not copied.

    Raises:
        ValueError: it would have 2 GiB or more.
    """
    small = types_pb2.Payload()
    large: list[tuple[str, TensorView]] = []
    for name in sorted(fields):
        view = fields[name]
        if isinstance(view, TensorView) and len(view.raw) >= LARGE_BYTES:
            large.append((name, view))
        else:
            fill(small.fields[name], view)
    found: list[Buffer] = [small.SerializeToString(deterministic=True)]
    offset = len(found[0])
    for name, view in large:
        head = _head(name, view, offset)
        found += (head, view.raw)
        offset += len(head) + len(view.raw)
    if offset > _MOST_BYTES:
        raise ValueError(f"a payload of {offset} bytes can't be written; at most {_MOST_BYTES} can")
    return found


def fill(field: types_pb2.Field, view: FieldView) -> None:
    """Fills a field's message; copies an array."""
    if isinstance(view, types_pb2.Field):
        field.CopyFrom(view)
        return
    field.tensor.dtype = view.dtype
    field.tensor.shape.extend(view.shape)
    field.tensor.raw = bytes(view.raw)


def read(data: Buffer) -> dict[str, FieldView]:
    """The fields of a payload; arrays are views of its bytes.

    Raises:
        ValueError: the bytes are no payload.
    """
    try:
        return _read(memoryview(data))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{len(data)} bytes are no payload: {error}") from error


def _read(data: memoryview) -> dict[str, FieldView]:
    found: dict[str, FieldView] = {}
    for tag, entry in _fields(data):
        if tag != _FIELDS_TAG:
            continue
        name, value = "", memoryview(b"")
        for inner, part in _fields(entry):
            if inner == _KEY_TAG:
                name = str(part, "utf-8")
            elif inner == _VALUE_TAG:
                value = part
        found[name] = _field(value)
    return found


def _field(data: memoryview) -> FieldView:
    if len(data) == 0 or data[0] != _TENSOR_TAG:
        return _parsed(data)
    (_, tensor), *rest = _fields(data)
    if rest:  # nobody writes a field of several kinds; protobuf knows what it means
        return _parsed(data)
    dtype, shape, raw = "", types_pb2.Tensor(), memoryview(b"")
    for tag, part in _fields(tensor):
        if tag == _DTYPE_TAG:
            dtype = str(part, "utf-8")
        elif tag == _RAW_TAG:
            raw = part
        elif tag == _SHAPE_TAG:
            shape.MergeFromString(bytes((_SHAPE_TAG, *_varint(len(part)))) + bytes(part))
        elif tag != _PAD_TAG:
            return _parsed(data)
    return TensorView(dtype=dtype, shape=tuple(shape.shape), raw=raw)


def _parsed(data: memoryview) -> types_pb2.Field:
    field = types_pb2.Field()
    try:
        field.ParseFromString(bytes(data))
    except Exception as error:  # DecodeError's module differs between protobuf's runtimes
        raise ValueError(f"a field of {len(data)} bytes can't be read: {error}") from error
    return field


def _head(name: str, view: TensorView, offset: int) -> bytes:
    """All that stands before the array's numbers. Lengths have five digits each, so that none depends on the pad."""
    key = _chunk(_KEY_TAG, name.encode())
    shape = b"".join(_varint(extent) for extent in view.shape)
    described = _chunk(_DTYPE_TAG, view.dtype.encode()) + _chunk(_SHAPE_TAG, shape)
    # Three lengths before the tensor, the pad's own head, and the length of the numbers.
    fixed = 6 + len(key) + 6 + 6 + len(described) + 2 + 6
    pad = -(offset + fixed) % ALIGNMENT_BYTES
    tensor = described + bytes((_PAD_TAG, pad)) + bytes(pad) + _long(_RAW_TAG, len(view.raw))
    tensor_bytes = len(tensor) + len(view.raw)
    value = _long(_VALUE_TAG, tensor_bytes + 6) + _long(_TENSOR_TAG, tensor_bytes)
    return _long(_FIELDS_TAG, len(key) + 12 + tensor_bytes) + key + value + tensor


def _chunk(tag: int, data: bytes) -> bytes:
    return bytes((tag, *_varint(len(data)))) + data


def _long(tag: int, length: int) -> bytes:
    """A tag and a length of five digits, which protobuf reads as it does a shorter one."""
    digits = [0x80 | (length >> shift & 0x7F) for shift in (0, 7, 14, 21)]
    return bytes((tag, *digits, length >> 28 & 0x0F))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(0x80 | value & 0x7F)
        value >>= 7
    found.append(value)
    return bytes(found)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The tag of each field with its bytes; of numbers, that stand nowhere in a payload but in shapes, their own."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _LENGTH:
            length, at = _read_varint(data, at)
        elif kind == _VARINT:
            _, end = _read_varint(data, at)
            length = end - at
            if tag == _SHAPE_TAG & ~7:  # a shape that isn't packed
                tag = _SHAPE_TAG
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise IndexError(f"kind {kind} of a field is unknown")
        if at + length > len(data):
            raise IndexError(f"a field ends at {at + length}, the bytes at {len(data)}")
        yield tag, data[at : at + length]
        at += length


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        digit = data[at]
        at += 1
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return value, at
    raise IndexError("a number has more than ten digits")


def size_of(buffers: Sequence[Buffer]) -> int:
    """Bytes of all pieces."""
    return sum(len(buffer) for buffer in buffers)
