"""Feeds telemetry to the detection of drift, keeps what it found, and rings for a new plan.

What was found outlives the planner: it is stored before anybody plans with it. Only windows of the generation in force
are looked at, and only fresh ones: what an agent kept while it was out of reach says nothing of now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from circinus import wire
from circinus.clock import Clock
from circinus.events import event, warning
from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId, configuration_key
from circinus.model.plan import Certainty, Plan
from circinus.model.query import Query, QueryId
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.core.drift import DriftState, Key, kept, resumed, revisions_of, step
from cloud_planner.core.drift_terms import AccuracySample, Finding, Kind, Limits, RateSample, Sample, ServiceSample
from cloud_planner.core.revisions import Revisions
from cloud_planner.disturbances import Disturbances
from cloud_planner.registry import Registry
from cloud_planner.rollout import Rollout
from cloud_planner.store import DriftRecord, Store

#: Windows that ended longer ago than this say nothing of now.
_STALE_S = 30.0
#: After a change of plan processes are cold: their times are not looked at for so long.
_SETTLING_S = 15.0
#: A window with fewer items says too little of a service time.
_LEAST_ITEMS = 3
#: A window that lost a larger part of its items says nothing of accuracy.
_LOSSY_RATIO = 0.05
#: Findings that are kept for people.
MAX_FINDINGS = 200
#: Messages that wait to be looked at; beyond that they are let go.
_MAX_WAITING = 1_000
_REPEATED = 10_000
_GENERATIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A finding, when it was made, and the queries whose plans it bears on."""

    finding: Finding
    at: datetime
    query_ids: tuple[QueryId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """The plans of one generation, and the service ratios that they were made with."""

    plans: Mapping[QueryId, Plan]
    services_ms: Mapping[tuple[QueryId, OperatorId, DeviceId], float]
    revisions: Revisions
    since_s: float


@dataclass(slots=True)
class _Services:
    items: int = 0
    seen_ms: float = 0.0
    profiled_ms: float = 0.0


class Watching:
    """What drifted. ``replan`` rings when something did; ``load`` first."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        registry: Registry,
        rollout: Rollout,
        clock: Clock,
        *,
        replan: Bell,
        watched: Bell,
        disturbances: Disturbances | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._registry = registry
        self._rollout = rollout
        self._clock = clock
        self._replan = replan
        self._watched = watched
        self._disturbances = disturbances
        self._limits = limits if limits is not None else Limits()
        self._state = DriftState()
        self._findings: tuple[Noted, ...] = ()
        self._affected: frozenset[QueryId] = frozenset()
        self._in_force: OrderedDict[int, _InForce] = OrderedDict()
        self._planned_with: OrderedDict[int, Revisions] = OrderedDict()
        self._sequences: dict[DeviceId, int] = {}
        #: Messages that were looked at, and a bell for each.
        self.heard = 0
        self.looked = Bell()
        self._waiting: asyncio.Queue[tuple[DeviceId, control_pb2.Telemetry]] = asyncio.Queue(_MAX_WAITING)

    async def load(self) -> None:
        """Takes up what was found before."""
        record = await self._store.drift()
        if record is None:
            return
        stated = {query.id: query.rate_per_s for query in self._catalog.queries}
        self._state = resumed(record.revisions, stated, self._clock.monotonic_s())
        self._findings = tuple(
            Noted(finding=finding, at=at, query_ids=query_ids) for finding, at, query_ids in record.findings
        )

    @property
    def revisions(self) -> Revisions:
        """What stands in for stated figures now."""
        return revisions_of(self._state)

    @property
    def findings(self) -> tuple[Noted, ...]:
        """The last findings, oldest first."""
        return self._findings

    def take_affected(self) -> frozenset[QueryId]:
        """The queries whose plans findings bear on, since this was asked last."""
        affected, self._affected = self._affected, frozenset()
        return affected

    def planned_with(self, number: int, revisions: Revisions) -> None:
        """Notes what a generation was planned with."""
        self._planned_with[number] = revisions
        while len(self._planned_with) > _GENERATIONS:
            self._planned_with.popitem(last=False)

    def put(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        """Takes one checked message of telemetry; it is looked at soon."""
        behind = self._sequences.get(device_id, 0) - message.sequence
        if 0 <= behind < _REPEATED:
            # What a reconnecting agent sends again; one that lost its state counts anew, from far below.
            return
        if device_id in self._sequences or len(self._sequences) < _MAX_WAITING:
            self._sequences[device_id] = message.sequence
        if not self._waiting.full():
            self._waiting.put_nowait((device_id, message))

    async def run(self) -> None:
        """Looks at what comes, for ever."""
        while True:
            device_id, message = await self._waiting.get()
            try:
                await self.look(device_id, message)
            except Exception as error:  # drift that can't be told must not end what the planner does beside it
                warning("drift_failed", device=device_id, reason=f"{type(error).__name__}: {error}")
            self.heard += 1
            self.looked.ring()

    async def look(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        """Takes in one message: detects, stores, rings."""
        now_s = self._clock.monotonic_s()
        samples = self._samples(device_id, message, now_s)
        if not samples:
            return
        made = step(self._state, samples, now_s, self._limits)
        self._state = made.state
        if not made.findings:
            return
        self._state = kept(made.state, self._there(made.state))
        noted = tuple(self._note(finding) for finding in made.findings)
        self._findings = (*self._findings, *noted)[-MAX_FINDINGS:]
        await self._store.put_drift(
            DriftRecord(
                revisions=self.revisions,
                findings=tuple((one.finding, one.at, one.query_ids) for one in self._findings),
            )
        )
        for one in noted:
            event("drift_found", what=str(one.finding), queries=len(one.query_ids), evidence=one.finding.evidence)
        self._affected |= {query_id for one in noted for query_id in one.query_ids}
        self._replan.ring()
        self._watched.ring()

    def _note(self, finding: Finding) -> Noted:
        plans = self._newest_plans()
        affected = [query.id for query in self._catalog.queries if _bears_on(finding, query, plans.get(query.id))]
        return Noted(finding=finding, at=self._clock.now(), query_ids=tuple(affected))

    def _there(self, state: DriftState) -> Sequence[Key]:
        """The figures of what is still there."""
        queries = {query.id for query in self._catalog.queries}
        return [key for key in state.tracks if key[0] is not Kind.RATE or key[1] in queries]

    def _newest_plans(self) -> Mapping[QueryId, Plan]:
        newest = self._rollout.newest
        force = self._force(newest.generation.number) if newest is not None else None
        return force.plans if force is not None else {}

    def _force(self, number: int) -> _InForce | None:
        """The plans of the newest generation, if this is its number."""
        newest = self._rollout.newest
        if newest is None or newest.generation.number != number:
            return None
        if number not in self._in_force:
            plans = wire.selection_from_message(newest.selection).plans
            self._in_force[number] = _InForce(
                plans={plan.query_id: plan for plan in plans},
                services_ms={
                    (plan.query_id, placed.operator_id, placed.device_id): placed.service_ms
                    for plan in plans
                    # What is only believed does not drift: it is measured soon.
                    if plan.certainty is Certainty.CERTIFIED
                    for placed in plan.operators
                },
                revisions=self._planned_with.get(number, self.revisions),
                since_s=self._clock.monotonic_s(),
            )
            while len(self._in_force) > _GENERATIONS:
                self._in_force.popitem(last=False)
        return self._in_force[number]

    def _samples(self, device_id: DeviceId, message: control_pb2.Telemetry, now_s: float) -> list[Sample]:
        queries = {query.id: query for query in self._catalog.queries}
        fresh = [window for window in message.queries if self._fresh(window)]
        samples = _rates(fresh, queries)
        samples += self._accuracies(fresh, queries)
        return samples + self._services(device_id, message.operators, queries, now_s)

    def _fresh(self, window: types_pb2.QueryWindow | types_pb2.OperatorWindow) -> bool:
        ended_s = window.start.seconds + window.start.nanos / 1e9 + window.duration_s
        return self._clock.now().timestamp() - ended_s < _STALE_S

    def _services(
        self,
        device_id: DeviceId,
        windows: Sequence[types_pb2.OperatorWindow],
        queries: Mapping[QueryId, Query],
        now_s: float,
    ) -> list[Sample]:
        sums: dict[tuple[str, str, str], _Services] = {}
        for window in windows:
            query_id, operator_id = QueryId(window.query_id), OperatorId(window.operator_id)
            force = self._force(window.generation)
            query = queries.get(query_id)
            if force is None or query is None or now_s - force.since_s < _SETTLING_S or not self._fresh(window):
                continue
            planned_ms = force.services_ms.get((query_id, operator_id, device_id))
            if planned_ms is None or window.items == 0 or self._disturbed(device_id, window):
                continue
            place = (query.pipeline_id, operator_id, device_id)
            entry = sums.setdefault(place, _Services())
            entry.items += window.items
            entry.seen_ms += window.service_ms_sum
            entry.profiled_ms += window.items * planned_ms / force.revisions.service_ratio.get(place, 1.0)
        return [
            ServiceSample(
                place=(place[0], place[1], place[2]),  # type: ignore[arg-type]  # ids are texts
                items=entry.items,
                mean_ms=entry.seen_ms / entry.items,
                profiled_ms=entry.profiled_ms / entry.items,
            )
            for place, entry in sorted(sums.items())
            if entry.items >= _LEAST_ITEMS and entry.seen_ms > 0.0
        ]

    def _disturbed(self, device_id: DeviceId, window: types_pb2.OperatorWindow) -> bool:
        return self._disturbances is not None and self._disturbances.in_window((device_id,), window)

    def _accuracies(self, windows: Sequence[types_pb2.QueryWindow], queries: Mapping[QueryId, Query]) -> list[Sample]:
        found: list[Sample] = []
        for window in windows:
            query, force = queries.get(QueryId(window.query_id)), self._force(window.generation)
            plan = force.plans.get(QueryId(window.query_id)) if force is not None else None
            if query is None or plan is None or force is None or window.stand_by_answered:
                continue
            # Where nothing is labelled, agreement with the reference stands for accuracy.
            labelled = bool(window.scores_ratio)
            scored = len(window.scores_ratio) if labelled else window.shadow_scored
            if not scored or _lossy(window):
                continue
            place = (query.pipeline_id, query.content, configuration_key(plan.configuration))
            found.append(
                AccuracySample(
                    place=place,
                    scored=scored,
                    score_sum=sum(window.scores_ratio) if labelled else window.shadow_score_sum,
                    measured_ratio=plan.accuracy_ratio.value - force.revisions.shift(*place),
                )
            )
        return found


def _lossy(window: types_pb2.QueryWindow) -> bool:
    """Whether so much was lost that scores say more of that: a tracker misses what is gone."""
    lost = sum(window.dropped_by_cause.values()) + sum(window.failed_by_cause.values())
    return lost > _LOSSY_RATIO * (window.answered + window.late + lost)


def _rates(windows: Sequence[types_pb2.QueryWindow], queries: Mapping[QueryId, Query]) -> list[Sample]:
    """Offered rates: what was emitted under all generations in one window."""
    found: dict[QueryId, RateSample] = {}
    for window in windows:
        query = queries.get(QueryId(window.query_id))
        if query is None or window.duration_s <= 0.0:
            continue
        known = found.get(query.id)
        if known is None:
            found[query.id] = RateSample(
                query_id=query.id,
                emitted=window.emitted,
                duration_s=window.duration_s,
                stated_per_s=query.rate_per_s,
            )
        else:
            found[query.id] = replace(
                known,
                emitted=known.emitted + window.emitted,
                duration_s=max(known.duration_s, window.duration_s),
            )
    return [found[query_id] for query_id in sorted(found)]


def _bears_on(finding: Finding, query: Query, plan: Plan | None) -> bool:
    match finding.kind:
        case Kind.RATE:
            return bool(finding.place == query.id)
        case Kind.SERVICE_TIME:
            pipeline_id, operator_id, device_id = finding.place
            runs = plan is not None and any(
                placed.operator_id == operator_id and placed.device_id == device_id for placed in plan.operators
            )
            return bool(query.pipeline_id == pipeline_id and runs)
        case Kind.ACCURACY:
            return bool(finding.place[:2] == (query.pipeline_id, query.content))
