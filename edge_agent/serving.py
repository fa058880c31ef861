"""The serving half of the agent: keeps its processes, items and streams as the directives say.

Make before break: generations are kept side by side from the moment a directive is applied until the planner
retires them. Sources emit under the active one, and each item ends under the generation that it began with. What two
generations have in common runs once and is never restarted for a change of generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from secrets import token_hex

from circinus import channel
from circinus.clock import Clock
from circinus.errors import NotFound, StaleGeneration
from circinus.events import event, warning
from circinus.model.device import DeviceId, Digest, Link
from circinus.model.directive import Directive, Generation, Peer, SourceSpec
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2_grpc, types_pb2
from edge_agent.dataplane.book import Ended
from edge_agent.dataplane.exchange import Exchange
from edge_agent.dataplane.item import Cause, Input, Outcome, Work
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.plane import DataPlane
from edge_agent.dataplane.shaping import shaper_for
from edge_agent.dataplane.sources import Emitter
from edge_agent.reconcile import superseded
from edge_agent.runtime import Runtime
from edge_agent.tasks import TaskSet
from edge_agent.telemetry import Windows
from edge_agent.units import Units

_TICK_S = 0.1
#: Peers that one device talks to at most.
_MAX_PEERS = 256
_SERVER_GRACE_S = 0.2


class Phase(StrEnum):
    """Where the newest generation stands on this device."""

    STARTING = "starting"
    READY = "ready"
    ACTIVE = "active"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingStatus:
    """Where serving stands. ``newest`` None: nothing was applied yet; ``pids`` by replica-set or source key."""

    newest: Generation | None = None
    phase: Phase = Phase.STARTING
    reason: str = ""
    active: Generation | None = None
    pids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Serving:
    """Serves on one device.

    ``python_for`` gives the interpreter of an environment (raises NotRunnable), ``bundle_path`` the folder of a
    bundle (raises NotFound). ``on_change`` is called whenever ``status()`` has changed; it must not wait.
    """

    def __init__(
        self,
        *,
        device_id: DeviceId,
        speed_ratio: float,
        links: tuple[Link, ...],
        run_dir: Path,
        python_for: Callable[[Digest], Path],
        bundle_path: Callable[[Digest], Path],
        providers: tuple[str, ...],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._device_id = device_id
        self._links = {link.peer: link for link in links}
        self._clock = clock
        self._notify = on_change
        self._runtime = Runtime(
            run_dir=run_dir,
            speed_ratio=speed_ratio,
            python_for=python_for,
            bundle_path=bundle_path,
            providers=providers,
        )
        # Only spreads retries: need not be repeatable.
        rng = Random(token_hex(8))
        self._windows = Windows(clock)
        self._plane = DataPlane(
            device_id=device_id,
            # A fresh one for each start, so that no two items ever have the same id.
            nonce=token_hex(4),
            port=self,
            windows=self._windows,
            clock=clock,
            settle=self._settle,
        )
        self._units = Units(
            runtime=self._runtime,
            results=self._plane,
            windows=self._windows,
            clock=clock,
            rng=rng,
            on_change=self._changed,
        )
        self._exchange = Exchange(
            device_id=device_id,
            link_to=self._link_to,
            receiver=self._plane,
            clock=clock,
            rng=rng,
            on_change=self._changed,
        )
        self._server = channel.server()
        self._tasks = TaskSet()
        self._peer_links: dict[DeviceId, PeerLink] = {}
        self._dialling: dict[Peer, asyncio.Task[None]] = {}
        self._directives: dict[Generation, Directive] = {}
        self._active: Generation | None = None
        self._was_ready: set[Generation] = set()
        self._emitters: dict[QueryId, tuple[Emitter, asyncio.Task[None]]] = {}
        self._reported = ServingStatus()

    async def start(self, listen: str) -> str:
        """Starts the data plane; gives the address that peers dial ("" listens nowhere: this device only dials).

        Raises:
            InvalidInput: the address is not one that may be listened on.
            Unreachable: the port is taken.
        """
        address = await self._listen(listen) if listen else ""
        self._runtime.open()
        self._tasks.spawn(self._tick(), name="tick")
        return address

    async def _listen(self, listen: str) -> str:
        dataplane_pb2_grpc.add_DataPlaneServiceServicer_to_server(self._exchange, self._server)  # type: ignore[no-untyped-call]  # generated
        port = channel.insecure_port(self._server, listen)
        await self._server.start()
        return f"{listen.rpartition(':')[0]}:{port}"

    async def apply(self, directive: Directive) -> None:
        """Takes a directive: starts what is missing, routes items of its generation, dials its peers.

        Applying one that is already there changes nothing. Returns at once; ``status()`` tells how it goes.
        """
        if directive.generation in self._directives:
            return
        self._directives[directive.generation] = directive
        self._plane.install(directive)
        self._forget(superseded(self._directives.keys(), self._active, self._plane.seen))
        self._reconcile()

    async def activate(self, generation: Generation) -> None:
        """Sources emit under this generation from now on.

        Raises:
            NotFound: it was never applied, or is retired.
            StaleGeneration: a newer one is active.
        """
        directive = self._directives.get(generation)
        if directive is None:
            raise NotFound(f"generation {generation.epoch}.{generation.number} is not on this device; apply it first")
        if self._active is not None and generation < self._active:
            raise StaleGeneration(
                f"generation {generation.epoch}.{generation.number} can't be activated: "
                f"{self._active.epoch}.{self._active.number} is active"
            )
        if generation == self._active:
            return
        self._active = generation
        event("generation_activated", epoch=generation.epoch, generation=generation.number)
        self._assign_sources(directive)
        self._changed()

    async def retire(self, below: Generation) -> None:
        """Forgets the generations below this one and stops what only they needed; the active one stays."""
        bound = below if self._active is None else min(below, self._active)
        self._forget(tuple(one for one in self._directives if one < bound))
        self._reconcile()

    def status(self) -> ServingStatus:
        """Where serving stands now."""
        if not self._directives:
            return ServingStatus(pids=self._units.pids())
        newest = max(self._directives)
        phase, reason = self._phase_of(self._directives[newest])
        return ServingStatus(newest=newest, phase=phase, reason=reason, active=self._active, pids=self._units.pids())

    def take_windows(self) -> tuple[list[types_pb2.QueryWindow], list[types_pb2.OperatorWindow]]:
        """Telemetry since the last call."""
        if self._active is not None:
            for source in self._directives[self._active].sources:
                self._windows.watch(source.query_id, self._active)
        return self._windows.take()

    async def stop(self, grace_s: float) -> None:
        """Stops: no new items, what is in flight may end within half of the grace, then everything goes."""
        for emitter in [task for _, task in self._emitters.values()]:
            emitter.cancel()
        self._emitters.clear()
        until_s = self._clock.monotonic_s() + grace_s / 2
        while not (self._units.idle and self._plane.book.count() == 0) and self._clock.monotonic_s() < until_s:
            await self._clock.sleep(0.02)
        await self._units.stop(grace_s / 2)
        await self._tasks.stop()
        await self._server.stop(_SERVER_GRACE_S)
        self._runtime.close()
        event("serving_stopped", lost_outcomes=self._plane.lost_outcomes, duplicates=self._plane.book.duplicates)

    # What the data plane hands on (plane.Port).

    def offer(self, keys: Sequence[str], work: Work) -> bool:
        """Hands an item to the least loaded of these replica sets of this device."""
        runners = [runner for key in keys if (runner := self._units.replica_set(key)) is not None]
        if not runners:
            return False
        min(runners, key=lambda runner: runner.load).offer(work)
        return True

    def send_input(self, peer: DeviceId, one: Input) -> Cause | None:
        """Sends an item to another device."""
        link = self._peer_links.get(peer)
        return Cause.LINK_DOWN if link is None else link.send_input(one)

    def send_outcome(self, peer: DeviceId, outcome: Outcome) -> bool:
        """Sends an outcome to another device."""
        link = self._peer_links.get(peer)
        return link is not None and link.send_outcome(outcome)

    def _settle(self, ended: Ended) -> None:
        runner = self._units.source(ended.emission.source_key)
        self._windows.ended(ended)
        if runner is not None:
            runner.settle(ended)

    def _link_to(self, peer: DeviceId) -> PeerLink:
        if peer not in self._peer_links:
            if len(self._peer_links) >= _MAX_PEERS:
                gone = next((one for one, link in self._peer_links.items() if not link.connected), None)
                if gone is None:
                    raise NotFound(f"there are {_MAX_PEERS} peers already, at most so many may be")
                del self._peer_links[gone]
            self._peer_links[peer] = PeerLink(
                peer, shaper=shaper_for(self._links.get(peer)), clock=self._clock, on_lost=self._plane.lost
            )
        return self._peer_links[peer]

    def _reconcile(self) -> None:
        self._units.bring_to(self._directives.values())
        wanted = {peer for directive in self._directives.values() for peer in directive.peers}
        for peer in self._dialling.keys() - wanted:
            self._dialling.pop(peer).cancel()
        for peer in sorted(wanted - self._dialling.keys(), key=lambda one: (one.device_id, one.address)):
            self._dialling[peer] = self._tasks.spawn(self._exchange.dial(peer), name=f"dial {peer.device_id}")
        self._changed()

    def _forget(self, generations: tuple[Generation, ...]) -> None:
        for generation in generations:
            del self._directives[generation]
            self._plane.remove(generation)
            self._was_ready.discard(generation)

    def _assign_sources(self, directive: Directive) -> None:
        wanted = {source.query_id: source for source in directive.sources}
        for query_id in self._emitters.keys() - wanted.keys():
            self._emitters.pop(query_id)[1].cancel()
        for query_id, spec in wanted.items():
            runner = self._units.source(spec.key)
            if runner is None:
                warning("source_missing", query=query_id, key=spec.key)
                continue
            if query_id not in self._emitters:
                emitter = Emitter(
                    clock=self._clock,
                    next_request=self._plane.next_request,
                    on_emission=self._plane.emit,
                    ready=self._may_emit,
                )
                self._emitters[query_id] = (emitter, self._tasks.spawn(emitter.run(), name=f"emit {query_id}"))
            self._emitters[query_id][0].assign(spec, directive.generation, runner)

    def _may_emit(self, spec: SourceSpec) -> bool:
        """Whether a query's processes on this device are up: at boot its first items must not find none."""
        if self._active is None:
            return False
        source = self._units.source(spec.key)
        keys = [one.key for one in self._directives[self._active].replica_sets if one.query_id == spec.query_id]
        runners = [self._units.replica_set(key) for key in keys]
        return (
            source is not None
            and source.ready
            and all(runner is not None and any(one.process for one in runner.supervisors) for runner in runners)
        )

    def _phase_of(self, directive: Directive) -> tuple[Phase, str]:
        generation = directive.generation
        if generation not in self._was_ready:
            missing = [
                peer.device_id
                for peer in directive.peers
                if (link := self._peer_links.get(peer.device_id)) is None or not link.connected
            ]
            if self._units.ready(directive) and not missing:
                self._was_ready.add(generation)
            elif failure := self._units.failure(directive):
                return Phase.FAILED, failure
            else:
                return Phase.STARTING, f"not connected to {', '.join(missing)}" if missing else ""
        if self._active != generation:
            return Phase.READY, ""
        held = self._plane.count_older(generation) + self._units.count_older(generation)
        held += sum(link.count_older(generation) for link in self._peer_links.values())
        return Phase.ACTIVE if held else Phase.DRAINED, ""

    def _changed(self) -> None:
        status = self.status()
        if status != self._reported:
            self._reported = status
            self._notify()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(_TICK_S)
            self._plane.expire()
            self._changed()
