"""The processes of one profile request: started, listened to, ended."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from circinus.channel import MAX_MESSAGE_BYTES
from circinus.errors import Internal, NotRunnable, TimedOut, TooLarge
from circinus.v1 import control_pb2
from edge_agent.child import end_group
from edge_agent.framing import receive_frame
from edge_agent.profile_process import ProfileConfig
from edge_agent.profile_watch import noted

_LAST_WORDS_BYTES = 4_096
#: What a process of a bundle's code gets of the agent's environment variables: nothing secret is among them.
_PASSED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "TESSDATA_PREFIX")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class ProfileRun:
    """The processes of one request."""

    def __init__(self, *, python: Path, folder: Path, silence_s: float, config: ProfileConfig) -> None:
        self._python = python
        self._folder = folder
        self._silence_s = silence_s
        self.config = config

    async def process(
        self,
        name: str,
        sample_indices: tuple[int, ...],
        *,
        pass_on: Callable[[control_pb2.ConnectRequest], None],
        memory: bool = False,
        parts: int = 1,
    ) -> str:
        """One process from start to end. Gives why it ended early; empty: it did not.

        Raises:
            NotRunnable: it died.
            TimedOut: it said nothing for too long.
            TooLarge, Internal: it said what it may not.
        """
        path = self._folder / f"{name}.json"
        config = replace(
            self.config, sample_indices=sample_indices, budget_s=self.config.budget_s / parts, memory=memory
        )
        config.write(path)
        process = await asyncio.create_subprocess_exec(
            *(str(self._python), "-P", "-m", "edge_agent.profile_process", str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_variables(),
            cwd=self._folder,
            start_new_session=True,
        )
        try:
            return await self._listen(process, config, pass_on)
        finally:
            await end_group(process)

    async def _listen(
        self, process: Process, config: ProfileConfig, pass_on: Callable[[control_pb2.ConnectRequest], None]
    ) -> str:
        if process.stdout is None or process.stderr is None:
            raise Internal("the profile process was started without pipes")
        reading = asyncio.create_task(_last_words(process.stderr))
        try:
            while True:
                async with asyncio.timeout(self._silence_s):
                    frame = await receive_frame(process.stdout)
                message = _decoded(frame)
                if message.profile_report.done:
                    return str(message.profile_report.error)
                pass_on(message)
        except EOFError:
            words = await reading
            await process.wait()
            at = noted(config.note)
            raise NotRunnable(
                f"{at + ': ' if at else ''}the profile process died (exit code {process.returncode}): "
                f"{words or 'no words'}"
            ) from None
        except TimeoutError:
            raise TimedOut(f"the profile process said nothing for {self._silence_s:g} s and was killed") from None
        except ValueError as error:
            raise TooLarge(f"the profile process sent {error}") from error
        finally:
            reading.cancel()


async def _last_words(stream: asyncio.StreamReader) -> str:
    tail = b""
    while chunk := await stream.read(8192):
        tail = (tail + chunk)[-_LAST_WORDS_BYTES:]
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
    variables = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    return {
        **variables,
        **dict.fromkeys(_THREAD_VARIABLES, "1"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
