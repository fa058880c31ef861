"""The page of the planner: everything that it holds, as metrics.

What takes long with ten thousand queries (how each error budget fares, how good the ledger's promises were) is worked
out beside the scrapes, a few queries a turn of the loop, and told as it was then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

import circinus
from circinus.burn_rate import SPENT_RATIO, Burn, Burning, Spans, burn_of
from circinus.event_counts import EventCounts
from circinus.events import warning
from circinus.exposition import Family, Sample, by, one
from circinus.model.query import Query, QueryId
from circinus.process_figures import process_figures
from circinus.v1 import planner_pb2
from cloud_planner.accounts import MOST_WEIGHED
from cloud_planner.identity.rows import EnrolmentRecord
from cloud_planner.metrics import metric_list as m
from cloud_planner.metrics.fleet_totals import FleetTotals
from cloud_planner.overview import Overview
from cloud_planner.store import Keeping

#: How often each is worked out anew; and it is let alone for so many times as long as it took.
_BURNS_S = 10.0
_REST = 20.0
_LEDGER_S = 60.0
#: Queries that are looked at in one turn of the loop: about a millisecond.
_QUERIES_A_TURN = 50
_MS_PER_S = 1000.0
_EVERY_STATE = tuple(str(state) for state in Burning)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fared:
    spans: Spans
    burn: Burn
    goodput_per_s: float | None


class PlannerPage:
    """The figures of a planner. At most ``most_queries`` have series of their own."""

    def __init__(self, overview: Overview, totals: FleetTotals, events: EventCounts, *, most_queries: int) -> None:
        self._overview = overview
        self._totals = totals
        self._events = events
        self._most_queries = most_queries
        self._started_at_s = overview.clock.now().timestamp()
        self._fared: dict[QueryId, _Fared] = {}
        self._worst: tuple[QueryId, ...] = ()
        self._goodput_per_s = 0.0
        self._calibration: planner_pb2.Calibration | None = None
        self.scrapes: Callable[[], tuple[int, int]] = lambda: (0, 0)

    async def run(self) -> None:
        """Works out what takes long, until it is cancelled."""
        clock, ledger_s = self._overview.clock, float("-inf")
        while True:
            began_s = clock.monotonic_s()
            try:
                await self.look()
                if clock.monotonic_s() - ledger_s >= _LEDGER_S:
                    ledger_s = clock.monotonic_s()
                    self._calibration = (await self._overview.accounts.list(MOST_WEIGHED))[1]
            except Exception as error:  # figures of before are better than no planner
                warning("metrics_not_worked_out", reason=f"{type(error).__name__}: {error}")
            await clock.sleep(max(_BURNS_S, _REST * (clock.monotonic_s() - began_s)))

    async def look(self) -> None:
        """Works out how each query fares."""
        overview, found, goodput_per_s = self._overview, dict[QueryId, _Fared](), 0.0
        for number, query in enumerate(queries := overview.catalog.queries):
            if number % _QUERIES_A_TURN == 0:
                await overview.clock.sleep(0.0)
            lately = overview.recent.lately(query.id)
            burn = burn_of(lately.spans, query.slo.percentile_ratio)
            found[query.id] = _Fared(spans=lately.spans, burn=burn, goodput_per_s=lately.goodput_per_s)
            goodput_per_s += query.weight * (lately.goodput_per_s or 0.0)
        self._fared, self._goodput_per_s = found, goodput_per_s
        self._totals.forget({query.id for query in queries})
        if len(queries) > self._most_queries:
            placed = {plan.query_id for plan in overview.loop.decision.summary.plans}
            # In a thread: sorting ten thousand is twenty milliseconds.
            self._worst = await asyncio.to_thread(_worst, found, placed, self._most_queries)

    def families(self) -> Iterator[Family]:
        """All metrics of metric_list.py but the last; those of single queries come last, so that a cut is theirs."""
        yield from self._own()
        yield from self._planning()
        yield from self._rollout()
        yield from self._devices_and_queries()
        yield from self._ledger()
        yield from self._totals.operators()
        served, refused = self.scrapes()
        yield by(m.SCRAPES, {"served": served, "refused": refused})
        queries = self._told()
        yield one(m.QUERIES_LEFT_OUT, len(self._overview.catalog.queries) - len(queries))
        yield from self._queries(queries)

    def _own(self) -> Iterator[Family]:
        figures = process_figures()
        yield m.INFO, (((circinus.__version__,), 1),)
        yield one(m.START, self._started_at_s)
        yield one(m.CPU, figures.cpu_s)
        yield one(m.CHILDREN_CPU, figures.children_cpu_s)
        yield one(m.MEMORY, figures.memory_bytes)
        yield one(m.OPEN_FILES, figures.open_files)
        yield one(m.MAX_FILES, figures.max_files)
        yield m.EVENTS, (((name, str(int(warned))), count) for name, warned, count in self._events.by_name())
        yield one(m.STUCK, int(self._overview.activity().startswith("stuck")))

    def _planning(self) -> Iterator[Family]:
        summary = self._overview.loop.decision.summary
        yield one(m.PLANNED, self._events.of("planned"))
        yield one(m.PLANNING, self._events.sum_of("planned"))
        yield one(m.SOLVER, summary.solver_s)
        yield one(m.GOODPUT, summary.goodput_per_s)
        yield one(m.BOUND, summary.goodput_bound_per_s)
        yield one(m.GAP, summary.gap_ratio)
        yield one(m.COST_GAP, summary.cost_gap_ratio)
        yield one(m.COST, summary.cost_per_h)
        yield one(m.SEEN_GOODPUT, self._goodput_per_s)

    def _rollout(self) -> Iterator[Family]:
        rollout, newest = self._overview.rollout, self._overview.rollout.newest
        yield one(m.EPOCH, rollout.epoch)
        yield one(m.GENERATION, newest.generation.number if newest is not None else 0)
        yield one(m.SETTLED, int(rollout.settled))
        results = {"sent": "directive_sent", "accepted": "directive_accepted", "refused": "directive_refused"}
        yield by(m.DIRECTIVES, {result: self._events.of(name) for result, name in results.items()})
        if newest is None:
            return
        held: Counter[str] = Counter(wanted=len(newest.directives), accepted=0, active=0)
        for record in self._overview.registry.records():
            status = record.status
            if record.device.id in newest.directives and status.epoch == newest.generation.epoch:
                held["accepted"] += status.generation == newest.generation.number
                held["active"] += status.active_generation == newest.generation.number
        yield by(m.HOLDING, held)

    def _devices_and_queries(self) -> Iterator[Family]:
        overview, records = self._overview, self._overview.registry.records()
        connected = sum(record.session is not None for record in records)
        yield by(m.DEVICES, {"connected": connected, "away": len(records) - connected})
        marks = overview.marks
        yield by(
            m.DEVICES_MARKED,
            {
                "cordoned": len(marks.kept(Keeping.CORDONED)),
                "draining": len(marks.kept(Keeping.DRAINING)),
                "leaving": len(marks.kept(Keeping.LEAVING)),
                "excluded": len(overview.rollout.excluded()),
                "in_trouble": sum(bool(record.status.troubles) for record in records),
                "doubled": sum(bool(record.doubled) for record in records),
            },
        )
        if overview.office is not None:
            yield by(m.CERTIFICATES, _certificates(overview.office.standing.enrolments(), overview.clock.now()))
        decision = overview.loop.decision
        summary, total = decision.summary, len(overview.catalog.queries)
        placed, unplaced, profiling = len(summary.plans), len(summary.unplaced), len(decision.profiling)
        yield by(
            m.QUERIES,
            {
                "placed": placed,
                "unplaced": unplaced,
                "profiling": profiling,
                "pending": max(0, total - placed - unplaced - profiling),
            },
        )
        states = Counter(str(fared.burn.state) for fared in self._fared.values())
        yield by(m.BURNING, {state: states[state] for state in _EVERY_STATE})

    def _ledger(self) -> Iterator[Family]:
        known = self._calibration
        if known is not None:
            yield one(m.ACCOUNTS, known.accounts)
            judged, operators = known.accounts > 0, known.operator_accounts > 0
            yield one(m.COVERAGE, known.coverage_ratio if judged else None)
            yield one(m.LATENCY_ERROR, known.latency_error_median_ratio if judged else None)
            yield one(m.THROUGHPUT_ERROR, known.throughput_error_median_ratio if judged else None)
            yield one(m.BRIER, known.brier if judged else None)
            yield one(m.SERVICE_ERROR, known.service_error_median_ratio if operators else None)
            yield one(m.SERVICE_COVERAGE, known.service_coverage_ratio if operators else None)
        ratios = tuple(self._overview.accounts.service_ratio.values())
        if ratios:
            yield by(m.CORRECTION, {"min": min(ratios), "median": median(ratios), "max": max(ratios)})
        running = self._overview.profiling.counts
        yield by(m.PROFILES, {"running": running[0], "waiting": running[1]})
        ended = {result: self._events.of(f"profile_{result}") for result in ("finished", "failed", "cancelled")}
        yield by(m.PROFILED, ended)
        yield one(m.DRIFT, self._events.of("drift_found"))
        yield one(m.TELEMETRY, self._totals.messages)

    def _told(self) -> Sequence[Query]:
        """The queries that have series of their own: all, or those that fared worst when they were looked at."""
        queries = self._overview.catalog.queries
        if len(queries) <= self._most_queries:
            return queries
        by_id = {query.id: query for query in queries}
        return [by_id[query_id] for query_id in self._worst if query_id in by_id]

    def _queries(self, queries: Sequence[Query]) -> Iterator[Family]:
        recent = self._overview.recent
        placed = {plan.query_id for plan in self._overview.loop.decision.summary.plans}
        bounded = [query for query in queries if query.slo.latency_ms is not None]
        fared = [(query.id, self._fared[query.id]) for query in queries if query.id in self._fared]
        yield m.QUERY_INFO, (((query.id, query.pipeline_id, query.source_device_id), 1) for query in queries)
        yield m.QUERY_PLACED, (((query.id,), int(query.id in placed)) for query in queries)
        yield m.QUERY_RATE, (((query.id,), query.rate_per_s) for query in queries)
        yield m.QUERY_WEIGHT, (((query.id,), query.weight) for query in queries)
        yield m.QUERY_TARGET, (((query.id,), query.slo.percentile_ratio) for query in bounded)
        yield m.QUERY_BOUND, (((query.id,), (query.slo.latency_ms or 0.0) / _MS_PER_S) for query in bounded)
        yield m.QUERY_ATTAINED, _attained(fared)
        yield m.QUERY_BURN, _burnt(fared)
        yield (
            m.QUERY_BUDGET,
            (((name,), left) for name, was in fared if (left := was.burn.budget_left_ratio) is not None),
        )
        yield (
            m.QUERY_GOODPUT,
            (((name,), was.goodput_per_s) for name, was in fared if was.goodput_per_s is not None),
        )
        yield (
            m.QUERY_LATENCY,
            (
                ((query.id, f"{query.slo.percentile_ratio:g}"), latency_ms / _MS_PER_S)
                for query in queries
                if (latency_ms := recent.latency_ms(query.id, query.slo.percentile_ratio)) is not None
            ),
        )
        yield from self._totals.queries([query.id for query in queries])


def _certificates(enrolments: Iterable[EnrolmentRecord], now: datetime) -> dict[str, int]:
    found = {"good": 0, "over": 0, "revoked": 0}
    for enrolment in enrolments:
        over = "over" if enrolment.ends_at < now else "good"
        found["revoked" if enrolment.revoked_at is not None else over] += 1
    return found


def _worst(fared: Mapping[QueryId, _Fared], placed: Collection[str], most: int) -> tuple[QueryId, ...]:
    """Queries without a plan, then those that burn their budget, the fastest first, then by id."""

    def fares(query_id: QueryId) -> tuple[bool, float, str]:
        burn = fared[query_id].burn.long_ratio
        # Among those that are well the same ones stay: series that come and go cost a store more than others.
        return query_id in placed, -(burn if burn is not None and burn > SPENT_RATIO else 0.0), query_id

    return tuple(sorted(fared, key=fares)[:most])


def _attained(fared: Sequence[tuple[QueryId, _Fared]]) -> Iterator[Sample]:
    for query_id, one_fared in fared:
        spans = one_fared.spans
        for window, count in (("5m", spans.short), ("1h", spans.long), ("1d", spans.day)):
            if (attained := count.attained_ratio) is not None:
                yield (query_id, window), attained


def _burnt(fared: Sequence[tuple[QueryId, _Fared]]) -> Iterator[Sample]:
    for query_id, one_fared in fared:
        burn = one_fared.burn
        for window, ratio in (("5m", burn.short_ratio), ("1h", burn.long_ratio)):
            if ratio is not None:
                yield (query_id, window), ratio


__all__ = ["PlannerPage"]
