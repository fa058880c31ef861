"""How far an SLO is kept: attainment, error budget and burn rate of a query's items. PURE.

A bound on latency at a percentile allows the rest of the items to be late or lost: that is the error budget. The burn
rate says how many times as fast as allowed it is spent; above 1 the SLO is not kept. (Beyer et al., The Site
Reliability Workbook, chapter 5.)
"""

from __future__ import annotations

from dataclasses import dataclass

from circinus.burn_rate import Count, burn_ratio
from circinus.model.query import Slo
from circinus.reports import LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """Of a query's items, which part was answered in time (0..1), what was asked for, and how fast the budget burns."""

    attained_ratio: float
    wanted_ratio: float
    burn_ratio: float
    latency_kept: bool | None
    accuracy_kept: bool | None

    @property
    def kept(self) -> bool:
        """Whether every bound that could be looked at is kept."""
        return self.latency_kept is not False and self.accuracy_kept is not False


def attainment(entry: LedgerEntry, slo: Slo) -> Attainment | None:
    """How a query's items did; None: there were none."""
    ended = entry.answered + entry.late + entry.dropped + entry.failed
    attained = Count(good=entry.answered, ended=ended).attained_ratio
    if attained is None:
        return None
    wanted = slo.percentile_ratio
    accuracy = entry.accuracy_ratio
    bound = slo.accuracy_ratio
    return Attainment(
        attained_ratio=attained,
        wanted_ratio=wanted,
        burn_ratio=burn_ratio(attained, wanted),
        latency_kept=None if slo.latency_ms is None else attained >= wanted,
        accuracy_kept=None if bound is None or accuracy is None else accuracy >= bound - slo.accuracy_margin_ratio,
    )
