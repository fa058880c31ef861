"""What is shown of a payload: its fields by name, type, shape and size, and, where that is allowed, their beginnings.

PURE. It looks at the payload where it lies, and copies no more than it shows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from circinus.layout import FieldView, TensorView
from circinus.v1 import control_pb2, types_pb2

#: Fields of one payload, and characters of a value and of a name.
MAX_FIELDS = 32
MAX_PREVIEW_CHARS = 200
_MAX_NAME_CHARS = 100
_MAX_AXES = 16
#: Numbers of an array that are shown.
_NUMBERS = 8

_FORMATS: Mapping[str, str] = {
    "bool": "?",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}
_TYPES = {"text": "text", "data": "bytes", "integer": "integer", "real": "real", "flag": "flag"}


def shown(name: str, size_bytes: int, views: Mapping[str, FieldView], *, values: bool) -> control_pb2.TappedPayload:
    """A payload as it is shown."""
    message = control_pb2.TappedPayload(name=name[:_MAX_NAME_CHARS], size_bytes=size_bytes)
    names = sorted(views)
    message.fields_left_out = max(0, len(names) - MAX_FIELDS)
    message.fields.extend(_field(one, views[one], values=values) for one in names[:MAX_FIELDS])
    return message


def whole(view: FieldView) -> bytes | memoryview:
    """The bytes of a field of bytes or of an array; none of another."""
    if isinstance(view, TensorView):
        return view.raw
    kind = view.WhichOneof("kind")
    if kind == "tensor":
        return view.tensor.raw
    return view.data if kind == "data" else b""


def _field(name: str, view: FieldView, *, values: bool) -> control_pb2.TappedField:
    field = control_pb2.TappedField(name=name[:_MAX_NAME_CHARS])
    if isinstance(view, types_pb2.Field) and view.WhichOneof("kind") == "tensor":
        tensor = view.tensor
        view = TensorView(dtype=tensor.dtype, shape=tuple(tensor.shape), raw=memoryview(tensor.raw))
    if isinstance(view, TensorView):
        field.type = view.dtype if view.dtype in _FORMATS else "unknown"
        field.shape.extend(view.shape[:_MAX_AXES])
        field.size_bytes = len(view.raw)
        if values:
            field.preview, field.cut = _numbers(view)
        return field
    kind = view.WhichOneof("kind") or ""
    field.type = _TYPES.get(kind, "unknown")
    if kind == "text":
        field.size_bytes = len(view.text.encode())
        if values:
            field.preview, field.cut = view.text[:MAX_PREVIEW_CHARS], len(view.text) > MAX_PREVIEW_CHARS
    elif kind == "data":
        field.size_bytes = len(view.data)
        if values:
            field.preview, field.cut = _beginning(view.data)
    elif kind:
        field.size_bytes = 1 if kind == "flag" else 8
        if values:
            field.preview = str(getattr(view, kind)).lower() if kind == "flag" else f"{getattr(view, kind)}"
    return field


def _beginning(data: bytes) -> tuple[str, bool]:
    """Text as text, such as JSON; anything else as hexadecimal digits."""
    head = data[:MAX_PREVIEW_CHARS]
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # A character that is cut in two is text all the same.
        text = head[: error.start].decode() if error.start > len(head) - 4 and len(data) > len(head) else ""
    if text and all(char.isprintable() or char in "\n\r\t" for char in text):
        return text, len(data) > len(head)
    return head[:16].hex(" "), len(data) > 16


def _numbers(view: TensorView) -> tuple[str, bool]:
    """The first numbers of an array."""
    size_bytes = struct.calcsize(f"<{_FORMATS[view.dtype]}") if view.dtype in _FORMATS else 0
    if not size_bytes:
        return "", False
    held = len(view.raw) // size_bytes
    count = min(_NUMBERS, held)
    found = struct.unpack_from(f"<{count}{_FORMATS[view.dtype]}", view.raw)
    text = " ".join(f"{one:.4g}" if isinstance(one, float) else str(one).lower() for one in found)
    return text, held > count
