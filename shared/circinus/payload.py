"""Payload <-> its wire form. numpy is imported only if a payload has an array in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from circinus.operator import Payload
from circinus.v1 import types_pb2

#: An input's name: text, or an operator's id.
Name = TypeVar("Name", bound=str)

#: What may be named in a tensor's dtype; anything else (objects above all) is refused.
_DTYPES = frozenset(
    ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)


def to_message(payload: Payload) -> types_pb2.Payload:
    """A payload's message.

    Raises:
        TypeError: it is no mapping, or a field is of a type that can't travel.
    """
    if not isinstance(payload, Mapping):
        raise TypeError(f"a payload is {type(payload).__name__}; it must be a mapping of names to values")
    message = types_pb2.Payload()
    for name, value in payload.items():
        if not isinstance(name, str):
            raise TypeError(f"payload field name {name!r} is {type(name).__name__}; names are text")
        _set_field(message.fields[name], name, value)
    return message


def _set_field(field: types_pb2.Field, name: str, value: Any) -> None:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, bool):
        field.flag = value
    elif isinstance(value, int):
        field.integer = value
    elif isinstance(value, float):
        field.real = value
    elif isinstance(value, str):
        field.text = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        field.data = bytes(value)
    elif numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.name not in _DTYPES:
            raise TypeError(f"payload field {name!r} is an array of {value.dtype}; only plain numbers can travel")
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        field.tensor.dtype = value.dtype.name
        field.tensor.shape.extend(value.shape)
        field.tensor.raw = numpy.ascontiguousarray(little).tobytes()
    else:
        raise TypeError(
            f"payload field {name!r} is {type(value).__name__}; use a numpy array, bytes, text, a number or a flag"
        )


def from_message(message: types_pb2.Payload) -> dict[str, Any]:
    """The payload in a message. Arrays are read-only views of the message's bytes.

    Raises:
        ValueError: a tensor's type is unknown, or its bytes are not what its shape needs.
    """
    return {name: _get_field(name, field) for name, field in message.fields.items()}


def _get_field(name: str, field: types_pb2.Field) -> Any:
    kind = field.WhichOneof("kind")
    if kind is None:
        raise ValueError(f"payload field {name!r} has no value")
    if kind != "tensor":
        return getattr(field, kind)
    import numpy as np

    tensor = field.tensor
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"payload field {name!r} is a tensor of unknown type {tensor.dtype!r}")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    shape = tuple(tensor.shape)
    needed = dtype.itemsize
    for extent in shape:
        needed *= extent
    if needed != len(tensor.raw):
        raise ValueError(
            f"payload field {name!r}: shape {shape} of {tensor.dtype} needs {needed} bytes, has {len(tensor.raw)}"
        )
    return np.frombuffer(tensor.raw, dtype=dtype).reshape(shape)


def encode(payload: Payload) -> bytes:
    """A payload's bytes, the same for equal payloads.

    Raises:
        TypeError: a field is of a type that can't travel.
    """
    return to_message(payload).SerializeToString(deterministic=True)


def decode(data: bytes) -> dict[str, Any]:
    """The payload in these bytes.

    Raises:
        ValueError: they are no payload.
    """
    message = types_pb2.Payload()
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError's module differs between protobuf's runtimes
        raise ValueError(f"{len(data)} bytes are no payload: {error}") from error
    return from_message(message)


def decode_inputs(inputs: Mapping[Name, bytes]) -> dict[str, dict[str, Any]]:
    """Payloads by input name."""
    return {name: decode(data) for name, data in inputs.items()}
