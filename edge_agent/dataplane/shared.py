"""Payloads in shared memory, as the agent holds them: a file's number and a place in it, never the bytes.

What there is of them is bounded by one ``SharedMemory`` of the device, in bytes and in files. A reply may put so much
into shared memory as was reserved for it beforehand; what is over that comes as plain bytes, as everything did before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edge_agent.memory_files import read_file, size_of_file, write_file

#: Payloads of fewer bytes are faster over the socket (benchmarks/local_path.py).
SHARE_FROM_BYTES = 64 * 1024
#: Bytes and files of shared memory on one device.
MAX_SHARED_BYTES = 256 * 1024 * 1024
MAX_SHARED_FILES = 2048


class SharedMemory:
    """How much shared memory the items of a device have. ``from_bytes`` 0: none is used."""

    def __init__(
        self,
        *,
        from_bytes: int = SHARE_FROM_BYTES,
        max_bytes: int = MAX_SHARED_BYTES,
        max_files: int = MAX_SHARED_FILES,
    ) -> None:
        self.from_bytes = from_bytes
        self.used_bytes = 0
        self.used_files = 0
        self._max_bytes = max_bytes
        self._max_files = max_files

    @contextmanager
    def reserved(self, most_bytes: int, files: int) -> Iterator[int]:
        """Sets bytes and files aside while a request is out; gives how many bytes.

        Half of what is left at most: several processes are asked at once. 0: the reply may not use shared memory.
        """
        granted = min(most_bytes, (self._max_bytes - self.used_bytes) // 2)
        if self.from_bytes <= 0 or granted < self.from_bytes or self.used_files + files > self._max_files:
            granted, files = 0, 0
        self.used_bytes += granted
        self.used_files += files
        try:
            yield granted
        finally:
            self.used_bytes -= granted
            self.used_files -= files

    def adopt(self, file: int) -> SharedFile:
        """Takes over a file that came from a process.

        Raises:
            ValueError: it isn't sealed; it is closed.
        """
        try:
            size_bytes = size_of_file(file)
        except ValueError:
            os.close(file)
            raise
        return SharedFile(self, file, size_bytes)

    def of_bytes(self, buffers: Sequence[bytes | memoryview]) -> SharedPayload | None:
        """These bytes in shared memory; None: they are too few, or there is no room."""
        size_bytes = sum(len(buffer) for buffer in buffers)
        with self.reserved(size_bytes, 1) as granted:
            if not 0 < size_bytes <= granted:
                return None
            try:
                file = write_file(buffers)
            except OSError:
                return None  # no memory, or no descriptors: they go as they are
        return SharedFile(self, file, size_bytes).payload(0, size_bytes)


class SharedFile:
    """A sealed file; closed when the last payload in it is let go."""

    __slots__ = ("_memory", "fd", "size_bytes")

    def __init__(self, memory: SharedMemory, fd: int, size_bytes: int) -> None:
        self.fd = fd
        self.size_bytes = size_bytes
        self._memory = memory
        memory.used_bytes += size_bytes
        memory.used_files += 1

    def payload(self, offset: int, size_bytes: int) -> SharedPayload:
        """The payload at this place.

        Raises:
            ValueError: the file is shorter.
        """
        if offset < 0 or size_bytes < 0 or offset + size_bytes > self.size_bytes:
            raise ValueError(f"{size_bytes} bytes from {offset} on are not in a file of {self.size_bytes}")
        return SharedPayload(self, offset, size_bytes)

    def __del__(self) -> None:
        os.close(self.fd)
        self._memory.used_bytes -= self.size_bytes
        self._memory.used_files -= 1


class SharedPayload:
    """A payload in shared memory: ``len()`` costs nothing, ``bytes()`` and a slice copy."""

    __slots__ = ("file", "offset", "size_bytes")

    def __init__(self, file: SharedFile, offset: int, size_bytes: int) -> None:
        self.file = file
        self.offset = offset
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return self.size_bytes

    def __bytes__(self) -> bytes:
        return read_file(self.file.fd, self.offset, self.size_bytes)

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size_bytes)
        return read_file(self.file.fd, self.offset + start, max(0, stop - start))
