"""PURE. Payloads that come in chunks, from one peer: put together within bounds, or refused by name.

Nothing is set aside for what is only announced: memory grows with the bytes that came. What stops half way is forgotten
when it is too old, when its sender gives it up, or with its stream.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from circinus.errors import InvalidInput, TooLarge
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES

#: Largest chunk.
MAX_CHUNK_BYTES = 1024 * 1024
#: Smallest chunk but for the last: each costs memory beside its bytes.
MIN_CHUNK_BYTES = 4 * 1024
#: Payloads in assembly for one peer, and their bytes.
MAX_OPEN = 64
MAX_OPEN_BYTES = 64 * 1024 * 1024
#: A payload of which nothing came for so long is given up.
MAX_SILENCE_S = 30.0

Header = TypeVar("Header")


@dataclass(slots=True, kw_only=True)
class _Open(Generic[Header]):
    header: Header
    size_bytes: int
    seen_at_s: float
    came_bytes: int = 0
    chunks: list[bytes | memoryview] = field(default_factory=list)


class Assembly(Generic[Header]):
    """The payloads of one stream that are not whole yet, each with its header."""

    def __init__(
        self, *, max_open: int = MAX_OPEN, max_bytes: int = MAX_OPEN_BYTES, max_payload_bytes: int = MAX_PAYLOAD_BYTES
    ) -> None:
        #: Bytes that are held.
        self.size_bytes = 0
        self._max_open = max_open
        self._max_bytes = max_bytes
        self._max_payload_bytes = max_payload_bytes
        self._open: OrderedDict[int, _Open[Header]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, stream: int, header: Header, size_bytes: int, first: bytes | memoryview, now_s: float) -> None:
        """Takes the first chunk of a payload of so many bytes.

        Raises:
            InvalidInput: the number is 0 or in use, or the chunk is too small or does not fit the length.
            TooLarge: the payload is too large, or too much is in assembly.
        """
        if stream == 0 or stream in self._open:
            raise InvalidInput(f"a payload's number is {stream}: it is 0, or in use on this stream")
        if size_bytes > self._max_payload_bytes:
            raise TooLarge(f"a payload of {size_bytes} bytes is over the limit of {self._max_payload_bytes}")
        if len(self._open) >= self._max_open:
            raise TooLarge(f"{len(self._open)} payloads are in assembly, at most {self._max_open} may be")
        if not 0 < len(first) < size_bytes:
            raise InvalidInput(f"the first chunk of a cut payload of {size_bytes} bytes has {len(first)}")
        self._check(len(first), last=False)
        self._open[stream] = _Open(header=header, size_bytes=size_bytes, seen_at_s=now_s)
        self._hold(self._open[stream], first)

    def add(self, stream: int, data: bytes | memoryview, now_s: float) -> tuple[Header, bytes] | None:
        """Takes the next chunk; gives header and payload when it is the last.

        Raises:
            InvalidInput: the payload is not in assembly, or gets longer than it was said to be. A payload in
                assembly stays there: see ``drop``.
            TooLarge: the chunk is too large, or too much is in assembly.
        """
        entry = self._open.get(stream)
        if entry is None:
            raise InvalidInput(f"a chunk came for payload {stream}, of which no beginning is here")
        if not 0 < len(data) <= entry.size_bytes - entry.came_bytes:
            raise InvalidInput(
                f"a chunk of {len(data)} bytes came for a payload of {entry.size_bytes} that has {entry.came_bytes}"
            )
        self._check(len(data), last=entry.came_bytes + len(data) == entry.size_bytes)
        self._hold(entry, data)
        entry.seen_at_s = now_s
        self._open.move_to_end(stream)
        if entry.came_bytes < entry.size_bytes:
            return None
        self._forget(stream)
        return entry.header, b"".join(entry.chunks)

    def drop(self, stream: int) -> Header | None:
        """Forgets a payload; gives its header if it was in assembly."""
        return self._forget(stream).header if stream in self._open else None

    def expire(self, now_s: float) -> list[Header]:
        """Forgets payloads of which nothing came for too long."""
        gone = []
        while self._open:
            stream, entry = next(iter(self._open.items()))
            if now_s - entry.seen_at_s < MAX_SILENCE_S:
                break
            gone.append(self._forget(stream).header)
        return gone

    def _check(self, more_bytes: int, *, last: bool) -> None:
        if more_bytes < MIN_CHUNK_BYTES and not last:
            raise InvalidInput(f"a chunk has {more_bytes} bytes; but for the last, one has at least {MIN_CHUNK_BYTES}")
        if more_bytes > MAX_CHUNK_BYTES:
            raise TooLarge(f"a chunk of {more_bytes} bytes is over the limit of {MAX_CHUNK_BYTES}")
        if self.size_bytes + more_bytes > self._max_bytes:
            raise TooLarge(f"{self.size_bytes} bytes are in assembly, at most {self._max_bytes} may be")

    def _hold(self, entry: _Open[Header], data: bytes | memoryview) -> None:
        if isinstance(data, memoryview) and 2 * len(data) < memoryview(data.obj).nbytes:
            data = bytes(data)  # a view keeps all of its message in memory
        entry.chunks.append(data)
        entry.came_bytes += len(data)
        self.size_bytes += len(data)

    def _forget(self, stream: int) -> _Open[Header]:
        entry = self._open.pop(stream)
        self.size_bytes -= entry.came_bytes
        return entry
