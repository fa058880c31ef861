"""The agent: keeps what the planner's last accepted directive says, with the planner or without.

It owns the ledger, the link, environments, profiler and outbox, and tells the serving half what to run. Orders
(directives, activations, retirements) are obeyed one after the other, in the order in which they came; fetching
for environments and profiling go on beside them. Whatever fails in one order is answered or logged; the agent
lives on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from circinus import service_manager
from circinus.channel import check_loopback
from circinus.clock import Clock
from circinus.errors import (
    AlreadyExists,
    BadDigest,
    CircinusError,
    ConflictingDirective,
    NotRunnable,
    StaleGeneration,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from circinus.events import event, warning
from circinus.model.device import Device, Digest, Environment
from circinus.model.directive import Directive, Generation
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check, device_to_message, directive_from_message, generation_of
from edge_agent.blobs import Blobs
from edge_agent.config import AgentConfig
from edge_agent.control_link import ControlLink
from edge_agent.environments import Environments
from edge_agent.fingerprint.device import take_fingerprint
from edge_agent.fingerprint.disk import read_disk_free_bytes
from edge_agent.law import Decision, bundles_of, check_fits, environments_of
from edge_agent.ledger import Ledger
from edge_agent.outbox import Outbox
from edge_agent.profiler import Profiler
from edge_agent.serving_port import Serving, ServingFactory

#: A step of a rate is to be answered within 10 s: two windows, a selection, and processes that start.
_WINDOW_S = 1.0
_GRACE_S = 5.0
_BOOT_READY_S = 30.0
_PREFETCH_TIMEOUT_S = 120.0
_FETCH_ATTEMPTS = 3
_MAX_ORDERS = 64

_PHASES = {
    "starting": control_pb2.GENERATION_PHASE_STARTING,
    "ready": control_pb2.GENERATION_PHASE_READY,
    "active": control_pb2.GENERATION_PHASE_ACTIVE,
    "drained": control_pb2.GENERATION_PHASE_DRAINED,
    "failed": control_pb2.GENERATION_PHASE_FAILED,
}
_VERDICTS: tuple[tuple[type[CircinusError], control_pb2.DirectiveVerdict], ...] = (
    (StaleGeneration, control_pb2.DIRECTIVE_VERDICT_STALE_GENERATION),
    (ConflictingDirective, control_pb2.DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE),
    (BadDigest, control_pb2.DIRECTIVE_VERDICT_BAD_DIGEST),
    (WrongDevice, control_pb2.DIRECTIVE_VERDICT_WRONG_DEVICE),
)


class Agent:
    """One device's agent. ``run`` until told to stop."""

    def __init__(self, config: AgentConfig, *, clock: Clock, rng: Random, make_serving: ServingFactory) -> None:
        self._config = config
        self._clock = clock
        state_dir = config.state_dir
        self._ledger = Ledger(state_dir / "ledger.db", config.device_id)
        self._outbox = Outbox(state_dir / "outbox.db")
        self._link = ControlLink(
            config.planner, hello=self._hello, receive=self._receive, outbox=self._outbox, clock=clock, rng=rng
        )
        self._blobs = Blobs(state_dir, self._link)
        self._environments = Environments(
            state_dir=state_dir, blobs=self._blobs, wheels=config.wheels, build=config.build_environments
        )
        self._make_serving = make_serving
        self._device: Device | None = None
        self._serving: Serving | None = None
        self._profiler: Profiler | None = None
        self._orders: asyncio.Queue[control_pb2.ConnectResponse] = asyncio.Queue(_MAX_ORDERS)
        self._preparing: asyncio.Queue[control_pb2.PrepareEnvironmentRequest] = asyncio.Queue(_MAX_ORDERS)
        self._changed = asyncio.Event()
        self._reportable = asyncio.Event()
        self._failed: tuple[Generation, str] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Does all that an agent does until ``stop`` is set; then stops what it started.

        Raises:
            AlreadyExists: another agent runs on this state folder.
            InvalidInput: an address in the configuration can't be used.
        """
        state_dir = self._config.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(state_dir / "lock")
        try:
            self._blobs.prepare()
            async with self._ledger, self._outbox:
                await self._environments.load()
                await self._serve(stop)
        finally:
            os.close(lock)

    async def _serve(self, stop: asyncio.Event) -> None:
        config = self._config
        device = await asyncio.to_thread(take_fingerprint, config)
        # An emulated accelerator has slots and memory, but no provider that could really run anything.
        providers = (
            *dict.fromkeys(a.provider for a in device.accelerators if a.provider and not a.emulated),
            "CPUExecutionProvider",
        )
        serving = self._serving = self._make_serving(
            device_id=config.device_id,
            speed_ratio=config.speed_ratio,
            links=config.links,
            run_dir=config.state_dir / "run",
            python_for=self._environments.python_for,
            bundle_path=self._blobs.bundle_path,
            providers=tuple(dict.fromkeys(providers)),
            clock=self._clock,
            on_change=self._on_change,
            ingress=config.ingress,
            access=config.access,
        )
        profiler = self._profiler = Profiler(
            blobs=self._blobs,
            python_for=self._environments.python_for,
            run_dir=config.state_dir / "profile",
            speed_ratio=config.speed_ratio,
            providers=tuple(dict.fromkeys(providers)),
            deliver=self._link.deliver,
            tell=self._link.tell,
        )
        try:
            listens_on = await serving.start(config.data_listen)
            data_address = config.data_advertise or listens_on
            self._device = replace(device, data_address=data_address)
            event("agent_started", device=config.device_id, device_class=device.device_class, data_address=data_address)
            await self._run_tasks(stop, serving, profiler)
        finally:
            await serving.stop(_GRACE_S)
            # The last windows, written down for the next start.
            await self._outbox.put(*serving.take_windows(), serving.take_episodes())

    async def _run_tasks(self, stop: asyncio.Event, serving: Serving, profiler: Profiler) -> None:
        work: tuple[Coroutine[Any, Any, None], ...] = (
            self._obey(serving),
            self._link.run(),
            self._prepare(),
            self._report(),
            self._measure(serving),
            profiler.run(),
            service_manager.feed_watchdog(self._clock),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step) for step in work]
            service_manager.tell(service_manager.READY)
            await stop.wait()
            service_manager.tell(service_manager.STOPPING)
            event("agent_stopping", device=self._config.device_id)
            for task in tasks:
                task.cancel()

    # What the planner says.

    async def _receive(self, message: control_pb2.ConnectResponse) -> None:
        kind = message.WhichOneof("message")
        if kind in ("directive", "activate", "retire"):
            await self._orders.put(message)
        elif kind == "prepare_environment":
            await self._preparing.put(message.prepare_environment)
        elif kind == "profile" and self._profiler is not None:
            self._profiler.submit(message.profile)
        elif kind == "cancel_profile" and self._profiler is not None:
            self._profiler.cancel(message.cancel_profile.id)
        else:
            # A newer planner may say more than this agent knows.
            warning("message_not_understood", kind=kind)

    async def _obey(self, serving: Serving) -> None:
        await self._boot(serving)
        while True:
            order = await self._orders.get()
            kind = order.WhichOneof("message")
            try:
                if kind == "directive":
                    await self._on_directive(serving, order.directive)
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

    async def _on_directive(self, serving: Serving, message: types_pb2.Directive) -> None:
        generation = generation_of(message)
        answer = control_pb2.DirectiveAnswer(epoch=message.epoch, generation=message.generation)
        try:
            decision = self._ledger.judge(message)
            if decision is Decision.ACCEPT:
                directive = await self._runnable(message)
                await self._ledger.store(message)
        except CircinusError as error:
            answer.verdict = _verdict(error)
            answer.reason = error.message[:2_000]
            event("directive_refused", epoch=generation.epoch, generation=generation.number, reason=error.message)
            self._link.tell(control_pb2.ConnectRequest(directive_answer=answer))
            return
        answer.verdict = control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        self._link.tell(control_pb2.ConnectRequest(directive_answer=answer))
        if decision is Decision.ACCEPT:
            event(
                "directive_accepted",
                epoch=generation.epoch,
                generation=generation.number,
                replica_sets=len(directive.replica_sets),
                sources=len(directive.sources),
            )
            await self._apply(serving, directive)

    async def _runnable(self, message: types_pb2.Directive) -> Directive:
        """The directive, once it is known that this device can do what it says.

        Raises:
            CircinusError: it can't.
        """
        directive = directive_from_message(message)
        if self._device is None:
            raise NotRunnable("the agent is only starting")
        check_fits(directive, self._device)
        for peer in directive.peers:
            check_loopback(peer.address)
        for environment in sorted(environments_of(directive)):
            self._environments.python_for(environment)
        try:
            async with asyncio.timeout(_PREFETCH_TIMEOUT_S):
                for bundle in sorted(bundles_of(directive)):
                    await self._blobs.bundle(bundle)
        except TimeoutError:
            raise NotRunnable(f"its bundles could not be fetched within {_PREFETCH_TIMEOUT_S:g} s") from None
        return directive

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
        held = await self._ledger.load()
        for directive in held.directives:
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
        newest, serving = self._ledger.newest, self._serving
        if newest is None or serving is None:
            return control_pb2.GenerationStatus()
        status = serving.status()
        message = control_pb2.GenerationStatus(
            epoch=newest.generation.epoch,
            generation=newest.generation.number,
            digest=newest.digest,
            phase=control_pb2.GENERATION_PHASE_STARTING,
            active_generation=status.active.number if status.active is not None else 0,
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
            environments=self._environments.known(),
            disk_free_bytes=read_disk_free_bytes(self._config.state_dir),
        )
        return device_to_message(device)

    def _hello(self) -> control_pb2.Hello:
        return control_pb2.Hello(fingerprint=self._fingerprint(), generation_status=self._generation_status())

    async def _measure(self, serving: Serving) -> None:
        """Cuts telemetry windows, and keeps them until the planner has them."""
        while True:
            await self._clock.sleep(_WINDOW_S)
            queries, operators = serving.take_windows()
            episodes = serving.take_episodes()
            if queries or operators or episodes:
                await self._outbox.put(queries, operators, episodes)
                self._link.wake()

    async def _prepare(self) -> None:
        """Makes environments ready, one after the other."""
        while True:
            request = await self._preparing.get()
            try:
                check.digest("environment_digest", request.environment_digest)
                check.digest("bundle_digest", request.bundle_digest)
                environment = await self._prepared(request)
            except Exception as error:
                reason = str(error) if isinstance(error, CircinusError) else f"{type(error).__name__}: {error}"
                environment = Environment(digest=Digest(request.environment_digest), ready=False, reason=reason[:1_500])
                warning("environment_not_prepared", digest=request.environment_digest, reason=reason)
            message = types_pb2.Environment(
                digest=environment.digest, ready=environment.ready, reason=environment.reason[:2_000]
            )
            status = control_pb2.EnvironmentStatus(environment=message)
            self._link.tell(control_pb2.ConnectRequest(environment_status=status))
            self._link.tell(control_pb2.ConnectRequest(fingerprint=self._fingerprint()))

    async def _prepared(self, request: control_pb2.PrepareEnvironmentRequest) -> Environment:
        digest, bundle = Digest(request.environment_digest), Digest(request.bundle_digest)
        for _ in range(_FETCH_ATTEMPTS - 1):
            try:
                return await self._environments.prepare(digest, bundle)
            except (Unreachable, TimedOut) as error:
                # The fetch itself waits for the link, so this is no busy loop.
                warning("bundle_not_fetched", digest=bundle, reason=error)
        return await self._environments.prepare(digest, bundle)


def _verdict(error: CircinusError) -> control_pb2.DirectiveVerdict:
    for kind, verdict in _VERDICTS:
        if isinstance(error, kind):
            return verdict
    return control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE


def _lock(path: Path) -> int:
    """Holds a state folder for this process alone; the kernel lets go of it however the process ends."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyExists(
            f"another agent runs on {path.parent}: stop it, or give this one its own state_dir"
        ) from None
    return descriptor
