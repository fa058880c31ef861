"""Which rows of a table hold for a configuration. PURE.

A row holds where its content and each knob that it names are those asked for; what it does not name is any.
Of several that hold, the one that names more says more: content first, then the number of knobs. Two rows that
say as much contradict each other, and that is a fault, not a choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from circinus.model.pipeline import Configuration, KnobValue
from cloud_planner.offline.case import Row
from cloud_planner.offline.documents import Faults

R = TypeVar("R", bound=Row)


class RowIndex(Generic[R]):
    """The rows of one operator (or pipeline), by what they name. A look-up costs one probe for each set of names."""

    def __init__(self, rows: Iterable[R]) -> None:
        self._groups: dict[tuple[str, ...], dict[tuple[KnobValue, ...], list[R]]] = {}
        for row in rows:
            names = tuple(sorted(row.knobs))
            values = tuple(row.knobs[name] for name in names)
            self._groups.setdefault(names, {}).setdefault(values, []).append(row)

    @property
    def knob_names(self) -> tuple[str, ...]:
        """Every knob that any row names."""
        return tuple(sorted({name for names in self._groups for name in names}))

    def matching(self, content: str, configuration: Configuration) -> list[R]:
        """The rows that hold, in the order of files and lines."""
        found = [
            row
            for names, by_value in self._groups.items()
            for row in by_value.get(tuple(configuration[name] for name in names), ())
            if row.content in ("", content)
        ]
        return sorted(found, key=lambda row: row.place)


def weight_of(row: Row) -> tuple[int, int]:
    """How much a row names; the larger says more."""
    return (1 if row.content else 0, len(row.knobs))


def say_most(rows: list[R], what: str, faults: Faults) -> R | None:
    """The row that says most of those that hold, or None without any; two that say as much are a fault."""
    if not rows:
        return None
    best = max(rows, key=weight_of)
    rivals = [row for row in rows if row is not best and weight_of(row) == weight_of(best)]
    if rivals:
        faults.add(rivals[0].place, f"{what} is also given at {best.place}, and neither row names more than the other")
    return best
