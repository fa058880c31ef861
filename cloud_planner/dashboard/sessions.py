"""Who is signed in: sessions in memory, known by what was kept of a secret that only the browser has.

A session ends an hour after it was last used and twelve after it began, when its person signs out, is removed or gets
another role, and when the planner stops. A token against forgery goes with it: it is masked anew in each page, so that
packing pages tells nothing of it (Gluck, Harris, Prado, "BREACH", 2013).
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from circinus.clock import Clock
from circinus.errors import NotKnown, TooLarge
from cloud_planner.identity.rows import PersonRecord
from cloud_planner.identity.standing import Standing
from cloud_planner.identity.tokens import new_secret, secret_digest
from cloud_planner.services.roles import Caller

IDLE_S = 3_600.0
LONGEST_S = 12 * 3_600.0
#: Of everybody, and of one person: then their oldest ends.
MOST = 1_000
MOST_EACH = 20
_TOKEN_BYTES = 32


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser that somebody signed in with. ``forgery``: the token against forgery."""

    caller: Caller
    began_s: float
    used_s: float
    forgery: bytes = field(default_factory=lambda: secrets.token_bytes(_TOKEN_BYTES), repr=False)
    streams: int = 0
    over: bool = False


class Sessions:
    """The sessions of a planner."""

    def __init__(self, standing: Standing, clock: Clock) -> None:
        self._standing = standing
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, person: PersonRecord) -> str:
        """Signs somebody in who said who they are; gives the secret that the browser keeps.

        Raises:
            TooLarge: there are too many sessions.
        """
        self._sweep()
        mine = [key for key, session in self._sessions.items() if session.caller.name == person.name]
        for key in mine[: max(0, len(mine) - MOST_EACH + 1)]:
            self._end(key)
        if len(self._sessions) >= MOST:
            raise TooLarge(f"{MOST} sessions are open already: sign out elsewhere, or wait")
        secret = new_secret()
        now_s = self._clock.monotonic_s()
        self._sessions[secret.digest] = Session(
            caller=Caller(name=person.name, role=person.role), began_s=now_s, used_s=now_s
        )
        return secret.text

    def find(self, secret: str) -> Session | None:
        """The session of a secret; None: there is none (any more)."""
        if not 20 <= len(secret) <= 100:
            return None
        key = secret_digest(secret)
        session = self._sessions.get(key)
        if session is None:
            return None
        if not self.stands(session):
            self._end(key)
            return None
        session.used_s = self._clock.monotonic_s()
        return session

    def stands(self, session: Session) -> bool:
        """Whether a session goes on, looked at without using it."""
        now_s = self._clock.monotonic_s()
        if session.over or now_s - session.used_s > IDLE_S or now_s - session.began_s > LONGEST_S:
            return False
        try:
            self._standing.check_role(session.caller.name, session.caller.role)
        except NotKnown:
            return False
        return True

    def end(self, secret: str) -> None:
        """Signs out."""
        self._end(secret_digest(secret))

    def _end(self, key: bytes) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            session.over = True

    def _sweep(self) -> None:
        for key in [key for key, session in self._sessions.items() if not self.stands(session)]:
            self._end(key)


def masked(token: bytes) -> str:
    """A token against forgery as it stands in one page."""
    mask = secrets.token_bytes(len(token))
    return (mask + bytes(a ^ b for a, b in zip(mask, token, strict=True))).hex()


def is_masked(text: str, token: bytes) -> bool:
    """Whether this is the token, whatever its mask."""
    try:
        found = bytes.fromhex(text) if len(text) == 4 * len(token) else b""
    except ValueError:
        return False
    mask, rest = found[: len(token)], found[len(token) :]
    return len(found) == 2 * len(token) and hmac.compare_digest(
        bytes(a ^ b for a, b in zip(mask, rest, strict=True)), token
    )


__all__ = ["IDLE_S", "LONGEST_S", "MOST", "MOST_EACH", "Session", "Sessions", "is_masked", "masked"]
