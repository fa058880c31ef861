"""Writes the audit log, reads it, and keeps floods of refusals out of it."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from datetime import UTC, datetime

from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from cloud_planner.identity.audit import DONE, Entry, clean
from cloud_planner.identity.limiter import FailureLimiter
from cloud_planner.identity.rows import Rows
from cloud_planner.identity.store import IdentityStore

#: The same refusal is written once in so long: a revoked box comes back every half minute, for years.
_SAME_REFUSAL_S = 600.0
_REMEMBERED = 10_000
#: Refusals of all callers together: so many at once, and one more each second.
_BURST = 5_000.0
_PER_S = 1.0
#: Of them one caller's, so that nobody can have others' refusals left out by making up subjects of their own.
_BURST_EACH = 200
_EACH_S = 30.0
MAX_ENTRIES = 1_000
_MAX_SUBJECT_CHARS = 200


class AuditLog:
    """The log of one identity file."""

    def __init__(self, store: IdentityStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lately: OrderedDict[tuple[str, str, str, str], float] = OrderedDict()
        self._room = _BURST
        self._filled_s = clock.monotonic_s()
        self._left_out = 0
        self._callers = FailureLimiter(clock, burst=_BURST_EACH, each_s=_EACH_S)

    async def note(self, actor: str, action: str, subject: str, *, outcome: str = DONE, detail: str = "") -> None:
        """Writes that something was done."""
        async with self._store.writing() as rows:
            written = await self.within(rows, actor, action, subject, outcome=outcome, detail=detail)
        tell(*written)

    async def within(
        self, rows: Rows, actor: str, action: str, subject: str, *, outcome: str = DONE, detail: str = ""
    ) -> tuple[Entry, bytes]:
        """The same as a part of a transaction; ``tell`` of it when that has come to its end."""
        return await rows.append(
            self._clock.now(),
            clean(actor, _MAX_SUBJECT_CHARS),
            clean(action, _MAX_SUBJECT_CHARS),
            clean(subject, _MAX_SUBJECT_CHARS),
            clean(outcome, 60),
            clean(detail),
        )

    async def refused(
        self, actor: str, action: str, subject: str, error: CircinusError | str, detail: str = ""
    ) -> None:
        """Writes that something was refused, unless the very same was a short while ago, or there are far too many."""
        outcome = error if isinstance(error, str) else type(error).__name__
        text = detail if isinstance(error, str) else "; ".join(part for part in (error.message, detail) if part)
        if self._is_news((actor, action, subject[:_MAX_SUBJECT_CHARS], outcome)):
            left_out, self._left_out = self._left_out, 0
            more = f"; {left_out} other refusals before it are not listed" if left_out else ""
            try:
                await self.note(actor, action, subject, outcome=outcome, detail=f"{text[:400]}{more}")
            except sqlite3.Error as fault:
                # A full disk, say: the refusal itself stands.
                warning("audit_not_written", action=action, outcome=outcome, reason=fault)

    def _is_news(self, key: tuple[str, str, str, str]) -> bool:
        now_s = self._clock.monotonic_s()
        before_s = self._lately.get(key)
        if before_s is not None and now_s - before_s < _SAME_REFUSAL_S:
            return False
        self._room = min(_BURST, self._room + (now_s - self._filled_s) * _PER_S)
        self._filled_s = now_s
        if self._room < 1.0 or not self._callers.has_room(key[0]):
            if not self._left_out:
                warning("refusals_not_listed", actor=key[0], limit=_BURST_EACH)
            self._left_out += 1
            return False
        self._room -= 1.0
        self._callers.failed(key[0])
        self._lately[key] = now_s
        self._lately.move_to_end(key)
        if len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)
        return True

    async def entries(
        self, after: int = 0, limit: int = 100, *, refused: bool = False
    ) -> tuple[tuple[Entry, bytes], ...]:
        """The newest entries after this one, oldest first, each with its digest."""
        async with self._store.reading() as rows:
            return await rows.entries(after, min(limit, MAX_ENTRIES), refused=refused)

    async def broken_at(self) -> int:
        """The first entry that is not as it was written; 0: all are."""
        return (await self._store.chain()).broken_at


def tell(entry: Entry, digest: bytes) -> None:
    """Says it in the planner's log: a witness that is kept elsewhere."""
    event(
        "audit",
        sequence=entry.sequence,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        outcome=entry.outcome,
        digest=digest.hex()[:32],
    )


def moment(entry: Entry) -> datetime:
    """When it was."""
    return datetime.fromtimestamp(entry.at_us / 1e6, UTC)
