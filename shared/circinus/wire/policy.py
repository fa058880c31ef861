"""What the owner of a device allows, as its fingerprint says."""

from __future__ import annotations

from circinus.errors import InvalidInput
from circinus.model.pipeline import PipelineId
from circinus.model.policy import Policy, Tap
from circinus.v1 import types_pb2
from circinus.wire import check


def policy_to_message(policy: Policy) -> types_pb2.Policy:
    """A policy's message."""
    return types_pb2.Policy(
        allowed_pipelines=policy.allowed_pipelines,
        max_cores=policy.max_cores,
        max_memory_bytes=policy.max_memory_bytes,
        data_stays=policy.data_stays,
        tap=policy.tap,
        hides_logs=not policy.logs,
    )


def policy_from_message(message: types_pb2.Policy) -> Policy:
    """The policy in a message.

    Raises:
        InvalidInput: a field is bad.
        TooLarge: a list is too long.
    """
    for field, names in (("allowed_pipelines", message.allowed_pipelines), ("data_stays", message.data_stays)):
        check.size(f"policy.{field}", names, 1_000)
        for one in names:
            check.name(f"policy.{field}", one)
    return Policy(
        allowed_pipelines=tuple(PipelineId(one) for one in message.allowed_pipelines),
        max_cores=check.number("policy.max_cores", message.max_cores, high=100_000),
        max_memory_bytes=message.max_memory_bytes,
        data_stays=tuple(PipelineId(one) for one in message.data_stays),
        tap=_tap(message.tap),
        logs=not message.hides_logs,
    )


def _tap(text: str) -> Tap:
    if not text:
        return Tap.SHAPES
    if text not in set(Tap):
        raise InvalidInput(f"policy.tap: {text[:40]!r} is none of {', '.join(Tap)}")
    return Tap(text)
