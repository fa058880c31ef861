"""The front of a device: its inference service, its results service, its sinks, as one thing that serving holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from circinus import channel
from circinus.clock import Clock
from circinus.events import event
from circinus.model.directive import Directive
from circinus.v1 import open_inference_pb2_grpc, results_pb2_grpc
from edge_agent.dataplane.book import Emission, Ended
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Payload
from edge_agent.dataplane.plane import DataPlane
from edge_agent.feeds.access import Access
from edge_agent.identity.credentials import Credentials, server_credentials
from edge_agent.ingress.callers import PeopleOnly
from edge_agent.ingress.desk import NO_SOURCE, Desk, Limits, Offers
from edge_agent.ingress.inference import InferenceService
from edge_agent.ingress.known import Known
from edge_agent.ingress.results import Results, ResultsService
from edge_agent.ingress.sinks import Sinks
from edge_agent.tasks import TaskSet
from edge_agent.units import Units

_SERVER_GRACE_S = 0.2
_SINK_GRACE_S = 2.0
#: What a request has beside its tensors.
_ENVELOPE_BYTES = 64 * 1024


class Front:
    """Callers, subscribers and sinks of one device. ``listen`` empty: sinks only."""

    def __init__(
        self,
        *,
        listen: str,
        access: Access,
        plane: DataPlane,
        units: Units,
        offers: Offers,
        emit: Callable[[Emission, Payload], None],
        active: Callable[[], Directive | None],
        clock: Clock,
        limits: Limits | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """``credentials``: with them an address that is not on loopback is listened on with mutual TLS."""
        #: Where it listens; empty: nowhere, or not yet.
        self.address = ""
        self._listen = listen
        self._credentials = credentials
        self._tasks = TaskSet()
        self._known = Known()
        self._desk = Desk(
            plane=plane, units=units, offers=offers, emit=emit, active=active, clock=clock, limits=limits or Limits()
        )
        self._results = Results(clock.now)
        self._sinks = Sinks(access, clock, lambda sink: self._tasks.spawn(sink.run(), name="sink"))
        self._in_the_clear = credentials is None or not listen or channel.is_loopback(listen)
        self._server = channel.server(
            () if self._in_the_clear else (PeopleOnly(),), max_message_bytes=MAX_PAYLOAD_BYTES + _ENVELOPE_BYTES
        )

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            InvalidInput: the address is not one that may be listened on.
            Unreachable: the port is taken.
        """
        if not self._listen:
            return
        inference = InferenceService(self._desk, self._known)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(inference, self._server)  # type: ignore[no-untyped-call]  # generated
        results_pb2_grpc.add_ResultsServiceServicer_to_server(ResultsService(self._results), self._server)  # type: ignore[no-untyped-call]  # generated
        port = self._open_port()
        await self._server.start()
        self.address = f"{self._listen.rpartition(':')[0]}:{port}"
        event("ingress_listens", address=self.address)

    def _open_port(self) -> int:
        if self._in_the_clear or self._credentials is None:
            return channel.insecure_port(self._server, self._listen)
        return channel.credentials_port(self._server, self._listen, server_credentials(self._credentials))

    async def stop(self) -> None:
        """Ends all calls; what sinks have left is written."""
        self._results.serve(())
        if self._listen:
            await self._server.stop(_SERVER_GRACE_S)
        self._sinks.serve(())
        # A disk that hangs must not keep the agent from its end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SINK_GRACE_S):
                await self._tasks.wait()
        await self._tasks.stop()

    def serve(self, directive: Directive) -> None:
        """The directive under which sources emit from now on."""
        self._results.serve([source.query_id for source in directive.sources])
        self._sinks.serve(directive.sources)

    def emitted(self, emission: Emission, payload: Payload) -> None:
        """An item of a query; the first few that its source made are looked at."""
        if self._listen and emission.source_key != NO_SOURCE and self._known.wants_item(emission.query_id):
            self._known.emitted(emission.query_id, bytes(payload))

    def ended(self, ended: Ended) -> None:
        """How an item of a source of this device ended."""
        self._desk.ended(ended)
        self._results.publish(ended)
        self._sinks.put(ended)

    @property
    def failure(self) -> str:
        """What is wrong with some sink; empty: nothing."""
        return self._sinks.failure
