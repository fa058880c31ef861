"""Length-prefixed messages between an agent and its own processes, over Unix sockets.

Each message is preceded by its length: 4 bytes, big endian. Used on both ends: blocking in the processes,
asyncio in the agent. Imports nothing but the standard library, since a process runs in its bundle's environment.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only the agent runs asyncio; its processes stay smaller without it.
    import asyncio

#: Largest message: the inputs of a join, each at a payload's limit, where there is no room in shared memory.
MAX_FRAME_BYTES = 192 * 1024 * 1024

_HEADER = struct.Struct(">I")


def write_frame(connection: socket.socket, data: bytes) -> None:
    """Sends one message.

    Raises:
        ValueError: it is larger than MAX_FRAME_BYTES.
        OSError: the other side is gone.
    """
    connection.sendall(header_of(data))
    connection.sendall(data)


def read_frame(connection: socket.socket) -> bytes:
    """Waits for one message.

    Raises:
        EOFError: the other side closed.
        ValueError: its length is over MAX_FRAME_BYTES.
        OSError: the other side is gone.
    """
    (length,) = _HEADER.unpack(_read_exactly(connection, _HEADER.size))
    return bytes(_read_exactly(connection, _checked(length)))


async def receive_frame(reader: asyncio.StreamReader) -> bytes:
    """Waits for one message.

    Raises:
        EOFError: the other side closed (asyncio.IncompleteReadError is one).
        ValueError: its length is over MAX_FRAME_BYTES.
        OSError: the other side is gone.
    """
    (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    return await reader.readexactly(_checked(length))


def header_of(data: bytes) -> bytes:
    """What goes before a message.

    Raises:
        ValueError: the message is larger than MAX_FRAME_BYTES.
    """
    return _HEADER.pack(_checked(len(data)))


def _checked(length: int) -> int:
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    return length


def _read_exactly(connection: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    filled = 0
    while filled < size:
        received = connection.recv_into(view[filled:])
        if received == 0:
            raise EOFError("the other side closed")
        filled += received
    return buffer
