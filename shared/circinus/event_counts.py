"""How often each event of the log happened, by its fixed name: for metrics, without a word from who logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType

from circinus import events

#: Names are of the code, and so few; this is in case one is not.
MAX_NAMES = 500


class EventCounts:
    """Counts from the moment that it listens. ``summed``: of these events a field that is a number is added up, too."""

    def __init__(self, summed: Mapping[str, str] = MappingProxyType({})) -> None:
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._summed = summed
        self._sums: dict[str, float] = dict.fromkeys(summed, 0.0)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Counts meanwhile."""
        with events.heard_by(self._hear):
            yield

    def _hear(self, name: str, fields: Mapping[str, str], warning: bool) -> None:
        if (name, warning) in self._counts or len(self._counts) < MAX_NAMES:
            self._counts[name, warning] += 1
        if name in self._summed:
            with suppress(ValueError):
                self._sums[name] += float(fields.get(self._summed[name], ""))

    def sum_of(self, name: str) -> float:
        """The sum of an event's field."""
        return self._sums.get(name, 0.0)

    def of(self, *names: str) -> int:
        """How often these happened."""
        return sum(count for (name, _), count in self._counts.items() if name in names)

    def by_name(self) -> tuple[tuple[str, bool, int], ...]:
        """Every name, whether it is a warning, and how often it happened, by name."""
        return tuple((name, warning, count) for (name, warning), count in sorted(self._counts.items()))


__all__ = ["EventCounts"]
