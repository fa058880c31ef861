"""PURE. Figures that are measured again and again, told only when they have changed for good.

Each figure that is told may lead to a new plan, so noise must not be told: a change counts if it is large and stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

_KEPT = 10
#: A change is told once so many measurements in a row say so.
_PATIENCE = 3
_DIGITS = 2


class Damped:
    """One figure. ``of`` is what the latest measurements come to (their least, their most).

    Args:
        of: What is made of the latest ones.
        told: What is told at first; None: nothing.
        change_ratio: A smaller change than this is none ...
        change: ... or a smaller one than this.
    """

    def __init__(
        self,
        of: Callable[[Iterable[float]], float],
        *,
        told: float | None = None,
        change_ratio: float = 0.25,
        change: float = 0.0,
    ) -> None:
        self.told = told
        self._of = of
        self._change_ratio = change_ratio
        self._change = change
        self._latest: deque[float] = deque(maxlen=_KEPT)
        self._differed = 0

    def note(self, measured: float, *, weight: int = 1) -> None:
        """A measurement; one that is worth several of them has more ``weight``."""
        self._latest.append(measured)
        if self.told is not None and abs(measured - self.told) <= max(self._change, self._change_ratio * self.told):
            # What agrees with what is told makes older doubts void.
            self._differed = 0
            self._latest.clear()
            return
        self._differed += weight
        if self._differed < _PATIENCE:
            return
        value = self._of(self._latest)
        self._differed = 0
        self._latest.clear()
        self.told = rounded(value)


def rounded(value: float) -> float:
    """With two digits: more would only pretend."""
    return float(f"{value:.{_DIGITS}g}")
