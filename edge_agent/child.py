"""Runs a short-lived child process to its end, with a time limit, and never leaves it behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circinus.child_end import reap

#: The tail of the output that is kept: enough for the last error.
_MAX_OUTPUT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """``returncode`` is None if the time limit ended it; ``output`` is the tail of both streams."""

    returncode: int | None
    output: str

    @property
    def last_lines(self) -> str:
        """The end of what it said, for a reason in one line."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return "; ".join(lines[-4:])[-800:]


async def run_child(
    arguments: Sequence[str], *, timeout_s: float, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Finished:
    """Starts a process in a group of its own and waits for it; the whole group is killed at the limit or a cancel."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    try:
        try:
            async with asyncio.timeout(timeout_s):
                output = await _talk(process, stdin)
                await process.wait()
        except TimeoutError:
            return Finished(returncode=None, output="")
        return Finished(returncode=process.returncode, output=output)
    finally:
        await end_group(process)


async def _talk(process: asyncio.subprocess.Process, stdin: bytes) -> str:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child was started without pipes")
    with contextlib.suppress(ConnectionError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    tail = b""
    while chunk := await process.stdout.read(8192):
        tail = (tail + chunk)[-_MAX_OUTPUT_BYTES:]
    return tail.decode(errors="replace")


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Kills a process that leads its group, and all of the group, and waits until it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await reap(process)
