"""What happened, for whoever looks later: the events of the log that people act on, in a ring with cursors.

The log itself goes where the service manager puts it, and has everything. Here is what a program can follow over the
wire: devices that come, go and are kept, queries, generations, drift, refusals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from types import MappingProxyType

from circinus import events
from circinus.clock import Clock
from circinus.errors import CircinusError
from cloud_planner.bell import Bell
from cloud_planner.store import EventKind, EventRecord, Store

#: Events that may wait to be written; then the oldest of them are lost.
MAX_WAITING = 1_000
_FLUSH_S = 0.5

#: The events that are kept, of all that the log has.
KINDS: Mapping[str, EventKind] = MappingProxyType(
    {
        "agent_connected": EventKind.DEVICE,
        "agent_left": EventKind.DEVICE,
        "device_kept": EventKind.DEVICE,
        "device_labelled": EventKind.DEVICE,
        "device_left": EventKind.DEVICE,
        "goodbye_said": EventKind.DEVICE,
        "identity_doubled": EventKind.DEVICE,
        "pipeline_added": EventKind.QUERY,
        "pipeline_removed": EventKind.QUERY,
        "query_removed": EventKind.QUERY,
        "query_submitted": EventKind.QUERY,
        "search_failed": EventKind.QUERY,
        "generation_created": EventKind.PLAN,
        "generation_drain_overdue": EventKind.PLAN,
        "generation_phase": EventKind.PLAN,
        "planning_failed": EventKind.PLAN,
        "query_less_sure": EventKind.PLAN,
        "query_pauses": EventKind.PLAN,
        "drift_found": EventKind.DRIFT,
        "agent_refused": EventKind.REFUSAL,
        "device_excluded": EventKind.REFUSAL,
        "directive_refused": EventKind.REFUSAL,
        "generation_stuck": EventKind.REFUSAL,
        "profile_failed": EventKind.REFUSAL,
        "telemetry_refused": EventKind.REFUSAL,
    }
)


class Chronicle:
    """The ring of a planner. ``written`` rings when there is something new in it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[EventRecord] = deque(maxlen=MAX_WAITING)
        self.written = Bell()

    def hear(self, name: str, fields: Mapping[str, str], warning: bool) -> None:
        """Notes an event of the log, if it is one that is kept."""
        kind = KINDS.get(name)
        if kind is not None:
            self._waiting.append(
                EventRecord(at=self._clock.now(), kind=kind, name=name, warning=warning, fields=dict(fields))
            )

    async def run(self) -> None:
        """Hears what is logged, and writes it down, for ever."""
        with events.heard_by(self.hear):
            try:
                while True:
                    await self._clock.sleep(_FLUSH_S)
                    await self.flush()
            finally:
                await self.flush()

    async def flush(self) -> None:
        """Writes what waits."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return
        try:
            await self._store.add_events(batch)
        except (OSError, CircinusError) as error:
            events.warning("events_not_written", events=len(batch), reason=error)
        self.written.ring()

    async def list(
        self, after: int, limit: int, kinds: Collection[EventKind] = (), *, newest: bool = False
    ) -> tuple[EventRecord, ...]:
        """Events after a cursor, oldest first: the first so many, or the newest."""
        return await self._store.events(after, limit, kinds, newest=newest)

    async def missed(self, after: int) -> bool:
        """Whether events after a cursor are forgotten already."""
        first = await self._store.first_event()
        return bool(after) and first > after + 1


__all__ = ["KINDS", "MAX_WAITING", "Chronicle"]
