"""How SLOs are kept over the fleet, of which queries are looked at in turn: a little at a time, however many. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from circinus.burn_rate import Burn, Burning, burn_of
from circinus.model.query import Query
from cloud_planner.dashboard.query_list import BURNING, QueryLine
from cloud_planner.recent import Lately

_WORST = 8
_SPENT_TOO_FAST = frozenset({*BURNING, Burning.RISING})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What was seen of a query when it was looked at. ``goodput_per_s`` is weighed; None: nothing was told of it.

    ``items`` and ``attained_ratio`` are of five minutes.
    """

    id: str
    burn: Burn
    items: int
    attained_ratio: float | None
    goodput_per_s: float | None

    @classmethod
    def of(cls, query_id: str, wanted_ratio: float, weight: float, lately: Lately) -> Look:
        """A look at what was seen lately of a query whose SLO asks for this part of the items (0..1)."""
        short, goodput = lately.spans.short, lately.goodput_per_s
        return cls(
            id=query_id,
            burn=burn_of(lately.spans, wanted_ratio),
            items=short.ended,
            attained_ratio=short.attained_ratio,
            goodput_per_s=None if goodput is None else weight * goodput,
        )

    @property
    def burn_ratio(self) -> float:
        """How many times as fast as allowed the budget is spent over five minutes."""
        return self.burn.short_ratio or 0.0

    def on(self, line: QueryLine) -> QueryLine:
        """The query's line with what was seen."""
        return replace(line, burn=self.burn, goodput_per_s=self.goodput_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How SLOs are kept over the fleet. ``goodput_per_s`` is weighed, as seen over five minutes.

    ``worst``: the queries whose error budget is spent too fast, those few where it is so most of all.
    """

    counts: Mapping[Burning, int]
    worst: tuple[Look, ...]
    goodput_per_s: float | None
    items: int

    @property
    def looked_at(self) -> int:
        """Queries that had items within the hour."""
        return sum(number for state, number in self.counts.items() if state is not Burning.IDLE)

    @property
    def kept(self) -> int:
        """Of them those that are within their error budget's rate."""
        return self.looked_at - sum(self.counts.get(state, 0) for state in BURNING)


class Attainment:
    """What was seen of each query, in the order in which they were looked at."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}

    def due(self, queries: Iterable[Query], most: int) -> list[Query]:
        """Whom to look at next: all that never were, and so many of the others. Who is no query any more is forgotten.

        O(queries).
        """
        there: dict[str, Query] = {query.id: query for query in queries}
        for gone in [name for name in self._looks if name not in there]:
            del self._looks[gone]
        never = [query for name, query in there.items() if name not in self._looks]
        return [*never, *(there[name] for name in islice(self._looks, most))]

    def look(self, query: Query, lately: Lately) -> None:
        """Notes what was seen of a query lately."""
        # Taken out first: the last one is who was looked at last.
        self._looks.pop(query.id, None)
        self._looks[query.id] = Look.of(query.id, query.slo.percentile_ratio, query.weight, lately)

    def of(self, query_id: str) -> Look | None:
        """What was seen of a query; None: it was not looked at."""
        return self._looks.get(query_id)

    def kept(self) -> Kept:
        """All of it together."""
        looks = self._looks.values()
        goodputs = [look.goodput_per_s for look in looks if look.goodput_per_s is not None]
        worst = [look for look in looks if look.burn.state in _SPENT_TOO_FAST]
        worst.sort(key=lambda look: (-look.burn_ratio, look.id))
        return Kept(
            counts=Counter(look.burn.state for look in looks),
            worst=tuple(worst[:_WORST]),
            goodput_per_s=sum(goodputs) if goodputs else None,
            items=sum(look.items for look in looks),
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
            known = (line, look, look.on(line))
        self._made[line.id] = known
        return known[2]


__all__ = ["Attainment", "Kept", "Look", "SeenLines"]
