"""A pipeline's configurations as a page shows them: rows, the chart's series, the one that is picked. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from circinus.model.pipeline import Configuration, configuration_key
from circinus.model.plan import Interval
from cloud_planner.core.configuration_front import ConfigurationFront, FrontPoint
from cloud_planner.dashboard.what_if_answer import knobs_of

#: A chart has no more points: all of the fronts, and of the rest the first.
_MOST_POINTS = 600


class Standing(StrEnum):
    """How a configuration stands beside the others."""

    FRONT = "front"
    DOMINATED = "dominated"
    OVER = "over a bound"
    NONE = "no plan"


class Axis(StrEnum):
    """What accuracy is held against."""

    COST = "cost"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRow:
    """One configuration.

    ``name`` is short and stands in addresses. ``differing``: the knobs that are not the same in all. ``scored`` 0: the
    accuracy is predicted.
    """

    name: str
    configuration: Configuration
    knobs: tuple[tuple[str, str], ...]
    differing: str
    accuracy: Interval
    scored: int
    samples: int
    latency_ms: Interval | None
    cost_per_h: float | None
    slo_probability_ratio: float | None
    timed: bool
    standing: Standing
    in_use: bool

    @property
    def measured(self) -> str:
        """What its figures rest on, in words."""
        if not self.scored:
            return "predicted"
        scores = "all samples" if self.scored >= self.samples else f"{self.scored} of {self.samples} samples"
        return scores if self.timed else f"{scores}, times predicted"


def name_of(configuration: Configuration) -> str:
    """The short name of a configuration, the same for the same."""
    return sha256(configuration_key(configuration).encode()).hexdigest()[:12]


def rows_of(front: ConfigurationFront, axis: Axis, in_use: Configuration | None = None) -> tuple[ConfigurationRow, ...]:
    """All configurations in their order. ``in_use``: the one that the query runs in."""
    varying = _varying([point.configuration for point in front.points])
    used = configuration_key(in_use) if in_use is not None else ""
    return tuple(_row(point, front, axis, varying, used) for point in front.points)


def _varying(configurations: Sequence[Configuration]) -> Mapping[str, str]:
    """Knobs that have more than one value, each with what it is called: without its operator where that is enough."""
    seen: dict[str, set[object]] = {}
    for one in configurations:
        for name, value in one.items():
            seen.setdefault(name, set()).add(value)
    names = [name for name, values in seen.items() if len(values) > 1]
    last = Counter(name.rpartition(".")[2] for name in names)
    return {name: short if last[short := name.rpartition(".")[2]] == 1 else name for name in names}


def _row(
    point: FrontPoint, front: ConfigurationFront, axis: Axis, varying: Mapping[str, str], used: str
) -> ConfigurationRow:
    plan, knobs = point.plan, knobs_of(point.configuration)
    return ConfigurationRow(
        name=name_of(point.configuration),
        configuration=point.configuration,
        knobs=knobs,
        differing=", ".join(f"{varying[name]} {value}" for name, value in knobs if name in varying) or "the only one",
        accuracy=point.accuracy,
        scored=point.scored,
        samples=front.samples,
        latency_ms=plan.latency_ms if plan is not None else None,
        cost_per_h=plan.cost_per_h if plan is not None else None,
        slo_probability_ratio=plan.slo_probability_ratio if plan is not None else None,
        timed=point.timed,
        standing=_standing(point, axis),
        in_use=configuration_key(point.configuration) == used,
    )


def _standing(point: FrontPoint, axis: Axis) -> Standing:
    if point.plan is None:
        return Standing.NONE
    if not point.within:
        return Standing.OVER
    on_front = point.cost_front if axis is Axis.COST else point.latency_front
    return Standing.FRONT if on_front else Standing.DOMINATED


def front_chart(
    rows: Sequence[ConfigurationRow], axis: Axis, bounds: Mapping[str, float | None]
) -> Mapping[str, object]:
    """The chart's series: accuracy over cost or latency, apart by standing and by what was measured.

    ``bounds``: the query's, by "x" and "y"; None: there is none.
    """
    there = [row for row in rows if _x(row, axis) is not None]
    there.sort(key=lambda row: row.standing is not Standing.FRONT)
    there = there[:_MOST_POINTS]
    there.sort(key=lambda row: (_x(row, axis) or 0.0, -row.accuracy.value))
    return {
        "kind": "front",
        "axis": axis.value,
        "x": [_short(_x(row, axis)) for row in there],
        "low": [_short(row.accuracy.low) for row in there],
        "high": [_short(row.accuracy.high) for row in there],
        "xlow": [_short(row.latency_ms.low) if axis is Axis.LATENCY and row.latency_ms else None for row in there],
        "xhigh": [_short(row.latency_ms.high) if axis is Axis.LATENCY and row.latency_ms else None for row in there],
        "measured": _series(there, lambda row: bool(row.scored) and row.standing is not Standing.OVER),
        "predicted": _series(there, lambda row: not row.scored and row.standing is not Standing.OVER),
        "over": _series(there, lambda row: row.standing is Standing.OVER),
        "front": _series(there, lambda row: row.standing is Standing.FRONT),
        "names": [row.name for row in there],
        "labels": [row.differing for row in there],
        "used": next((at for at, row in enumerate(there) if row.in_use), None),
        "bounds": {name: _short(value) for name, value in bounds.items()},
    }


def _series(rows: Sequence[ConfigurationRow], wanted: Callable[[ConfigurationRow], bool]) -> list[float | None]:
    return [_short(row.accuracy.value) if wanted(row) else None for row in rows]


def _x(row: ConfigurationRow, axis: Axis) -> float | None:
    if axis is Axis.COST:
        return row.cost_per_h
    return row.latency_ms.value if row.latency_ms is not None else None


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
