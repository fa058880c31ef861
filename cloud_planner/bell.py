"""A bell: whoever changed something rings, whoever watches wakes up."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes any number of waiters. Several rings while nobody waits are one. ``also``: a bell that rings with it."""

    def __init__(self, also: Bell | None = None) -> None:
        self._also = also
        self._rings = 0
        self._event = asyncio.Event()

    @property
    def rings(self) -> int:
        """How often it rang so far; what ``wait`` is given."""
        return self._rings

    def ring(self) -> None:
        """Wakes all that wait."""
        self._rings += 1
        event, self._event = self._event, asyncio.Event()
        event.set()
        if self._also is not None:
            self._also.ring()

    async def wait(self, heard: int, timeout_s: float | None = None) -> int:
        """Returns as soon as it rang more often than was heard, or after a while; gives how often it rang."""
        if self._rings <= heard:
            event = self._event
            try:
                async with asyncio.timeout(timeout_s):
                    await event.wait()
            except TimeoutError:
                pass
        return self._rings
