"""The fingerprint of a running agent: taken at its start, then every few minutes and when hardware comes or goes.

It is told again only where it differs by more than noise does (change.py); measured links are damped (damping.py).
Whatever is read may block, so it is read beside the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from circinus.clock import Clock
from circinus.events import event, warning
from circinus.model.device import Device, DeviceId
from edge_agent.config import AgentConfig
from edge_agent.fingerprint.change import changes
from edge_agent.fingerprint.device import Fingerprinter
from edge_agent.fingerprint.links import LinkMeter, Stream
from edge_agent.fingerprint.uevents import Uevents

#: How often connections are looked at.
_LOOK_S = 30.0
#: Hardware that comes sends many events; drivers are ready a little later.
_SETTLE_S = 5.0


class FingerprintWatch:
    """Of one agent. ``first``, then ``run``; ``on_change`` gets each fingerprint that is to be told."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        clock: Clock,
        on_change: Callable[[Device], None],
        fingerprinter: Fingerprinter | None = None,
    ) -> None:
        self._settings = config.fingerprint
        self._links = config.links
        self._clock = clock
        self._on_change = on_change
        self._fingerprinter = fingerprinter or Fingerprinter(config)
        self._state_dir = config.state_dir
        self._planner = config.planner
        self._meter: LinkMeter | None = None
        self._uevents = Uevents()
        self._told: Device | None = None

    async def first(self) -> Device:
        """The fingerprint at the start; two or three seconds longer where the device's speed is not known yet."""
        device, meter = await asyncio.to_thread(lambda: (self._fingerprinter.take(), self._link_meter()))
        self._told = meter.apply(device)
        return self._told

    def _link_meter(self) -> LinkMeter:
        # Not before: it reads what an earlier start has kept.
        if self._meter is None:
            file = self._state_dir / "links.json"
            self._meter = LinkMeter(self._settings, self._planner, self._clock, file=file)
        return self._meter

    async def run(self, streams: Callable[[], Mapping[DeviceId, Stream]]) -> None:
        """Watches until it is cancelled. ``streams``: the connections to peers that there are."""
        self._uevents.open()
        try:
            due_s = self._clock.monotonic_s() + self._settings.period_s
            while True:
                hardware = await self._wait(min(_LOOK_S, self._settings.period_s))
                anew = hardware or self._clock.monotonic_s() >= due_s
                if anew:
                    due_s = self._clock.monotonic_s() + self._settings.period_s
                try:
                    await self.look(streams(), anew=anew)
                except Exception as error:
                    # What can't be read today must not end the watch, let alone the agent.
                    warning("fingerprint_not_taken", error=f"{type(error).__name__}: {error}")
        finally:
            self._uevents.close()

    async def look(self, streams: Mapping[DeviceId, Stream], *, anew: bool) -> None:
        """Looks at links, and with ``anew`` at everything; tells of the fingerprint if it has changed."""
        told = self._told or await self.first()
        meter = self._link_meter()
        await meter.look(streams)
        device = await asyncio.to_thread(self._fingerprinter.take) if anew else replace(told, links=self._links)
        device = meter.apply(device)
        changed = changes(told, device)
        if changed:
            self._told = device
            event("fingerprint_changed", facts=",".join(changed))
            self._on_change(device)

    async def _wait(self, seconds: float) -> bool:
        """Waits so long, or until hardware came or went; True: it did."""
        changed = self._uevents.changed
        tasks = (asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(changed.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not changed.is_set():
            return False
        await self._clock.sleep(_SETTLE_S)
        changed.clear()
        return True
