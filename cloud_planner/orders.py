"""How a directive leaves the planner: signed where it has an identity, else as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from circinus.v1 import control_pb2, types_pb2

#: Makes the message with a directive.
Order = Callable[[types_pb2.Directive], Awaitable[control_pb2.ConnectResponse]]


async def unsigned(directive: types_pb2.Directive) -> control_pb2.ConnectResponse:
    """As it is: for agents on loopback in the clear."""
    return control_pb2.ConnectResponse(directive=directive)
