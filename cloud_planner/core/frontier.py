"""What still matters of a partial route. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from cloud_planner.core.steps import Skeleton


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What still matters once a place is done: steps that are read later, outputs, and what ties them together.

    ``parts``: pairs (step, the common step behind it, -1 for none) whose difference in variance is compared.
    """

    live: tuple[int, ...]
    ends: tuple[int, ...]
    kept: tuple[int, ...]
    parts: tuple[tuple[int, int], ...]


@lru_cache(maxsize=1024)
def frontier_of(skeleton: Skeleton, place: int) -> Frontier:
    """The frontier after a place."""
    live = tuple(s for s in range(place + 1) if any(later > place for later in skeleton.successors[s]))
    ends = tuple(sorted({*live, *(step for step in skeleton.outputs if step <= place)}))
    passed = skeleton.passed
    ties = {max(passed[a] & passed[b], default=-1) for a, b in combinations(ends, 2)} - {-1}
    parts = {(step, max((passed[step] & ties) - {step}, default=-1)) for step in {*ends, *ties}}
    return Frontier(live=live, ends=ends, kept=tuple(sorted({*ends, *ties})), parts=tuple(sorted(parts)))
