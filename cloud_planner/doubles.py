"""Two boxes with one identity, seen from how they say hello. PURE: the clock is given.

An agent has a fresh process id at every start. If one says hello while the connection of another still speaks, there
are two boxes with one key (a copied disk, a stolen key). If they never meet: one box that is started again goes from A
to B and never back, so an A that comes back after B is a second box. And so are two that keep taking each other's place
with one process id (a copied virtual machine): an agent whose link broke also says hello again while its old connection
seems to live, but not several times a minute, since it takes half a minute to find out.

A hello may be older than it looks (a link that was down for a while delivers what a dead process once wrote). So a
process that comes back is only *suspect*; once it speaks again after that, it lives. Who listens is the shell's part.

What then: nobody can tell which is the right box. The one that is connected stays, the other is refused, nothing new is
sent, what runs runs on, and people are told. It lasts until only one has been seen for a while.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from circinus.model.device import DeviceId

#: How long after the last sign of a second box it is over.
CLEAR_S = 600.0
#: So many connections of one process that took each other's place within so long are of two.
_TAKEOVERS, _WITHIN_S = 4, 60.0
_PAST = 8


class Hello(StrEnum):
    """What to do with a hello. SUSPECT: listen to it, and say so when it has spoken (``spoke``)."""

    FINE = "fine"
    SUSPECT = "suspect"
    REFUSED = "refused"


@dataclass(slots=True)
class _Seen:
    current: str
    past: deque[str] = field(default_factory=lambda: deque(maxlen=_PAST))
    takeovers_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TAKEOVERS))
    doubled_s: float | None = None


class Doubles:
    """Who has said hello for whom."""

    def __init__(self, *, clear_s: float = CLEAR_S) -> None:
        self._clear_s = clear_s
        self._seen: dict[DeviceId, _Seen] = {}

    def restore(self, device_id: DeviceId, now_s: float) -> None:
        """It was doubled before this planner started."""
        self._seen[device_id] = _Seen(current="", doubled_s=now_s)

    def forget(self, device_id: DeviceId) -> None:
        """It has another identity now."""
        self._seen.pop(device_id, None)

    def is_doubled(self, device_id: DeviceId) -> bool:
        """Whether two boxes have its identity."""
        seen = self._seen.get(device_id)
        return seen is not None and seen.doubled_s is not None

    def is_another(self, device_id: DeviceId, process_id: str) -> bool:
        """Whether the process of its connection is another one, so that it matters which of them lives."""
        seen = self._seen.get(device_id)
        return bool(process_id and seen and seen.doubled_s is None and seen.current not in ("", process_id))

    def over(self, now_s: float) -> tuple[DeviceId, ...]:
        """Those of which no second box was seen for long enough; they are not doubled any more."""
        found = [
            device_id
            for device_id, seen in sorted(self._seen.items())
            if seen.doubled_s is not None and now_s - seen.doubled_s >= self._clear_s
        ]
        for device_id in found:
            seen = self._seen[device_id]
            self._seen[device_id] = _Seen(current=seen.current)
        return tuple(found)

    def hello(self, device_id: DeviceId, process_id: str, now_s: float, *, live: bool) -> Hello:
        """A process says hello. ``live``: another connection of the device is open. Empty ids tell nothing."""
        if not process_id:
            return Hello.FINE
        seen = self._seen.setdefault(device_id, _Seen(current=process_id))
        seen.current = seen.current or process_id
        if process_id == seen.current:
            if live:
                self._took_over(seen, now_s)
            return Hello.FINE
        if seen.doubled_s is not None:
            seen.doubled_s = now_s
            if live:
                return Hello.REFUSED
            seen.current = process_id
            return Hello.FINE
        if process_id in seen.past:
            return Hello.SUSPECT
        seen.past.append(seen.current)
        seen.current = process_id
        return Hello.FINE

    def spoke(self, device_id: DeviceId, process_id: str, now_s: float, *, live: bool) -> Hello:
        """Two processes live. ``live``: the connection of the other is open still; then this one is refused."""
        seen = self._seen.setdefault(device_id, _Seen(current=process_id))
        seen.doubled_s = now_s
        if live:
            return Hello.REFUSED
        seen.current = process_id
        return Hello.FINE

    @staticmethod
    def _took_over(seen: _Seen, now_s: float) -> None:
        seen.takeovers_s.append(now_s)
        if len(seen.takeovers_s) == _TAKEOVERS and now_s - seen.takeovers_s[0] <= _WITHIN_S:
            seen.doubled_s = now_s
