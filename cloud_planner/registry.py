"""The devices that the planner knows, and the agents that are connected now.

A device that is only out of sight for a while keeps its part of the plan, since its agent carries on; after
``unseen_s`` it is planned without. A start of the planner counts as having seen every device: they get the same
time to come back.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from circinus.clock import Clock
from circinus.errors import CircinusError, NotFound
from circinus.events import event, warning
from circinus.model.device import Device, DeviceId, Digest, Environment
from circinus.model.directive import Generation
from circinus.v1 import control_pb2
from cloud_planner.bell import Bell
from cloud_planner.core.device_classes import plans_alike, settled
from cloud_planner.store import Store

#: How many messages may wait for one agent; more means that it doesn't read, and ends its session.
MAX_WAITING_MESSAGES = 1_000
#: How often a device's last moment of being seen is written down.
_NOTE_SEEN_S = 10.0
#: Devices that a message names.
_NAMED = 10
_NO_PATIENCE: Mapping[DeviceId, float] = MappingProxyType({})


class AgentSession:
    """One connection of one agent."""

    def __init__(self, device_id: DeviceId, session_id: str, joined_s: float) -> None:
        self.device_id = device_id
        self.session_id = session_id
        self.joined_s = joined_s
        self.ended = asyncio.Event()
        #: Why the planner ended it, if it was not to be replaced.
        self.refusal: CircinusError | None = None
        #: Set at every message of it, for whoever wonders whether it lives; and when nothing more comes of it.
        self.heard = asyncio.Event()
        self.gone = asyncio.Event()
        #: What was sent here, so that it is sent once a connection.
        self.directed: Generation | None = None
        self.activated: Generation | None = None
        self.retired: Generation | None = None
        self.prepared: dict[Digest, float] = {}
        #: Environments that this connection spoke of; what older ones said of others holds until asked and answered.
        self.stated: set[Digest] = set()
        self._outbox: asyncio.Queue[control_pb2.ConnectResponse] = asyncio.Queue(MAX_WAITING_MESSAGES)

    def send(self, message: control_pb2.ConnectResponse) -> None:
        """Puts a message in line. If the line is full, the session ends and the agent begins anew."""
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            warning("agent_does_not_read", device=self.device_id, waiting=MAX_WAITING_MESSAGES)
            self.ended.set()

    def acknowledge(self, sequences: Sequence[int]) -> None:
        """The agent need not keep these messages of its outbox any longer."""
        if not self.ended.is_set():
            self.send(
                control_pb2.ConnectResponse(acknowledgement=control_pb2.Acknowledgement(sequences=sorted(sequences)))
            )

    async def next_message(self) -> control_pb2.ConnectResponse:
        """The next message in line."""
        return await self._outbox.get()


@dataclass(slots=True, kw_only=True)
class DeviceRecord:
    """What is known of a device. ``refusal``: why it refused the generation ``refused``.

    ``doubled``: that two boxes have its identity, for people; empty: one has.
    """

    device: Device
    last_seen_at: datetime
    seen_s: float
    noted_s: float
    session: AgentSession | None = None
    status: control_pb2.GenerationStatus = field(default_factory=control_pb2.GenerationStatus)
    refused: Generation | None = None
    refusal: str = ""
    doubled: str = ""


class Registry:
    """Devices by id. ``replan`` rings when planning may come to another result, ``progressed`` for the rollout."""

    def __init__(self, store: Store, clock: Clock, *, replan: Bell, progressed: Bell, unseen_s: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._replan = replan
        self._progressed = progressed
        self._unseen_s = unseen_s
        self._records: dict[DeviceId, DeviceRecord] = {}

    async def load(self) -> None:
        """Reads the devices that were known before."""
        now_s = self._clock.monotonic_s()
        for device, last_seen_at in await self._store.devices():
            self._records[device.id] = DeviceRecord(
                device=device, last_seen_at=last_seen_at, seen_s=now_s, noted_s=now_s
            )

    def records(self) -> tuple[DeviceRecord, ...]:
        """Every known device, by id."""
        return tuple(self._records[device_id] for device_id in sorted(self._records))

    def record(self, device_id: DeviceId) -> DeviceRecord | None:
        """A device; None: not known."""
        return self._records.get(device_id)

    def require(self, device_id: DeviceId) -> DeviceRecord:
        """A device.

        Raises:
            NotFound: not known; the message names some that are.
        """
        record = self._records.get(device_id)
        if record is None:
            known = sorted(self._records)
            more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
            raise NotFound(f"there is no device {device_id!r}; known: {', '.join(known[:_NAMED]) or 'none'}{more}")
        return record

    def session(self, device_id: DeviceId) -> AgentSession | None:
        """The connection of a device's agent; None: not connected."""
        record = self._records.get(device_id)
        return record.session if record is not None else None

    def connected(self) -> frozenset[DeviceId]:
        """The devices whose agents are connected."""
        return frozenset(record.device.id for record in self._records.values() if record.session is not None)

    def alive(self, patience_s: Mapping[DeviceId, float] = _NO_PATIENCE) -> tuple[Device, ...]:
        """The devices to plan with: connected, or seen not long ago (``patience_s``: of these so long ago)."""
        return tuple(record.device for record in self.records() if self._is_alive(record, patience_s))

    def unseen(self, patience_s: Mapping[DeviceId, float] = _NO_PATIENCE) -> tuple[DeviceRecord, ...]:
        """The devices that have been out of sight for too long."""
        return tuple(record for record in self.records() if not self._is_alive(record, patience_s))

    def _is_alive(self, record: DeviceRecord, patience_s: Mapping[DeviceId, float]) -> bool:
        longest_s = max(self._unseen_s, patience_s.get(record.device.id, 0.0))
        return record.session is not None or self._clock.monotonic_s() - record.seen_s < longest_s

    def _settled(self, device: Device) -> Device:
        before = self._records.get(device.id)
        return settled(
            device, before.device if before is not None else None, (one.device for one in self._records.values())
        )

    def _ring(self) -> None:
        self._replan.ring()
        self._progressed.ring()

    async def join(self, device: Device, session: AgentSession, status: control_pb2.GenerationStatus) -> None:
        """An agent connected. An older connection of the same device ends."""
        now_s = self._clock.monotonic_s()
        record = self._records.get(device.id)
        device = self._settled(device)
        if record is not None and record.session is not None:
            event("agent_superseded", device=device.id, session=record.session.session_id)
            record.session.ended.set()
        if record is None:
            record = DeviceRecord(device=device, last_seen_at=self._clock.now(), seen_s=now_s, noted_s=now_s)
            self._records[device.id] = record
        device = _keeping_environments(device, record.device, session)
        record.device, record.session, record.status = device, session, status
        record.refused, record.refusal = None, ""
        record.last_seen_at, record.seen_s, record.noted_s = self._clock.now(), now_s, now_s
        await self._store.put_device(device, record.last_seen_at)
        event("agent_connected", device=device.id, device_class=device.device_class, generation=status.generation)
        self._ring()

    def leave(self, session: AgentSession) -> None:
        """An agent's connection ended."""
        record = self._records.get(session.device_id)
        if record is None or record.session is not session:
            return
        record.session = None
        record.last_seen_at, record.seen_s = self._clock.now(), self._clock.monotonic_s()
        event("agent_left", device=session.device_id)
        self._ring()

    async def forget(self, device_id: DeviceId) -> None:
        """A device is gone for good; its connection ends, its name is free."""
        record = self._records.pop(device_id, None)
        if record is not None and record.session is not None:
            record.session.ended.set()
        await self._store.remove_device(device_id)
        self._ring()

    async def seen(self, device_id: DeviceId) -> None:
        """An agent gave a sign of life."""
        record = self._records[device_id]
        record.last_seen_at, record.seen_s = self._clock.now(), self._clock.monotonic_s()
        if record.seen_s - record.noted_s >= _NOTE_SEEN_S:
            record.noted_s = record.seen_s
            try:
                await self._store.put_device(record.device, record.last_seen_at)
            except sqlite3.Error as error:
                # A full disk is no reason to cut an agent off; it is noted again soon.
                warning("device_not_noted", device=device_id, reason=error)

    async def update(self, device: Device) -> None:
        """A device's fingerprint changed."""
        record = self._records[device.id]
        device = self._settled(device)
        if record.session is not None:
            device = _keeping_environments(device, record.device, record.session)
        if record.device != device:
            alike, record.device = plans_alike(record.device, device), device
            if not alike:
                self._ring()
            await self._store.put_device(device, record.last_seen_at)

    async def note_environment(self, device_id: DeviceId, environment: Environment) -> None:
        """A device said whether it can run an environment."""
        device = self._records[device_id].device
        others = tuple(known for known in device.environments if known.digest != environment.digest)
        event(
            "environment_status",
            device=device_id,
            environment=environment.digest[:19],
            ready=environment.ready,
            reason=environment.reason,
        )
        await self.update(dataclasses.replace(device, environments=(*others, environment)))

    def note_status(self, device_id: DeviceId, status: control_pb2.GenerationStatus) -> None:
        """A device said where its newest generation stands."""
        self._records[device_id].status = status
        self._progressed.ring()

    def note_doubled(self, device_id: DeviceId, doubled: str) -> None:
        """Two boxes have a device's identity; empty: no longer."""
        record = self._records.get(device_id)
        if record is not None and record.doubled != doubled:
            record.doubled = doubled
            self._progressed.ring()

    def note_refusal(self, device_id: DeviceId, generation: Generation, reason: str) -> None:
        """A device refused a generation."""
        record = self._records[device_id]
        record.refused, record.refusal = generation, reason
        self._progressed.ring()


def _keeping_environments(device: Device, before: Device, session: AgentSession) -> Device:
    """A device with what was known of environments that its new fingerprint doesn't speak of.

    An agent that just started may not have looked at all of them again; that must not move what it serves.
    """
    session.stated.update(environment.digest for environment in device.environments)
    spoken_of = {environment.digest for environment in device.environments}
    kept = tuple(environment for environment in before.environments if environment.digest not in spoken_of)
    return dataclasses.replace(device, environments=(*device.environments, *kept)) if kept else device
