"""What a live view asks a planner for: devices and queries as lines, as many as are on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from circinus.burn_rate import Burning
from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import PipelineId
from circinus.model.query import QueryId
from circinus.planner_link import PlannerLink
from circinus.reports import QueryPhase
from circinus.v1 import planner_pb2

#: Lines of one answer at most.
MAX_LINES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Those lines that hold ``text``, by a column (a field of a line; empty: by id); ``limit`` from ``offset`` on."""

    sort: str = ""
    descending: bool = False
    text: str = ""
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """A device in one line.

    ``cores_planned`` are those that the newest generation gives to replicas, ``cores_seen`` those that operators took
    over the last half minute (None: nothing was told); ``runs`` the first of "query/operator" there.
    """

    device_id: DeviceId
    site: SiteId
    tier: Tier
    connected: bool
    cordoned: bool
    draining: bool
    leaving: bool
    cores: float
    cores_planned: float
    cores_seen: float | None
    memory_bytes: int
    memory_planned_bytes: int
    replicas: int
    runs: tuple[str, ...]
    price_per_h: float
    generation: int
    last_seen_at: datetime | None
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLine:
    """A query in one line. What was seen is of the last five minutes, latencies of the last one to two; None: nothing.

    Goodput is item goodput with the query's weight. ``burn_ratio``: how many times as fast as allowed the error budget
    is spent; ``budget_left_ratio`` is of the day's budget. Latencies are at the percentile of the SLO.
    """

    query_id: QueryId
    pipeline_id: PipelineId
    content: str
    source_device_id: DeviceId
    phase: QueryPhase
    serving: bool
    provisional: bool
    reason: str
    rate_per_s: float
    weight: float
    planned_goodput_per_s: float
    goodput_per_s: float | None
    items: int
    attained_ratio: float | None
    wanted_ratio: float
    burn_ratio: float | None
    burn_hour_ratio: float | None
    budget_left_ratio: float | None
    burning: Burning
    latency_bound_ms: float | None
    latency_planned_ms: float | None
    latency_ms: float | None
    accuracy_bound_ratio: float | None
    accuracy_planned_ratio: float | None
    accuracy_ratio: float | None
    cost_per_h: float
    slo_probability_ratio: float | None
    devices: tuple[DeviceId, ...]
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLines:
    """The lines that were asked for; ``matching`` hold the text, of ``total``."""

    lines: tuple[DeviceLine, ...]
    matching: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLines:
    """The lines that were asked for; ``matching`` hold the text, of ``total``. The sums are over all queries.

    ``burning``: queries that spend their error budget faster than allowed.
    """

    lines: tuple[QueryLine, ...]
    matching: int
    total: int
    planned_goodput_per_s: float
    goodput_per_s: float
    cost_per_h: float
    burning: int


class LineCalls:
    """The calls about lines of a client. Each raises what Client says, and InvalidInput for an unknown column."""

    _link: PlannerLink

    @property
    def _stub(self) -> Any:
        raise NotImplementedError

    async def device_lines(self, wanted: Wanted) -> DeviceLines:
        """Devices, a line each: sorted, filtered and cut by the planner."""
        request = planner_pb2.ListDeviceLinesRequest(wanted=_message(wanted))
        response = await self._link.ask(self._stub, "ListDeviceLines", request)
        return DeviceLines(
            lines=tuple(map(_device_line, response.lines)), matching=response.matching, total=response.total
        )

    async def query_lines(self, wanted: Wanted, query_id: str = "") -> QueryLines:
        """Queries, a line each: sorted, filtered and cut by the planner; with an id, that one if it is there."""
        request = planner_pb2.ListQueryLinesRequest(wanted=_message(wanted), query_id=query_id)
        response = await self._link.ask(self._stub, "ListQueryLines", request)
        return QueryLines(
            lines=tuple(map(_query_line, response.lines)),
            matching=response.matching,
            total=response.total,
            planned_goodput_per_s=response.planned_goodput_per_s,
            goodput_per_s=response.goodput_per_s,
            cost_per_h=response.cost_per_h,
            burning=response.burning,
        )


def _message(wanted: Wanted) -> planner_pb2.LinesWanted:
    return planner_pb2.LinesWanted(
        sort=wanted.sort,
        descending=wanted.descending,
        filter=wanted.text,
        offset=wanted.offset,
        limit=wanted.limit,
    )


def _if_told(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _device_line(message: planner_pb2.DeviceLine) -> DeviceLine:
    return DeviceLine(
        device_id=DeviceId(message.device_id),
        site=SiteId(message.site),
        tier=Tier(message.tier),
        connected=message.connected,
        cordoned=message.cordoned,
        draining=message.draining,
        leaving=message.leaving,
        cores=message.cores,
        cores_planned=message.cores_planned,
        cores_seen=_if_told(message, "cores_seen"),
        memory_bytes=message.memory_bytes,
        memory_planned_bytes=message.memory_planned_bytes,
        replicas=message.replicas,
        runs=tuple(message.runs),
        price_per_h=message.price_per_h,
        generation=message.generation,
        last_seen_at=message.last_seen_at.ToDatetime(UTC) if message.HasField("last_seen_at") else None,
        trouble=message.trouble,
    )


_PHASES = {
    planner_pb2.QUERY_PHASE_PENDING: QueryPhase.PENDING,
    planner_pb2.QUERY_PHASE_PROFILING: QueryPhase.PROFILING,
    planner_pb2.QUERY_PHASE_PLACED: QueryPhase.PLACED,
    planner_pb2.QUERY_PHASE_UNPLACED: QueryPhase.UNPLACED,
}


def _query_line(message: planner_pb2.QueryLine) -> QueryLine:
    return QueryLine(
        query_id=QueryId(message.query_id),
        pipeline_id=PipelineId(message.pipeline_id),
        content=message.content,
        source_device_id=DeviceId(message.source_device_id),
        phase=_PHASES.get(message.phase, QueryPhase.UNKNOWN),
        serving=message.serving,
        provisional=message.provisional,
        reason=message.reason,
        rate_per_s=message.rate_per_s,
        weight=message.weight,
        planned_goodput_per_s=message.planned_goodput_per_s,
        goodput_per_s=_if_told(message, "goodput_per_s"),
        items=message.items,
        attained_ratio=_if_told(message, "attained_ratio"),
        wanted_ratio=message.wanted_ratio,
        burn_ratio=_if_told(message, "burn_ratio"),
        burn_hour_ratio=_if_told(message, "burn_hour_ratio"),
        budget_left_ratio=_if_told(message, "budget_left_ratio"),
        burning=Burning(message.burning or Burning.IDLE),
        latency_bound_ms=_if_told(message, "latency_bound_ms"),
        latency_planned_ms=_if_told(message, "latency_planned_ms"),
        latency_ms=_if_told(message, "latency_ms"),
        accuracy_bound_ratio=_if_told(message, "accuracy_bound_ratio"),
        accuracy_planned_ratio=_if_told(message, "accuracy_planned_ratio"),
        accuracy_ratio=_if_told(message, "accuracy_ratio"),
        cost_per_h=message.cost_per_h,
        slo_probability_ratio=_if_told(message, "slo_probability_ratio"),
        devices=tuple(map(DeviceId, message.devices)),
        generation=message.generation,
    )


__all__ = ["MAX_LINES", "DeviceLine", "DeviceLines", "LineCalls", "QueryLine", "QueryLines", "Wanted"]
