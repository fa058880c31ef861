"""Keeps one process running: starts it, has it served, starts it again with back-off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from circinus.clock import Clock
from circinus.events import event, warning
from circinus.retry import Backoff
from edge_agent.process import ServingProcess

_FIRST_BACKOFF_S = 0.5
_CAP_BACKOFF_S = 30.0
#: A process that lived so long was well: the back-off begins anew.
_WELL_S = 30.0


class Supervisor:
    """One process, again and again. ``process`` is None while there is none; ``failure`` why it can't start.

    ``serve`` returns when the process is of no more use.
    """

    def __init__(
        self,
        *,
        name: str,
        start: Callable[[], Awaitable[ServingProcess]],
        serve: Callable[[ServingProcess], Awaitable[None]],
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
        on_restart: Callable[[], None],
    ) -> None:
        self.process: ServingProcess | None = None
        self.failure = ""
        self.name = name
        #: How long the process may take to end when the supervisor is cancelled.
        self.grace_s = 2.0
        self._trouble = ""
        self._started_s = 0.0
        self._start = start
        self._serve = serve
        self._clock = clock
        self._backoff = Backoff(_FIRST_BACKOFF_S, _CAP_BACKOFF_S, rng)
        self._on_change = on_change
        self._on_restart = on_restart

    @property
    def trouble(self) -> str:
        """The limit that its last process was killed for; empty: none, or the next one has been well for a while."""
        well = self.process is not None and self._clock.monotonic_s() - self._started_s >= _WELL_S
        return "" if well else self._trouble

    async def run(self) -> None:
        """Runs until it is cancelled; the process is gone when it returns."""
        while True:
            await self._run_once()
            await self._clock.sleep(self._backoff.next_s())

    async def _run_once(self) -> None:
        try:
            process = await self._start()
        except Exception as error:  # of the bundle, the environment or the machine: it is tried again
            self.failure = str(error) or type(error).__name__
            warning("process_start_failed", name=self.name, reason=error)
            self._on_change()
            return
        self._started_s = self._clock.monotonic_s()
        self.process, self.failure = process, ""
        event("process_ready", name=self.name, pid=process.pid)
        self._on_change()
        try:
            await self._serve(process)
        except Exception as error:  # a fault of ours must not end the replica for good
            warning("serving_failed", name=self.name, error=repr(error))
        finally:
            self.process = None
            await process.stop(self.grace_s)
        self._trouble = process.cause
        said = process.cause or process.last_words()
        warning("process_lost", name=self.name, pid=process.pid, last_words=said)
        if self._clock.monotonic_s() - self._started_s >= _WELL_S:
            self._backoff.reset()
        self._on_restart()
        self._on_change()
