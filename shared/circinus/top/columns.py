"""The columns of the lists: what each says of a line, how wide it is, which stay where there is little room. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from circinus.burn_rate import FAST_RATIO, SPENT_RATIO
from circinus.line_calls import DeviceLine, QueryLine
from circinus.reports import QueryPhase
from circinus.top.wording import Span, Tone, ago, amount, bar, clean, percent

L = TypeVar("L")
_BAR = 5
#: Load and share from here on are nearly all there is.
_NEARLY_RATIO = 0.9
_PHASE_TONES = {
    QueryPhase.UNPLACED: Tone.BAD,
    QueryPhase.PENDING: Tone.WARN,
    QueryPhase.PROFILING: Tone.WARN,
    QueryPhase.PLACED: Tone.WARN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[L]):
    """One column. ``key``: what the planner sorts by, empty: nothing; ``rank``: 0 is always there, others by rank.

    ``stretches``: it takes what room is left. ``falling``: the largest first is what one wants to see.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[L, datetime], Span]
    key: str = ""
    right: bool = False
    stretches: bool = False
    falling: bool = False


def shown(columns: Sequence[Column[L]], width: int, sort: str = "") -> list[tuple[Column[L], int]]:
    """Those columns that there is room for, with their widths; the one that is sorted by is always among them."""
    ranked = sorted(columns, key=lambda one: (one.rank > 0 and one.key != sort, one.rank))
    left = width
    taken: list[Column[L]] = []
    for column in ranked:
        needs = column.width + (1 if taken else 0)
        if needs <= left:
            taken.append(column)
            left -= needs
    found = [one for one in columns if one in taken]
    stretching = next((one for one in reversed(found) if one.stretches), None)
    return [(one, one.width + (left if one is stretching else 0)) for one in found]


def device_state(line: DeviceLine) -> str:
    """Whether a device is there, and whether plans use it."""
    kept = "leaving" if line.leaving else "draining" if line.draining else "cordoned" if line.cordoned else ""
    if not line.connected:
        return f"away, {kept}" if kept else "away"
    return kept or "connected"


def _state_cell(line: DeviceLine, now: datetime) -> Span:
    tone = Tone.WARN if line.cordoned else Tone.NONE
    return Span(device_state(line), Tone.BAD if not line.connected else tone)


def _load_cell(line: DeviceLine, now: datetime) -> Span:
    if line.cores_seen is None or not line.cores:
        return Span("-", Tone.DIM)
    ratio = line.cores_seen / line.cores
    return Span(
        f"{bar(ratio, _BAR)} {percent(min(ratio, 9.99)):>4}", Tone.WARN if ratio >= _NEARLY_RATIO else Tone.NONE
    )


def _share_cell(line: DeviceLine, now: datetime) -> Span:
    if not line.cores:
        return Span("-", Tone.DIM)
    ratio = line.cores_planned / line.cores
    return Span(percent(ratio), Tone.WARN if ratio >= _NEARLY_RATIO else Tone.NONE)


def _memory_cell(line: DeviceLine, now: datetime) -> Span:
    return Span(percent(line.memory_planned_bytes / line.memory_bytes) if line.memory_bytes else "-")


def _seen_cell(line: DeviceLine, now: datetime) -> Span:
    return Span("now" if line.connected else ago(line.last_seen_at, now), Tone.DIM if line.connected else Tone.BAD)


def _runs_cell(line: DeviceLine, now: datetime) -> Span:
    if line.trouble:
        return Span(clean(line.trouble), Tone.BAD)
    return Span(clean(", ".join(line.runs)) or "-", Tone.NONE if line.runs else Tone.DIM)


DEVICE_COLUMNS: tuple[Column[DeviceLine], ...] = (
    Column(
        title="DEVICE",
        key="device_id",
        width=16,
        rank=0,
        cell=lambda one, now: Span(clean(one.device_id)),
        stretches=True,
    ),
    Column(title="SITE", key="site", width=8, rank=3, cell=lambda one, now: Span(clean(one.site))),
    Column(title="TIER", key="tier", width=5, rank=6, cell=lambda one, now: Span(one.tier.value)),
    Column(title="STATE", key="state", width=10, rank=1, cell=_state_cell),
    Column(title="LOAD", key="cores_seen", width=10, rank=1, cell=_load_cell, falling=True),
    Column(title="SHARE", key="cores_planned", width=6, rank=1, cell=_share_cell, right=True, falling=True),
    Column(
        title="CORES", width=9, rank=5, right=True, cell=lambda one, now: Span(f"{one.cores_planned:g}/{one.cores:g}")
    ),
    Column(title="MEMORY", width=6, rank=4, cell=_memory_cell, right=True),
    Column(
        title="PROCS",
        key="replicas",
        width=5,
        rank=3,
        right=True,
        falling=True,
        cell=lambda one, now: Span(str(one.replicas)),
    ),
    Column(
        title="PRICE/h",
        key="price_per_h",
        width=7,
        rank=7,
        right=True,
        falling=True,
        cell=lambda one, now: Span(amount(one.price_per_h)),
    ),
    Column(
        title="GEN",
        key="generation",
        width=5,
        rank=8,
        right=True,
        falling=True,
        cell=lambda one, now: Span(str(one.generation or "-")),
    ),
    Column(title="SEEN", width=6, rank=5, right=True, cell=_seen_cell),
    Column(title="RUNS", width=14, rank=2, cell=_runs_cell, stretches=True),
)


def query_state(line: QueryLine) -> str:
    """How far a query has come; a star: its plan is believed, not proven, to meet its accuracy bound."""
    word = "serving" if line.serving else line.phase.value
    return f"{word}*" if line.provisional else word


def _query_state_cell(line: QueryLine, now: datetime) -> Span:
    return Span(query_state(line), Tone.NONE if line.serving else _PHASE_TONES.get(line.phase, Tone.WARN))


def _goodput_cell(line: QueryLine, now: datetime) -> Span:
    seen, planned = line.goodput_per_s, line.planned_goodput_per_s
    if seen is None:
        return Span("-", Tone.DIM)
    return Span(amount(seen), Tone.WARN if seen < _NEARLY_RATIO * planned else Tone.NONE)


def attained_cell(line: QueryLine, now: datetime | None = None) -> Span:
    """Which part of the items was answered in time."""
    if line.attained_ratio is None:
        return Span("-", Tone.DIM)
    kept = line.attained_ratio >= line.wanted_ratio
    return Span(percent(line.attained_ratio, 1), Tone.GOOD if kept else Tone.BAD)


def burn_cell(ratio: float | None) -> Span:
    """How many times as fast as allowed an error budget is spent."""
    if ratio is None:
        return Span("-", Tone.DIM)
    tone = Tone.BAD if ratio > FAST_RATIO else Tone.WARN if ratio > SPENT_RATIO else Tone.GOOD
    return Span(amount(ratio, 2), tone)


def _budget_cell(line: QueryLine, now: datetime) -> Span:
    left = line.budget_left_ratio
    if left is None:
        return Span("-", Tone.DIM)
    return Span(percent(max(left, -9.99)), Tone.BAD if left <= 0.0 else Tone.NONE)


def latency_cell(line: QueryLine, now: datetime | None = None) -> Span:
    """The latency that was seen at the SLO's percentile."""
    bound = line.latency_bound_ms
    if line.latency_ms is None:
        return Span("-", Tone.DIM)
    return Span(amount(line.latency_ms), Tone.BAD if bound is not None and line.latency_ms > bound else Tone.NONE)


def _accuracy_cell(line: QueryLine, now: datetime) -> Span:
    seen, bound = line.accuracy_ratio, line.accuracy_bound_ratio
    if seen is None:
        return Span(amount(line.accuracy_planned_ratio), Tone.DIM)
    return Span(amount(seen), Tone.BAD if bound is not None and seen < bound else Tone.NONE)


def _where_cell(line: QueryLine, now: datetime) -> Span:
    if line.reason and not line.serving:
        return Span(clean(line.reason), Tone.DIM)
    return Span(clean(" → ".join(line.devices)))


QUERY_COLUMNS: tuple[Column[QueryLine], ...] = (
    Column(
        title="QUERY", key="query_id", width=14, rank=0, cell=lambda one, now: Span(clean(one.query_id)), stretches=True
    ),
    Column(title="STATE", key="phase", width=9, rank=1, cell=_query_state_cell),
    Column(title="PIPELINE", key="pipeline_id", width=10, rank=9, cell=lambda one, now: Span(clean(one.pipeline_id))),
    Column(title="GOODPUT/s", key="goodput_per_s", width=9, rank=1, cell=_goodput_cell, right=True, falling=True),
    Column(
        title="PLANNED",
        key="planned_goodput_per_s",
        width=7,
        rank=3,
        right=True,
        falling=True,
        cell=lambda one, now: Span(amount(one.planned_goodput_per_s)),
    ),
    Column(title="IN TIME", key="attained_ratio", width=7, rank=1, cell=attained_cell, right=True),
    Column(
        title="BURN 5m",
        key="burn_ratio",
        width=8,
        rank=1,
        right=True,
        falling=True,
        cell=lambda one, now: burn_cell(one.burn_ratio),
    ),
    Column(
        title="1h",
        key="burn_hour_ratio",
        width=5,
        rank=2,
        right=True,
        falling=True,
        cell=lambda one, now: burn_cell(one.burn_hour_ratio),
    ),
    Column(title="BUDGET", key="budget_left_ratio", width=6, rank=6, cell=_budget_cell, right=True),
    Column(title="SEEN ms", key="latency_ms", width=7, rank=2, cell=latency_cell, right=True, falling=True),
    Column(
        title="BOUND",
        width=6,
        rank=4,
        right=True,
        cell=lambda one, now: Span(amount(one.latency_bound_ms)),
    ),
    Column(
        title="PLAN ms",
        key="latency_planned_ms",
        width=7,
        rank=5,
        right=True,
        falling=True,
        cell=lambda one, now: Span(amount(one.latency_planned_ms)),
    ),
    Column(title="ACCURACY", key="accuracy_ratio", width=8, rank=7, cell=_accuracy_cell, right=True),
    Column(
        title="COST/h",
        key="cost_per_h",
        width=7,
        rank=8,
        right=True,
        falling=True,
        cell=lambda one, now: Span(amount(one.cost_per_h)),
    ),
    Column(
        title="P(SLO)",
        key="slo_probability_ratio",
        width=6,
        rank=9,
        right=True,
        cell=lambda one, now: Span(amount(one.slo_probability_ratio)),
    ),
    Column(title="WHERE", width=12, rank=5, cell=_where_cell, stretches=True),
)


def next_sort(columns: Sequence[Column[L]], sort: str, step: int) -> tuple[str, bool]:
    """The column to sort by that comes next (or before), and whether its largest come first."""
    sortable = [one for one in columns if one.key]
    here = next((place for place, one in enumerate(sortable) if one.key == sort), 0)
    found = sortable[(here + step) % len(sortable)]
    return found.key, found.falling


__all__ = [
    "DEVICE_COLUMNS",
    "QUERY_COLUMNS",
    "Column",
    "attained_cell",
    "burn_cell",
    "device_state",
    "latency_cell",
    "next_sort",
    "query_state",
    "shown",
]
