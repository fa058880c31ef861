"""Whether the other end of a stream still lives: each end sends an empty frame now and then, and listens.

A link that dies without a word (a cable, a radio, a firewall that forgot) leaves both ends with an open stream; TCP
alone notices after minutes. All that comes in counts as a sign of life, so that a peer that is busy sending need not be
asked. Time in which this process itself stood still is no silence of the peer's: what has come meanwhile only waits to
be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from circinus.clock import Clock
from circinus.errors import Unreachable
from edge_agent.dataplane.frames import Parts

#: How often a sign of life is sent, and looked for.
PULSE_S = 0.2
#: A peer that is silent for so long is out of reach, if nobody says otherwise.
SILENCE_S = 5.0
_NOTHING: Parts = []


class Pulse:
    """Of one stream. ``silence_s`` says how long its peer may be silent; it may change."""

    def __init__(
        self,
        write: Callable[[Parts], Awaitable[None]],
        clock: Clock,
        silence_s: Callable[[], float] = lambda: SILENCE_S,
    ) -> None:
        self._write = write
        self._clock = clock
        self._silence_s = silence_s
        self._writing = asyncio.Lock()
        self._wrote = False
        self._silent_s = 0.0

    async def write(self, frame: Parts) -> None:
        """Writes a frame, one at a time."""
        async with self._writing:
            self._wrote = True
            await self._write(frame)

    def heard(self) -> None:
        """Something came in."""
        self._silent_s = 0.0

    async def beat(self) -> None:
        """Sends signs of life until it is cancelled. Whatever was written, or is being written, is one, too."""
        while True:
            if not self._wrote and not self._writing.locked():
                await self.write(_NOTHING)
            self._wrote = False
            await self._clock.sleep(PULSE_S)

    async def listen(self) -> None:
        """Listens until it is cancelled.

        Raises:
            Unreachable: the peer is silent for too long.
        """
        while True:
            before_s = self._clock.monotonic_s()
            await self._clock.sleep(PULSE_S)
            # However long this process stood still, the peer could not have been heard in it.
            self._silent_s += min(self._clock.monotonic_s() - before_s, 2.0 * PULSE_S)
            if self._silent_s > self._silence_s():
                raise Unreachable(f"nothing was heard of the peer for {self._silent_s:.1f} s")
