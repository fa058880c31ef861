"""Payloads on their way to and from a process of this device: shared memory is handed on by its file."""

from __future__ import annotations

from collections.abc import Sequence

from circinus.v1 import worker_pb2
from edge_agent.dataplane.item import Payload
from edge_agent.dataplane.shared import SharedFile, SharedMemory, SharedPayload


class Handing:
    """What one request hands to a process. Keeps the files open until it is let go."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._numbers: dict[int, int] = {}
        self._payloads: list[SharedPayload] = []

    @property
    def files(self) -> list[int]:
        """The files that go with the request."""
        return list(self._numbers)

    def put(self, payload: Payload) -> worker_pb2.LocalPayload:
        """A payload's place. A large one from another device is brought into shared memory: one copy, not five."""
        if not isinstance(payload, SharedPayload):
            shared = self._memory.of_bytes([payload]) if len(payload) >= self._memory.from_bytes > 0 else None
            if shared is None:
                return worker_pb2.LocalPayload(inline=bytes(payload))
            payload = shared
        self._payloads.append(payload)
        number = self._numbers.setdefault(payload.file.fd, len(self._numbers))
        segment = worker_pb2.Segment(file=number, offset=payload.offset, size_bytes=payload.size_bytes)
        return worker_pb2.LocalPayload(segment=segment)


def taken(local: worker_pb2.LocalPayload, files: Sequence[SharedFile]) -> Payload:
    """The payload that a reply names.

    Raises:
        ValueError: a file that didn't come, or a place that isn't in it.
    """
    return segment_taken(local.segment, files) if local.WhichOneof("place") == "segment" else local.inline


def segment_taken(segment: worker_pb2.Segment, files: Sequence[SharedFile]) -> Payload:
    """The payload in a segment that a reply names; raises as ``taken`` does."""
    if segment.file >= len(files):
        raise ValueError(f"the reply names file {segment.file} of {len(files)}")
    return files[segment.file].payload(segment.offset, segment.size_bytes)
