"""Lines of the selection benchmark by size, method and limit, with the best bound that any method proved. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from statistics import fmean
from typing import TYPE_CHECKING

from selection_check import contradictions
from selection_curves import Point, at, first, gap
from selection_plan import LARGE, OURS, SIZES

if TYPE_CHECKING:
    from selection_instances import Size
    from selection_runs import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Over seeds. NaN: there are none."""

    mean: float
    worst: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and largest."""
    return Spread(mean=fmean(values), worst=max(values)) if values else Spread(mean=nan, worst=nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All lines of a plan."""

    lines: tuple[Line, ...]

    def compared(self, size: Size, method: str = "", seconds: float = 0.0) -> list[Line]:
        """Those that are compared, by size; method and limit where they are given."""
        return [
            line
            for line in self.lines
            if line.case.size == size
            and not line.case.growth
            and method in ("", line.case.method)
            and (not seconds or line.case.seconds == seconds)
        ]

    def sizes(self) -> list[Size]:
        """Those that there are."""
        return [size for size in (*SIZES, LARGE) if self.compared(size)]

    def limits(self, size: Size) -> list[float]:
        """Time limits that ours was run with."""
        return sorted({line.case.seconds for line in self.compared(size, OURS)})

    def seeds(self) -> list[int]:
        """Those that there are."""
        return sorted({line.case.seed for line in self.lines})

    def growing(self, method: str) -> list[Line]:
        """The curve over sizes."""
        found = [line for line in self.lines if line.case.growth and line.case.method == method]
        return sorted(found, key=lambda line: line.queries)

    def best_bound_per_s(self, size: Size, seed: int) -> float:
        """The least that any method proved in any time, the linear one among them."""
        bounds = [
            bound
            for line in self.compared(size)
            if line.case.seed == seed
            for bound in (line.last.bound_per_s, line.last.linear_per_s)
        ]
        return min(bounds, default=inf)

    def gap_at(self, line: Line, elapsed_s: float) -> float:
        """To the best bound that is known at the end."""
        return gap(at(line.points, elapsed_s).goodput_per_s, self.best_bound_per_s(line.case.size, line.case.seed))

    def spread_at(self, size: Size, seconds: float, elapsed_s: float, of: Callable[[Point], float]) -> Spread:
        """A figure of ours at a time, of runs with this limit."""
        return spread([of(at(line.points, elapsed_s)) for line in self.compared(size, OURS, seconds)])

    def until(self, size: Size, seconds: float, gap_ratio: float) -> Spread:
        """Seconds until ours was within a gap to the bound that it knew then."""
        lines = self.compared(size, OURS, seconds)
        return spread([first(line.points, gap_ratio, lambda point: point.gap_ratio) for line in lines])

    def wrong(self) -> list[str]:
        """What the check found, and bounds that some selection exceeds."""
        found = [f"{line.case.key}: {finding}" for line in self.lines for finding in line.findings]
        for size in self.sizes():
            for seed in self.seeds():
                lines = [line for line in self.compared(size) if line.case.seed == seed]
                # A selection that breaks something proves nothing about bounds.
                goodputs = {line.case.key: line.last.goodput_per_s for line in lines if not line.findings}
                bounds = {line.case.key: line.last.bound_per_s for line in lines}
                found += contradictions(bounds, goodputs)
        return found

    def memory_bytes(self, method: str) -> float:
        """The most that a method took; NaN: there is none."""
        return max((line.memory_bytes for line in self.lines if line.case.method == method), default=nan)


def percent(value: float, digits: int = 2) -> str:
    """As text."""
    return "-" if isnan(value) else f"{value:.{digits}%}"


def seconds_text(value: float) -> str:
    """As text; infinite: it never came."""
    return "never" if value == inf else "-" if isnan(value) else f"{value:.1f} s"
