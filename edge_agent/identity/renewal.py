"""Keeps the box's certificate from running out, for as long as the agent lives.

A certificate is renewed from half of its life on, each box at a moment of its own. What fails is tried again with
back-off, also after the certificate ended: the planner takes proof of the old key for a long while (its grace), so a
box that was switched off for a month comes back by itself. What the planner refuses is said plainly and asked again now
and then, since a person may have changed it; the box serves on meanwhile, as with no planner at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from circinus.channel import Tls
from circinus.clock import Clock
from circinus.errors import CircinusError, IdentityOver, InvalidInput, NotKnown, Revoked, WrongAuthority
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.retry import Backoff
from edge_agent.identity.credentials import Credentials
from edge_agent.identity.enrolment import renew
from edge_agent.identity.files import read_identity, write_identity, written_at
from edge_agent.identity.keys import Ends, ends_of

#: A certificate is renewed between these parts of its life.
_FROM_RATIO, _TO_RATIO = 0.5, 0.65
_FIRST_RETRY_S = 1.0
_MAX_RETRY_S = 300.0
#: After the planner said no.
_REFUSED_RETRY_S = 900.0
#: The clock is looked at anew so often: it may jump, and a box may sleep.
_LOOK_S = 30.0
#: A certificate that begins so much later than now was made by another clock.
_MUCH = timedelta(days=1)

_CURES: tuple[tuple[type[CircinusError], str], ...] = (
    (Revoked, "if that was a mistake: a new token, and edge-agent join"),
    (IdentityOver, "it needs a new token: edge-agent join"),
    (WrongAuthority, "check `enrol` in its file; if the planner was set up anew: a new token, and edge-agent join"),
    (NotKnown, "it needs a new token: edge-agent join"),
)


def due_at(ends: Ends, since: datetime, rng: Random) -> datetime:
    """When a certificate is to be renewed that the box has had ``since``: planners date them back a little."""
    begins_at = min(max(since, ends.begins_at), ends.ends_at)
    return begins_at + (ends.ends_at - begins_at) * rng.uniform(_FROM_RATIO, _TO_RATIO)


class Renewal:
    """The renewal of one box's certificate."""

    def __init__(
        self,
        device_id: DeviceId,
        credentials: Credentials,
        folder: Path,
        *,
        address: str,
        clock: Clock,
        rng: Random,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        """``folder``: where the identity is kept. ``address``: the planner's enrolment port."""
        self._device_id = device_id
        self._credentials = credentials
        self._folder = folder
        self._address = address
        self._clock = clock
        self._rng = rng
        self._notify = notify
        self._backoff = Backoff(_FIRST_RETRY_S, _MAX_RETRY_S, rng)
        self._had = {credentials.tls.certificate}
        #: When the certificate ends; None: not read yet.
        self.ends_at: datetime | None = None
        #: Why there is no new certificate though one is due; empty: all is well.
        self.trouble = ""

    async def run(self) -> None:
        """Renews whenever it is due, until it is cancelled."""
        due = await self._due_at(written_at(self._folder))
        while True:
            before = self._credentials.tls
            if due is not None and self._clock.now() < due:
                await self._clock.sleep(min(_LOOK_S, (due - self._clock.now()).total_seconds()))
            else:
                await self._pause(await self._attempt_at_all())
            if self._credentials.tls is not before:
                due = await self._due_at(self._clock.now())

    async def _pause(self, wait_s: float) -> None:
        """Waits; somebody may let this box join again meanwhile."""
        while wait_s > 0.0 and not self._joined_again():
            await self._clock.sleep(min(_LOOK_S, wait_s))
            wait_s -= _LOOK_S

    def _joined_again(self) -> bool:
        """Takes up an identity that another process wrote; an older one of its own it does not."""
        try:
            found = read_identity(self._folder)
        except InvalidInput:
            return False
        if found is None or found.certificate in self._had:
            return False
        event("identity_taken_up", device=self._device_id)
        self._take(found)
        return True

    async def _attempt_at_all(self) -> float:
        try:
            return await self.attempt()
        except Exception as error:  # whatever it is: without renewal a box is lost in a while
            self._say(f"{type(error).__name__}: {error}")
            return self._backoff.next_s()

    async def attempt(self) -> float:
        """Tries to renew once; gives how long to wait before the next look."""
        try:
            made = await renew(self._device_id, self._credentials.tls, self._address, self._clock)
        except (NotKnown, WrongAuthority) as error:
            cure = next(text for kind, text in _CURES if isinstance(error, kind))
            self._say(f"the planner gives this box no certificate ({type(error).__name__}): {error.message}; {cure}")
            return self._rng.uniform(0.5, 1.0) * _REFUSED_RETRY_S
        except CircinusError as error:
            self._say(error.message)
            return self._backoff.next_s()
        try:
            await asyncio.to_thread(write_identity, self._folder, made)
        except OSError as error:
            # Used all the same: the last one on disk still renews after the next start.
            warning("identity_not_written", folder=self._folder, reason=error)
        ends = await self._ends(made)
        event("identity_renewed", device=self._device_id, ends_at=ends.ends_at if ends else "unknown")
        self._take(made)
        return _FIRST_RETRY_S

    def _take(self, made: Tls) -> None:
        self._backoff.reset()
        self.trouble = ""
        self._had.add(made.certificate)
        self._credentials.renew(made)
        self._notify()

    def _say(self, reason: str) -> None:
        self.trouble = reason
        warning("identity_not_renewed", device=self._device_id, address=self._address, reason=reason)
        self._notify()

    async def _due_at(self, since: datetime | None) -> datetime | None:
        """When the certificate is to be renewed that the box has had ``since``; None: now, for nobody can tell."""
        ends = await self._ends(self._credentials.tls)
        if ends is None:
            return None
        if ends.begins_at - _MUCH > self._clock.now():
            # Asked for now: the answer, or why there is none, says whose clock is wrong.
            return None
        return due_at(ends, since or ends.begins_at, self._rng)

    async def _ends(self, tls: Tls) -> Ends | None:
        try:
            ends = await ends_of(tls.certificate)
            self.ends_at = ends.ends_at
            return ends
        except CircinusError as error:
            warning("identity_unreadable", device=self._device_id, reason=error)
            return None
