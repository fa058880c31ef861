"""Holds agents against who they are: their certificate at every message, and that there is only one of each.

Without an identity office (--insecure-loopback) an agent is who it says, and only two boxes with one name are seen.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

from circinus import events
from circinus.clock import Clock
from circinus.errors import CircinusError, NotAllowed, TimedOut
from circinus.events import warning
from circinus.model.device import DeviceId, Environment
from circinus.v1 import control_pb2
from cloud_planner.doubles import Doubles, Hello
from cloud_planner.identity.certificates import HolderKind
from cloud_planner.identity.office import IdentityOffice
from cloud_planner.refusals import bundle_class, verdict_class
from cloud_planner.registry import AgentSession, Registry
from cloud_planner.services import roles

_DOUBLED = (
    "two boxes have its identity: nothing new is sent to either, what runs runs on; find out which is the right one, "
    "revoke it, enrol it anew"
)
_LOOK_S = 1.0
_HANGING_UP_S = 0.5
#: The process of a box that does not say which it is; no name of one.
_NAMELESS = "?"

Bind = Callable[[DeviceId, Mapping[str, str]], Awaitable[None]]
Requests = AsyncIterator[control_pb2.ConnectRequest]


class Identities:
    """The identities of connected agents. ``bind`` notes the labels that a device's token was bound to."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        office: IdentityOffice | None = None,
        *,
        bind: Bind | None = None,
        doubles: Doubles | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._office = office
        self._bind = bind
        self._doubles = doubles if doubles is not None else Doubles()
        self._callers: dict[AgentSession, roles.Caller] = {}
        self._lineages: dict[DeviceId, str] = {}

    async def watch(self) -> None:
        """Ends the connections of those who no longer stand, and doublings that are over; for ever."""
        if self._office is not None:
            for one in self._office.standing.enrolments():
                if one.doubled_at is not None:
                    self._lineages[one.device_id] = one.lineage
                    self._doubles.restore(one.device_id, self._clock.monotonic_s())
                    self._registry.note_doubled(one.device_id, _DOUBLED)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_doubles())
            if self._office is not None:
                group.create_task(self._office.standing.watch(self._sweep))

    async def _watch_doubles(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_S)
            for device_id in self._doubles.over(self._clock.monotonic_s()):
                await self._undoubled(device_id, "only one box has been seen for a while")

    def _sweep(self) -> None:
        for session, caller in self._callers.items():
            if not session.ended.is_set():
                try:
                    self._check(caller)
                except CircinusError as error:
                    session.refusal = error
                    session.ended.set()

    def _check(self, caller: roles.Caller) -> None:
        if self._office is not None and caller.holder is not None and caller.ends_at is not None:
            self._office.standing.check_device(caller.holder, caller.ends_at)

    def check(self, session: AgentSession) -> None:
        """Whether an agent still stands; asked at every message of it.

        Raises:
            NotKnown, Revoked, IdentityOver: it does not.
        """
        session.heard.set()
        if caller := self._callers.get(session):
            self._check(caller)

    def check_call(self) -> None:
        """The same for the call that is being served.

        Raises:
            NotKnown, Revoked, IdentityOver: its caller no longer stands.
        """
        if caller := roles.caller():
            self._check(caller)

    async def check_name(self, device_id: DeviceId) -> None:
        """That a caller speaks for itself.

        Raises:
            NotAllowed: its certificate is of another device.
        """
        caller = roles.caller()
        if self._office is None:
            return
        if caller is None or caller.holder is None or caller.holder.kind is not HolderKind.DEVICE:
            raise NotAllowed(f"only {device_id} itself may speak for {device_id}")
        if caller.name != device_id:
            error = NotAllowed(
                f"the certificate is of {caller.name}, the message of {device_id}: device_id in the agent's file and "
                "its identity must agree"
            )
            await self.refused(DeviceId(caller.name), "Connect", device_id, error)
            raise error
        if self._lineages.get(device_id, caller.holder.lineage) != caller.holder.lineage:
            # It enrolled anew.
            self._doubles.forget(device_id)
            self._registry.note_doubled(device_id, "")
        self._lineages[device_id] = caller.holder.lineage

    async def single(
        self, device_id: DeviceId, process_id: str, requests: Requests, within_s: float
    ) -> control_pb2.ConnectRequest | None:
        """Looks whether a process that was welcomed is the device's only one; gives a message if that took one.

        Raises:
            NotAllowed: there are two, and the other is connected.
            TimedOut: it came back from the past, and said nothing more.
        """
        if self._office is not None:
            # Else who has a stolen key would be taken for nobody in particular by leaving it out.
            process_id = process_id or _NAMELESS
        live = await self._stays_live(device_id)
        was_doubled = self._doubles.is_doubled(device_id)
        if live and self._doubles.is_another(device_id, process_id) and await self._speaks(device_id, within_s):
            found = self._doubles.spoke(device_id, process_id, self._clock.monotonic_s(), live=True)
        else:
            live = self._is_live(device_id)
            found = self._doubles.hello(device_id, process_id, self._clock.monotonic_s(), live=live)
        spoken: control_pb2.ConnectRequest | None = None
        if found is Hello.SUSPECT:
            spoken = await _next(requests, within_s)
            if spoken is None:
                raise TimedOut(f"a process of {device_id} from before the present one said hello, and nothing more")
            live = self._is_live(device_id)
            found = self._doubles.spoke(device_id, process_id, self._clock.monotonic_s(), live=live)
        if self._doubles.is_doubled(device_id) and not was_doubled:
            await self._doubled(device_id)
        if found is Hello.REFUSED:
            raise NotAllowed(f"{device_id}: {_DOUBLED}")
        return spoken

    async def _stays_live(self, device_id: DeviceId) -> bool:
        """Whether another connection is open, and not only about to end: an agent that redials has hung up before."""
        session = self._registry.session(device_id)
        if session is None or session.ended.is_set():
            return False
        return not await _set_within(session.gone, _HANGING_UP_S) and self._is_live(device_id)

    async def _speaks(self, device_id: DeviceId, within_s: float) -> bool:
        """Whether the connection that is open has a living process behind it: it says something, and stays.

        A process that was killed may be heard once more, if its link was down; then its connection ends.
        """
        session = self._registry.session(device_id)
        if session is None:
            return False
        session.heard.clear()
        if not await _set_within(session.heard, within_s):
            return False
        return not await _set_within(session.gone, _HANGING_UP_S) and not session.ended.is_set()

    def _is_live(self, device_id: DeviceId) -> bool:
        session = self._registry.session(device_id)
        return session is not None and not session.ended.is_set()

    async def joined(self, session: AgentSession) -> None:
        """An agent's connection is in the registry."""
        caller = roles.caller()
        if self._doubles.is_doubled(session.device_id):
            self._registry.note_doubled(session.device_id, _DOUBLED)
        if caller is None or self._office is None:
            return
        self._callers[session] = caller
        enrolment = self._office.standing.enrolment(session.device_id)
        if enrolment is not None and self._bind is not None:
            try:
                await self._bind(session.device_id, enrolment.labels)
            except (CircinusError, sqlite3.Error) as error:
                warning("labels_not_bound", device=session.device_id, reason=error)

    def left(self, session: AgentSession) -> None:
        """An agent's connection has ended."""
        session.gone.set()
        self._callers.pop(session, None)

    async def _doubled(self, device_id: DeviceId) -> None:
        warning("identity_doubled", device=device_id)
        self._registry.note_doubled(device_id, _DOUBLED)
        if self._office is not None:
            try:
                await self._office.registrar.note_doubled(device_id, doubled=True, detail=_DOUBLED)
            except sqlite3.Error as error:
                warning("audit_not_written", reason=error)

    async def _undoubled(self, device_id: DeviceId, why: str) -> None:
        events.event("identity_doubled_no_more", device=device_id, reason=why)
        self._registry.note_doubled(device_id, "")
        if self._office is not None:
            try:
                await self._office.registrar.note_doubled(device_id, doubled=False, detail=why)
            except sqlite3.Error as error:
                warning("audit_not_written", reason=error)

    async def refused(
        self, device_id: DeviceId, action: str, subject: str, error: CircinusError | str, detail: str = ""
    ) -> None:
        """Writes down that something was refused of, or by, a device."""
        if self._office is not None:
            await self._office.log.refused(f"device:{device_id}", action, subject, error, detail)

    async def note_answer(self, device_id: DeviceId, answer: control_pb2.DirectiveAnswer) -> None:
        """An agent refused a directive."""
        subject = f"generation {answer.epoch}.{answer.generation}"
        await self.refused(device_id, "directive", subject, verdict_class(answer.verdict), answer.reason)

    async def note_environment(self, device_id: DeviceId, environment: Environment) -> None:
        """An agent said whether it can run an environment."""
        if not environment.ready:
            await self._note_bundle(device_id, environment.digest, environment.reason)

    async def note_status(self, device_id: DeviceId, status: control_pb2.GenerationStatus) -> None:
        """An agent said where its newest generation stands."""
        if status.phase == control_pb2.GENERATION_PHASE_FAILED:
            await self._note_bundle(device_id, f"generation {status.epoch}.{status.generation}", status.reason)

    async def note_report(self, device_id: DeviceId, report: control_pb2.ProfileReport) -> None:
        """An agent told how a profile run went."""
        await self._note_bundle(device_id, f"profile {report.id}", report.error)

    async def _note_bundle(self, device_id: DeviceId, subject: str, reason: str) -> None:
        if outcome := bundle_class(reason):
            await self.refused(device_id, "bundle", subject, outcome, reason)


async def _set_within(event: asyncio.Event, within_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()


async def _next(requests: Requests, within_s: float) -> control_pb2.ConnectRequest | None:
    try:
        async with asyncio.timeout(within_s):
            return await anext(aiter(requests), None)
    except TimeoutError:
        return None
