"""What the selection benchmark runs: sizes, seeds, methods, time limits. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from selection_instances import Capacity, Size
from selection_rivals import CBC, GREEDY, HIGHS

OURS = "column generation"
SMALL = Size(queries=1_000)
SIZES = (SMALL, Size(queries=1_000, capacity=Capacity.LOOSE), Size(queries=1_000, huge=True))
LARGE = Size(queries=10_000)
GROWING = (100, 300, 1_000, 3_000, 10_000, 30_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run. ``growth``: it is of the curve over sizes."""

    size: Size
    seed: int
    method: str
    seconds: float
    growth: bool = False

    @property
    def key(self) -> str:
        """What tells it from others."""
        return (
            f"{self.size.name} | {self.seed} | {self.method} | {self.seconds:g} s{' | growth' if self.growth else ''}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``short_s`` and ``long_s``: the time limits of 1,000 queries; ``large_s``: of 10,000."""

    name: str
    seeds: tuple[int, ...]
    kinds: int = 36
    short_s: float = 15.0
    long_s: float = 60.0
    large_s: float = 60.0
    growth_s: float = 60.0
    #: Sizes that get the short limit alone.
    short: tuple[Size, ...] = ()

    def cases(self) -> Iterator[Case]:
        """All of them, seed by seed; growth last, with the first seed."""
        for seed in self.seeds:
            for size in SIZES:
                limits = (self.short_s,) if size in self.short else (self.short_s, self.long_s)
                yield from self._compared(size, seed, limits)
            yield from self._compared(LARGE, seed, (self.large_s,))
        for queries in GROWING:
            size = Size(queries=queries)
            yield Case(size=size, seed=self.seeds[0], method=OURS, seconds=self.growth_s, growth=True)
            yield Case(size=size, seed=self.seeds[0], method=GREEDY, seconds=0.0, growth=True)

    def _compared(self, size: Size, seed: int, limits: tuple[float, ...]) -> Iterator[Case]:
        for seconds in limits:
            for method in (OURS, HIGHS, CBC):
                yield Case(size=size, seed=seed, method=method, seconds=seconds)
        yield Case(size=size, seed=seed, method=GREEDY, seconds=0.0)


QUICK = Plan(name="quick", seeds=(1,), short=SIZES[1:], growth_s=30.0)
FULL = Plan(name="full", seeds=(1, 2, 3, 4, 5))
