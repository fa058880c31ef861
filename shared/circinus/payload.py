"""Payload <-> its wire form. numpy is imported only if a payload has an array in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from circinus import layout
from circinus.layout import Buffer, FieldView, TensorView
from circinus.operator import Payload
from circinus.v1 import types_pb2

#: An input's name: text, or an operator's id.

#: What may be named in a tensor's dtype; anything else (objects above all) is refused.
_DTYPES = frozenset(
    ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)


def views(payload: Payload) -> dict[str, FieldView]:
    """A payload's fields as they are written; arrays are views of their memory.

    Raises:
        TypeError: it is no mapping, or a field is of a type that can't travel.
    """
    if not isinstance(payload, Mapping):
        raise TypeError(f"a payload is {type(payload).__name__}; it must be a mapping of names to values")
    found: dict[str, FieldView] = {}
    for name, value in payload.items():
        if not isinstance(name, str):
            raise TypeError(f"payload field name {name!r} is {type(name).__name__}; names are text")
        found[name] = _view(name, value)
    return found


def to_message(payload: Payload) -> types_pb2.Payload:
    """A payload's message.

    Raises:
        TypeError: it is no mapping, or a field is of a type that can't travel.
    """
    message = types_pb2.Payload()
    for name, view in views(payload).items():
        layout.fill(message.fields[name], view)
    return message


def _view(name: str, value: Any) -> FieldView:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, bool):
        return types_pb2.Field(flag=value)
    if isinstance(value, int):
        return types_pb2.Field(integer=value)
    if isinstance(value, float):
        return types_pb2.Field(real=value)
    if isinstance(value, str):
        return types_pb2.Field(text=value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return types_pb2.Field(data=bytes(value))
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.name not in _DTYPES:
            raise TypeError(f"payload field {name!r} is an array of {value.dtype}; only plain numbers can travel")
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        raw = numpy.ascontiguousarray(little).reshape(-1).view(numpy.uint8).data
        return TensorView(dtype=value.dtype.name, shape=value.shape, raw=raw)
    raise TypeError(
        f"payload field {name!r} is {type(value).__name__}; use a numpy array, bytes, text, a number or a flag"
    )


def from_message(message: types_pb2.Payload) -> dict[str, Any]:
    """The payload in a message. Arrays are read-only views of the message's bytes.

    Raises:
        ValueError: a tensor's type is unknown, or its bytes are not what its shape needs.
    """
    return {name: _value(name, _tensor_or_field(field)) for name, field in message.fields.items()}


def from_views(fields: Mapping[str, FieldView]) -> dict[str, Any]:
    """The payload that these fields are. Large arrays are read-only views of their memory.

    Raises:
        ValueError: a tensor's type is unknown, or its bytes are not what its shape needs.
    """
    return {name: _value(name, view) for name, view in fields.items()}


def _tensor_or_field(field: types_pb2.Field) -> FieldView:
    if field.WhichOneof("kind") != "tensor":
        return field
    tensor = field.tensor
    return TensorView(dtype=tensor.dtype, shape=tuple(tensor.shape), raw=memoryview(tensor.raw))


def _value(name: str, view: FieldView) -> Any:
    if isinstance(view, types_pb2.Field):
        view = _tensor_or_field(view)
    if isinstance(view, types_pb2.Field):
        return _plain(name, view)
    import numpy as np

    if view.dtype not in _DTYPES:
        raise ValueError(f"payload field {name!r} is a tensor of unknown type {view.dtype!r}")
    dtype = np.dtype(view.dtype).newbyteorder("<")
    needed = dtype.itemsize
    for extent in view.shape:
        needed *= extent
    if needed != len(view.raw):
        raise ValueError(
            f"payload field {name!r}: shape {view.shape} of {view.dtype} needs {needed} bytes, has {len(view.raw)}"
        )
    raw = view.raw if len(view.raw) >= layout.LARGE_BYTES else bytes(view.raw)
    array = np.frombuffer(raw, dtype=dtype).reshape(view.shape)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False  # as all other arrays that come in
    return array


def _plain(name: str, field: types_pb2.Field) -> Any:
    kind = field.WhichOneof("kind")
    if kind is None:
        raise ValueError(f"payload field {name!r} has no value")
    return getattr(field, kind)


def pieces(payload: Payload) -> list[Buffer]:
    """What a payload's bytes consist of, without a copy of its large arrays; ``decode`` reads them joined.

    Raises:
        TypeError: a field is of a type that can't travel.
        ValueError: it would have 2 GiB or more.
    """
    return layout.pieces(views(payload))


def encode(payload: Payload) -> bytes:
    """A payload's bytes, the same for equal payloads.

    Raises:
        TypeError: a field is of a type that can't travel.
    """
    return to_message(payload).SerializeToString(deterministic=True)


def decode(data: Buffer) -> dict[str, Any]:
    """The payload in these bytes. Large arrays are read-only views of them.

    Raises:
        ValueError: they are no payload.
    """
    if isinstance(data, memoryview) or len(data) >= layout.LARGE_BYTES:
        return from_views(layout.read(data))
    message = types_pb2.Payload()
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError's module differs between protobuf's runtimes
        raise ValueError(f"{len(data)} bytes are no payload: {error}") from error
    return from_message(message)


def decode_inputs(inputs: Mapping[Any, Buffer]) -> dict[str, dict[str, Any]]:
    """Payloads by input name, which is any kind of text."""
    return {name: decode(data) for name, data in inputs.items()}
