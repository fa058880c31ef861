"""Brings a generation to the fleet. The only place that sends directives.

What is to be done next is a pure function of what devices report (core/stages.py); here it is sent. The generation
is durable before anything of it leaves, and a planner that starts again goes on with the newest one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError, Internal
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner import way
from cloud_planner.bell import Bell
from cloud_planner.core.audit_directives import audit_generations
from cloud_planner.core.directives import empty
from cloud_planner.core.stages import DeviceStage, Progress, Steps, next_steps
from cloud_planner.core.transition import Detours, capacities, no_detours
from cloud_planner.orders import Order, unsigned
from cloud_planner.refusals import OUTRANKED
from cloud_planner.registry import DeviceRecord, Registry
from cloud_planner.store import GenerationRecord, RolloutPhase, Store

_PROGRESS = {
    control_pb2.GENERATION_PHASE_STARTING: Progress.STARTING,
    control_pb2.GENERATION_PHASE_READY: Progress.READY,
    control_pb2.GENERATION_PHASE_ACTIVE: Progress.ACTIVE,
    control_pb2.GENERATION_PHASE_DRAINED: Progress.DRAINED,
    control_pb2.GENERATION_PHASE_FAILED: Progress.FAILED,
}
#: How often the rollout looks at its clock while nothing happens.
_TICK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTimes:
    """Bounds on waiting.

    ``failed_s``: from the first refusal or failure to planning without that device;
    ``starting_s``: from sending to planning without who is not ready; ``drain_s``: from the switch to retiring;
    ``excluded_s``: how long a device is planned without, unless it connects anew; ``hold_s``: how long a device that
    just connected is not told to stop all, since the plan may be about to take it in again.
    """

    failed_s: float = 60.0
    starting_s: float = 180.0
    drain_s: float = 60.0
    excluded_s: float = 600.0
    hold_s: float = 3.0


class Rollout:
    """The newest generation and how far it is.

    ``changed`` is rung by the registry, ``replan`` rings when a device has to be planned without, ``watched`` at
    every step. ``order`` makes the message with a directive, signed where the planner can sign.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        *,
        changed: Bell,
        replan: Bell,
        watched: Bell,
        times: RolloutTimes | None = None,
        order: Order = unsigned,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._changed = changed
        self._replan = replan
        self._watched = watched
        self._times = times if times is not None else RolloutTimes()
        self._order = order
        self._epoch = 1
        self._newest: GenerationRecord | None = None
        self._before: GenerationRecord | None = None
        self._target: way.Target | None = None
        self._making = asyncio.Lock()
        self._leaving: frozenset[DeviceId] = frozenset()
        self._phase_since_s = 0.0
        self._failed_since_s: float | None = None
        self._waits = Steps()
        self._excluded: dict[DeviceId, tuple[str, float, str]] = {}
        self._floor = 0

    async def load(self) -> None:
        """Takes up the newest generation."""
        self._epoch, self._floor = await self._store.epoch(), await self._store.generation_floor()
        self._newest = await self._store.newest_generation()
        self._phase_since_s = self._clock.monotonic_s()
        if self._newest is not None and self._newest.phase is not RolloutPhase.SETTLED:
            number = self._newest.generation.number - 1
            self._before = await self._store.generation(Generation(epoch=self._newest.generation.epoch, number=number))
            self._leaving = way.devices_of(self._before)

    @property
    def epoch(self) -> int:
        """The planner's epoch."""
        return self._epoch

    @property
    def newest(self) -> GenerationRecord | None:
        """The newest generation; None: there was none yet."""
        return self._newest

    @property
    def settled(self) -> bool:
        """Whether nothing is being rolled out."""
        return self.over and self._target is None

    @property
    def over(self) -> bool:
        """Whether nothing is left of generations before the newest."""
        return self._newest is None or self._newest.phase is RolloutPhase.SETTLED

    @property
    def under_way(self) -> bool:
        """Whether the newest generation is only a step to what was proposed."""
        return self._target is not None

    @property
    def must_renumber(self) -> bool:
        """Whether a device holds a newer generation than this planner knows, so that a still newer one is needed."""
        return self._newest is not None and self._floor > self._newest.generation.number

    def activity(self) -> str:
        """What it does, for people; empty: nothing."""
        if self.settled:
            return ""
        if self._waits.failed:
            device_id, reason = self._waits.failed[0]
            return f"stuck: {device_id}: {reason}"
        return "rolling out"

    def waits_for(self) -> str:
        """What the rollout waits for, for people; empty: nothing."""
        return "; ".join(f"{device_id} {standing}" for device_id, standing in self._waits.waits_for)

    def excluded(self) -> Mapping[DeviceId, str]:
        """The devices to plan without since they could not carry out a generation, and why."""
        now_s = self._clock.monotonic_s()
        for device_id, (_, until_s, session_id) in list(self._excluded.items()):
            session = self._registry.session(device_id)
            if now_s >= until_s or (session is not None and session.session_id != session_id):
                del self._excluded[device_id]
        return {device_id: reason for device_id, (reason, _, _) in self._excluded.items()}

    def pauses(self, directives: Sequence[Directive], detours: Detours = no_detours) -> bool:
        """Whether running queries would have to pause on the way from what runs to these directives."""
        serving = self._serving
        return serving is not None and way.pauses(serving, directives, capacities(self._registry.alive()), detours)

    @property
    def bound_for(self) -> Mapping[DeviceId, types_pb2.Directive]:
        """The directives that are to be in force at last."""
        return way.bound_for(self._target, self._newest)

    @property
    def _serving(self) -> GenerationRecord | None:
        """What sources emit under."""
        newest = self._newest
        return self._before if newest is not None and newest.phase is RolloutPhase.STARTING else newest

    async def propose(
        self,
        selection: planner_pb2.SelectionSummary,
        directives: Sequence[Directive],
        detours: Detours = no_detours,
    ) -> bool:
        """Makes a new generation of these directives, unless they are those in force. Says whether it did.

        Where devices have no room for the old and the new side by side, it is the first of several, of which each
        fits (core/transition.py); the others follow by themselves. ``detours``: where queries could run for a moment.

        Raises:
            TooLarge: a directive does not fit into one message; nothing changes then.
            Internal: a device has passed the new generation already; nothing changes then.
        """
        async with self._making:
            return await self._propose(selection, directives, detours)

    async def _propose(
        self, selection: planner_pb2.SelectionSummary, directives: Sequence[Directive], detours: Detours
    ) -> bool:
        newest = self._newest
        wanted = {directive.device_id: way.content(wire.directive_to_message(directive)) for directive in directives}
        way.check_sizes(wanted)
        if newest is None and not wanted:
            # Nothing was ever planned here: what agents may hold from elsewhere is not this planner's to stop.
            return False
        self._note_floor()
        if self._target is not None and self._target.wanted == wanted and not self.must_renumber:
            return False
        if newest is not None and not self.must_renumber and way.contents(newest) == wanted:
            self._target = None
            return False
        self._target = way.Target(selection=selection, directives=tuple(directives), wanted=wanted, detours=detours)
        return await self._go_on(self._target)

    async def _go_on(self, target: way.Target) -> bool:
        """Makes the next generation on the way to a target; says whether it could be made yet."""
        newest = self._newest
        step, last = way.next_step(target, newest, self._before, capacities(self._registry.alive()))
        if step is None:
            return False
        old = self._serving
        made = target.selection if last else way.selection_of(step, target.selection, old.selection if old else None)
        for query_id, gap_s in step.paused.items():
            warning("query_pauses", query=query_id, predicted_s=gap_s)
        try:
            await self._make(made, step.directives)
        except CircinusError:
            self._target = None
            raise
        if last:
            self._target = None
        else:
            # What was decided stands, though it is not in force yet.
            await self._store.put_decision(target.selection)
        return True

    async def _make(self, selection: planner_pb2.SelectionSummary, directives: Sequence[Directive]) -> None:
        newest = self._newest
        number = max(newest.generation.number if newest is not None else 0, self._floor) + 1
        generation = Generation(epoch=self._epoch, number=number)
        numbered = [replace(directive, generation=generation) for directive in directives]
        if wrong := audit_generations(numbered, self._accepted()):
            said = "; ".join(f"{finding.subject}: {finding.message}" for finding in wrong[:3])
            raise Internal(f"generation {number} does not pass its audit: {said}")
        record = GenerationRecord(
            generation=generation,
            created_at=self._clock.now(),
            phase=RolloutPhase.STARTING,
            selection=selection,
            directives={directive.device_id: wire.directive_to_message(directive) for directive in numbered},
        )
        await self._store.put_generation(record)
        # What an unfinished generation left behind has to leave, too.
        unfinished = self._leaving if not self.over else frozenset()
        self._leaving = way.devices_of(newest) | unfinished
        if newest is None or newest.phase is not RolloutPhase.STARTING:
            self._before = newest
        self._newest = record
        self._phase_since_s, self._failed_since_s, self._waits = self._clock.monotonic_s(), None, Steps()
        event("generation_created", generation=number, devices=len(record.directives), plans=len(selection.plans))
        self._changed.ring()
        self._watched.ring()

    def _accepted(self) -> dict[DeviceId, Generation]:
        """What devices accepted from this planner. Of another epoch they refuse all, which is theirs to say."""
        return {
            record.device.id: Generation(epoch=record.status.epoch, number=record.status.generation)
            for record in self._registry.records()
            if record.status.generation and record.status.epoch == self._epoch
        }

    async def run(self) -> None:
        """Goes on with the rollout at every change, for ever."""
        heard = -1
        while True:
            try:
                await self.attempt()
            except Exception as error:  # a fault here must not take down what else the planner does
                warning("rollout_failed", reason=f"{type(error).__name__}: {error}")
            heard = await self._changed.wait(heard, _TICK_S)

    async def attempt(self) -> None:
        """Does what can be done now. Idempotent. What is of an epoch before a restore is numbered anew, never sent."""
        newest = self._newest
        if newest is None or newest.generation.epoch != self._epoch:
            return
        generation, now_s = newest.generation, self._clock.monotonic_s()
        self._note_floor()
        in_phase_s = now_s - self._phase_since_s
        steps = next_steps(
            generation,
            [self._stage(record, newest) for record in self._registry.records()],
            active=newest.phase is not RolloutPhase.STARTING,
            settled=newest.phase is RolloutPhase.SETTLED,
            drain_overdue=in_phase_s >= self._times.drain_s,
        )
        if steps.waits_for != self._waits.waits_for or steps.failed != self._waits.failed:
            self._watched.ring()
        self._waits = steps
        for device_id in steps.direct:
            await self._direct(device_id, newest)
        for device_id in steps.activate:
            self._activate(device_id, generation)
        for device_id in steps.retire:
            self._retire(device_id, generation)
        if steps.switch:
            await self._advance(RolloutPhase.ACTIVE)
        elif steps.settle and newest.phase is RolloutPhase.ACTIVE:
            if steps.waits_for:
                warning("generation_drain_overdue", generation=generation.number, waits_for=self.waits_for())
            await self._advance(RolloutPhase.SETTLED)
        elif newest.phase is RolloutPhase.STARTING:
            self._give_up_on(steps, now_s, in_phase_s)
        elif self._target is not None and self.over and self._gone(newest, in_phase_s):
            async with self._making:
                # Something else may have been proposed meanwhile.
                if self._target is not None and self.over:
                    await self._go_on(self._target)
            # With the last step the ledger's accounts are opened.
            self._replan.ring()

    def _gone(self, newest: GenerationRecord, in_phase_s: float) -> bool:
        """Whether the processes of older generations have ended, so that what comes next has their room."""
        left = [
            f"{record.device.id}: {key}"
            for record in self._registry.records()
            if record.session is not None
            for key in way.lingering(record.status, newest.directives.get(record.device.id))
        ]
        if left and in_phase_s >= self._times.drain_s:
            warning("processes_remain", left="; ".join(left[:5]))
            return True
        return not left

    def _note_floor(self) -> None:
        """Notes the highest number that an agent has and this planner doesn't know, or has with other content."""
        number = self._newest.generation.number if self._newest is not None else 0
        for record in self._registry.records():
            status = record.status
            if record.session is None or status.epoch != self._epoch:
                continue
            floor = status.generation
            if record.refusal.startswith(OUTRANKED) and record.refused == Generation(epoch=self._epoch, number=number):
                floor = max(floor, number + 1)
            if floor > max(number, self._floor):
                self._floor = floor
                warning("generation_outranked", device=record.device.id, generation=floor)
                self._replan.ring()

    def _stage(self, record: DeviceRecord, newest: GenerationRecord) -> DeviceStage:
        device_id, status, session = record.device.id, record.status, record.session
        active = status.active_generation
        directive = newest.directives.get(device_id)
        involved = directive is not None and not way.is_empty(directive)
        now_s = self._clock.monotonic_s()
        held = session is not None and not involved and now_s - session.joined_s < self._times.hold_s
        return DeviceStage(
            device_id=device_id,
            connected=session is not None,
            involved=involved,
            leaving=device_id in self._leaving,
            accepted=Generation(epoch=status.epoch, number=status.generation) if status.generation else None,
            active=Generation(epoch=status.epoch, number=active) if active else None,
            progress=_PROGRESS.get(status.phase, Progress.NONE),
            reason=status.reason[:1000],
            refusal=record.doubled or (record.refusal if record.refused == newest.generation else ""),
            # Of two boxes with one identity neither is told anything new.
            directed=newest.generation if held or record.doubled else session.directed if session is not None else None,
            activated=session.activated if session is not None else None,
            retired=session.retired if session is not None else None,
        )

    async def _direct(self, device_id: DeviceId, newest: GenerationRecord) -> None:
        message = newest.directives.get(device_id)
        if message is None:
            # It runs nothing under this generation; that, too, is said once and for ever.
            message = wire.directive_to_message(empty(device_id, newest.generation))
            await self._store.add_directive(message)
            self._newest = newest = replace(
                self._newest if self._newest is not None else newest,
                directives={**newest.directives, device_id: message},
            )
        order = await self._order(message)
        session = self._registry.session(device_id)
        if session is not None:
            session.directed = newest.generation
            session.send(order)
            event("directive_sent", device=device_id, generation=newest.generation.number)

    def _activate(self, device_id: DeviceId, generation: Generation) -> None:
        session = self._registry.session(device_id)
        if session is not None:
            session.activated = generation
            request = control_pb2.ActivateRequest(epoch=generation.epoch, generation=generation.number)
            session.send(control_pb2.ConnectResponse(activate=request))
            event("activate_sent", device=device_id, generation=generation.number)

    def _retire(self, device_id: DeviceId, generation: Generation) -> None:
        session = self._registry.session(device_id)
        if session is not None:
            session.retired = generation
            request = control_pb2.RetireRequest(epoch=generation.epoch, below_generation=generation.number)
            session.send(control_pb2.ConnectResponse(retire=request))

    async def _advance(self, phase: RolloutPhase) -> None:
        if self._newest is None:
            return
        generation = self._newest.generation
        await self._store.set_phase(generation, phase)
        # A newer generation may have come while this was written.
        if self._newest.generation == generation:
            self._newest = replace(self._newest, phase=phase)
            self._phase_since_s, self._failed_since_s = self._clock.monotonic_s(), None
            if phase is RolloutPhase.SETTLED:
                self._leaving = frozenset()
            event("generation_phase", generation=generation.number, phase=phase)
            self._changed.ring()
            self._watched.ring()

    def _give_up_on(self, steps: Steps, now_s: float, in_phase_s: float) -> None:
        """Plans without devices that have held up the rollout for too long."""
        lost: dict[DeviceId, str] = {}
        if steps.failed:
            if self._failed_since_s is None:
                self._failed_since_s = now_s
                for device_id, reason in steps.failed:
                    warning("generation_stuck", device=device_id, reason=reason)
            if now_s - self._failed_since_s >= self._times.failed_s:
                lost.update(steps.failed)
        else:
            self._failed_since_s = None
        if in_phase_s >= self._times.starting_s:
            connected = self._registry.connected()
            lost.update((device_id, why) for device_id, why in steps.waits_for if device_id in connected)
        for device_id, reason in lost.items():
            session = self._registry.session(device_id)
            if device_id not in self._excluded:
                warning("device_excluded", device=device_id, reason=reason)
                self._excluded[device_id] = (
                    f"it could not carry out its directive: {reason}",
                    now_s + self._times.excluded_s,
                    session.session_id if session is not None else "",
                )
                self._replan.ring()
