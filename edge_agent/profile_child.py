"""A profile process: started, asked, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path

from circinus.channel import MAX_MESSAGE_BYTES
from circinus.child_end import reap
from circinus.errors import Internal, NotRunnable, TimedOut, TooLarge
from circinus.v1 import control_pb2
from edge_agent.framing import header_of, receive_frame
from edge_agent.isolation.enclosed import Enclosed
from edge_agent.isolation.isolation import Isolation, Traits
from edge_agent.isolation.variables import variables
from edge_agent.printed import Voice
from edge_agent.profile_config import ProfileConfig
from edge_agent.profile_watch import noted

_LAST_WORDS_BYTES = 4_096
#: How long an idle process may take to close its operators.
_CLOSE_S = 1.0


class ProfileChild:
    """One profile process, for one request after the other. Whoever starts it ends it."""

    def __init__(
        self,
        process: Process,
        enclosed: Enclosed,
        config: ProfileConfig,
        silence_s: float,
        voice: Voice | None = None,
    ) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise Internal("the profile process was started without pipes")
        self._process = process
        self._enclosed = enclosed
        self._stdin, self._stdout = process.stdin, process.stdout
        self._words = asyncio.create_task(_last_words(process.stderr, voice))
        self._config = config
        self._silence_s = silence_s
        self._sound = True
        self._busy = False

    @classmethod
    async def start(
        cls,
        *,
        python: Path,
        folder: Path,
        name: str,
        silence_s: float,
        config: ProfileConfig,
        isolation: Isolation,
        traits: Traits,
        voice: Voice | None = None,
    ) -> ProfileChild:
        """A process that works in ``folder``; ``silence_s``: how long it may say nothing while it is at a request.

        ``voice`` gets what it prints.

        Raises:
            NotRunnable: it can't be started.
        """
        path = folder / f"{name}.json"
        config.write(path)
        try:
            process, enclosed = await isolation.start(
                python,
                "edge_agent.profile_process",
                path,
                traits,
                bundle=config.bundle,
                folder=folder,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                reads=(config.samples,),
            )
        except BaseException as error:
            if voice is not None:
                voice.end()
            if not isinstance(error, OSError):
                raise
            raise NotRunnable(f"the profile process can't be started with {python}: {error}") from error
        if voice is not None:
            voice.pid = process.pid
        return cls(process, enclosed, config, silence_s, voice)

    @property
    def usable(self) -> bool:
        """Whether it can take another request."""
        return self._sound and self._process.returncode is None

    async def run(
        self, request: control_pb2.ProfileRequest, pass_on: Callable[[control_pb2.ConnectRequest], None]
    ) -> str:
        """One request from start to end. Gives why it ended early; empty: it did not.

        Raises:
            NotRunnable: the process died.
            TimedOut: it said nothing for too long.
            TooLarge, Internal: it said what it may not.
        """
        self._busy = True
        # Until it says that it is done nobody knows what it is at.
        self._sound = False
        try:
            await self._send(control_pb2.ConnectResponse(profile=request))
            return await self._listen(pass_on)
        finally:
            self._busy = False

    def call_off(self, request_id: str) -> None:
        """Has it end a request at the next sample."""
        cancel = control_pb2.CancelProfileRequest(id=request_id)
        self._write(control_pb2.ConnectResponse(cancel_profile=cancel))

    async def end(self) -> None:
        """Ends the process: an idle one may close its operators."""
        try:
            if self.usable and not self._busy:
                self._stdin.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSE_S):
                        await self._process.wait()
        finally:
            if self._process.returncode is None:  # afterwards the number may be somebody else's
                self._enclosed.kill()
            await reap(self._process)
            self._enclosed.release()
        self._words.cancel()
        await asyncio.wait((self._words,))

    def _write(self, message: control_pb2.ConnectResponse) -> None:
        data = message.SerializeToString()
        with contextlib.suppress(ConnectionError):
            self._stdin.write(header_of(data) + data)

    async def _send(self, message: control_pb2.ConnectResponse) -> None:
        self._write(message)
        # Who can't be written to is dead, and listening says so with the reason.
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(self._silence_s):
                await self._stdin.drain()

    async def _listen(self, pass_on: Callable[[control_pb2.ConnectRequest], None]) -> str:
        try:
            while True:
                async with asyncio.timeout(self._silence_s):
                    frame = await receive_frame(self._stdout)
                message = _decoded(frame)
                if message.WhichOneof("message") == "profile_report" and message.profile_report.done:
                    # A last word is of no request: the process ends with it.
                    self._sound = bool(message.profile_report.id)
                    pass_on(message)
                    return str(message.profile_report.error)
                pass_on(message)
        except EOFError:
            words = await self._words
            await self._process.wait()
            at = noted(self._config.note)
            why = self._enclosed.cause or (
                f"the profile process died (exit code {self._process.returncode}): {words or 'no words'}"
            )
            raise NotRunnable(f"{at + ': ' if at else ''}{why}") from None
        except TimeoutError:
            raise TimedOut(f"the profile process said nothing for {self._silence_s:g} s and was killed") from None
        except ValueError as error:
            raise TooLarge(f"the profile process sent {error}") from error


async def _last_words(stream: asyncio.StreamReader, voice: Voice | None) -> str:
    tail = b""
    try:
        while chunk := await stream.read(8192):
            tail = (tail + chunk)[-_LAST_WORDS_BYTES:]
            if voice is not None:
                voice.take(chunk)
    finally:
        if voice is not None:
            voice.end()
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[-3:])[-500:]


def _decoded(frame: bytes) -> control_pb2.ConnectRequest:
    if len(frame) > MAX_MESSAGE_BYTES // 2:
        raise TooLarge(f"the profile process sent a message of {len(frame)} bytes")
    message = control_pb2.ConnectRequest()
    try:
        message.ParseFromString(frame)
    except Exception as error:  # DecodeError's module differs between protobuf's runtimes
        raise Internal(f"the profile process sent {len(frame)} bytes that are no message") from error
    if message.WhichOneof("message") not in ("profile_progress", "profile_report"):
        raise Internal(f"the profile process sent a message of kind {message.WhichOneof('message')}")
    return message


def child_variables() -> dict[str, str]:
    """The environment variables of a process that runs a bundle's code to measure it: one thread, nothing secret."""
    return variables(threads=1)
