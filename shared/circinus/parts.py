"""An item's parts: a payload is cut along the first axis of its arrays, and what was made of the parts is joined again.

Neither needs numpy: an array's rows stand one after the other, so that to cut is to take slices of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from circinus import layout
from circinus.layout import Buffer, FieldView, TensorView
from circinus.v1 import types_pb2

#: Parts that an item is cut into at most. With more rows than that each part has several.
MAX_PARTS = 8


def cut(fields: Mapping[str, FieldView], by: str, most: int = MAX_PARTS) -> list[Mapping[str, FieldView]]:
    """The parts of a payload: as many as field ``by`` has rows, ``most`` at most, in order; at least one.

    Every array with as many rows is cut with it; all else is given to each part as it is. A payload without the field
    or without rows is its own only part.

    Raises:
        ValueError: the field is no array with a first axis.
    """
    leading = fields.get(by)
    if leading is None:
        return [fields]
    rows = _rows(leading)
    if rows is None:
        raise ValueError(f"fan_out names {by!r}, which is no array: an item is cut along an array's first axis")
    parts = min(rows, most)
    if parts <= 1:
        return [fields]
    bounds = [index * rows // parts for index in range(parts + 1)]
    return [{name: _slice(view, rows, start, end) for name, view in fields.items()} for start, end in pairwise(bounds)]


def join(parts: Sequence[Mapping[str, FieldView]]) -> Mapping[str, FieldView]:
    """One payload of what an operator made of the parts: arrays one after the other, all else as it is in every part.

    Raises:
        ValueError: the parts have other fields, arrays that don't fit together, or other values.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for number, part in enumerate(parts):
        if part.keys() != first.keys():
            raise ValueError(f"part {number} has fields {sorted(part)}, part 0 has {sorted(first)}")
    return {name: _joined(name, [part[name] for part in parts]) for name in first}


def joined_bytes(parts: Sequence[Buffer]) -> bytes:
    """The payload that these payloads are the parts of; raises as ``join`` does, and where they are no payloads."""
    return b"".join(layout.pieces(join([layout.read(part) for part in parts])))


def _rows(view: FieldView) -> int | None:
    return view.shape[0] if isinstance(view, TensorView) and view.shape else None


def _slice(view: FieldView, rows: int, start: int, end: int) -> FieldView:
    if not isinstance(view, TensorView) or _rows(view) != rows:
        return view
    row_bytes = len(view.raw) // rows
    raw = view.raw[start * row_bytes : end * row_bytes]
    return TensorView(dtype=view.dtype, shape=(end - start, *view.shape[1:]), raw=raw)


def _joined(name: str, views: Sequence[FieldView]) -> FieldView:
    arrays = [view for view in views if isinstance(view, TensorView) and view.shape]
    first = views[0]
    if len(arrays) < len(views):
        if any(not _same(view, first) for view in views):
            raise ValueError(
                f"field {name!r} differs between the parts; only arrays are joined, all else must be equal"
            )
        return first
    for view in arrays:
        if (view.dtype, view.shape[1:]) != (arrays[0].dtype, arrays[0].shape[1:]):
            raise ValueError(
                f"field {name!r} is {view.dtype} of shape {view.shape} in one part and {arrays[0].dtype} of shape "
                f"{arrays[0].shape} in another; beyond the first axis they must be equal"
            )
    raw = memoryview(b"".join(view.raw for view in arrays))
    rows = sum(view.shape[0] for view in arrays)
    return TensorView(dtype=arrays[0].dtype, shape=(rows, *arrays[0].shape[1:]), raw=raw)


def _same(one: FieldView, other: FieldView) -> bool:
    if isinstance(one, types_pb2.Field) or isinstance(other, types_pb2.Field):
        return one == other
    return (one.dtype, one.shape, bytes(one.raw)) == (other.dtype, other.shape, bytes(other.raw))
