"""What an agent lets be seen of itself from outside: metrics for Prometheus, traces for a collector. Off by default.

Neither may harm the agent: a port that is taken, a collector that is away, an extra that is not installed are said in
the log, and tried again where that may help.
"""

from __future__ import annotations

import asyncio
from random import Random

import circinus
from circinus.clock import Clock
from circinus.errors import CircinusError, NotAllowed
from circinus.event_counts import EventCounts
from circinus.events import warning
from circinus.metrics_server import Guard, Guest, MetricsServer
from edge_agent.measuring import AddUp
from edge_agent.metrics.agent_page import AgentPage, AgentParts
from edge_agent.metrics.totals import Totals
from edge_agent.serving_port import Serving
from edge_agent.tracing.exporter import Exporter
from edge_agent.tracing.otlp import check_installed
from edge_agent.tracing.tracer import Tracer

_RETRY_S = 30.0
_PERSON = "circinus:person/"


class Insight:
    """The metrics and traces of one agent."""

    def __init__(self, parts: AgentParts, *, clock: Clock, rng: Random) -> None:
        self._parts = parts
        self._clock = clock
        self._totals, self._events = Totals(), EventCounts()
        self._page = AgentPage(parts, self._totals, self._events, clock.now().timestamp())
        #: Where metrics are served; empty: nowhere, or not yet.
        self.address = ""
        if parts.config.traces.endpoint:
            self._page.tracing = self._tracing(rng)

    @property
    def add_up(self) -> AddUp | None:
        """Who is to get the windows of telemetry; None: nobody."""
        return self._totals.take if self._parts.config.metrics_listen else None

    def begin(self, serving: Serving, device_class: str) -> None:
        """The serving half is there."""
        self._page.serving, self._page.device_class = serving, device_class
        if self._page.tracing is not None:
            serving.trace_with(self._page.tracing[0])

    async def run(self) -> None:
        """Serves metrics and sends traces until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._parts.config.metrics_listen:
                group.create_task(self._serve(self._parts.config.metrics_listen))
            if self._page.tracing is not None:
                group.create_task(self._page.tracing[1].run())

    async def _serve(self, listen: str) -> None:
        credentials = self._parts.identity.credentials if self._parts.identity is not None else None
        guard = Guard(context=credentials.server_context, admit=admit) if credentials is not None else None
        server = MetricsServer(self._page.families, guard=guard)
        self._page.scrapes = lambda: (server.served, server.refused)
        with self._events.listening():
            while True:
                try:
                    async with server.listening(listen) as self.address:
                        await asyncio.get_running_loop().create_future()
                except CircinusError as error:
                    warning("metrics_not_served", address=listen, reason=error)
                    await self._clock.sleep(_RETRY_S)

    def _tracing(self, rng: Random) -> tuple[Tracer, Exporter] | None:
        config = self._parts.config
        try:
            check_installed()
        except CircinusError as error:
            warning("traces_not_sent", endpoint=config.traces.endpoint, reason=error)
            return None
        tracer = Tracer(ratio=config.traces.ratio, clock=self._clock, rng=rng)
        resource = {
            "service.name": "circinus-agent",
            "service.version": circinus.__version__,
            "service.instance.id": config.device_id,
            "circinus.device": config.device_id,
            "circinus.site": config.site,
            "circinus.tier": config.tier.value,
        }
        return tracer, Exporter(config.traces, tracer, resource, clock=self._clock, rng=rng)


def admit(guest: Guest) -> None:
    """Lets people in by their certificates, not other boxes.

    Raises:
        NotAllowed: it is no person's.
    """
    if not any(name.startswith(_PERSON) for name in guest.names):
        raise NotAllowed("metrics of a box are for people: show the certificate of one, such as a viewer's")


__all__ = ["Insight", "admit"]
