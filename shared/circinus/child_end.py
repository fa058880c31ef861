"""The end of a child process that was killed: it is waited for, whoever calls that off."""

from __future__ import annotations

import asyncio


async def reap(process: asyncio.subprocess.Process) -> None:
    """Waits until a killed process is gone. A cancel goes on only then: no zombie stays, and no loop ends before."""
    cancelled: asyncio.CancelledError | None = None
    while process.returncode is None:
        try:
            await asyncio.shield(process.wait())
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


__all__ = ["reap"]
