"""How SLOs are kept over the fleet, of which queries are looked at in turn: a little at a time, however many. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from circinus.burn_rate import Burning, burn_of
from circinus.model.query import Query, QueryId
from cloud_planner.recent import Lately

_WORST = 8
_SPENT_TOO_FAST = frozenset({Burning.FAST, Burning.BURNING, Burning.RISING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """A query whose error budget is spent too fast. ``burn_ratio`` is over five minutes."""

    id: QueryId
    attained_ratio: float | None
    wanted_ratio: float
    burn_ratio: float
    state: Burning


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How SLOs are kept over the fleet. ``goodput_per_s`` is weighed, as seen over five minutes."""

    counts: Mapping[Burning, int]
    worst: tuple[Worst, ...]
    goodput_per_s: float | None
    items: int

    @property
    def looked_at(self) -> int:
        """Queries that had items within the hour."""
        return sum(number for state, number in self.counts.items() if state is not Burning.IDLE)

    @property
    def kept(self) -> int:
        """Of them those that are within their error budget's rate."""
        return self.looked_at - self.counts.get(Burning.BURNING, 0) - self.counts.get(Burning.FAST, 0)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a query when it was looked at last. ``goodput_per_s`` None: nothing was told of it."""

    state: Burning
    items: int
    goodput_per_s: float | None
    worst: Worst | None


class Attainment:
    """What was seen of each query, in the order in which they were looked at."""

    def __init__(self) -> None:
        self._looks: dict[QueryId, _Look] = {}

    def due(self, queries: Iterable[Query], most: int) -> list[Query]:
        """Whom to look at next: all that never were, and so many of the others. Who is no query any more is forgotten.

        O(queries), a tenth of a microsecond each.
        """
        there = {query.id: query for query in queries}
        for gone in [name for name in self._looks if name not in there]:
            del self._looks[gone]
        never = [query for name, query in there.items() if name not in self._looks]
        return [*never, *(there[name] for name in islice(self._looks, most))]

    def look(self, query: Query, lately: Lately) -> None:
        """Notes what was seen of a query lately."""
        burn = burn_of(lately.spans, query.slo.percentile_ratio)
        worst = None
        if burn.state in _SPENT_TOO_FAST:
            worst = Worst(
                id=query.id,
                attained_ratio=lately.spans.short.attained_ratio,
                wanted_ratio=burn.wanted_ratio,
                burn_ratio=burn.short_ratio or 0.0,
                state=burn.state,
            )
        goodput = lately.goodput_per_s
        # Taken out first: the last one is who was looked at last.
        self._looks.pop(query.id, None)
        self._looks[query.id] = _Look(
            burn.state, lately.spans.short.ended, None if goodput is None else query.weight * goodput, worst
        )

    def kept(self) -> Kept:
        """All of it together."""
        looks = self._looks.values()
        goodputs = [look.goodput_per_s for look in looks if look.goodput_per_s is not None]
        worst = sorted((look.worst for look in looks if look.worst), key=lambda one: (-one.burn_ratio, one.id))
        return Kept(
            counts=Counter(look.state for look in looks),
            worst=tuple(worst[:_WORST]),
            goodput_per_s=sum(goodputs) if goodputs else None,
            items=sum(look.items for look in looks),
        )


__all__ = ["Attainment", "Kept", "Worst"]
