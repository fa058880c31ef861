"""A web server that serves one page, and nothing else: the figures of a daemon, for Prometheus.

So little of HTTP that there is little to get wrong: one GET a connection, a bounded head, no body, no path but
``/metrics``, few connections, and a bound on everything that takes time. The page is made in pieces between which the
event loop does its other work; scrapes take turns, so that many of them cost no more than one.

On loopback it is in the clear and open to whoever is on the machine. Anywhere else it has TLS, and asks who comes.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from circinus import channel
from circinus.errors import CircinusError, InvalidInput, NotKnown, Unreachable
from circinus.events import event
from circinus.exposition import CONTENT_TYPE, Family, Kind, Metric, lines, one, page
from circinus.server_end import accept_no_more

#: Largest page; what would come after is left out, and the page says so.
MAX_PAGE_BYTES = 8 * 1024 * 1024
_MAX_HEAD_BYTES = 8 * 1024
_MAX_CONNECTIONS = 16
_HEAD_S = 5.0
_SEND_S = 20.0
_HANDSHAKE_S = 5.0
#: Lines that are made in one turn of the loop: well below a millisecond.
_LINES_A_TURN = 200
CUT = Metric(
    name="circinus_metrics_cut", kind=Kind.GAUGE, text="1: this page was cut at its largest size; 0: it is whole."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Who asks: a bearer token, the names in the certificate that was shown (both may be empty), where from."""

    bearer: str
    names: tuple[str, ...]
    certificate: bytes
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How an address is listened on that is not on loopback.

    ``admit`` raises a CircinusError for who may not come in. ``context`` gives the present certificate's context.
    """

    context: Callable[[], ssl.SSLContext]
    admit: Callable[[Guest], None]


class MetricsServer:
    """Serves ``families`` at /metrics. ``guard`` None: on loopback only, in the clear."""

    def __init__(
        self, families: Callable[[], Iterable[Family]], *, guard: Guard | None = None, max_bytes: int = MAX_PAGE_BYTES
    ) -> None:
        self._families = families
        self._guard = guard
        self._max_bytes = max_bytes
        self._making = asyncio.Lock()
        self._open: set[asyncio.Task[None]] = set()
        self._ended = False
        #: Scrapes that were answered, and those that were refused or failed.
        self.served = self.refused = 0

    @asynccontextmanager
    async def listening(self, address: str) -> AsyncIterator[str]:
        """Listens on an address, port 0: any; gives where it does.

        Raises:
            InvalidInput: it is no address, or one beyond loopback without a guard.
            Unreachable: the port is taken.
        """
        clear = channel.is_loopback(address)
        if self._guard is None:
            channel.check_loopback(address)
        channel.check_address(address)
        host, _, port = address.rpartition(":")
        context = None if clear or self._guard is None else self._guard.context()
        try:
            server = await asyncio.start_server(
                self._accept,
                host.strip("[]"),
                int(port),
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_S if context is not None else None,
                limit=_MAX_HEAD_BYTES,
            )
        except OSError as error:
            raise Unreachable(f"metrics can't be served at {address}: {error.strerror or error}") from error
        told = f"{host}:{server.sockets[0].getsockname()[1]}"
        self._ended = False
        event("metrics_listen", address=told, secure=context is not None)
        try:
            yield told
        finally:
            self._ended = True
            await accept_no_more(server)
            server.close()
            for task in tuple(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._ended or len(self._open) >= _MAX_CONNECTIONS:
            self.refused += 1
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="metrics")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        # Here and not in the task: one that is cancelled before its first step has no other end.
        task.add_done_callback(lambda _: _end(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, body = await self._answer(head, writer)
            self.served += status == 200
            self.refused += status != 200
            async with asyncio.timeout(_SEND_S):
                await _send(writer, status, body, with_body=not head.startswith(b"HEAD "))
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.refused += 1

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> tuple[int, list[bytes]]:
        method, path, bearer, host = _read(head)
        if method not in ("GET", "HEAD"):
            return 405, [b"only GET is served here\n"]
        if path.partition("?")[0] != "/metrics":
            return 404, [b"there is /metrics, and nothing else\n"]
        secured = writer.get_extra_info("ssl_object")
        if secured is None and not _is_own(host):
            return 403, [b"on loopback this answers to 127.0.0.1, ::1 and localhost only\n"]
        if self._guard is not None and secured is not None:
            try:
                self._guard.admit(_guest(secured, bearer, writer))
            except CircinusError as error:
                return 401 if isinstance(error, NotKnown) else 403, [f"{error.message}\n".encode()]
        async with self._making:
            return 200, await self._page()

    async def _page(self) -> list[bytes]:
        """The page, in pieces; others take their turns while it is made."""
        pieces: list[bytes] = []
        size_bytes, cut = 0, False
        for text in _turns(lines(self._families())):
            piece = text.encode()
            cut = size_bytes + len(piece) > self._max_bytes
            if cut:
                break
            size_bytes += len(piece)
            pieces.append(piece)
            await asyncio.sleep(0)
        pieces.append(page((one(CUT, float(cut)),)).encode())
        return pieces


def _end(writer: asyncio.StreamWriter) -> None:
    """Closes a connection; what its peer has not taken by now is given up."""
    writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


def _turns(made: Iterator[str]) -> Iterator[str]:
    while text := "".join(islice(made, _LINES_A_TURN)):
        yield text


def _is_own(host: str) -> bool:
    """Whether a request means this machine by one of its own names: no web site is to have its name point here."""
    try:
        return not host or channel.is_loopback(host if re.search(r":\d+$", host) else f"{host}:0")
    except InvalidInput:
        return False


def _read(head: bytes) -> tuple[str, str, str, str]:
    """Method, path, bearer token and host of a request's head; empty where it has none."""
    first, *rest = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    method, path = (words[0], words[1]) if len(words) == 3 and words[2].startswith("HTTP/1.") else ("", "")
    bearer = host = ""
    for line in rest:
        name, _, value = line.partition(":")
        if name.strip().lower() == "authorization":
            scheme, _, token = value.strip().partition(" ")
            bearer = token.strip() if scheme.lower() == "bearer" else ""
        elif name.strip().lower() == "host":
            host = value.strip()
    return method, path, bearer, host


def _guest(secured: ssl.SSLObject, bearer: str, writer: asyncio.StreamWriter) -> Guest:
    certificate = secured.getpeercert() or {}
    names = [str(entry[1]) for entry in certificate.get("subjectAltName", ())]
    address = writer.get_extra_info("peername") or ("?",)
    return Guest(
        bearer=bearer, names=tuple(names), certificate=secured.getpeercert(True) or b"", peer=f"{address[0]}:metrics"
    )


_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}


async def _send(writer: asyncio.StreamWriter, status: int, body: list[bytes], *, with_body: bool) -> None:
    kind = CONTENT_TYPE if status == 200 else "text/plain; charset=utf-8"
    extra = "WWW-Authenticate: Bearer\r\n" if status == 401 else "Allow: GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {sum(map(len, body))}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{extra}Connection: close\r\n\r\n"
    )
    writer.write(head.encode())
    for piece in body if with_body else ():
        writer.write(piece)
        await writer.drain()
    await writer.drain()


def check_listen(address: str, *, secured: bool) -> None:
    """Checks an address before anything is started.

    Raises:
        InvalidInput: it can't be listened on so.
    """
    channel.check_address(address)
    if not secured and not channel.is_loopback(address):
        raise InvalidInput(
            f"metrics at {address}: without an identity they are served on loopback only: take 127.0.0.1:PORT, or "
            "enrol the box"
        )


__all__ = ["CUT", "MAX_PAGE_BYTES", "Guard", "Guest", "MetricsServer", "check_listen"]
