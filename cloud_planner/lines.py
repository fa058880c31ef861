"""Devices and queries as lines of a live view: of thousands only those that are shown are made in full.

What a line is sorted and filtered by is taken from what the planner holds already; the words of plans and directives
are worked out once for each decision and generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from circinus.burn_rate import SPENT_RATIO, Count, burn_of, burn_ratio
from circinus.errors import InvalidInput, Violation
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.overview import Overview
from cloud_planner.planning_loop import Decision
from cloud_planner.recent import NOTHING_SEEN, Lately
from cloud_planner.registry import DeviceRecord
from cloud_planner.services.states import Decided
from cloud_planner.store import GenerationRecord, Keeping, RolloutPhase

#: Lines of one answer, if no number is given and at most.
LINES = 50
MAX_LINES = 500
#: What runs on a device is named up to here.
_RUNS = 8
_REASON_CHARS = 300
#: After all queries were looked at they are let alone for so many times as long: with ten thousand, too, however many
#: ask, it takes a twentieth of a core.
_REST = 20.0
#: Queries that are looked at without a pause.
_AT_ONCE = 200

Key = float | str
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(Generic[T]):
    """The lines that were asked for; ``matching`` hold the text, of ``total``."""

    shown: Sequence[T]
    matching: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the newest generation has a device do."""

    cores: float = 0.0
    memory_bytes: int = 0
    replicas: int = 0
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is worked out once for each decision and generation."""

    decision: Decision
    newest: GenerationRecord | None
    decided: Decided
    work: Mapping[str, _Work]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was seen of all queries, and sums over them; it is looked at anew from ``until_s`` on."""

    lately: Mapping[QueryId, Lately]
    goodput_per_s: float
    burning: int
    until_s: float


def piece(
    found: Iterable[T],
    wanted: planner_pb2.LinesWanted,
    columns: Mapping[str, Callable[[T], Key | None]],
    name: Callable[[T], str],
    words: Callable[[T], Iterable[str]],
) -> Piece[T]:
    """Filters, sorts and cuts; what has no figure in the column stands last, either way.

    Raises:
        InvalidInput: there is no such column, or too many lines are asked for.
    """
    if wanted.sort and wanted.sort not in columns:
        _wrong("sort", f"{wanted.sort!r} is no column to sort by; there are {', '.join(columns)}")
    if wanted.limit > MAX_LINES:
        _wrong("limit", f"{wanted.limit} lines are more than the {MAX_LINES} that one answer may have")
    every = list(found)
    text = wanted.filter.casefold()
    matching = [one for one in every if any(text in word.casefold() for word in words(one))] if text else every
    matching = sorted(matching, key=name)
    if wanted.sort:
        column = columns[wanted.sort]
        keyed = [(column(one), one) for one in matching]
        having = sorted(
            (pair for pair in keyed if pair[0] is not None),
            key=lambda pair: pair[0],  # type: ignore[arg-type,return-value]  # a column has texts or figures
            reverse=wanted.descending,
        )
        matching = [one for _, one in having] + [one for key, one in keyed if key is None]
    elif wanted.descending:
        matching.reverse()
    end = wanted.offset + (wanted.limit or LINES)
    return Piece(shown=matching[wanted.offset : end], matching=len(matching), total=len(every))


def _wrong(field_name: str, message: str) -> None:
    raise InvalidInput(f"{field_name}: {message}", (Violation(field=field_name, message=message),))


class Lines:
    """The lines of one planner."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._known: _Known | None = None
        self._seen: _Seen | None = None
        self._looking = asyncio.Lock()

    def _now(self) -> _Known:
        decision, newest = self._overview.loop.decision, self._overview.rollout.newest
        known = self._known
        if known is None or known.decision is not decision or known.newest is not newest:
            self._known = known = _Known(
                decision=decision, newest=newest, decided=Decided.of(decision, newest), work=_work(newest)
            )
        return known

    async def _lately(self) -> _Seen:
        overview = self._overview
        async with self._looking:
            began_s = overview.clock.monotonic_s()
            if self._seen is not None and began_s < self._seen.until_s:
                return self._seen
            return await self._look(began_s)

    async def _look(self, began_s: float) -> _Seen:
        overview = self._overview
        queries = overview.catalog.queries
        overview.recent.forget(query.id for query in queries)
        lately: dict[QueryId, Lately] = {}
        for start in range(0, len(queries), _AT_ONCE):
            lately |= {query.id: overview.recent.lately(query.id) for query in queries[start : start + _AT_ONCE]}
            # Agents wait for the loop, too.
            await asyncio.sleep(0)
        goodput = sum(_weighed(query, lately[query.id]) or 0.0 for query in queries)
        burning = sum(
            min(_burn(query, spans.short) or 0.0, _burn(query, spans.long) or 0.0) > SPENT_RATIO
            for query in queries
            for spans in (lately[query.id].spans,)
        )
        now_s = overview.clock.monotonic_s()
        self._seen = _Seen(
            lately=lately, goodput_per_s=goodput, burning=burning, until_s=now_s + _REST * (now_s - began_s)
        )
        return self._seen

    def devices(self, wanted: planner_pb2.LinesWanted) -> planner_pb2.ListDeviceLinesResponse:
        """The device lines that are wanted.

        Raises:
            InvalidInput: there is no such column, or too many lines are asked for.
        """
        overview, known = self._overview, self._now()
        recent, marks = overview.recent, overview.marks
        nothing = _Work()

        def work(record: DeviceRecord) -> _Work:
            return known.work.get(record.device.id, nothing)

        columns: dict[str, Callable[[DeviceRecord], Key | None]] = {
            "device_id": lambda one: one.device.id,
            "site": lambda one: one.device.site,
            "tier": lambda one: one.device.tier.value,
            "state": lambda one: _state_word(one, marks.of(one.device.id).keeping),
            "cores_planned": lambda one: work(one).cores / one.device.cores if one.device.cores else 0.0,
            "cores_seen": lambda one: _ratio(recent.busy_cores(one.device.id), one.device.cores),
            "replicas": lambda one: work(one).replicas,
            "price_per_h": lambda one: one.device.price_per_h,
            "generation": lambda one: one.status.active_generation,
        }
        found = piece(
            overview.registry.records(),
            wanted,
            columns,
            name=lambda one: one.device.id,
            words=lambda one: (
                one.device.id,
                one.device.site,
                one.device.tier.value,
                _state_word(one, marks.of(one.device.id).keeping),
                *work(one).runs,
            ),
        )
        return planner_pb2.ListDeviceLinesResponse(
            lines=[self._device(one, work(one)) for one in found.shown], matching=found.matching, total=found.total
        )

    def _device(self, record: DeviceRecord, work: _Work) -> planner_pb2.DeviceLine:
        device, mark = record.device, self._overview.marks.of(record.device.id)
        line = planner_pb2.DeviceLine(
            device_id=device.id,
            site=device.site,
            tier=device.tier.value,
            connected=record.session is not None,
            cordoned=mark.keeping is not Keeping.FREE,
            draining=mark.keeping in (Keeping.DRAINING, Keeping.LEAVING, Keeping.LEFT),
            leaving=mark.keeping in (Keeping.LEAVING, Keeping.LEFT),
            cores=device.cores,
            cores_planned=work.cores,
            cores_seen=self._overview.recent.busy_cores(device.id),
            memory_bytes=device.memory_bytes,
            memory_planned_bytes=work.memory_bytes,
            replicas=work.replicas,
            runs=work.runs[:_RUNS],
            price_per_h=device.price_per_h,
            generation=record.status.active_generation,
            trouble=(record.doubled or record.refusal or record.status.reason or "; ".join(record.status.troubles))[
                :_REASON_CHARS
            ],
        )
        line.last_seen_at.FromDatetime(record.last_seen_at)
        return line

    async def queries(
        self, wanted: planner_pb2.LinesWanted, query_id: QueryId | None = None
    ) -> planner_pb2.ListQueryLinesResponse:
        """The query lines that are wanted, or only one, and sums over all queries.

        Raises:
            InvalidInput: there is no such column, or too many lines are asked for.
        """
        overview, known, seen = self._overview, self._now(), await self._lately()
        plans, lately = known.decided.plans, seen.lately

        def plan(query: Query) -> types_pb2.Plan | None:
            return plans.get(query.id)

        def latency(query: Query) -> float | None:
            return overview.recent.latency_ms(query.id, query.slo.percentile_ratio)

        latencies: dict[QueryId, float | None] = {}
        if wanted.sort == "latency_ms":
            # Here, not in the thread below: telemetry goes on coming in.
            for number, query in enumerate(overview.catalog.queries):
                latencies[query.id] = latency(query)
                if not number % _AT_ONCE:
                    await asyncio.sleep(0)

        def of(query: Query) -> Lately:
            return lately.get(query.id, NOTHING_SEEN)

        columns: dict[str, Callable[[Query], Key | None]] = {
            "query_id": lambda one: one.id,
            "pipeline_id": lambda one: one.pipeline_id,
            "source_device_id": lambda one: one.source_device_id,
            "phase": lambda one: _phase_word(one.id, known.decided),
            "rate_per_s": lambda one: one.rate_per_s,
            "planned_goodput_per_s": lambda one: _planned(plan(one)),
            "goodput_per_s": lambda one: _weighed(one, of(one)),
            "attained_ratio": lambda one: of(one).spans.short.attained_ratio,
            "burn_ratio": lambda one: _burn(one, of(one).spans.short),
            "burn_hour_ratio": lambda one: _burn(one, of(one).spans.long),
            "budget_left_ratio": lambda one: _left(_burn(one, of(one).spans.day)),
            "latency_planned_ms": lambda one: _of(plan(one), lambda found: found.latency_ms.value),
            "latency_ms": lambda one: latencies.get(one.id),
            "accuracy_planned_ratio": lambda one: _of(plan(one), lambda found: found.accuracy_ratio.value),
            "accuracy_ratio": lambda one: of(one).accuracy_ratio,
            "cost_per_h": lambda one: _of(plan(one), lambda found: found.cost_per_h),
            "slo_probability_ratio": lambda one: _of(plan(one), lambda found: found.slo_probability_ratio),
        }
        found = await asyncio.to_thread(
            piece,
            [one for one in overview.catalog.queries if not query_id or one.id == query_id],
            wanted,
            columns,
            name=lambda one: one.id,
            words=lambda one: (
                one.id,
                one.pipeline_id,
                one.content,
                one.source_device_id,
                _phase_word(one.id, known.decided),
                *_devices(one, plan(one)),
            ),
        )
        return planner_pb2.ListQueryLinesResponse(
            lines=[_query(one, known.decided, of(one), latency(one)) for one in found.shown],
            matching=found.matching,
            total=found.total,
            planned_goodput_per_s=sum(_planned(one) or 0.0 for one in plans.values()),
            goodput_per_s=seen.goodput_per_s,
            cost_per_h=sum(one.cost_per_h for one in plans.values()),
            burning=seen.burning,
        )


def _work(newest: GenerationRecord | None) -> dict[str, _Work]:
    found: dict[str, _Work] = {}
    for device_id, directive in newest.directives.items() if newest is not None else ():
        sets = directive.replica_sets
        found[device_id] = _Work(
            cores=sum(one.replicas * one.cores for one in sets),
            memory_bytes=sum(one.replicas * one.memory_bytes for one in sets),
            replicas=sum(one.replicas for one in sets),
            runs=tuple(
                dict.fromkeys(
                    [f"{one.query_id}/{one.operator_id}" for one in sets]
                    + [f"{one.query_id}/source" for one in directive.sources]
                )
            ),
        )
    return found


def _state_word(record: DeviceRecord, keeping: Keeping) -> str:
    kept = "" if keeping is Keeping.FREE else f", {keeping.value}"
    return ("connected" if record.session is not None else "away") + kept


def _phase_word(query_id: QueryId, decided: Decided) -> str:
    if query_id in decided.plans:
        newest = decided.newest
        served = query_id in decided.rolled_out and newest is not None and newest.phase is not RolloutPhase.STARTING
        return "serving" if served else "placed"
    if query_id in decided.unplaced:
        return "unplaced"
    return "profiling" if query_id in decided.profiling else "pending"


_PHASES = {
    "serving": planner_pb2.QUERY_PHASE_PLACED,
    "placed": planner_pb2.QUERY_PHASE_PLACED,
    "unplaced": planner_pb2.QUERY_PHASE_UNPLACED,
    "profiling": planner_pb2.QUERY_PHASE_PROFILING,
    "pending": planner_pb2.QUERY_PHASE_PENDING,
}


def _query(query: Query, decided: Decided, seen: Lately, latency_ms: float | None) -> planner_pb2.QueryLine:
    plan, word = decided.plans.get(query.id), _phase_word(query.id, decided)
    burn = burn_of(seen.spans, query.slo.percentile_ratio)
    short = seen.spans.short
    newest = decided.newest
    return planner_pb2.QueryLine(
        query_id=query.id,
        pipeline_id=query.pipeline_id,
        content=query.content,
        source_device_id=query.source_device_id,
        phase=_PHASES[word],
        serving=word == "serving",
        provisional=plan is not None and plan.certainty == types_pb2.CERTAINTY_PROVISIONAL,
        reason=(decided.unplaced.get(query.id) or decided.waiting.get(query.id, ""))[:_REASON_CHARS],
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        planned_goodput_per_s=_planned(plan) or 0.0,
        goodput_per_s=_weighed(query, seen),
        items=short.ended,
        attained_ratio=short.attained_ratio,
        wanted_ratio=query.slo.percentile_ratio,
        burn_ratio=burn.short_ratio,
        burn_hour_ratio=burn.long_ratio,
        latency_bound_ms=query.slo.latency_ms,
        latency_planned_ms=_of(plan, lambda found: found.latency_ms.value),
        latency_ms=latency_ms,
        accuracy_bound_ratio=query.slo.accuracy_ratio,
        accuracy_planned_ratio=_of(plan, lambda found: found.accuracy_ratio.value),
        accuracy_ratio=seen.accuracy_ratio,
        cost_per_h=_of(plan, lambda found: found.cost_per_h) or 0.0,
        slo_probability_ratio=_of(plan, lambda found: found.slo_probability_ratio),
        devices=_devices(query, plan),
        budget_left_ratio=burn.budget_left_ratio,
        burning=burn.state.value,
        generation=newest.generation.number if newest is not None and query.id in decided.rolled_out else 0,
    )


def _devices(query: Query, plan: types_pb2.Plan | None) -> Collection[str]:
    placed = [one.device_id for one in plan.operators] if plan is not None else []
    return tuple(dict.fromkeys((query.source_device_id, *placed)))


def _of(plan: types_pb2.Plan | None, figure: Callable[[types_pb2.Plan], float]) -> float | None:
    return figure(plan) if plan is not None else None


def _planned(plan: types_pb2.Plan | None) -> float | None:
    return plan.item_goodput_per_s if plan is not None else None


def _weighed(query: Query, seen: Lately) -> float | None:
    return query.weight * seen.goodput_per_s if seen.goodput_per_s is not None else None


def _burn(query: Query, count: Count) -> float | None:
    attained = count.attained_ratio
    return None if attained is None else burn_ratio(attained, query.slo.percentile_ratio)


def _left(burned: float | None) -> float | None:
    return None if burned is None else 1.0 - burned


def _ratio(figure: float | None, of: float) -> float | None:
    return figure / of if figure is not None and of else None


__all__ = ["LINES", "MAX_LINES", "Lines", "Piece", "piece"]
