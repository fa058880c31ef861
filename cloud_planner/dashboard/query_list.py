"""Queries as lines of a table: what is planned of each, and how its budget burns. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from circinus.burn_rate import Burn, Burning
from circinus.model.device import DeviceId
from circinus.model.plan import per_1000_items
from circinus.model.query import Query
from circinus.v1 import types_pb2
from cloud_planner.dashboard.table import Column
from cloud_planner.services.states import Decided
from cloud_planner.store import RolloutPhase

#: How far a query has come, in the order of a person's interest.
STATES = ("unplaced", "waiting", "profiling", "placed", "serving")
#: The order of urgency of a budget's state.
_URGENCY = {
    Burning.FAST: 5,
    Burning.BURNING: 4,
    Burning.RISING: 3,
    Burning.RECOVERING: 2,
    Burning.KEPT: 1,
    Burning.IDLE: 0,
}
BURNING = (Burning.BURNING, Burning.FAST)
_REASON_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLine:
    """A query. What is planned is None without a plan; what is seen (``burn`` on) until something was seen.

    ``goodput_per_s``: item goodput, weight x items answered in time and right. ``latency_ms`` is at the percentile
    of the SLO.
    """

    id: str
    pipeline: str
    content: str
    source: DeviceId
    state: str
    reason: str = ""
    provisional: bool = False
    rate_per_s: float
    weight: float
    wanted_ratio: float
    latency_bound_ms: float | None = None
    planned_goodput_per_s: float | None = None
    latency_ms: float | None = None
    cost_per_h: float | None = None
    probability_ratio: float | None = None
    burn: Burn | None = None
    goodput_per_s: float | None = None

    @property
    def cost_per_1000(self) -> float | None:
        """What a thousand items cost."""
        return per_1000_items(self.cost_per_h, self.rate_per_s) if self.cost_per_h is not None else None

    @property
    def burns(self) -> bool:
        """Whether its budget is spent faster than allowed, by both windows."""
        return self.burn is not None and self.burn.state in BURNING


def lines_of(queries: Iterable[Query], decided: Decided) -> tuple[QueryLine, ...]:
    """The queries by id, with what is planned of them."""
    return tuple(line_of(query, decided) for query in sorted(queries, key=lambda one: one.id))


def line_of(query: Query, decided: Decided) -> QueryLine:
    """A query with what is planned of it."""
    plan = decided.plans.get(query.id)
    reason = decided.unplaced.get(query.id) or decided.waiting.get(query.id, "")
    line = QueryLine(
        id=query.id,
        pipeline=query.pipeline_id,
        content=query.content,
        source=query.source_device_id,
        state=state_of(query, decided),
        reason="" if plan is not None else reason[:_REASON_CHARS],
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        wanted_ratio=query.slo.percentile_ratio,
        latency_bound_ms=query.slo.latency_ms,
    )
    if plan is None:
        return line
    return replace(
        line,
        provisional=plan.certainty == types_pb2.CERTAINTY_PROVISIONAL,
        planned_goodput_per_s=plan.item_goodput_per_s,
        latency_ms=plan.latency_ms.value,
        cost_per_h=plan.cost_per_h,
        probability_ratio=plan.slo_probability_ratio,
    )


def state_of(query: Query, decided: Decided) -> str:
    """How far a query has come: one of STATES."""
    if query.id in decided.plans:
        newest = decided.newest
        on = newest is not None and newest.phase is not RolloutPhase.STARTING and query.id in decided.rolled_out
        return "serving" if on else "placed"
    if query.id in decided.unplaced:
        return "unplaced"
    return "profiling" if query.id in decided.profiling else "waiting"


def _burn(figure: Callable[[Burn], float | None]) -> Callable[[QueryLine], float | None]:
    return lambda line: None if line.burn is None else figure(line.burn)


COLUMNS: tuple[Column[QueryLine], ...] = (
    Column(key="id", label="Query", sort=lambda one: one.id, narrow=True),
    Column(key="state", label="State", sort=lambda one: STATES.index(one.state), narrow=True),
    Column(key="pipeline", label="Pipeline", sort=lambda one: one.pipeline),
    Column(
        key="goodput",
        label="Goodput /s",
        sort=lambda one: one.planned_goodput_per_s,
        numeric=True,
        title="Weight × items answered in time and right, a second: seen over five minutes, of what is planned",
    ),
    Column(
        key="attained",
        label="In time",
        sort=_burn(lambda burn: burn.attained_ratio),
        numeric=True,
        title="Items answered in time over the last day, and the part that the SLO asks for",
    ),
    Column(
        key="budget",
        label="Budget left",
        sort=_burn(lambda burn: burn.budget_left_ratio),
        numeric=True,
        narrow=True,
        title="Error budget left of the last day",
    ),
    Column(
        key="burn",
        label="Burn 5 min / 1 h",
        sort=_burn(lambda burn: _URGENCY[burn.state] * 1e9 + min(burn.short_ratio or 0.0, 1e8)),
        numeric=True,
        title="How many times as fast as allowed the error budget is spent: over five minutes, over an hour",
    ),
    Column(
        key="latency",
        label="Latency ms",
        sort=lambda one: one.latency_ms,
        numeric=True,
        title="At the SLO's percentile: planned, of its bound",
    ),
    Column(key="cost", label="Cost /h", sort=lambda one: one.cost_per_h, numeric=True),
    Column(
        key="cost1000",
        label="per 1,000",
        sort=lambda one: one.cost_per_1000,
        numeric=True,
        title="Cost of a thousand items at the planned rate",
    ),
)
#: Columns that are sorted by what is seen: every query has to be looked at for them.
SEEN_COLUMNS = frozenset({"attained", "budget", "burn"})
ONLY: Mapping[str, Callable[[QueryLine], str]] = {
    "state": lambda one: one.state,
    "pipeline": lambda one: one.pipeline,
    "source": lambda one: one.source,
    "burning": lambda one: "yes" if one.burns else "no",
}


def words_of(line: QueryLine) -> str:
    """What a filter's words are looked for in."""
    return f"{line.id} {line.pipeline} {line.content} {line.source} {line.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All queries in figures; ``states`` in the order of STATES, those that there are.

    ``burning`` and ``goodput_per_s`` are None where nobody looked at what was seen.
    """

    states: tuple[tuple[str, int], ...]
    queries: int
    burning: int | None
    planned_goodput_per_s: float
    goodput_per_s: float | None
    cost_per_h: float


def totals_of(lines: Sequence[QueryLine]) -> Totals:
    """Sums over all queries."""
    counts = Counter(line.state for line in lines)
    looked = not lines or any(line.burn is not None for line in lines)
    return Totals(
        states=tuple((state, counts[state]) for state in STATES if counts[state]),
        queries=len(lines),
        burning=sum(line.burns for line in lines) if looked else None,
        planned_goodput_per_s=sum(line.planned_goodput_per_s or 0.0 for line in lines),
        goodput_per_s=sum(line.goodput_per_s or 0.0 for line in lines) if looked else None,
        cost_per_h=sum(line.cost_per_h or 0.0 for line in lines),
    )


def needs_all(sort: str, only: Mapping[str, Any]) -> bool:
    """Whether a table's order or filter depends on what is seen, so that all queries have to be looked at."""
    return sort in SEEN_COLUMNS or "burning" in only


__all__ = [
    "BURNING",
    "COLUMNS",
    "ONLY",
    "SEEN_COLUMNS",
    "STATES",
    "QueryLine",
    "Totals",
    "line_of",
    "lines_of",
    "needs_all",
    "state_of",
    "totals_of",
    "words_of",
]
