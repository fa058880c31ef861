"""A raw asyncio TCP socket to hold a hop against: four bytes of length, then the payload; nothing else.

Two of them: a buffered protocol that receives straight into a payload's own memory, the fastest that asyncio has, and
the StreamReader that most would take.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from circinus.channel import Tls

_LENGTH = struct.Struct(">I")
_STREAM_LIMIT_BYTES = 4 * 1024 * 1024


class RawProtocol(asyncio.BufferedProtocol):
    """One end; ``on_payload`` gets what came, whole."""

    def __init__(self, on_payload: Callable[[RawProtocol, bytearray], None]) -> None:
        self._on_payload = on_payload
        self._head = bytearray(_LENGTH.size)
        self._payload: bytearray | None = None
        self._filled = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._head if self._payload is None else self._payload)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._payload is None:
            if self._filled == _LENGTH.size:
                self._payload, self._filled = bytearray(*_LENGTH.unpack(self._head)), 0
        elif self._filled == len(self._payload):
            payload, self._payload, self._filled = self._payload, None, 0
            self._on_payload(self, payload)

    def send(self, payload: bytes | bytearray) -> None:
        if self._transport is not None:
            self._transport.write(_LENGTH.pack(len(payload)))
            self._transport.write(payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes."""
    try:
        while True:
            head = await reader.readexactly(_LENGTH.size)
            payload = await reader.readexactly(*_LENGTH.unpack(head))
            writer.write(head)
            writer.write(payload)
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
        writer.close()  # cancelled: the process ends


async def serve_raw(tls: Tls | None) -> tuple[int, int]:
    """Has both kinds send back what comes; gives their ports."""
    context = None if tls is None else _context(tls, ssl.PROTOCOL_TLS_SERVER)
    loop = asyncio.get_running_loop()
    buffered = await loop.create_server(
        lambda: RawProtocol(lambda end, payload: end.send(payload)), "127.0.0.1", 0, ssl=context
    )
    streams = await asyncio.start_server(echo_stream, "127.0.0.1", 0, ssl=context, limit=_STREAM_LIMIT_BYTES)
    return buffered.sockets[0].getsockname()[1], streams.sockets[0].getsockname()[1]


class RawSender:
    """Sends to one of them and waits for what comes back."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[bytearray] = asyncio.Queue()
        self._end: RawProtocol | None = None

    async def open(self, port: int, tls: Tls | None, name: str) -> None:
        context = None if tls is None else _context(tls, ssl.PROTOCOL_TLS_CLIENT)
        loop = asyncio.get_running_loop()
        _, self._end = await loop.create_connection(
            lambda: RawProtocol(lambda _, payload: self._came.put_nowait(payload)),
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname=None if tls is None else name,
        )

    def send(self, payload: bytes) -> None:
        assert self._end is not None
        self._end.send(payload)

    async def came(self) -> bytearray:
        return await self._came.get()

    def close(self) -> None:
        if self._end is not None:
            self._end.close()


class StreamSender:
    """The same with asyncio's streams."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, port: int, tls: Tls | None, name: str) -> None:
        context = None if tls is None else _context(tls, ssl.PROTOCOL_TLS_CLIENT)
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname=None if tls is None else name,
            limit=_STREAM_LIMIT_BYTES,
        )

    def send(self, payload: bytes) -> None:
        assert self._writer is not None
        self._writer.write(_LENGTH.pack(len(payload)))
        self._writer.write(payload)

    async def came(self) -> bytes:
        assert self._reader is not None
        return await self._reader.readexactly(*_LENGTH.unpack(await self._reader.readexactly(_LENGTH.size)))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


def _context(tls: Tls, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.load_verify_locations(cadata=tls.root.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.write_bytes(tls.key + tls.certificate)
        context.load_cert_chain(chain)
    return context
