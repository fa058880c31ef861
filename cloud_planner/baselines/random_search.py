"""Random configurations (J. Bergstra and Y. Bengio, Random search for hyper-parameters, JMLR 2012). PURE."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import Certifier, accurate, cheapest


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearch:
    """``probes`` random configurations on ``samples_ratio`` of the pool; the cheapest whose mean meets the bound."""

    probes: int
    samples_ratio: float

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "random"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        order = task.rng.permutation(task.meter.count)[: self.probes]
        return cheapest(task, accurate(task, (int(index) for index in order), self.samples_ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcedRandomSearch:
    """``probes`` random configurations with our test, but for those that are dearer than what is proven."""

    probes: int
    level: float = 0.05
    miss_level: float = 0.05

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "random reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        certifier = Certifier(task, level=self.level, miss_level=self.miss_level)
        return certifier.decide_all(task.rng.permutation(task.meter.count), self.probes)


def settings() -> tuple[RandomSearch, ...]:
    """From a few probes of few samples to many of the whole pool."""
    return tuple(
        RandomSearch(probes=probes, samples_ratio=ratio)
        for probes, ratio in (
            (5, 0.1),
            (10, 0.1),
            (10, 0.25),
            (20, 0.25),
            (20, 0.5),
            (20, 1.0),
            (40, 0.5),
            (40, 1.0),
            (80, 1.0),
        )
    )


def reinforced_settings() -> tuple[ReinforcedRandomSearch, ...]:
    """From a few probes to all configurations."""
    return tuple(ReinforcedRandomSearch(probes=probes) for probes in (2, 4, 6, 10, 15, 25, 40, 80))
