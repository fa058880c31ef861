"""A TCP relay on this machine that can be cut, for tests and benchmarks of outages: in two ways, and mended again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

_CHUNK_BYTES = 64 * 1024


class LocalRelay:
    """Listens on loopback and passes everything on to a target, as long as it is not cut.

    Use as ``async with LocalRelay(target) as relay``; ``relay.address`` is what to dial.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def __aenter__(self) -> LocalRelay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
        self._open.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Cuts: what is connected is reset, and so is whoever dials."""
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Cuts without a word: connections stay, and nothing goes through."""
        self._open.clear()

    def mend(self) -> None:
        """Passes on again, what stood still included."""
        self._refuses = False
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with self._kept(writer):
            await self._open.wait()
            if self._refuses:
                return
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            except OSError:
                return
            with self._kept(far_writer):
                ways = (self._copy(reader, far_writer), self._copy(far_reader, writer))
                await asyncio.gather(*ways, return_exceptions=True)

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            # Half a connection is none here: the other way ends, too.
            writer.transport.abort()
