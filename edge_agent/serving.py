"""The serving half of the agent: keeps its processes, items and streams as the directives say.

Make before break: generations are kept side by side from the moment a directive is applied until the planner
retires them. Sources emit under the active one, and each item ends under the generation that it began with. What two
generations have in common runs once and is never restarted for a change of generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from secrets import token_hex

from circinus.clock import Clock
from circinus.errors import NotFound, StaleGeneration
from circinus.events import event, warning
from circinus.model.device import Accelerator, DeviceId, Digest, Link
from circinus.model.directive import Directive, Generation, Peer, SourceSpec
from circinus.model.query import PUSH, QueryId
from circinus.v1 import control_pb2, types_pb2
from edge_agent.dataplane.book import Emission, Ended
from edge_agent.dataplane.chunks import MAX_CHUNK_BYTES
from edge_agent.dataplane.exchange import Exchange
from edge_agent.dataplane.item import Input, Outcome, Payload, Work
from edge_agent.dataplane.peer_links import PeerLinks
from edge_agent.dataplane.plane import DataPlane
from edge_agent.dataplane.pulse import SILENCE_S
from edge_agent.dataplane.sources import Emitter
from edge_agent.feeds.access import NOTHING, Access
from edge_agent.heap import keep_freed_memory
from edge_agent.identity.credentials import Credentials
from edge_agent.ingress.front import Front
from edge_agent.isolation.isolation import Isolation
from edge_agent.reconcile import superseded
from edge_agent.runtime import Runtime
from edge_agent.serving_figures import ServingFigures, figures_of
from edge_agent.serving_status import Phase, ServingStatus
from edge_agent.shadow import Shadow
from edge_agent.stand_by import Patience
from edge_agent.stand_by_control import StandByControl
from edge_agent.tasks import TaskSet
from edge_agent.telemetry import Windows
from edge_agent.tracing.tracer import Tracer
from edge_agent.units import TICK_S, Units

#: A peer is out of reach after so much silence where a stand-by can serve instead: well within the two seconds in which
#: local answers are promised, and several signs of life long.
_SHORT_SILENCE_S = 1.0


class Serving:
    """Serves on one device.

    ``python_for`` gives the interpreter of an environment (raises NotRunnable), ``bundle_path`` the folder of a
    bundle (raises NotFound). ``on_change`` is called whenever ``status()`` has changed; it must not wait.
    ``offered_ratio``: how many times its planned rate a source offers, to try overload. With ``credentials`` the
    streams between devices are encrypted, and a peer's certificate must be for whom a directive names.
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
        offered_ratio: Callable[[QueryId], float] = lambda _: 1.0,
        stand_by_patience: Patience | None = None,
        credentials: Credentials | None = None,
        ingress: str = "",
        access: Access = NOTHING,
        isolation: Isolation | None = None,
        accelerators: tuple[Accelerator, ...] = (),
    ) -> None:
        self._offered_ratio = offered_ratio
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
            access=access,
            isolation=isolation,
            accelerators=accelerators,
            clock=clock,
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
        self._ways = PeerLinks(self._links, clock=clock, on_lost=self._plane.lost, on_sent=self._sent)
        self.send_input, self.send_outcome = self._ways.send_input, self._ways.send_outcome
        self._stand_by = StandByControl(
            plane=self._plane, clock=clock, reached=self._ways.reached, patience=stand_by_patience
        )
        self._units = Units(
            runtime=self._runtime,
            results=self._plane,
            windows=self._windows,
            clock=clock,
            rng=rng,
            on_change=self._changed,
        )
        self._shadow = Shadow(
            windows=self._windows, clock=clock, start=self._runtime.start_shadow, idle=lambda: self._units.idle
        )
        self._front = Front(
            listen=ingress,
            access=access,
            credentials=credentials,
            plane=self._plane,
            units=self._units,
            offers=self,
            emit=self._emit,
            active=lambda: None if self._active is None else self._directives.get(self._active),
            clock=clock,
        )
        self._exchange = Exchange(
            device_id=device_id,
            link_to=self._ways.to,
            receiver=self._plane,
            clock=clock,
            rng=rng,
            on_change=self._stream_changed,
            silence_s=self._silence_s,
            credentials=credentials,
            admits=self._names,
        )
        self._tasks = TaskSet()
        self.streams, self.equip = self._exchange.streams, self._runtime.equip
        self.printed, self.taps = self._runtime.printed, self._units.taps
        self._dialling: dict[Peer, asyncio.Task[None]] = {}
        self._directives: dict[Generation, Directive] = {}
        self._active: Generation | None = None
        self._was_ready: set[Generation] = set()
        self._emitters: dict[str, tuple[Emitter, asyncio.Task[None]]] = {}
        self._reported = ServingStatus()

    async def start(self, listen: str) -> str:
        """Starts the data plane; gives the address that peers dial ("" listens nowhere: this device only dials).

        Raises:
            InvalidInput: the address is not one that may be listened on.
            Unreachable: the port is taken.
        """
        keep_freed_memory()
        port = await self._exchange.listen(listen) if listen else 0
        await self._front.start()
        self._runtime.open()
        self._tasks.spawn(self._tick(), name="tick")
        self._tasks.spawn(self._shadow.run(), name="shadow")
        return f"{listen.rpartition(':')[0]}:{port}" if listen else ""

    @property
    def ingress_address(self) -> str:
        """Where callers and subscribers dial; empty: nowhere."""
        return self._front.address

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
        self._shadow.assign(directive)
        self._assign_sources(directive)
        self._front.serve(directive)
        self._stand_by.activate(directive)
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
        directive = self._directives[newest]
        phase, reason = self._phase_of(directive)
        return ServingStatus(
            newest=newest,
            phase=phase,
            reason=reason,
            active=self._active,
            pids=self._units.pids(),
            self_reliant=bool(directive.stand_bys) and self._units.ready(directive),
        )

    def running(self) -> ServingFigures:
        """What runs here, and how the ways to peers stand."""
        return figures_of(self._directives.values(), self._units, self._ways.states())

    def trace_with(self, tracer: Tracer) -> None:
        """Traces items from now on, as many as the tracer samples."""
        self._plane.tracer = tracer

    def take_windows(self) -> tuple[list[types_pb2.QueryWindow], list[types_pb2.OperatorWindow]]:
        """Telemetry since the last call."""
        if self._active is not None:
            for source in self._directives[self._active].sources:
                self._windows.watch(source.query_id, self._active)
        return self._windows.take()

    def take_episodes(self) -> list[control_pb2.StandByEpisode]:
        """Beginnings and ends of stand-bys since the last call."""
        return self._stand_by.take_episodes()

    async def stop(self, grace_s: float) -> None:
        """Stops: no new items, what is in flight may end within half of the grace, then everything goes."""
        for emitter in [task for _, task in self._emitters.values()]:
            emitter.cancel()
        self._emitters.clear()
        self._stand_by.stop()
        until_s = self._clock.monotonic_s() + grace_s / 2
        while not (self._units.idle and self._plane.book.count() == 0) and self._clock.monotonic_s() < until_s:
            await self._clock.sleep(0.02)
        await self._front.stop()
        await self._units.stop(grace_s / 2)
        await self._tasks.stop()
        await self._exchange.stop()
        self._runtime.close()
        event(
            "serving_stopped",
            emitted=self._plane.emitted,
            ended=self._plane.ended_items,
            lost_outcomes=self._plane.lost_outcomes,
            duplicates=self._plane.book.duplicates,
        )

    # What the data plane hands on (plane.Port).

    def offer(self, keys: Sequence[str], work: Work) -> bool:
        """Hands an item to the least loaded of these replica sets of this device."""
        runners = [runner for key in keys if (runner := self._units.replica_set(key)) is not None]
        if not runners:
            return False
        min(runners, key=lambda runner: runner.load).offer(work)
        return True

    def _silence_s(self, peer: DeviceId) -> float:
        """How long a peer may be silent: short where a stand-by waits to serve instead."""
        if not self._stand_by.watches(peer):
            return SILENCE_S
        bandwidth = link.bandwidth_bit_per_s if (link := self._links.get(peer)) is not None else 0
        # On a slow link one chunk on its way is a silence, too.
        return _SHORT_SILENCE_S + (8.0 * MAX_CHUNK_BYTES / bandwidth if bandwidth else 0.0)

    def _stream_changed(self) -> None:
        self._stand_by.look()
        self._changed()

    def _emit(self, emission: Emission, payload: Payload) -> None:
        if self.taps.open and (source := self._units.source(emission.source_key)) is not None:
            self.taps.emitted(emission, payload, source.spec.pipeline_id, source.spec.bundle_digest)
        self._shadow.emitted(emission, payload)
        self._front.emitted(emission, payload)
        self._plane.emit(emission, payload)

    def _settle(self, ended: Ended) -> None:
        self._shadow.ended(ended)
        runner = self._units.source(ended.emission.source_key)
        self._windows.ended(ended)
        self._front.ended(ended)
        if runner is not None:
            runner.settle(ended)

    def _sent(self, message: Input | Outcome, size_bytes: int) -> None:
        generation: Generation | None
        if isinstance(message, Input):
            generation = message.generation
        else:
            # An outcome says its generation's number alone; of two epochs with it the newer is meant.
            numbers = (one for one in self._plane.seen if one.number == message.generation_number)
            generation = max(numbers, default=None)
        if generation is not None and size_bytes:
            self._windows.sent(message.query_id, generation, size_bytes)

    def _reconcile(self) -> None:
        self._units.bring_to(self._directives.values())
        wanted = {peer for directive in self._directives.values() for peer in directive.peers}
        for peer in self._dialling.keys() - wanted:
            self._dialling.pop(peer).cancel()
        for peer in sorted(wanted - self._dialling.keys(), key=lambda one: (one.device_id, one.address)):
            self._dialling[peer] = self._tasks.spawn(self._exchange.dial(peer), name=f"dial {peer.device_id}")
        self._exchange.turn_out()
        self._changed()

    def _names(self, peer: DeviceId) -> bool:
        """Whether a directive names a peer: whoever no directive names has no business here."""
        return any(
            peer == one.device_id
            for directive in self._directives.values()
            for one in (*directive.peers, *directive.dialled_by)
        )

    def _forget(self, generations: tuple[Generation, ...]) -> None:
        for generation in generations:
            del self._directives[generation]
            self._plane.remove(generation)
            self._was_ready.discard(generation)

    def _assign_sources(self, directive: Directive) -> None:
        # Who reads what another query's source emits has no emitter; the next leader goes on with the last one's.
        emitting = [one for one in directive.sources if not one.leader_query_id and one.input != PUSH]
        wanted = {_emitter_of(source): source for source in emitting}
        for name in self._emitters.keys() - wanted.keys():
            self._emitters.pop(name)[1].cancel()
        for name, spec in wanted.items():
            runner = self._units.source(spec.key)
            if runner is None:
                warning("source_missing", query=spec.query_id, key=spec.key)
                continue
            if name not in self._emitters:
                emitter = Emitter(
                    clock=self._clock,
                    next_request=self._plane.next_request,
                    on_emission=self._emit,
                    on_shed=self._plane.shed,
                    ready=self._may_emit,
                    admissions=self._plane.admissions,
                    offered_ratio=self._offered_ratio,
                )
                self._emitters[name] = (emitter, self._tasks.spawn(emitter.run(), name=f"emit {spec.query_id}"))
            self._emitters[name][0].assign(spec, directive.generation, runner)

    def _may_emit(self, spec: SourceSpec) -> bool:
        """Whether a query's processes on this device are up: at boot its first items must not find none."""
        if self._active is None:
            return False
        source = self._units.source(spec.key)
        active = self._directives[self._active]
        readers = {one.query_id for one in active.sources if spec.query_id in (one.query_id, one.leader_query_id)}
        keys = [one.key for one in active.replica_sets if any(use.query_id in readers for use in one.served)]
        runners = [self._units.replica_set(key) for key in keys]
        return (
            source is not None
            and source.ready
            and all(runner is not None and any(one.process for one in runner.supervisors) for runner in runners)
        )

    def _phase_of(self, directive: Directive) -> tuple[Phase, str]:
        generation = directive.generation
        if generation not in self._was_ready:
            missing = [peer.device_id for peer in directive.peers if not self._ways.reached(peer.device_id)]
            if self._units.ready(directive) and not missing:
                self._was_ready.add(generation)
            elif failure := self._units.failure(directive):
                return Phase.FAILED, failure
            else:
                return Phase.STARTING, f"not connected to {', '.join(missing)}" if missing else ""
        if self._active != generation:
            return Phase.READY, ""
        held = self._plane.count_older(generation) + self._units.count_older(generation)
        held += self._ways.count_older(generation)
        # What it reads or writes beside its plan: the generation is none the worse for it.
        reason = self._units.trouble(directive) or self._front.failure
        return Phase.ACTIVE if held else Phase.DRAINED, reason

    def _changed(self) -> None:
        status = self.status()
        if status != self._reported:
            self._reported = status
            self._notify()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S if self._ways else self._units.tick_s)
            self._plane.expire()
            self._stand_by.look()
            self._changed()


def _emitter_of(source: SourceSpec) -> str:
    """Whose items they are: a query's, or those of all that read the same input the same way."""
    return source.key if source.input else source.query_id
