"""Frames over one TCP connection between two agents, in the clear or with mutual TLS.

A frame is preceded by its length: 4 bytes, big endian. This is the agents' own carrier and not gRPC because a hop over
a gRPC stream takes two to three times as long (benchmarks/hop.py has both): each message crosses threads four times
there and is copied twice more.

What a peer may do to this device is bounded: frames have a largest size, what was received and not read stops the
reading, what was written and not sent holds the writer back, and a peer whose name its certificate lacks is let go.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from circinus.channel import check_address, check_loopback
from circinus.errors import InvalidInput, NotAllowed, Unreachable
from edge_agent.identity.credentials import Credentials

#: Largest frame: a chunk, what is sent with it, and some room.
MAX_FRAME_BYTES = 2 * 1024 * 1024
_LENGTH = struct.Struct(">I")
_STAGE_BYTES = 64 * 1024
#: Frames and bytes that came and were not read; above, nothing more is received.
_UNREAD_FRAMES = 64
_UNREAD_BYTES = 4 * 1024 * 1024
#: Frames up to here are written with their length at once.
_JOINED_BYTES = 128 * 1024
_UNSENT_BYTES = 1024 * 1024
_HANDSHAKE_S = 5.0
_TCP_INFO_BYTES = 256
_DIAL_S = 5.0
#: Connections that are taken in one turn of the loop, and that may wait for theirs.
_AT_A_TIME = 4
_WAITING = 256


class Pipe(asyncio.BufferedProtocol):
    """One end of a connection. One reader and one writer at a time."""

    def __init__(self, on_open: Callable[[Pipe], None] | None = None) -> None:
        self._on_open = on_open
        self._transport: asyncio.Transport | None = None
        self._stage = bytearray(_STAGE_BYTES)
        self._staged = 0
        #: A frame that is longer than what was staged of it, and how much of it is there.
        self._long: bytearray | None = None
        self._filled = 0
        self._frames: deque[bytes | bytearray] = deque()
        self._unread_bytes = 0
        self._paused = False
        self._ended: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._full = False

    async def read(self) -> bytes | bytearray | None:
        """The next frame; None: the connection ended.

        Raises:
            InvalidInput: the peer sent what is no frame.
        """
        while not self._frames:
            if self._ended is not None:
                if isinstance(self._ended, InvalidInput):
                    raise self._ended
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        frame = self._frames.popleft()
        self._unread_bytes -= len(frame)
        if self._paused and self._unread_bytes <= _UNREAD_BYTES // 2 and len(self._frames) <= _UNREAD_FRAMES // 2:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        return frame

    async def write(self, frame: Sequence[bytes | memoryview]) -> None:
        """Sends a frame, given in parts; returns when most of it has left.

        Raises:
            Unreachable: the connection ended.
        """
        if self._ended is not None:
            raise Unreachable("the connection to the peer ended")
        self.put(frame)
        while self._full and self._ended is None:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    @property
    def writable(self) -> bool:
        """Whether a frame that is put now leaves at once, or most of it."""
        return not self._full and self._ended is None

    def put(self, frame: Sequence[bytes | memoryview]) -> None:
        """Sends a frame, given in parts, without waiting until it has left.

        Raises:
            Unreachable: the connection is not there yet.
        """
        transport = self._transport
        if transport is None:
            raise Unreachable("the connection to the peer is not there yet")
        size = sum(map(len, frame))
        if size <= _JOINED_BYTES:
            transport.write(b"".join((_LENGTH.pack(size), *frame)))
        else:
            # The first part is what stands before a payload: not worth a packet of its own.
            transport.write(b"".join((_LENGTH.pack(size), frame[0])))
            for part in frame[1:]:
                transport.write(part)

    def tcp_info(self) -> bytes:
        """The kernel's struct tcp_info of the connection; empty: it does not tell."""
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        if connection is None or self._ended is not None:
            return b""
        try:
            return bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES))
        except OSError:
            return b""

    def close(self) -> None:
        """Ends the connection; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def peer_names(self) -> frozenset[str] | None:
        """The names in the peer's certificate; None: the connection is in the clear."""
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is None:
            return None
        certificate = transport.get_extra_info("peercert") or {}
        return frozenset(name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's word that the connection, with its encryption, is there."""
        self._transport = cast("asyncio.Transport", transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What the kernel holds unsent is out of reach of lanes.py: a small item would wait behind all of it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        if self._on_open is not None:
            self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's word that it is gone."""
        self._end(exc or Unreachable("the connection ended"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where asyncio puts what comes next."""
        if self._long is not None:
            return memoryview(self._long)[self._filled :]
        return memoryview(self._stage)[self._staged :]

    def buffer_updated(self, nbytes: int) -> None:
        """Asyncio's word that so many bytes came."""
        if self._long is None:
            self._staged += nbytes
            self._unstage()
            return
        self._filled += nbytes
        if self._filled == len(self._long):
            frame, self._long = self._long, None
            self._take(frame)

    def pause_writing(self) -> None:
        """Asyncio's word that what was written does not leave as fast."""
        self._full = True

    def resume_writing(self) -> None:
        """Asyncio's word that most of it has left."""
        self._full = False
        _wake(self._writer)

    def _unstage(self) -> None:
        """Takes whole frames out of the stage; a frame that does not fit it gets memory of its own."""
        at, staged, stage = 0, self._staged, self._stage
        while staged - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(stage, at)
            start = at + _LENGTH.size
            if size > MAX_FRAME_BYTES:
                self._end(InvalidInput(f"a frame of {size} bytes came, at most {MAX_FRAME_BYTES} may be"))
                self.close()
                return
            if start + size <= staged:
                self._take(bytes(memoryview(stage)[start : start + size]))
                at = start + size
                continue
            if _LENGTH.size + size > _STAGE_BYTES:
                self._long, self._filled = bytearray(size), staged - start
                self._long[: self._filled] = memoryview(stage)[start:staged]
                self._staged = 0
                return
            break
        if at:
            stage[: staged - at] = stage[at:staged]
            self._staged = staged - at

    def _take(self, frame: bytes | bytearray) -> None:
        self._frames.append(frame)
        self._unread_bytes += len(frame)
        if self._unread_bytes > _UNREAD_BYTES or len(self._frames) > _UNREAD_FRAMES:
            self._paused = True
            if self._transport is not None:
                self._transport.pause_reading()
        _wake(self._reader)

    def _end(self, reason: Exception) -> None:
        if self._ended is None:
            self._ended = reason
        _wake(self._reader)
        _wake(self._writer)


async def dial_pipe(address: str, credentials: Credentials | None, name: str) -> Pipe:
    """Connects to an address; with ``credentials`` the certificate at the other end must be for ``name``.

    Raises:
        InvalidInput: the address is not host:port, or not on loopback and the connection would be in the clear.
        Unreachable: nobody is there, or not the one who is meant.
    """
    (check_loopback if credentials is None else check_address)(address)
    host, _, port = address.rpartition(":")
    context = None if credentials is None else credentials.client_context()
    try:
        async with asyncio.timeout(_DIAL_S):
            _, pipe = await asyncio.get_running_loop().create_connection(
                Pipe, host.strip("[]"), int(port), ssl=context, server_hostname=None if context is None else name
            )
    except (OSError, TimeoutError) as error:  # ssl's errors are OSErrors
        raise Unreachable(f"can't connect to {address}: {error or 'nobody answers'}") from error
    return pipe


async def listen_for_pipes(
    address: str, credentials: Credentials | None, on_open: Callable[[Pipe], None]
) -> tuple[asyncio.Server, int]:
    """Listens on an address; port 0 takes a free one. Gives the port.

    With ``credentials`` whoever dials needs a certificate.

    Raises:
        InvalidInput: the address is not host:port, or not on loopback and connections would be in the clear.
        Unreachable: the port is taken.
    """
    (check_loopback if credentials is None else check_address)(address)
    host, _, port = address.rpartition(":")
    context = None if credentials is None else credentials.server_context()
    handshake_s = None if credentials is None else _HANDSHAKE_S
    try:
        listening = await _listening(host.strip("[]"), int(port))
        # asyncio takes so many connections in one turn of its loop, and each takes a handshake's part of it.
        server = await asyncio.get_running_loop().create_server(
            lambda: Pipe(on_open),
            sock=listening,
            backlog=_AT_A_TIME,
            ssl=context,
            ssl_handshake_timeout=handshake_s,
        )
        listening.listen(_WAITING)
    except OSError as error:
        why = "the port is taken; stop what has it" if error.errno == errno.EADDRINUSE else str(error)
        raise Unreachable(f"can't listen on {address}: {why}, or choose another (port 0: any)") from error
    return server, listening.getsockname()[1]


async def _listening(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(where)
    except BaseException:
        listening.close()
        raise
    return listening


def check_name(pipe: Pipe, name: str) -> None:
    """Does nothing if the peer's certificate is for this name, or there is none because the connection is in the clear.

    Raises:
        NotAllowed: it is for others.
    """
    names = pipe.peer_names
    if names is not None and name not in names:
        raise NotAllowed(f"a peer says that it is {name!r}, which its certificate does not name")


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
