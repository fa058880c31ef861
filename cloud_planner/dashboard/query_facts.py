"""What the pages about queries ask the planner for, once for all who look."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from circinus import wire
from circinus.burn_rate import BUDGET_S, Burn, burn_of
from circinus.errors import NotFound
from circinus.model.device import DeviceClass, DeviceId
from circinus.model.pipeline import OperatorId, RegisteredPipeline
from circinus.model.plan import Plan
from circinus.model.query import Query, QueryId
from cloud_planner.core.plan_figures import PlanFigures, plan_figures
from cloud_planner.core.plan_rows import Measured, measured_of
from cloud_planner.dashboard.attainment import Attainment, Look
from cloud_planner.dashboard.dag import Dag, dag_of
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.query_list import QueryLine, line_of, lines_of
from cloud_planner.dashboard.seen import POINTS, QuerySeen, Series, promised_of, seen_of, series_of
from cloud_planner.dashboard.templating import anchor

#: Figures that were "seen lately" are of so long; losses of an hour.
LATELY_S = 60.0
LOSSES_S = 3_600.0
#: Windows that one answer looks at, at most.
_MOST_WINDOWS = 20_000
_MOST_ACCOUNTS = 200
#: Queries that are looked at each time, beside those that never were, and before others get their turn.
_IN_TURN = 400
_AT_ONCE = 200
#: How long what a solver found is good while nothing was decided.
_EXPLAINED_FOR_S = 3_600.0


class _Same:
    """A version that is equal to another only of the very same things; it holds on to them, so that it stays theirs."""

    __slots__ = ("_things",)

    def __init__(self, *things: object) -> None:
        self._things = things

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same) or len(self._things) != len(other._things):
            return False
        return all(mine is theirs for mine, theirs in zip(self._things, other._things, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(map(id, self._things)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A query's plan with what it rests on; ``figures`` None: the problem that it solves is not known (any more).

    ``profiled_at``: when profiling was last done, by class of devices.
    """

    plan: Plan
    registered: RegisteredPipeline
    figures: PlanFigures | None
    measured: Mapping[tuple[OperatorId, DeviceId], Measured]
    profiled_at: Mapping[DeviceClass, datetime]


def the_query(desk: Desk, query_id: str) -> Query:
    """A query.

    Raises:
        NotFound: there is none of this name.
    """
    name = QueryId(query_id)
    found = next((query for query in desk.overview.catalog.queries if query.id == name), None)
    if found is None:
        raise NotFound(f"there is no query {query_id[:100]!r}: it was removed, or never submitted")
    return found


async def planned_lines(desk: Desk) -> tuple[QueryLine, ...]:
    """Every query with what is planned of it, by id."""
    queries, decided = desk.overview.catalog.queries, desk.decided()

    async def made() -> tuple[QueryLine, ...]:
        return await asyncio.to_thread(lines_of, queries, decided)

    return await desk.remembered("query lines", made, for_s=3_600.0, version=(_Same(decided), tuple(map(id, queries))))


def with_seen(desk: Desk, lines: Sequence[QueryLine]) -> list[QueryLine]:
    """Lines with what was seen of them lately."""
    recent = desk.overview.recent
    return [
        Look.of(line.id, line.wanted_ratio, line.weight, recent.lately(QueryId(line.id))).on(line) for line in lines
    ]


async def looked(desk: Desk, *, stale_s: float = 0.0) -> Attainment:
    """What was seen of all queries; of many a part is looked at each time. ``stale_s``: it may be so much older."""
    attainment, overview = desk.attainment, desk.overview

    async def made() -> Attainment:
        for number, query in enumerate(attainment.due(overview.catalog.queries, _IN_TURN)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            attainment.look(query, overview.recent.lately(query.id))
        return attainment

    return await desk.remembered("looked", made, stale_s=stale_s)


async def seen_lines(desk: Desk) -> tuple[QueryLine, ...]:
    """Every query with what was seen of it, too, by id."""
    lines, attainment = await planned_lines(desk), await looked(desk)

    async def made() -> tuple[QueryLine, ...]:
        return await asyncio.to_thread(desk.seen_lines.of, lines, attainment)

    return await desk.remembered("queries seen", made, version=_Same(lines))


def the_line(desk: Desk, query: Query) -> QueryLine:
    """One query's line."""
    return with_seen(desk, [line_of(query, desk.decided())])[0]


def burn_now(desk: Desk, query: Query) -> Burn:
    """How a query's budget burns."""
    return burn_of(desk.overview.recent.spans(query.id), query.slo.percentile_ratio)


async def the_plan(desk: Desk, query: Query) -> Planned | None:
    """A query's plan as it was decided last; None: it has none."""
    overview, message = desk.overview, desk.decided().plans.get(query.id)
    registered = overview.catalog.pipelines.get(query.pipeline_id)
    if message is None or registered is None:
        return None
    solved = overview.loop.solved
    digest = next((one.digest for one in registered.contents if one.name == query.content), None)
    table, moments = None, {}
    if digest is not None:
        key = (registered.bundle_digest, digest)
        table = (await overview.profiling.tables([key]))[key]
        moments = dict(await overview.store.profiled_at(*key))
    classes = {record.device.id: record.device.device_class for record in overview.registry.records()}

    async def made() -> Planned:
        def work() -> Planned:
            plan = wire.plan_from_message(message)
            return Planned(
                plan=plan,
                registered=registered,
                figures=plan_figures(solved[0], plan) if solved is not None else None,
                measured=measured_of(plan, registered.pipeline, table, classes) if table is not None else {},
                profiled_at=moments,
            )

        return await asyncio.to_thread(work)

    version = (message.SerializeToString(deterministic=True), _Same(solved, table))
    return await desk.remembered(("plan", query.id), made, for_s=60.0, version=version)


def version_of(desk: Desk, query: Query) -> str:
    """What says which plan a page shows: of another one it is another."""
    plan = desk.decided().plans.get(query.id)
    return anchor(plan.SerializeToString(deterministic=True).hex()) if plan is not None else "none"


def picture(desk: Desk, query: Query, planned: Planned, seen: QuerySeen) -> Dag:
    """A plan's picture."""
    tiers = {record.device.id: record.device.tier for record in desk.overview.registry.records()}
    return dag_of(
        planned.plan,
        planned.registered.pipeline,
        query.source_device_id,
        tiers,
        planned.figures,
        seen.p95_ms,
    )


async def seen_lately(desk: Desk, query: Query, span_s: float = LATELY_S) -> QuerySeen:
    """What was seen of a query within the last minute, or another span."""

    async def made() -> QuerySeen:
        since = desk.now - timedelta(seconds=span_s)
        windows = await desk.overview.store.windows_of(query.id, since, _MOST_WINDOWS)
        return await asyncio.to_thread(seen_of, windows, query.slo.percentile_ratio)

    return await desk.remembered(("seen", query.id, span_s), made, for_s=max(1.5, span_s / 200.0))


async def latency_series(desk: Desk, query: Query, span_s: float) -> Series:
    """The latency at the SLO's percentile over a span, beside what was promised."""
    span_s = min(max(span_s, 60.0), BUDGET_S)

    async def made() -> Series:
        # Whole steps, so that pieces stay what they are while one looks.
        step_s = max(1.0, span_s / POINTS)
        until_s = math.floor(desk.now.timestamp() / step_s + 1.0) * step_s
        since = datetime.fromtimestamp(until_s - span_s, UTC)
        windows = await desk.overview.store.windows_of(query.id, since, _MOST_WINDOWS)
        records = await desk.overview.store.accounts_of(query.id, _MOST_ACCOUNTS)

        def work() -> Series:
            return series_of(
                windows,
                promised_of(records),
                from_s=since.timestamp(),
                until_s=until_s,
                percentile_ratio=query.slo.percentile_ratio,
            )

        return await asyncio.to_thread(work)

    return await desk.remembered(("series", query.id, span_s), made, for_s=max(2.0, span_s / 300.0))


async def explained(desk: Desk, query: Query) -> Mapping[str, Any]:
    """Why a query has its plan, or none, as `circinus explain` says it; worked out once for each decision.

    Raises:
        NotFound: nothing was decided yet.
    """
    overview = desk.overview

    async def made() -> Mapping[str, Any]:
        return await overview.trials.explain(query.id)

    decided = desk.decided()
    left_out = decided.unplaced.get(query.id) or decided.waiting.get(query.id)
    version = (_Same(overview.loop.solved), left_out)
    return await desk.remembered(("explained", query.id), made, for_s=_EXPLAINED_FOR_S, version=version)


__all__ = [
    "LATELY_S",
    "LOSSES_S",
    "Planned",
    "burn_now",
    "explained",
    "latency_series",
    "picture",
    "planned_lines",
    "seen_lately",
    "seen_lines",
    "the_line",
    "the_plan",
    "the_query",
    "version_of",
    "with_seen",
]
