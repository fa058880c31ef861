"""The agent: keeps what the planner's last accepted directive says, with the planner or without.

It owns the ledger, the link, environments, profiler and outbox, and tells the serving half what to run. Orders
(directives, activations, retirements) are obeyed one after the other, in the order in which they came; fetching
for environments and profiling go on beside them. Whatever fails in one order is answered or logged; the agent
lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from circinus import service_manager
from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.device import Device
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import PipelineId
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import device_to_message
from edge_agent.acceptance import Acceptance
from edge_agent.blobs import Blobs
from edge_agent.config import AgentConfig
from edge_agent.control_link import ControlLink
from edge_agent.dataplane.reached import reached_at
from edge_agent.disk_guard import DiskGuard, leave_scratch, scratch_folder
from edge_agent.environments import Environments
from edge_agent.fingerprint.accelerators import providers_of
from edge_agent.fingerprint.disk import read_disk_free_bytes
from edge_agent.fingerprint.watch import FingerprintWatch
from edge_agent.health import Health
from edge_agent.heap import settle
from edge_agent.identity.box import BoxIdentity
from edge_agent.insight import Insight
from edge_agent.isolation.isolation import Isolation
from edge_agent.last_address import start_where_it_was
from edge_agent.leaving import forget
from edge_agent.ledger import Ledger
from edge_agent.looks import LOOK_KINDS, Looks
from edge_agent.measuring import Measuring
from edge_agent.metrics.agent_page import AgentParts
from edge_agent.outbox import Outbox, device_ran_s
from edge_agent.preparing import Preparing
from edge_agent.profiler import Profiler
from edge_agent.serving_port import Serving, ServingFactory
from edge_agent.state_lock import hold

_GRACE_S = 5.0
#: A source waits for its own query's processes anyhow; this is for peers, which may be away for long.
_BOOT_READY_S = 5.0
_MAX_ORDERS = 64
#: So long a box that leaves waits for its last telemetry to be taken, looking so often.
_LAST_WORDS_S = 5.0
_LOOK_S = 0.05

_PHASES = {
    "starting": control_pb2.GENERATION_PHASE_STARTING,
    "ready": control_pb2.GENERATION_PHASE_READY,
    "active": control_pb2.GENERATION_PHASE_ACTIVE,
    "drained": control_pb2.GENERATION_PHASE_DRAINED,
    "failed": control_pb2.GENERATION_PHASE_FAILED,
}


class Agent:
    """One device's agent. ``run`` until told to stop."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        clock: Clock,
        rng: Random,
        make_serving: ServingFactory,
        identity: BoxIdentity | None = None,
    ) -> None:
        """``identity`` None: all in the clear, on this machine."""
        self._config = config
        self._identity = identity
        self._process_id = secrets.token_hex(16)
        self._clock = clock
        state_dir = config.state_dir
        guard = DiskGuard(state_dir)
        self._ledger = Ledger(state_dir / "ledger.db", config.device_id, guard)
        self._outbox = Outbox(state_dir / "outbox.db", guard=guard, clock=clock)
        self._health = Health(
            guard=guard,
            others=self._troubles,
            clock=clock,
            ran_s=device_ran_s,
            on_change=self._on_change,
            heal=self._ledger.heal,
        )
        self._link = ControlLink(
            config.planner,
            hello=self._hello,
            receive=self._receive,
            outbox=self._outbox,
            clock=clock,
            rng=rng,
            credentials=None if identity is None else identity.credentials,
            explain=None if identity is None else identity.explain,
        )
        parts = AgentParts(
            config=config,
            identity=identity,
            link=self._link,
            ledger=self._ledger,
            outbox=self._outbox,
            health=self._health,
            guard=guard,
        )
        self._insight = Insight(parts, clock=clock, rng=rng)
        self._blobs = Blobs(state_dir, self._link)
        self._environments = Environments(
            state_dir=state_dir, blobs=self._blobs, wheels=config.wheels, build=config.build_environments
        )
        self._acceptance = Acceptance(
            config,
            ledger=self._ledger,
            blobs=self._blobs,
            environments=self._environments,
            signatures=None if identity is None else identity.signatures,
        )
        self._watch = FingerprintWatch(config, clock=clock, on_change=self._on_device)
        self._make_serving = make_serving
        self._device: Device | None = None
        self._serving: Serving | None = None
        self._profiler: Profiler | None = None
        self._looks: Looks | None = None
        self._orders: asyncio.Queue[control_pb2.ConnectResponse] = asyncio.Queue(_MAX_ORDERS)
        self._preparing = Preparing(self._environments, tell=self._link.tell, fingerprint=self._fingerprint)
        self._isolation = Isolation(config.isolation, state_dir=config.state_dir, feeds=config.access.folders)
        self._changed = asyncio.Event()
        self._reportable = asyncio.Event()
        self._failed: tuple[Generation, str] | None = None
        self._left = False
        self._ending = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Does all that an agent does until ``stop`` is set; then stops what it started.

        Told goodbye by the planner, it sets ``stop`` itself, and forgets what it held.

        Raises:
            AlreadyExists: another agent runs on this state folder.
            InvalidInput: an address in the configuration can't be used.
        """
        state_dir = self._config.state_dir
        with contextlib.suppress(OSError):  # what can't be made is named by whoever needs it
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = hold(state_dir / "lock")
        self._ending = stop
        try:
            self._blobs.prepare()
            async with self._ledger, self._outbox:
                # Side by side: what a box serves waits for both.
                device, _ = await asyncio.gather(self._watch.first(), self._environments.load())
                await self._serve(stop, device)
            if self._left:
                forget(self._config)
        finally:
            os.close(lock)

    async def _serve(self, stop: asyncio.Event, device: Device) -> None:
        config = self._config
        providers = providers_of(device.accelerators)
        serving = self._serving = self._make_serving(
            device_id=config.device_id,
            speed_ratio=config.speed_ratio,
            links=config.links,
            run_dir=scratch_folder(config.state_dir / "run"),
            python_for=self._environments.python_for,
            bundle_path=self._blobs.bundle_path,
            providers=providers,
            clock=self._clock,
            on_change=self._on_change,
            ingress=config.ingress,
            access=config.access,
            isolation=self._isolation,
            accelerators=device.accelerators,
            credentials=None if self._identity is None else self._identity.credentials,
        )
        profiler = self._profiler = Profiler(
            blobs=self._blobs,
            python_for=self._environments.python_for,
            run_dir=(profile_dir := scratch_folder(config.state_dir / "profile")),
            speed_ratio=config.speed_ratio,
            providers=providers,
            deliver=self._link.deliver,
            tell=self._link.tell,
            isolation=self._isolation,
            printed=serving.printed,
        )
        self._looks = Looks(serving, config.policy, self._blobs, clock=self._clock, tell=self._link.tell)
        measuring = Measuring(
            serving,
            outbox=self._outbox,
            clock=self._clock,
            heard=lambda: self._link.connected,
            put=self._link.wake,
            add_up=self._insight.add_up,
        )
        self._insight.begin(serving, device.device_class)
        try:
            listens_on = await start_where_it_was(serving, config.data_listen, config.state_dir)
            data_address = config.data_advertise or listens_on
            self._device = replace(device, data_address=data_address)
            event("agent_started", device=config.device_id, device_class=device.device_class, data_address=data_address)
            await self._run_tasks(stop, serving, profiler, measuring, self._looks)
        finally:
            await serving.stop(_GRACE_S)
            # The last windows, written down for the next start.
            await measuring.cut()
            leave_scratch(config.state_dir / "profile", profile_dir)

    async def _run_tasks(
        self, stop: asyncio.Event, serving: Serving, profiler: Profiler, measuring: Measuring, looks: Looks
    ) -> None:
        work: tuple[Coroutine[Any, Any, None], ...] = (
            self._obey(serving),
            self._link.run(),
            self._preparing.run(),
            self._report(),
            measuring.run(),
            self._health.run(),
            settle(self._clock),
            profiler.run(),
            self._insight.run(),
            looks.run(self._config.state_dir),
            self._watch.run(serving.streams),
            service_manager.feed_watchdog(self._clock),
            *(() if self._identity is None else (self._identity.run(),)),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step) for step in work]
            service_manager.tell(service_manager.READY)
            await stop.wait()
            service_manager.tell(service_manager.STOPPING)
            if self._left:
                await self._settle_accounts(measuring)
            event("agent_stopping", device=self._config.device_id)
            for task in tasks:
                task.cancel()

    async def _settle_accounts(self, measuring: Measuring) -> None:
        """Gives the planner a moment to take the last telemetry of a box that leaves."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await measuring.cut()
                self._link.wake()
                while self._link.connected and await self._outbox.peek(0):
                    await self._clock.sleep(_LOOK_S)
        except (CircinusError, OSError, TimeoutError) as error:
            # A box leaves with a full disk, too.
            warning("last_telemetry_not_told", reason=error)

    # What the planner says.

    async def _receive(self, message: control_pb2.ConnectResponse) -> None:
        kind = message.WhichOneof("message")
        if kind in ("directive", "signed_directive", "activate", "retire"):
            await self._orders.put(message)
        elif kind == "prepare_environment":
            await self._preparing.put(message.prepare_environment)
        elif kind == "profile" and self._profiler is not None:
            if self._config.policy.allows(PipelineId(message.profile.pipeline_id)):
                self._profiler.submit(message.profile)
            else:
                said = f"{self._config.device_id} does not allow pipeline {message.profile.pipeline_id} ([policy])"
                report = control_pb2.ProfileReport(id=message.profile.id, done=True, error=said[:2_000])
                self._link.deliver(control_pb2.ConnectRequest(profile_report=report))
        elif kind == "cancel_profile" and self._profiler is not None:
            self._profiler.cancel(message.cancel_profile.id)
        elif kind in LOOK_KINDS and self._looks is not None:
            self._looks.take(message)
        elif kind == "goodbye":
            event("goodbye", device=self._config.device_id, why=message.goodbye.why[:1_000])
            self._left = True
            self._ending.set()
        else:
            # A newer planner may say more than this agent knows.
            warning("message_not_understood", kind=kind)

    async def _obey(self, serving: Serving) -> None:
        await self._boot(serving)
        while True:
            order = await self._orders.get()
            kind = order.WhichOneof("message")
            try:
                if kind in ("directive", "signed_directive"):
                    await self._on_directive(serving, order)
                elif kind == "activate":
                    generation = Generation(epoch=order.activate.epoch, number=order.activate.generation)
                    await self._on_activate(serving, generation)
                else:
                    below = Generation(epoch=order.retire.epoch, number=order.retire.below_generation)
                    await self._on_retire(serving, below)
            except Exception as error:
                # One bad order must not end the obeying of later ones.
                warning("order_failed", kind=kind, error=f"{type(error).__name__}: {error}")
            self._on_change()

    async def _on_directive(self, serving: Serving, order: control_pb2.ConnectResponse) -> None:
        judged = await self._acceptance.judge(order, self._device)
        self._link.tell(control_pb2.ConnectRequest(directive_answer=judged.answer))
        if (directive := judged.directive) is not None:
            event(
                "directive_accepted",
                epoch=directive.generation.epoch,
                generation=directive.generation.number,
                replica_sets=len(directive.replica_sets),
                sources=len(directive.sources),
            )
            await self._apply(serving, directive)

    async def _apply(self, serving: Serving, directive: Directive) -> None:
        self._failed = None
        try:
            await serving.apply(directive)
        except Exception as error:
            self._failed = (directive.generation, f"{type(error).__name__}: {error}"[:1_000])
            warning("directive_not_applied", generation=directive.generation.number, reason=self._failed[1])
        self._on_change()

    async def _on_activate(self, serving: Serving, generation: Generation) -> None:
        held = self._ledger.newest
        if held is None or generation > held.generation:
            warning("activation_refused", generation=generation.number, reason="no such directive is held here")
            return
        if self._ledger.active is not None and generation < self._ledger.active:
            warning("activation_refused", generation=generation.number, reason="a newer generation is active")
            return
        # On disk first: after a crash the agent must not go back.
        await self._ledger.activate(generation)
        await serving.activate(generation)
        event("generation_active", epoch=generation.epoch, generation=generation.number)

    async def _on_retire(self, serving: Serving, below: Generation) -> None:
        if self._ledger.active is None or below > self._ledger.active:
            warning("retirement_refused", below=below.number, reason="the active generation would be stopped")
            return
        await serving.retire(below)
        await self._ledger.retire(below)

    async def _boot(self, serving: Serving) -> None:
        """Brings up what was accepted before the last stop, planner or not."""
        held = await self._ledger.load(None if self._identity is None else self._identity.signatures.wrong)
        for directive in held.directives:
            if refused := self._acceptance.against_policy(directive):
                self._failed = (directive.generation, refused)
                warning("directive_not_resumed", generation=directive.generation.number, reason=refused)
                self._on_change()
                continue
            event("directive_resumed", epoch=directive.generation.epoch, generation=directive.generation.number)
            await self._apply(serving, directive)
            if directive.generation == held.active:
                await self._until_ready(serving, directive.generation)
                await serving.activate(directive.generation)
                self._on_change()

    async def _until_ready(self, serving: Serving, generation: Generation) -> None:
        try:
            async with asyncio.timeout(_BOOT_READY_S):
                while (status := serving.status()).newest != generation or (
                    str(status.phase) == "starting" and not status.self_reliant
                ):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            # A peer that is away for good must not keep the local part from its work.
            warning("boot_not_ready", generation=generation.number, after_s=_BOOT_READY_S)

    # What the planner is told.

    def _troubles(self) -> tuple[str, ...]:
        own = (self._ledger.trouble, self._ledger.damage, *self._outbox.troubles)
        return tuple(filter(None, own))

    def _on_change(self) -> None:
        self._changed.set()
        self._reportable.set()

    async def _report(self) -> None:
        """Tells of the generation's status whenever it is another than the last one told."""
        while True:
            await self._reportable.wait()
            self._reportable.clear()
            status = self._generation_status()
            self._link.tell(control_pb2.ConnectRequest(generation_status=status))

    def _generation_status(self) -> control_pb2.GenerationStatus:
        newest, serving, troubles = self._ledger.newest, self._serving, self._health.troubles()
        if newest is None or serving is None:
            return control_pb2.GenerationStatus(troubles=troubles)
        status = serving.status()
        message = control_pb2.GenerationStatus(
            epoch=newest.generation.epoch,
            generation=newest.generation.number,
            digest=newest.digest,
            phase=control_pb2.GENERATION_PHASE_STARTING,
            active_generation=status.active.number if status.active is not None else 0,
            troubles=troubles,
        )
        if self._failed is not None and self._failed[0] == newest.generation:
            message.phase, message.reason = control_pb2.GENERATION_PHASE_FAILED, self._failed[1]
        elif status.newest == newest.generation:
            message.phase = _PHASES.get(str(status.phase), control_pb2.GENERATION_PHASE_STARTING)
            message.reason = status.reason[:2_000]
        for key, pids in status.pids.items():
            message.pids[key].pids.extend(pids)
        return message

    def _fingerprint(self) -> types_pb2.Fingerprint:
        if self._device is None:
            raise RuntimeError("the fingerprint isn't taken yet")
        device = replace(
            self._device,
            data_address=reached_at(self._device.data_address, self._config.planner),
            environments=self._environments.known(),
            disk_free_bytes=read_disk_free_bytes(self._config.state_dir),
            isolation=self._isolation.facts(),
        )
        return device_to_message(device)

    def _on_device(self, device: Device) -> None:
        """The fingerprint has changed."""
        if self._serving is not None and self._profiler is not None:
            self._serving.equip(device.accelerators)
            self._profiler.equip(providers_of(device.accelerators))
        address = "" if self._device is None else self._device.data_address
        self._device = replace(device, data_address=address)
        self._link.tell(control_pb2.ConnectRequest(fingerprint=self._fingerprint()))

    def _hello(self) -> control_pb2.Hello:
        return control_pb2.Hello(
            fingerprint=self._fingerprint(), generation_status=self._generation_status(), process_id=self._process_id
        )
