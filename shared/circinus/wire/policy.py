"""What the owner of a device allows, as its fingerprint says."""

from __future__ import annotations

from circinus.model.pipeline import PipelineId
from circinus.model.policy import Policy
from circinus.v1 import types_pb2
from circinus.wire import check


def policy_to_message(policy: Policy) -> types_pb2.Policy:
    """A policy's message."""
    return types_pb2.Policy(
        allowed_pipelines=policy.allowed_pipelines,
        max_cores=policy.max_cores,
        max_memory_bytes=policy.max_memory_bytes,
        data_stays=policy.data_stays,
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
    )
