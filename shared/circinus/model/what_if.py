"""Changes of a fleet and its queries that somebody wants to know the consequences of. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Stands for all queries.
ALL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDevices:
    """More devices like one (named by its id or class), at a site ("": its own)."""

    count: int
    like: str
    site: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDevice:
    """A device less, or so many machines less of a type (``count`` None: all of it)."""

    device: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonDevice:
    """Nothing new is placed on a device; what runs there may stay."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A new figure: a value, or so many times the present one (``factor``)."""

    value: float
    factor: bool = False

    def of(self, present: float) -> float:
        """The new figure."""
        return present * self.value if self.factor else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRate:
    """Another rate of a query, or of all."""

    query: str
    rate_per_s: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """Another weight of a query, or of all."""

    query: str
    weight: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPrice:
    """Another price per hour of a device, or of all of a class."""

    device: str
    price_per_h: Figure


class SloField(StrEnum):
    """A bound of an SLO, or the percentile that its latency is meant at."""

    LATENCY_MS = "latency_ms"
    PERCENTILE = "percentile"
    ACCURACY = "accuracy"
    COST_PER_H = "cost_per_h"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSlo:
    """Another bound of a query, or of all; None: no bound."""

    query: str
    field: SloField
    value: float | None


WhatIf = AddDevices | RemoveDevice | CordonDevice | SetRate | SetWeight | SetPrice | SetSlo
