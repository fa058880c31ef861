"""Payloads between an agent and its processes, as a process sees them: in the message, or in shared memory."""

from __future__ import annotations

from collections.abc import Sequence

from circinus.layout import ALIGNMENT_BYTES, Buffer, size_of
from circinus.v1 import worker_pb2
from edge_agent.memory_files import close_files, map_file, write_file

_NO_SHARING = worker_pb2.Sharing()


class Incoming:
    """The files that came with one message. What is taken of them stays when they are closed."""

    def __init__(self, files: Sequence[int] = ()) -> None:
        self._files = list(files)

    def segment(self, segment: worker_pb2.Segment) -> memoryview:
        """A payload's bytes, mapped.

        Raises:
            ValueError: the message names a file that didn't come, or a place that isn't in it.
            OSError: it can't be mapped.
        """
        if segment.file >= len(self._files):
            raise ValueError(f"file {segment.file} of {len(self._files)} is not there")
        return map_file(self._files[segment.file], segment.offset, segment.size_bytes)

    def payload(self, local: worker_pb2.LocalPayload) -> Buffer:
        """A payload's bytes, wherever they are; raises as ``segment`` does."""
        return self.segment(local.segment) if local.WhichOneof("place") == "segment" else local.inline

    def close(self) -> None:
        """Closes the files."""
        close_files(self._files)
        self._files.clear()


class Outgoing:
    """What one reply has in shared memory, as its request allows. ``inline_bytes`` is what it has beside that."""

    def __init__(self, sharing: worker_pb2.Sharing = _NO_SHARING) -> None:
        self.files: list[int] = []
        self.inline_bytes = 0
        self._from_bytes = sharing.from_bytes
        self._left_bytes = sharing.most_bytes

    def put(self, pieces: Sequence[Buffer]) -> worker_pb2.LocalPayload:
        """Takes a payload's bytes."""
        return self.put_all([pieces])[0]

    def put_all(self, payloads: Sequence[Sequence[Buffer]]) -> list[worker_pb2.LocalPayload]:
        """Takes payloads that are let go of together: they share a file."""
        sizes = [size_of(pieces) for pieces in payloads]
        segments: list[worker_pb2.LocalPayload] = []
        buffers: list[Buffer] = []
        at = 0
        for pieces, size_bytes in zip(payloads, sizes, strict=True):
            segment = worker_pb2.Segment(file=len(self.files), offset=at, size_bytes=size_bytes)
            segments.append(worker_pb2.LocalPayload(segment=segment))
            buffers += pieces
            gap = -size_bytes % ALIGNMENT_BYTES
            buffers.append(bytes(gap))
            at += size_bytes + gap
        if 0 < self._from_bytes <= at <= self._left_bytes:
            try:
                self.files.append(write_file(buffers))
            except OSError:
                pass  # no memory for it, or no descriptor: in line, then
            else:
                self._left_bytes -= at
                return segments
        self.inline_bytes += sum(sizes)
        return [worker_pb2.LocalPayload(inline=b"".join(pieces)) for pieces in payloads]

    def close(self) -> None:
        """Closes the files; they have been sent."""
        close_files(self.files)
        self.files.clear()
