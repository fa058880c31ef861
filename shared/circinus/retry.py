"""One back-off for everything that tries again: exponential with full jitter (Brooker, AWS, 2015)."""

from __future__ import annotations

from random import Random

#: The longest wait of whoever dials a planner again: a box is back within so long of what kept it away.
MAX_RECONNECT_S = 30.0


class Backoff:
    """Waits that grow from ``first_s`` to ``cap_s``, each drawn evenly from zero up to the present bound.

    Full jitter, so that a fleet that lost its planner at one moment doesn't come back at one moment.
    """

    def __init__(self, first_s: float, cap_s: float, rng: Random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._rng = rng
        self._attempts = 0

    def next_s(self) -> float:
        """How long to wait before the next try, in seconds."""
        # 2**32 x any sane first_s is over any sane cap; more would overflow a float after a year offline.
        bound_s = min(self._cap_s, self._first_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return self._rng.uniform(0.0, bound_s)

    def reset(self) -> None:
        """It worked: begin from the start next time."""
        self._attempts = 0
