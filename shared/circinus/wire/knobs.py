"""Knob values and configurations."""

from __future__ import annotations

from collections.abc import Mapping

from circinus.errors import InvalidInput
from circinus.knobs import set_knobs
from circinus.model.pipeline import Configuration, KnobValue
from circinus.v1 import types_pb2
from circinus.wire import check

_MAX_KNOBS = 1_000


def knobs_from_map(messages: Mapping[str, types_pb2.KnobValue], *, field: str = "knobs") -> dict[str, KnobValue]:
    """Knobs by name, sorted by name.

    Raises:
        InvalidInput: a value is missing, not finite, or too long.
        TooLarge: there are more than 1,000.
    """
    check.size(field, messages, _MAX_KNOBS)
    knobs: dict[str, KnobValue] = {}
    for name in sorted(messages):
        message = messages[name]
        kind = message.WhichOneof("kind")
        if kind is None:
            raise InvalidInput(f"{field}.{name}: knob has no value")
        value: KnobValue = getattr(message, kind)
        if isinstance(value, str):
            check.text(f"{field}.{name}", value)
        elif isinstance(value, float):
            check.number(f"{field}.{name}", value, low=-1e300, high=1e300)
        knobs[check.name(field, name)] = value
    return knobs


def configuration_to_message(configuration: Configuration) -> types_pb2.Configuration:
    """A configuration's message."""
    message = types_pb2.Configuration()
    set_knobs(message.values, configuration)
    return message


def configuration_from_message(message: types_pb2.Configuration) -> dict[str, KnobValue]:
    """The configuration in a message.

    Raises:
        InvalidInput: a value is missing or bad.
    """
    return knobs_from_map(message.values, field="configuration")
