"""How SLOs are kept over the fleet, of which queries are looked at in turn: a little at a time, however many. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from circinus.burn_rate import Burn, Burning, burn_of
from circinus.model.query import Query
from cloud_planner.dashboard.query_list import QueryLine
from cloud_planner.recent import Lately

_WORST = 8
_SPENT_TOO_FAST = frozenset({Burning.FAST, Burning.BURNING, Burning.RISING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """A query whose error budget is spent too fast. ``burn_ratio`` is over five minutes."""

    id: str
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


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen of a query when it was looked at last. ``goodput_per_s`` is weighed; None: nothing was told of it.

    ``items`` and ``attained_ratio`` are of five minutes.
    """

    burn: Burn
    items: int
    attained_ratio: float | None
    goodput_per_s: float | None


class Attainment:
    """What was seen of each query, in the order in which they were looked at."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}

    def due(self, queries: Iterable[Query], most: int) -> list[Query]:
        """Whom to look at next: all that never were, and so many of the others. Who is no query any more is forgotten.

        O(queries), a tenth of a microsecond each.
        """
        there: dict[str, Query] = {query.id: query for query in queries}
        for gone in [name for name in self._looks if name not in there]:
            del self._looks[gone]
        never = [query for name, query in there.items() if name not in self._looks]
        return [*never, *(there[name] for name in islice(self._looks, most))]

    def look(self, query: Query, lately: Lately) -> None:
        """Notes what was seen of a query lately."""
        burn, short = burn_of(lately.spans, query.slo.percentile_ratio), lately.spans.short
        goodput = lately.goodput_per_s
        # Taken out first: the last one is who was looked at last.
        self._looks.pop(query.id, None)
        self._looks[query.id] = Look(
            burn=burn,
            items=short.ended,
            attained_ratio=short.attained_ratio,
            goodput_per_s=None if goodput is None else query.weight * goodput,
        )

    def of(self, query_id: str) -> Look | None:
        """What was seen of a query; None: it was not looked at."""
        return self._looks.get(query_id)

    def kept(self) -> Kept:
        """All of it together."""
        looks = self._looks.values()
        goodputs = [look.goodput_per_s for look in looks if look.goodput_per_s is not None]
        worst = [(name, look) for name, look in self._looks.items() if look.burn.state in _SPENT_TOO_FAST]
        worst.sort(key=lambda one: (-(one[1].burn.short_ratio or 0.0), one[0]))
        return Kept(
            counts=Counter(look.burn.state for look in looks),
            worst=tuple(_worst(name, look) for name, look in worst[:_WORST]),
            goodput_per_s=sum(goodputs) if goodputs else None,
            items=sum(look.items for look in looks),
        )


def _worst(name: str, look: Look) -> Worst:
    return Worst(
        id=name,
        attained_ratio=look.attained_ratio,
        wanted_ratio=look.burn.wanted_ratio,
        burn_ratio=look.burn.short_ratio or 0.0,
        state=look.burn.state,
    )


class SeenLines:
    """Lines of queries with what was seen of them; a line is made anew where it, or what was seen, is another."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[QueryLine, Look, QueryLine]] = {}

    def of(self, lines: Sequence[QueryLine], attainment: Attainment) -> tuple[QueryLine, ...]:
        """The lines, in their order."""
        before, self._made = self._made, {}
        return tuple(self._line(line, attainment.of(line.id), before.get(line.id)) for line in lines)

    def _line(self, line: QueryLine, look: Look | None, known: tuple[QueryLine, Look, QueryLine] | None) -> QueryLine:
        if look is None:
            return line
        if known is None or known[0] is not line or known[1] is not look:
            known = (line, look, replace(line, burn=look.burn, goodput_per_s=look.goodput_per_s))
        self._made[line.id] = known
        return known[2]


__all__ = ["Attainment", "Kept", "Look", "SeenLines", "Worst"]
