"""Devices that are emptied, and those that leave: what still runs there, what can't be moved, goodbye.

A drain is nothing but a mark: planning moves what runs there (core/drain.py), the rollout does so step by step, each
within capacity. Here it is only looked at. A device that is to leave is told goodbye once it is empty; it leaves, too,
if nobody waits for it, and after a restart of the planner. Goodbye is durable before it is said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from circinus import wire
from circinus.clock import Clock
from circinus.errors import AlreadyExists, CircinusError, NotFound
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.core.drain import Stays, staying_on
from cloud_planner.marks import Marks
from cloud_planner.planning_loop import PlanningLoop
from cloud_planner.registry import AgentSession, DeviceRecord, Registry
from cloud_planner.rollout import Rollout
from cloud_planner.store import Keeping
from cloud_planner.way import lingering

#: An agent that does not hang up so long after its goodbye is hung up on.
GOODBYE_S = 15.0
_TICK_S = 1.0

Revoke = Callable[[DeviceId, str], Awaitable[None]]


class Departures:
    """Drains as they are, and leaving devices on their way. ``watched`` rings at each step of what is looked at.

    ``revoke`` makes the certificates of a device that left worth nothing; None: there are none. ``flush`` writes
    telemetry that waits, so that nothing of a device comes after it is forgotten.
    """

    def __init__(
        self,
        registry: Registry,
        marks: Marks,
        catalog: Catalog,
        loop: PlanningLoop,
        rollout: Rollout,
        clock: Clock,
        *,
        watched: Bell,
        flush: Callable[[], Awaitable[None]],
        revoke: Revoke | None = None,
    ) -> None:
        self._registry = registry
        self._marks = marks
        self._catalog = catalog
        self._loop = loop
        self._rollout = rollout
        self._clock = clock
        self._watched = watched
        self._flush = flush
        self.revoke = revoke
        self._said: dict[DeviceId, tuple[AgentSession, float]] = {}
        self._since_s: dict[DeviceId, float] = {}

    async def cordon(self, device_id: DeviceId, why: str = "") -> None:
        """Puts nothing new on a device.

        Raises:
            NotFound: there is no such device.
            AlreadyExists: it is being drained, or leaves; that is more than a cordon.
        """
        self._registry.require(device_id)
        keeping = self._marks.of(device_id).keeping
        if keeping in (Keeping.DRAINING, Keeping.LEAVING, Keeping.LEFT):
            raise AlreadyExists(f"{device_id} is {keeping} already, which is more than a cordon; uncordon it first")
        await self._marks.keep(device_id, Keeping.CORDONED, why)

    async def lift(self, device_id: DeviceId) -> None:
        """Lets plans use a device as before.

        Raises:
            NotFound: there is no such device, or it has left.
        """
        self._registry.require(device_id)
        if self._marks.of(device_id).keeping is Keeping.LEFT:
            raise NotFound(f"{device_id} has left: its agent was told goodbye")
        await self._marks.keep(device_id, Keeping.FREE)

    async def drain(self, device_id: DeviceId, why: str = "") -> None:
        """Empties a device, from now on.

        Raises:
            NotFound: there is no such device.
        """
        self._registry.require(device_id)
        if self._marks.of(device_id).keeping not in (Keeping.LEAVING, Keeping.LEFT):
            await self._marks.keep(device_id, Keeping.DRAINING, why)

    async def leave(self, device_id: DeviceId, why: str = "", *, force: bool = False) -> None:
        """Has a device leave as soon as it is empty; ``force``: at once, since the box is gone for good.

        Raises:
            NotFound: there is no such device.
        """
        self._registry.require(device_id)
        if force:
            await self._forget(device_id, why or "it is gone for good")
        elif self._marks.of(device_id).keeping is not Keeping.LEFT:
            await self._marks.keep(device_id, Keeping.LEAVING, why)
            self._watched.ring()

    def is_known(self, device_id: DeviceId) -> bool:
        """Whether there is such a device."""
        return self._registry.record(device_id) is not None

    def progress(self, device_id: DeviceId) -> planner_pb2.DrainProgress:
        """How far the drain of a device is.

        Raises:
            NotFound: there is no such device, or nobody drains it (any more).
        """
        record = self._registry.require(device_id)
        if device_id not in self._marks.draining:
            raise NotFound(f"{device_id} is not being drained, or not any more: its cordon was lifted")
        stays = self._staying(device_id)
        runs = _runs(self._directive(device_id))
        # A stand-by is of its source.
        kept = {_name(one) for one in stays} | {f"{one.query_id}/stand-by" for one in stays}
        moving = sorted(name for name in runs if name not in kept)
        waits_for = self._waits_for(record, moving)
        return planner_pb2.DrainProgress(
            device_id=device_id,
            moving=moving,
            staying=[
                planner_pb2.Staying(query_id=one.query_id, operator_id=one.operator_id, reason=one.reason)
                for one in stays
            ],
            ended=not waits_for,
            waits_for=waits_for,
        )

    def _staying(self, device_id: DeviceId) -> tuple[Stays, ...]:
        queries = {query.id: query for query in self._catalog.queries}
        # Of a large selection only what is of this device is read.
        plans = {
            QueryId(plan.query_id): wire.plan_from_message(plan)
            for plan in self._loop.decision.summary.plans
            if (query := queries.get(QueryId(plan.query_id))) is not None
            and (query.source_device_id == device_id or any(one.device_id == device_id for one in plan.operators))
        }
        return staying_on(device_id, tuple(queries[query_id] for query_id in plans), plans, self._catalog.pipelines)

    def _directive(self, device_id: DeviceId) -> types_pb2.Directive:
        newest = self._rollout.newest
        found = newest.directives.get(device_id) if newest is not None else None
        return found if found is not None else types_pb2.Directive()

    def _waits_for(self, record: DeviceRecord, moving: list[str]) -> str:
        activity = self._loop.activity()
        if activity.startswith("stuck"):
            return activity
        if not self._loop.up_to_date:
            return "a plan without it"
        if not self._rollout.settled:
            return self._rollout.waits_for() or "the rollout of the new plan"
        if moving:
            return f"{', '.join(moving[:3])} to be planned elsewhere"
        if record.session is not None and (left := lingering(record.status, self._directive(record.device.id))):
            return f"{len(left)} of its processes to end"
        keeping = self._marks.of(record.device.id).keeping
        if keeping is Keeping.LEAVING and record.session is None:
            return "its agent to connect, to be told goodbye; if the box is gone for good, leave with force"
        return "its agent to hang up after its goodbye" if keeping is Keeping.LEFT else ""

    async def run(self) -> None:
        """Sees devices off whenever one is ready, for ever."""
        heard = -1
        while True:
            try:
                await self.attempt()
            except Exception as error:  # a fault here must not take down what else the planner does
                warning("departure_failed", reason=f"{type(error).__name__}: {error}")
            heard = await self._watched.wait(heard, _TICK_S)

    async def attempt(self) -> None:
        """Does what can be done now. Idempotent."""
        for device_id in self._marks.kept(Keeping.LEAVING):
            if not self.is_known(device_id):
                await self._forget(device_id, "it was not known any more")
                continue
            progress = self.progress(device_id)
            if progress.ended and not progress.staying:
                await self._marks.keep(device_id, Keeping.LEFT)
        for device_id in self._marks.kept(Keeping.LEFT):
            await self._see_off(device_id)

    async def _see_off(self, device_id: DeviceId) -> None:
        """Tells an agent goodbye, and forgets the device when it has hung up."""
        session, now_s = self._registry.session(device_id), self._clock.monotonic_s()
        since_s = self._since_s.setdefault(device_id, now_s)
        said = self._said.get(device_id)
        if session is not None and (said is None or said[0] is not session):
            self._said[device_id] = (session, now_s)
            why = self._marks.of(device_id).why or "the device leaves"
            session.send(control_pb2.ConnectResponse(goodbye=control_pb2.Goodbye(why=why)))
            event("goodbye_said", device=device_id)
        elif (session is None and said is not None) or now_s - since_s >= GOODBYE_S:
            await self._forget(device_id, self._marks.of(device_id).why or "it was told to leave")

    async def _forget(self, device_id: DeviceId, why: str) -> None:
        await self._flush()
        await self._registry.forget(device_id)
        self._marks.forget(device_id)
        self._said.pop(device_id, None)
        self._since_s.pop(device_id, None)
        event("device_left", device=device_id, why=why)
        if self.revoke is not None:
            try:
                await self.revoke(device_id, why)
            except CircinusError as error:
                warning("identity_not_revoked", device=device_id, reason=error.message)
        self._watched.ring()


def _name(stays: Stays) -> str:
    return f"{stays.query_id}/{stays.operator_id or 'source'}"


def _runs(directive: types_pb2.Directive) -> set[str]:
    """What a directive has a device run, as "query/operator"."""
    found = {f"{one.query_id}/source" for one in directive.sources}
    for one in directive.replica_sets:
        found |= {f"{use.query_id}/{use.operator_id}" for use in one.uses} or {f"{one.query_id}/{one.operator_id}"}
    return found | {f"{one.query_id}/stand-by" for one in directive.stand_bys}


__all__ = ["Departures", "Revoke"]
