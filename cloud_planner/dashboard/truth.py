"""Predicted against observed as pages show it: figures, bins, rows, series of charts. PURE.

All of it comes from the ledger's accounts (docs/ledger.md), as `circinus ledger --calibration` gets them. What an
account says of latency and P(SLO) was judged there. An observed mean score is held against the promised accuracy with a
90% interval of its own: how far the promise may be off, and how far so many scores may be off from it, as normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, hypot, sqrt
from statistics import fmean, median

from circinus.accounts import Account, AccountsReport, Calibration, OperatorAccount
from circinus.model.plan import Certainty

#: Half-widths of intervals of a normal variable, in deviations.
Z90, Z95 = 1.6448536269514722, 1.959963984540054
#: Accounts are sorted into so many bins at most, of so many each at least.
_BINS, _LEAST_IN_BIN = 6, 3
#: Operators are judged by so many items at least, as the ledger does it.
LEAST_ITEMS = 40
#: A chart has no more points: the newest.
_MOST_POINTS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure promised, with its 90% interval, and as it was seen."""

    promised: float
    low: float
    high: float
    seen: float

    @property
    def within(self) -> bool:
        """Whether what was seen lies in the interval."""
        return self.low <= self.seen <= self.high

    @property
    def error_ratio(self) -> float:
        """How far the promise was off, relative to what was seen."""
        return abs(self.promised - self.seen) / max(abs(self.seen), 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """An account of a query under a generation. ``open`` says why it can't be judged; empty: it is."""

    query_id: str
    generation: int
    created_at: datetime
    pipeline: str
    items: int
    open: str
    latency_ms: Figure | None
    rate_per_s: float
    rate_seen_per_s: float | None
    accuracy_ratio: Figure | None
    slo_probability_ratio: float | None
    slo_met: bool | None

    @property
    def rate_error_ratio(self) -> float | None:
        """How far the planned rate was off."""
        if self.rate_seen_per_s is None:
            return None
        return abs(self.rate_per_s - self.rate_seen_per_s) / max(self.rate_seen_per_s, 1e-9)

    @property
    def verdict(self) -> str:
        """What became of the promise, in a word."""
        if self.open:
            return "open"
        return "kept" if self.slo_met else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """One operator on one device under a generation. ``judged``: enough items were seen."""

    query_id: str
    generation: int
    operator_id: str
    device_id: str
    items: int
    service_ms: Figure | None
    promised_ms: float
    service_seen_p95_ms: float | None
    queue_ms: float
    queue_seen_ms: float | None
    output_bytes: float
    output_seen_bytes: float | None
    memory_seen_bytes: int
    dropped: str
    judged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Promises of like size: how many, their mean and the mean of what was seen, the median error, intervals held."""

    low: float
    high: float
    accounts: int
    promised: float
    seen: float
    error_ratio: float
    held_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityRow:
    """Promises of like P(SLO). ``low_met_ratio`` and ``high_met_ratio``: the 95% interval of how often it was met.

    ``off``: what was promised is not in it.
    """

    low_ratio: float
    high_ratio: float
    accounts: int
    promised_ratio: float
    met_ratio: float
    low_met_ratio: float
    high_met_ratio: float

    @property
    def off(self) -> bool:
        """Whether so few (or many) would hardly be met if promises were right."""
        return not self.low_met_ratio <= self.promised_ratio <= self.high_met_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How good promises of one figure were. ``held_ratio`` None: nothing is promised with an interval."""

    name: str
    unit: str
    accounts: int
    error_ratio: float | None
    held_ratio: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All of a page."""

    plans: tuple[PlanRow, ...]
    operators: tuple[OperatorRow, ...]
    measures: tuple[Measure, ...]
    reliability: tuple[ReliabilityRow, ...]
    calibration: Calibration
    open_accounts: int


def truth_of(report: AccountsReport) -> Truth:
    """What accounts, newest first, say."""
    plans = tuple(_plan(account) for account in report.accounts)
    operators = tuple(_operator(account, one) for account in report.accounts for one in account.operators)
    judged = [row for row in plans if not row.open]
    measures = (
        _measure("Latency", "ms", [row.latency_ms for row in judged if row.latency_ms is not None]),
        _measure(
            "Throughput",
            "items/s",
            [
                Figure(promised=row.rate_per_s, low=0.0, high=0.0, seen=row.rate_seen_per_s)
                for row in judged
                if row.rate_seen_per_s is not None
            ],
            intervals=False,
        ),
        _measure("Accuracy", "", [row.accuracy_ratio for row in judged if row.accuracy_ratio is not None]),
        _measure("Service time", "ms", [row.service_ms for row in operators if row.judged and row.service_ms]),
    )
    return Truth(
        plans=plans,
        operators=operators,
        measures=measures,
        reliability=tuple(
            ReliabilityRow(
                low_ratio=one.low_ratio,
                high_ratio=one.high_ratio,
                accounts=one.accounts,
                promised_ratio=one.promised_ratio,
                met_ratio=one.met_ratio,
                low_met_ratio=(bounds := wilson(one.met_ratio, one.accounts))[0],
                high_met_ratio=bounds[1],
            )
            for one in report.calibration.reliability
        ),
        calibration=report.calibration,
        open_accounts=len(plans) - len(judged),
    )


def _plan(account: Account) -> PlanRow:
    why = ""
    if account.open:
        why = "provisional" if account.plan.certainty is Certainty.PROVISIONAL else "too few items"
    promised = account.latency_ms
    latency = Figure(promised=promised.value, low=promised.low, high=promised.high, seen=account.latency_seen_ms)
    return PlanRow(
        query_id=account.query_id,
        generation=account.generation,
        created_at=account.created_at,
        pipeline=f"{account.pipeline_id}/{account.content}",
        items=account.items,
        open=why,
        latency_ms=None if why else latency,
        rate_per_s=account.rate_per_s,
        rate_seen_per_s=None if why else account.throughput_seen_per_s,
        accuracy_ratio=None if why else _accuracy(account),
        slo_probability_ratio=None if why else account.slo_probability_ratio,
        slo_met=None if why else account.slo_met,
    )


def _accuracy(account: Account) -> Figure | None:
    """The promised accuracy beside the mean score of the items that had one; None: none had."""
    seen, scored = account.accuracy_seen_ratio, account.scored
    if seen is None or not scored:
        return None
    interval = account.plan.accuracy_ratio
    value = min(1.0, max(0.0, interval.value))
    known = (interval.high - interval.low) / 2.0 / Z95
    half = Z90 * hypot(known, sqrt(max(value * (1.0 - value), 0.25 / scored) / scored))
    return Figure(promised=value, low=max(0.0, value - half), high=min(1.0, value + half), seen=seen)


def _operator(account: Account, one: OperatorAccount) -> OperatorRow:
    figure = None
    if one.service_seen_ms is not None:
        promised = one.service_ms
        figure = Figure(promised=promised.value, low=promised.low, high=promised.high, seen=one.service_seen_ms)
    return OperatorRow(
        query_id=account.query_id,
        generation=account.generation,
        operator_id=one.operator_id,
        device_id=one.device_id,
        items=one.items,
        service_ms=figure,
        promised_ms=one.service_ms.value,
        service_seen_p95_ms=one.service_seen_p95_ms,
        queue_ms=one.queue_ms,
        queue_seen_ms=one.queue_seen_ms,
        output_bytes=one.output_bytes,
        output_seen_bytes=one.output_seen_bytes,
        memory_seen_bytes=one.memory_seen_bytes,
        dropped=", ".join(f"{cause} {count:,}" for cause, count in one.dropped.items()),
        judged=not account.open and one.items >= LEAST_ITEMS,
    )


def _measure(name: str, unit: str, figures: Sequence[Figure], *, intervals: bool = True) -> Measure:
    return Measure(
        name=name,
        unit=unit,
        accounts=len(figures),
        error_ratio=median(one.error_ratio for one in figures) if figures else None,
        held_ratio=sum(one.within for one in figures) / len(figures) if figures and intervals else None,
        bins=bins(figures, intervals=intervals),
    )


def bins(figures: Sequence[Figure], *, intervals: bool = True) -> tuple[Bin, ...]:
    """Figures sorted by what was promised, in bins of about as many each."""
    ordered = sorted(figures, key=lambda one: one.promised)
    count = max(1, min(_BINS, len(ordered) // _LEAST_IN_BIN))
    size = max(1, ceil(len(ordered) / count))
    found = []
    start = 0
    while start < len(ordered):
        end = min(len(ordered), start + size)
        # What was promised alike is in one bin.
        while end < len(ordered) and ordered[end].promised <= ordered[end - 1].promised * (1.0 + 1e-9):
            end += 1
        some, start = ordered[start:end], end
        found.append(
            Bin(
                low=some[0].promised,
                high=some[-1].promised,
                accounts=len(some),
                promised=fmean(one.promised for one in some),
                seen=fmean(one.seen for one in some),
                error_ratio=median(one.error_ratio for one in some),
                held_ratio=sum(one.within for one in some) / len(some) if intervals else None,
            )
        )
    return tuple(found)


def wilson(ratio: float, count: int) -> tuple[float, float]:
    """The 95% interval of a share that was seen so often (E. B. Wilson, 1927)."""
    if count <= 0:
        return 0.0, 1.0
    square = Z95 * Z95
    middle = (ratio + square / (2.0 * count)) / (1.0 + square / count)
    half = Z95 / (1.0 + square / count) * sqrt(ratio * (1.0 - ratio) / count + square / (4.0 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


Chart = Mapping[str, object]


def reliability_chart(rows: Sequence[ReliabilityRow]) -> Chart:
    """Series of the reliability diagram: promised, met, its interval, and how many."""
    ordered = sorted(rows, key=lambda row: row.promised_ratio)
    return {
        "kind": "reliability",
        "x": [round(row.promised_ratio, 4) for row in ordered],
        "y": [round(row.met_ratio, 4) for row in ordered],
        "low": [round(row.low_met_ratio, 4) for row in ordered],
        "high": [round(row.high_met_ratio, 4) for row in ordered],
        "accounts": [row.accounts for row in ordered],
    }


def scatter_chart(rows: Sequence[PlanRow], figure: Callable[[PlanRow], Figure | None], *, log: bool) -> Chart:
    """Series of predicted against observed: of the newest accounts, apart by whether the interval held."""
    found = [(row, one) for row in rows if (one := figure(row)) is not None][:_MOST_POINTS]
    found.sort(key=lambda pair: pair[1].promised)
    return {
        "kind": "scatter",
        "log": log,
        "x": [_short(one.promised) for _, one in found],
        "held": [_short(one.seen) if one.within else None for _, one in found],
        "out": [None if one.within else _short(one.seen) for _, one in found],
        "low": [_short(one.low) for _, one in found],
        "high": [_short(one.high) for _, one in found],
        "names": [f"{row.query_id}, generation {row.generation}" for row, _ in found],
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")
