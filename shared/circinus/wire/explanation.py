"""Explanations. They are documents (docs/explain.md): the messages have the same fields under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from circinus.v1 import planner_pb2, types_pb2
from circinus.wire.knobs import configuration_from_message, configuration_to_message

if TYPE_CHECKING:
    from google.protobuf.message import Message


def explanation_to_message(document: Mapping[str, Any]) -> planner_pb2.ExplainResponse:
    """An explanation's message.

    Raises:
        KeyError: the document lacks a field.
    """
    message = planner_pb2.ExplainResponse()
    _fill(message, document)
    return message


def explanation_from_message(message: planner_pb2.ExplainResponse) -> dict[str, Any]:
    """The explanation in a message. What is not there is None.

    Raises:
        InvalidInput: a knob is bad.
    """
    return _document(message)


def rival_from_message(message: planner_pb2.ExplainedRival) -> dict[str, Any]:
    """One plan that was not chosen, as an explanation has it.

    Raises:
        InvalidInput: a knob is bad.
    """
    return _document(message)


def _fill(message: Message, document: Mapping[str, Any]) -> None:
    if isinstance(message, types_pb2.Configuration):
        message.CopyFrom(configuration_to_message(document))
        return
    for field in message.DESCRIPTOR.fields:
        value = document[field.name]
        if value is None:
            continue
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                getattr(message, field.name).extend(value)
            else:
                setattr(message, field.name, value)
        elif field.is_repeated:
            for entry in value:
                _fill(getattr(message, field.name).add(), entry)
        else:
            part = getattr(message, field.name)
            part.SetInParent()
            _fill(part, value)


def _document(message: Message) -> dict[str, Any]:
    if isinstance(message, types_pb2.Configuration):
        return dict(configuration_from_message(message))
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        nested = field.type == FieldDescriptor.TYPE_MESSAGE
        if field.is_repeated:
            found[field.name] = [_document(entry) for entry in value] if nested else list(value)
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = _document(value) if nested else value
    return found
