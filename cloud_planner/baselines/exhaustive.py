"""Profiles every configuration and takes the cheapest; reinforced: a scan from the cheapest on, with our test. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import Certifier, accurate, cheapest


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhaustive:
    """Every configuration on ``samples_ratio`` of the pool; the cheapest whose mean score meets the bound."""

    samples_ratio: float = 1.0

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "exhaustive"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        return cheapest(task, accurate(task, range(task.meter.count), self.samples_ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """From the cheapest configuration on, each until it is decided, to the first that is proven; no model of accuracy.

    ``level``: the probability that the answer misses its bound; ``miss_level``: the evidence at which one is given up.
    """

    level: float = 0.05
    miss_level: float = 0.02

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "exhaustive reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        certifier = Certifier(task, level=self.level, miss_level=self.miss_level)
        while len(left := certifier.left()):
            certifier.decide(int(left[0]))
        return certifier.answer()


def settings() -> tuple[Exhaustive, ...]:
    """From few samples to the whole pool."""
    return tuple(Exhaustive(samples_ratio=ratio) for ratio in (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0))


def reinforced_settings() -> tuple[Scan, ...]:
    """From giving up soon to hardly ever."""
    return tuple(Scan(miss_level=level) for level in (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.005))
