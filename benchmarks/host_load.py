"""What else takes a machine's cores while a fleet on it is measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil


def _busy_s() -> float:
    """Seconds that the machine's cores worked since it started; what its host took from it counts as work of others."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _cpu_s(roots: Iterable[int]) -> dict[tuple[int, float], float]:
    """CPU seconds of these processes and all below them."""
    found = {}
    for root in roots:
        try:
            process = psutil.Process(root)
            for one in (process, *process.children(recursive=True)):
                times = one.cpu_times()
                found[one.pid, one.create_time()] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return found


@dataclass(slots=True)
class OthersCores:
    """The cores that are taken by what is not below ``roots``, from its making to ``cores``."""

    roots: tuple[int, ...]
    _began_s: float = field(default_factory=time.monotonic)
    _busy_s: float = field(default_factory=_busy_s)
    _own_s: dict[tuple[int, float], float] = field(init=False)

    def __post_init__(self) -> None:
        self._own_s = _cpu_s(self.roots)

    def cores(self) -> float:
        """Mean number of cores so far; what a process below the roots took before it ended meanwhile is in it."""
        own_s = sum(max(0.0, spent - self._own_s.get(key, 0.0)) for key, spent in _cpu_s(self.roots).items())
        return max(0.0, _busy_s() - self._busy_s - own_s) / max(1e-9, time.monotonic() - self._began_s)
