"""One serving process as the agent holds it: requests and replies over its socket, its end, its last words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import Process
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from circinus.errors import NotRunnable, TimedOut
from circinus.v1 import worker_pb2
from edge_agent.framing import header_of, receive_frame
from edge_agent.isolation.enclosed import Enclosed
from edge_agent.memory_files import FileSocket, close_files
from edge_agent.printed import Voice

_LAST_WORDS_BYTES = 4096
#: How long a killed process may take to be gone (the kernel may be writing for it).
_REAP_S = 5.0
_LAST_WORDS_CHARS = 400
#: Files of shared memory that may come with one reply.
_MAX_FILES = 1024


class ProcessDied(NotRunnable):
    """The process ended, or said that it can't go on."""


class ProcessHung(TimedOut):
    """The process did not reply in time and was killed."""


class LastWords:
    """The end of what a process printed. Reads its pipe so that it never blocks on printing; ``voice`` gets it all."""

    def __init__(self, voice: Voice | None = None) -> None:
        self.voice = voice
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        self._tail = b""
        self._open = True
        asyncio.get_running_loop().add_reader(self._read_fd, self._read)

    def text(self) -> str:
        """The last lines, bounded."""
        if self._open:
            self._read()
        return self._tail.decode(errors="replace").strip()[-_LAST_WORDS_CHARS:]

    def close_write(self) -> None:
        """The process has its own copy of the writing end."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self, said: str = "") -> None:
        """Lets go of the pipe; ``said``: how the process ended."""
        self.close_write()
        if self._open:
            self._read()
            self._open = False
            asyncio.get_running_loop().remove_reader(self._read_fd)
            os.close(self._read_fd)
            if self.voice is not None:
                self.voice.end(said)

    def _read(self) -> None:
        try:
            data = os.read(self._read_fd, 65536)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(self._read_fd)
        elif self.voice is not None:
            self.voice.take(data)
        self._tail = (self._tail + data)[-_LAST_WORDS_BYTES:]


class ServingProcess:
    """A started process. One request at a time; ``gone`` is done when the process has ended."""

    def __init__(
        self, process: Process, last_words: LastWords, enclosed: Enclosed, files: FileSocket | None = None
    ) -> None:
        self.pid = process.pid
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.memory_bytes = 0
        self.enclosed = enclosed
        self._process = process
        self._last_words = last_words
        self._files = files
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._lock = asyncio.Lock()
        self._watching = asyncio.create_task(self._watch())

    def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The process has connected."""
        self._reader, self._writer = reader, writer

    async def first_reply(self) -> worker_pb2.WorkerReady:
        """Waits until the process can serve.

        Raises:
            ProcessDied: it said that it can't, or ended.
        """
        reply = await self._receive()
        if reply.WhichOneof("message") != "ready":
            raise ProcessDied(reply.failed.reason or "it sent something else than ready")
        self.memory_bytes = reply.ready.memory_bytes
        return reply.ready

    @property
    def returncode(self) -> int | None:
        """How it ended; None: it has not, as far as is known."""
        return self._process.returncode

    @property
    def takes_files(self) -> bool:
        """Whether shared memory can be passed to it and from it."""
        return self._files is not None

    async def call(self, request: worker_pb2.WorkerRequest, timeout_s: float) -> worker_pb2.WorkerReply:
        """Sends a request and waits for its reply; both go without files. A process that fails or hangs is killed.

        Raises:
            ProcessDied: it ended, or broke the protocol.
            ProcessHung: no reply within so many seconds.
        """
        reply, files = await self.call_with_files(request, timeout_s, ())
        close_files(files)
        return reply

    async def call_with_files(
        self, request: worker_pb2.WorkerRequest, timeout_s: float, files: Sequence[int]
    ) -> tuple[worker_pb2.WorkerReply, list[int]]:
        """Like ``call``, with files of shared memory; whoever calls closes those that it gave and those that came.

        Raises:
            ProcessDied: it ended, or broke the protocol.
            ProcessHung: no reply within so many seconds.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(timeout_s):
                    self._send_files(request, files)
                    await self._send(request)
                    reply = await self._receive()
                came = self._receive_files(reply)
            except TimeoutError:
                self.kill()
                raise ProcessHung(f"no reply within {timeout_s:g} s; the process was killed") from None
            except BaseException:
                # Also when the caller is cancelled: a reply that nobody read would be taken for the next one's.
                self.kill()
                raise
        if reply.WhichOneof("message") == "failed":
            self.kill()
            close_files(came)
            raise ProcessDied(reply.failed.reason)
        return reply, came

    def last_words(self) -> str:
        """The end of what it printed."""
        return self._last_words.text()

    @property
    def cause(self) -> str:
        """Why it was killed, as far as it was for one of its limits; empty: it was not."""
        return self.enclosed.cause

    def kill(self) -> None:
        """Ends the process and its children at once."""
        if not self.gone.done():  # afterwards the number may be somebody else's
            self.enclosed.kill()

    async def stop(self, grace_s: float) -> None:
        """Asks the process to end, kills it after so many seconds, and lets go of all that it had."""
        try:
            if not self.gone.done() and self._writer is not None and grace_s > 0:
                with contextlib.suppress(TimeoutError, ProcessDied):
                    async with asyncio.timeout(grace_s), self._lock:
                        await self._send(worker_pb2.WorkerRequest(stop=worker_pb2.Stop()))
                        await asyncio.shield(self.gone)
        finally:
            self.kill()
            try:
                await self._until_reaped()
            finally:
                if self._writer is not None:
                    self._writer.close()
                if self._files is not None:
                    self._files.close()
                self._last_words.close(self._how_it_ended())
                self.enclosed.release()

    def _how_it_ended(self) -> str:
        """For who reads what it printed."""
        code = self._process.returncode or 0
        how = f"ended by signal {-code}" if code < 0 else f"ended with {code}"
        return f"(process {self.pid} {self.cause or how})"

    async def _until_reaped(self) -> None:
        """A killed process ends at once, so this short wait is seen through even by a caller that is cancelled.

        By a watch of its own if need be: a loop that ends cancels all tasks, and so the first one.
        """
        if self._watching.cancelled() or self._watching.cancelling():
            self._watching = asyncio.create_task(self._watch())
        cancelled: asyncio.CancelledError | None = None
        try:
            await asyncio.wait((self._watching,), timeout=_REAP_S)
        except asyncio.CancelledError as error:
            cancelled = error
            await asyncio.wait((self._watching,), timeout=_REAP_S)
        if cancelled is not None:
            raise cancelled

    def _send_files(self, request: worker_pb2.WorkerRequest, files: Sequence[int]) -> None:
        if not files:
            return
        if self._files is None:
            raise ProcessDied("the process has no socket for files")
        request.files = len(files)
        try:
            self._files.send(files)
        except OSError as error:
            raise ProcessDied(f"can't pass shared memory to the process: {error}") from error

    def _receive_files(self, reply: worker_pb2.WorkerReply) -> list[int]:
        """What the reply speaks of was sent before it, so it is there."""
        if not reply.files:
            return []
        if self._files is None or reply.files > _MAX_FILES:
            raise ProcessDied(f"the process broke the protocol: {reply.files} files were announced")
        try:
            return self._files.receive(reply.files)
        except (EOFError, OSError, ValueError) as error:
            raise ProcessDied(f"the process broke the protocol: {error}") from error

    async def _send(self, request: worker_pb2.WorkerRequest) -> None:
        if self._writer is None:
            raise ProcessDied("the process has not connected")
        data = request.SerializeToString()
        try:
            self._writer.write(header_of(data))
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ValueError) as error:
            raise ProcessDied(f"can't send to the process: {error}") from error

    async def _receive(self) -> worker_pb2.WorkerReply:
        if self._reader is None:
            raise ProcessDied("the process has not connected")
        try:
            return worker_pb2.WorkerReply.FromString(await receive_frame(self._reader))
        except (EOFError, OSError) as error:
            raise ProcessDied(self.cause or f"the process ended: {self.last_words()}") from error
        except (ValueError, DecodeError) as error:
            raise ProcessDied(f"the process broke the protocol: {error}") from error

    async def _watch(self) -> None:
        await self._process.wait()
        self.enclosed.ended()
        if not self.gone.done():
            self.gone.set_result(None)
