"""Knobs into their message, with nothing but protobuf: an operator's environment need not have grpcio."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from circinus.model.pipeline import KnobValue
from circinus.v1 import types_pb2


def set_knobs(into: MutableMapping[str, types_pb2.KnobValue], knobs: Mapping[str, KnobValue]) -> None:
    """Writes knobs into a message's map."""
    for name, value in knobs.items():
        message = into[name]
        # bool first: it is an int, too.
        if isinstance(value, bool):
            message.flag = value
        elif isinstance(value, int):
            message.integer = value
        elif isinstance(value, float):
            message.real = value
        else:
            message.text = value
