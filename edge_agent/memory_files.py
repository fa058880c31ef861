"""Files of shared memory that pass between an agent and its own processes, without a copy and without a name.

A memfd lives as long as somebody has it open or mapped, or it is on its way over a socket. It has no name, so whoever
is killed leaves nothing behind. It is sealed before it is passed on: nobody can change it, nor shorten it under
somebody who reads it. Files travel over a socket of their own, before the message that speaks of them, since asyncio's
streams drop what comes beside bytes. Imports nothing but the standard library, since a process runs in its bundle's
environment.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
from collections.abc import Sequence

#: Files in one message of the kernel (SCM_MAX_FD is 253).
_FILES_A_MESSAGE = 128
#: Buffers that one write takes (IOV_MAX is 1024).
_BUFFERS_A_WRITE = 512
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PAGE_BYTES = mmap.PAGESIZE


def write_file(buffers: Sequence[bytes | memoryview]) -> int:
    """A sealed file of shared memory with these bytes; whoever calls it closes it.

    Written, not mapped: the kernel then fills whole pages without a fault for each.

    Raises:
        OSError: there is no memory, or no descriptor left.
    """
    file = os.memfd_create("circinus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = [memoryview(buffer) for buffer in buffers if len(buffer)]
        while left:
            written = os.writev(file, left[:_BUFFERS_A_WRITE])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(file)
        raise
    return file


def size_of_file(file: int) -> int:
    """Its bytes.

    Raises:
        ValueError: it isn't sealed, so it might change while somebody reads it.
    """
    try:
        seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ValueError(f"a file that came is no shared memory: {error}") from error
    if seals & _SEALS != _SEALS:
        raise ValueError("a file of shared memory came without its seals")
    return os.fstat(file).st_size


def map_file(file: int, offset: int, size_bytes: int) -> memoryview:
    """A part of a file as read-only memory, which stays until the last view of it is gone, with the file closed or not.

    Raises:
        ValueError: the file is shorter.
        OSError: it can't be mapped.
    """
    if offset + size_bytes > size_of_file(file):
        raise ValueError(f"{size_bytes} bytes from {offset} on are more than the file of shared memory has")
    if size_bytes == 0:
        return memoryview(b"")
    before = offset % _PAGE_BYTES
    # Private, since older kernels refuse to share a mapping of what is sealed; nobody can write, so nothing is copied.
    mapped = mmap.mmap(file, size_bytes + before, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ, offset=offset - before)
    return memoryview(mapped)[before:]


def read_file(file: int, offset: int, size_bytes: int) -> bytes:
    """Bytes of a file, copied once.

    Raises:
        OSError: they can't be read.
    """
    return os.pread(file, size_bytes, offset)


class FileSocket:
    """One end of the socket over which files pass. The agent's end doesn't wait: what a message speaks of is there."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, files: Sequence[int]) -> None:
        """Passes files on; the sender's own stay open.

        Raises:
            OSError: the other side is gone, or doesn't take what comes.
        """
        for at in range(0, len(files), _FILES_A_MESSAGE):
            socket.send_fds(self._end, [b"f"], list(files[at : at + _FILES_A_MESSAGE]))

    def receive(self, count: int) -> list[int]:
        """So many files that the other side has sent; whoever calls it closes them.

        Raises:
            EOFError: the other side closed.
            ValueError: fewer came.
            OSError: the other side is gone, or there are no descriptors left.
        """
        files: list[int] = []
        try:
            while len(files) < count:
                data, more, flags, _ = socket.recv_fds(self._end, 1, _FILES_A_MESSAGE, socket.MSG_CMSG_CLOEXEC)
                files += more
                if not data:
                    raise EOFError("the other side closed the socket for files")
                if flags & socket.MSG_CTRUNC or not more:
                    raise ValueError(f"{count} files were to come, {len(files)} could be taken")
            if len(files) > count:
                raise ValueError(f"{count} files were to come, {len(files)} came")
        except BaseException:
            close_files(files)
            raise
        return files

    def close(self) -> None:
        """Lets go of this end, and of what came and nobody took."""
        self._end.close()


def file_sockets() -> tuple[FileSocket, socket.socket]:
    """The agent's end, and the process's, which is inherited and then closed here."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return FileSocket(ours), theirs


def close_files(files: Sequence[int]) -> None:
    """Closes them."""
    for file in files:
        os.close(file)
