"""Who stands now: enrolments and people in memory, as of the last change of the identity file by anybody.

Every message of an agent is held against this, so it is a look into a dictionary. The file is asked four times a second
whether somebody else (the command line) has changed it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from circinus.clock import Clock
from circinus.errors import IdentityOver, NotKnown, Revoked
from circinus.events import warning
from circinus.model.device import DeviceId
from cloud_planner.identity import tokens
from cloud_planner.identity.certificates import Holder
from cloud_planner.identity.rows import EnrolmentRecord, PersonRecord
from cloud_planner.identity.store import IdentityStore

_LOOK_S = 0.25
#: How often all connections are held against it, though nothing has changed: certificates end.
_SWEEP_S = 1.0
_NOBODY = bytes(32)


class Standing:
    """The enrolments and people of an identity file."""

    def __init__(self, store: IdentityStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._enrolments: dict[str, EnrolmentRecord] = {}
        self._newest: dict[DeviceId, EnrolmentRecord] = {}
        self._people: dict[str, PersonRecord] = {}
        self._is_old = False
        #: Set when something has changed.
        self.changed = asyncio.Event()

    async def refresh(self) -> None:
        """Reads everything anew; who is cancelled meanwhile leaves it to ``watch``."""
        self._is_old = True
        async with self._store.reading() as rows:
            enrolments, people = await rows.enrolments(), await rows.people()
        self._is_old = False
        self._enrolments, self._newest = {}, {}
        self.note(*enrolments)
        self.note_people(people)

    def note(self, *enrolments: EnrolmentRecord) -> None:
        """These are new, or have changed."""
        for one in enrolments:
            self._enrolments[one.lineage] = one
            newest = self._newest.get(one.device_id)
            # Not by their times alone: the clock may have been set back between them.
            if newest is None or newest.lineage == one.lineage or newest.revoked_at is not None:
                self._newest[one.device_id] = one
        self.changed.set()

    def note_people(self, people: Iterable[PersonRecord]) -> None:
        """These are all people that there are."""
        self._people = {person.name: person for person in people}
        self.changed.set()

    def enrolments(self) -> tuple[EnrolmentRecord, ...]:
        """The newest enrolment of each device, by device."""
        return tuple(self._newest[device_id] for device_id in sorted(self._newest))

    def enrolment(self, device_id: DeviceId) -> EnrolmentRecord | None:
        """The newest enrolment of a device; None: it never enrolled."""
        return self._newest.get(device_id)

    def check_device(self, holder: Holder, ends_at: datetime, grace: timedelta = timedelta()) -> EnrolmentRecord:
        """The enrolment of a device that showed a certificate with this end.

        Raises:
            NotKnown: there is no such enrolment.
            Revoked: it was taken back, or a newer one is in its place.
            IdentityOver: the certificate ended longer ago than the grace.
        """
        one = self._enrolments.get(holder.lineage)
        if one is None or one.device_id != holder.name:
            raise NotKnown(f"this planner does not know the certificate of {holder.name}: enrol it with a new token")
        if one.revoked_at is not None:
            raise Revoked(
                f"the identity of {holder.name} was revoked at {one.revoked_at:%Y-%m-%d %H:%M} UTC "
                f"({one.revoked_why}): enrol it with a new token"
            )
        if self._clock.now() > ends_at + grace:
            cure = f"longer ago than {grace.days} days: enrol it with a new token" if grace else "renew it"
            raise IdentityOver(f"the certificate of {holder.name} ended at {ends_at:%Y-%m-%d %H:%M} UTC, {cure}")
        return one

    def check_person(self, holder: Holder, ends_at: datetime) -> PersonRecord:
        """The person who showed a certificate with this end.

        Raises:
            NotKnown: they are not known (any more).
            IdentityOver: the certificate, or their time, has ended.
        """
        person = self._people.get(holder.name)
        if person is None or person.lineage != holder.lineage:
            raise NotKnown(f"this planner does not know the certificate of {holder.name}: ask an admin for another")
        return self._in_time(person, min(ends_at, person.ends_at))

    def check_bearer(self, text: str) -> PersonRecord:
        """The person whose token this is.

        Raises:
            NotKnown: it is nobody's.
            IdentityOver: it has ended.
        """
        name, secret = tokens.parse_bearer(text)
        person = self._people.get(name)
        kept = person.secret_sha256 if person is not None else None
        # Compared in any case: the time it takes does not tell who exists.
        right = tokens.is_secret(secret, kept or _NOBODY)
        if person is None or not kept or not right:
            raise NotKnown("the bearer token is nobody's: ask an admin for another")
        return self._in_time(person, person.ends_at)

    def check_role(self, name: str, role: int) -> None:
        """Whether a person who was admitted still has their role, and time.

        Raises:
            NotKnown: they were removed, or have another role now.
            IdentityOver: their time has ended.
        """
        person = self._people.get(name)
        if person is None or person.role != role:
            raise NotKnown(f"{name} is not known any more, or has another role")
        self._in_time(person, person.ends_at)

    def _in_time(self, person: PersonRecord, ends_at: datetime) -> PersonRecord:
        if self._clock.now() > ends_at:
            raise IdentityOver(
                f"what {person.name} showed ended at {ends_at:%Y-%m-%d %H:%M} UTC: ask an admin for another"
            )
        return person

    async def watch(self, sweep: Callable[[], None]) -> None:
        """Follows the file for ever; calls ``sweep`` at every change and once a second."""
        version, swept_s = -1, self._clock.monotonic_s()
        while True:
            try:
                found = await self._store.data_version()
                if found != version or self._is_old:
                    await self.refresh()
                    version = found
            except sqlite3.Error as error:
                # A full disk, say: what is known goes on to hold.
                warning("identity_file_unreadable", reason=error)
            now_s = self._clock.monotonic_s()
            if self.changed.is_set() or now_s - swept_s >= _SWEEP_S:
                self.changed.clear()
                swept_s = now_s
                sweep()
            await self._clock.sleep(_LOOK_S)
