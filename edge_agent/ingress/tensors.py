"""PURE. Tensors of the Open Inference Protocol <-> payloads of the data plane.

A payload's field is an array, bytes, text or a plain number; a tensor is always an array with a type. So a field that
is no array travels as a tensor of one element: BYTES for bytes and text, FP64, INT64 or BOOL for a number or a flag.
Which of them a tensor of one element becomes is known from the items that the pipeline's own source or feed makes; a
caller may say it with the request's parameter ``kind.NAME``. Without either an array stays an array, and BYTES become
bytes.

Arrays are little endian, row-major, without padding on both sides, so their bytes are only moved.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod

from circinus import layout
from circinus.errors import InvalidInput, Violation
from circinus.layout import FieldView, TensorView
from circinus.v1 import open_inference_pb2, types_pb2

BYTES = "BYTES"
#: numpy's name, bytes of an element, and struct's code and the field of typed contents (None: raw only).
_TYPES: Mapping[str, tuple[str, int, str, str | None]] = {
    "BOOL": ("bool", 1, "?", "bool_contents"),
    "INT8": ("int8", 1, "b", "int_contents"),
    "INT16": ("int16", 2, "h", "int_contents"),
    "INT32": ("int32", 4, "i", "int_contents"),
    "INT64": ("int64", 8, "q", "int64_contents"),
    "UINT8": ("uint8", 1, "B", "uint_contents"),
    "UINT16": ("uint16", 2, "H", "uint_contents"),
    "UINT32": ("uint32", 4, "I", "uint_contents"),
    "UINT64": ("uint64", 8, "Q", "uint64_contents"),
    "FP16": ("float16", 2, "e", None),
    "FP32": ("float32", 4, "f", "fp32_contents"),
    "FP64": ("float64", 8, "d", "fp64_contents"),
}
_DATATYPES = {dtype: datatype for datatype, (dtype, _, _, _) in _TYPES.items()}
_MAX_DIMENSIONS = 32
_MAX_INPUTS = 256
_MAX_ELEMENTS = 2**31
_LENGTH = struct.Struct("<I")


class Kind(StrEnum):
    """What a field of a payload is."""

    TENSOR = "tensor"
    DATA = "data"
    TEXT = "text"
    REAL = "real"
    INTEGER = "integer"
    FLAG = "flag"


_SCALAR_DATATYPES = {
    Kind.DATA: BYTES,
    Kind.TEXT: BYTES,
    Kind.REAL: "FP64",
    Kind.INTEGER: "INT64",
    Kind.FLAG: "BOOL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldShape:
    """What is known of a field: its kind; of an array its type and extents, -1: any."""

    kind: Kind
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def datatype(self) -> str:
        """The protocol's name of its type."""
        return _DATATYPES[self.dtype] if self.kind is Kind.TENSOR else _SCALAR_DATATYPES[self.kind]

    @property
    def extents(self) -> tuple[int, ...]:
        """Its shape as a tensor."""
        return self.shape if self.kind is Kind.TENSOR else (1,)

    def merged(self, other: FieldShape) -> FieldShape:
        """What holds for both; the newer one's type stands."""
        if self.kind is not Kind.TENSOR or other.kind is not Kind.TENSOR or len(self.shape) != len(other.shape):
            return other
        shape = tuple(one if one == two else -1 for one, two in zip(self.shape, other.shape, strict=True))
        return FieldShape(kind=Kind.TENSOR, dtype=other.dtype, shape=shape)


def shapes_of(payload: bytes) -> dict[str, FieldShape]:
    """What a payload's fields are; arrays are not copied.

    Raises:
        ValueError: it is none.
    """
    found: dict[str, FieldShape] = {}
    for name, view in layout.read(payload).items():
        if isinstance(view, TensorView):
            found[name] = FieldShape(kind=Kind.TENSOR, dtype=view.dtype, shape=tuple(view.shape))
        elif view.WhichOneof("kind") == "tensor":
            found[name] = FieldShape(kind=Kind.TENSOR, dtype=view.tensor.dtype, shape=tuple(view.tensor.shape))
        else:
            found[name] = FieldShape(kind=Kind(str(view.WhichOneof("kind"))))
    return found


def fields_of_request(
    request: open_inference_pb2.ModelInferRequest, known: Mapping[str, FieldShape], *, strict: bool
) -> dict[str, FieldView]:
    """The fields that a request's tensors are, by name.

    ``known`` are the fields that are expected; ``strict``: exactly those, of their types.

    Raises:
        InvalidInput: a tensor is wrong; the violations say which and why.
    """
    count = len(request.inputs)
    if not 0 < count <= _MAX_INPUTS:
        raise _wrong("inputs", f"{count} tensors; there must be 1 to {_MAX_INPUTS}")
    raw: Sequence[bytes | None] = [None] * count
    if request.raw_input_contents:
        if len(request.raw_input_contents) != count:
            raise _wrong("raw_input_contents", f"{len(request.raw_input_contents)} entries for {count} inputs")
        raw = request.raw_input_contents
    fields: dict[str, FieldView] = {}
    for tensor, contents in zip(request.inputs, raw, strict=True):
        where = f"input {tensor.name[:100]!r}"
        if not tensor.name or tensor.name in fields:
            raise _wrong(where, "each input needs a name of its own")
        shape = known.get(tensor.name)
        if strict and shape is None:
            raise _wrong(where, f"there is no such input; there are: {', '.join(sorted(known))}")
        fields[tensor.name] = _field(where, tensor, contents, _kind(where, request, tensor.name, shape), shape, strict)
    if strict and (missing := sorted(known.keys() - fields.keys())):
        raise _wrong("inputs", f"missing: {', '.join(missing)}")
    return fields


def _kind(
    where: str, request: open_inference_pb2.ModelInferRequest, name: str, known: FieldShape | None
) -> Kind | None:
    parameter = f"kind.{name}"
    if parameter not in request.parameters:
        return known.kind if known is not None else None
    said = request.parameters[parameter].string_param
    if said not in {*Kind}:
        raise _wrong(where, f"parameter {parameter} is {said[:40]!r}; it must be one of {', '.join(Kind)}")
    return Kind(said)


def _field(
    where: str,
    tensor: open_inference_pb2.ModelInferRequest.InferInputTensor,
    raw: bytes | None,
    kind: Kind | None,
    known: FieldShape | None,
    strict: bool,
) -> FieldView:
    shape = tuple(tensor.shape)
    if len(shape) > _MAX_DIMENSIONS or any(extent < 0 for extent in shape) or prod(shape) > _MAX_ELEMENTS:
        raise _wrong(where, f"shape {list(shape)[:8]} is none of a tensor: extents must be 0 or more, few and small")
    count = prod(shape)
    if tensor.datatype == BYTES:
        return _bytes_field(where, _elements(where, tensor, raw, count), kind)
    if tensor.datatype not in _TYPES:
        raise _wrong(where, f"datatype {tensor.datatype[:20]!r} is unknown; there are {', '.join(_TYPES)} and {BYTES}")
    dtype, size_bytes, code, _ = _TYPES[tensor.datatype]
    data = _numbers(where, tensor, raw, count)
    if len(data) != count * size_bytes:
        raise _wrong(
            where, f"shape {list(shape)} of {tensor.datatype} needs {count * size_bytes} bytes, has {len(data)}"
        )
    if kind in (Kind.DATA, Kind.TEXT):
        raise _wrong(where, f"is {tensor.datatype}; send {BYTES} with one element")
    if kind in (Kind.REAL, Kind.INTEGER, Kind.FLAG) or (kind is None and not shape):
        if count != 1:
            raise _wrong(where, f"has {count} elements; it must be one {kind or 'number'}")
        return _scalar(where, struct.unpack(f"<{code}", data)[0], kind)
    if strict and known is not None and known.kind is Kind.TENSOR:
        if dtype != known.dtype:
            raise _wrong(where, f"is {tensor.datatype}; it must be {known.datatype}")
        if len(shape) != len(known.shape):
            raise _wrong(where, f"has shape {list(shape)}; it must have {len(known.shape)} dimensions")
    # A view: megabytes of pixels are copied once, when the item's bytes are put together.
    return TensorView(dtype=dtype, shape=shape, raw=memoryview(data))


def _numbers(
    where: str, tensor: open_inference_pb2.ModelInferRequest.InferInputTensor, raw: bytes | None, count: int
) -> bytes:
    if raw is not None:
        if tensor.HasField("contents"):
            raise _wrong(where, "has contents both raw and typed; send one of them")
        return raw
    _, _, code, field = _TYPES[tensor.datatype]
    if field is None:
        raise _wrong(where, f"{tensor.datatype} has no typed contents; send raw_input_contents")
    values = getattr(tensor.contents, field)
    if len(values) != count:
        raise _wrong(where, f"shape {list(tensor.shape)} needs {count} values in contents.{field}, has {len(values)}")
    try:
        return struct.pack(f"<{count}{code}", *values)
    except struct.error as error:
        raise _wrong(where, f"a value is no {tensor.datatype}: {error}") from error


def _elements(
    where: str, tensor: open_inference_pb2.ModelInferRequest.InferInputTensor, raw: bytes | None, count: int
) -> list[bytes]:
    if raw is None:
        found = list(tensor.contents.bytes_contents)
    else:
        found, at = [], 0
        while at < len(raw):
            if at + _LENGTH.size > len(raw):
                raise _wrong(where, "raw contents end in the middle of a length")
            (length,) = _LENGTH.unpack_from(raw, at)
            at += _LENGTH.size
            if length > len(raw) - at:
                raise _wrong(
                    where, f"an element of {length} bytes is cut off; each is preceded by its length (4 bytes)"
                )
            found.append(raw[at : at + length])
            at += length
    if len(found) != count:
        raise _wrong(where, f"shape {list(tensor.shape)} needs {count} elements, has {len(found)}")
    return found


def _bytes_field(where: str, elements: Sequence[bytes], kind: Kind | None) -> types_pb2.Field:
    if len(elements) != 1:
        raise _wrong(where, f"has {len(elements)} elements of {BYTES}; a field of an item is one: use shape [1]")
    if kind is Kind.TEXT:
        try:
            return types_pb2.Field(text=elements[0].decode())
        except UnicodeDecodeError as error:
            raise _wrong(where, f"is no text in UTF-8: {error}") from error
    if kind not in (None, Kind.DATA):
        raise _wrong(where, f"is {BYTES}; it must be {'an array' if kind is Kind.TENSOR else f'one {kind}'}")
    return types_pb2.Field(data=elements[0])


def _scalar(where: str, value: bool | int | float, kind: Kind | None) -> types_pb2.Field:
    if kind is None:
        kind = Kind.FLAG if isinstance(value, bool) else Kind.INTEGER if isinstance(value, int) else Kind.REAL
    if kind is Kind.REAL:
        return types_pb2.Field(real=float(value))
    if kind is Kind.FLAG:
        return types_pb2.Field(flag=bool(value))
    if isinstance(value, float) and not value.is_integer():
        raise _wrong(where, f"is {value!r}; it must be a whole number")
    if not -(2**63) <= value < 2**63:
        raise _wrong(where, f"is {value!r}; a whole number of a field has 64 bits")
    return types_pb2.Field(integer=int(value))


def add_output(response: open_inference_pb2.ModelInferResponse, name: str, field: FieldView) -> None:
    """Adds a field to a response, with raw contents."""
    if isinstance(field, TensorView):
        response.outputs.add(name=name, datatype=_DATATYPES[field.dtype], shape=field.shape)
        response.raw_output_contents.append(bytes(field.raw))
        return
    kind = str(field.WhichOneof("kind"))
    if kind == "tensor":
        response.outputs.add(name=name, datatype=_DATATYPES[field.tensor.dtype], shape=list(field.tensor.shape))
        response.raw_output_contents.append(field.tensor.raw)
        return
    datatype = _SCALAR_DATATYPES[Kind(kind)]
    value = getattr(field, kind)
    if datatype == BYTES:
        data = value.encode() if isinstance(value, str) else value
        raw = _LENGTH.pack(len(data)) + data
    else:
        raw = struct.pack(f"<{_TYPES[datatype][2]}", value)
    response.outputs.add(name=name, datatype=datatype, shape=[1])
    response.raw_output_contents.append(raw)


def _wrong(where: str, message: str) -> InvalidInput:
    return InvalidInput(f"{where}: {message}", (Violation(field=where, message=message),))
