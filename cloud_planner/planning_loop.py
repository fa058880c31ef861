"""Snapshot, plan off the event loop, store, hand to the rollout; again whenever something changed.

Every attempt starts from nothing but the present: what it needs is read anew, and an unchanged fleet with unchanged
queries gives the same directives, of which the rollout makes no new generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.device import Device, DeviceId, Digest
from circinus.model.directive import Generation
from circinus.model.pipeline import PipelineId, RegisteredPipeline
from circinus.model.plan import Plan, Selection
from circinus.model.profile import ProfileTable
from circinus.model.query import Query, QueryId
from circinus.v1 import control_pb2, planner_pb2
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.directives import directives
from cloud_planner.core.needs import Assessment, Circumstances, ProfilePolicy
from cloud_planner.core.planning import Draft, PlanResult, Snapshot, draft
from cloud_planner.core.problem import Problem
from cloud_planner.profiling import Profiling, TableKey
from cloud_planner.registry import Registry
from cloud_planner.rollout import Rollout
from cloud_planner.solving import Planning
from cloud_planner.store import Store

#: The selection of no queries.
_NOTHING = Selection(
    plans=(),
    unplaced=(),
    machines=(),
    traffic_cost_per_h=0.0,
    goodput_per_s=0.0,
    goodput_bound_per_s=0.0,
    gap_ratio=0.0,
    cost_per_h=0.0,
    cost_bound_per_h=0.0,
    cost_gap_ratio=0.0,
    solver_status="optimal",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopTimes:
    """When to plan.

    ``debounce_s``: changes within it are planned together. ``tick_s``: how often time alone is a reason to look.
    ``environment_s``: how long a device may take to say whether it can run an environment.
    """

    debounce_s: float = 0.3
    tick_s: float = 5.0
    environment_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided last. The queries of ``profiling`` and ``pending`` wait; each with what for."""

    summary: planner_pb2.SelectionSummary
    profiling: Mapping[QueryId, str] = field(default_factory=dict)
    pending: Mapping[QueryId, str] = field(default_factory=dict)


class PlanningLoop:
    """Decides again whenever ``changed`` rings, or time makes a difference."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        catalog: Catalog,
        profiling: Profiling,
        rollout: Rollout,
        planning: Planning,
        clock: Clock,
        *,
        changed: Bell,
        watched: Bell,
        policy: ProfilePolicy | None = None,
        times: LoopTimes | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._catalog = catalog
        self._profiling = profiling
        self._rollout = rollout
        self._planning = planning
        self._clock = clock
        self._changed = changed
        self._watched = watched
        self._policy = policy if policy is not None else ProfilePolicy()
        self._times = times if times is not None else LoopTimes()
        self._decision = Decision(summary=planner_pb2.SelectionSummary())
        self._solved: tuple[Problem, PlanResult] | None = None
        self._drafted: tuple[Snapshot, Draft] | None = None
        self._heard = -1
        self._planning_now = False
        self._fault = ""

    async def load(self) -> None:
        """Takes up the last decision."""
        summary = await self._store.decision()
        if summary is not None:
            self._decision = Decision(summary=summary)

    @property
    def decision(self) -> Decision:
        """What was decided last."""
        return self._decision

    @property
    def up_to_date(self) -> bool:
        """Whether the last decision took in all that changed."""
        return not self._planning_now and self._heard >= self._changed.rings

    def activity(self) -> str:
        """What it does, for people; empty: nothing."""
        if self._fault:
            return f"stuck: {self._fault}"
        return "planning" if self._planning_now else ""

    async def run(self) -> None:
        """Plans whenever something changed, for ever."""
        while True:
            rings = await self._changed.wait(self._heard, self._times.tick_s)
            if rings > self._heard:
                await self._clock.sleep(self._times.debounce_s)
            await self.attempt()

    async def attempt(self) -> None:
        """One decision, from the present state. A fault leaves the plan in force as it is."""
        heard = self._changed.rings
        self._planning_now = True
        try:
            await self._decide()
            self._fault = ""
        except CircinusError as error:
            if error.message != self._fault:
                warning("planning_failed", reason=error.message)
            self._fault = error.message
        except Exception as error:  # a fault of the planner must not end what it does beside planning
            reason = f"{type(error).__name__}: {error}"
            if reason != self._fault:
                warning("planning_failed", reason=reason)
            self._fault = reason
        finally:
            self._planning_now = False
            self._heard = heard
            self._watched.ring()

    async def _decide(self) -> None:
        self._ask_for_environments()
        made = await self._draft(self._catalog.queries)
        self._profiling.update(made.assessment.needs)
        result = await self._solve(made.problem)
        if result.findings:
            raise CircinusError(f"the plan does not pass its audit: {'; '.join(result.findings[:3])}")
        summary = _summary(result, made.assessment)
        # A query that was removed meanwhile must not come back.
        still_there = {query.id for query in self._catalog.queries}
        queries = [query for query in made.assessment.plannable if query.id in still_there]
        self._decision = Decision(summary=summary, profiling=made.assessment.profiling, pending=made.assessment.pending)
        plans = [plan for plan in result.selection.plans if plan.query_id in still_there]
        unnumbered = Generation(epoch=self._rollout.epoch, number=0)
        made_new = await self._rollout.propose(summary, directives(made.fleet, queries, plans, unnumbered))
        if not made_new:
            await self._store.put_decision(summary)

    async def _solve(self, problem: Problem) -> PlanResult:
        if self._solved is not None and self._solved[0] == problem:
            return self._solved[1]
        began_s = self._clock.monotonic_s()
        result = await self._plan(problem)
        self._solved = (problem, result)
        event(
            "planned",
            queries=len(problem.queries),
            plans=len(result.selection.plans),
            goodput_per_s=result.selection.goodput_per_s,
            bound_per_s=result.selection.goodput_bound_per_s,
            cost_per_h=result.selection.cost_per_h,
            elapsed_s=self._clock.monotonic_s() - began_s,
        )
        return result

    async def _plan(self, problem: Problem) -> PlanResult:
        # Nothing to plan needs no solver, nor a process for one.
        return await self._planning.plan(problem) if problem.queries else PlanResult(selection=_NOTHING, findings=())

    async def dry_run(self, extra: Sequence[Query]) -> planner_pb2.SelectionSummary:
        """What would be decided now if these queries had been submitted, too; nothing is asked for or applied."""
        taken = {query.id for query in self._catalog.queries}
        named = list(self._catalog.queries)
        for number, query in enumerate(extra, start=1):
            query_id = query.id or QueryId(f"extra-{number}")
            if query_id not in taken:
                taken.add(query_id)
                named.append(replace(query, id=query_id))
        made = await self._draft(named)
        began_s = self._clock.monotonic_s()
        result = await self._plan(made.problem)
        summary = _summary(result, made.assessment)
        summary.solver_s = self._clock.monotonic_s() - began_s
        return summary

    async def _draft(self, queries: Sequence[Query]) -> Draft:
        pipelines = self._catalog.pipelines
        keys: set[TableKey] = set()
        for query in queries:
            registered = pipelines[query.pipeline_id]
            keys.update(
                (registered.bundle_digest, content.digest)
                for content in registered.contents
                if content.name == query.content
            )
        while True:
            tables = await self._profiling.tables(keys)
            version = self._profiling.version
            snapshot = self._snapshot(queries, pipelines, tables)
            if self._drafted is None or self._drafted[0] != snapshot:
                # In a thread, so that agents are heard while a large fleet is decomposed.
                self._drafted = (snapshot, await asyncio.to_thread(draft, snapshot))
            # Results that came in meanwhile would be asked for again.
            if self._profiling.version == version:
                return self._drafted[1]

    def _snapshot(
        self,
        queries: Sequence[Query],
        pipelines: Mapping[PipelineId, RegisteredPipeline],
        tables: Mapping[TableKey, ProfileTable],
    ) -> Snapshot:
        running = self._running()
        return Snapshot(
            fleet=Fleet(devices=self._planned_devices(), pipelines=pipelines, tables=tables, absent=self._absent()),
            queries=tuple(queries),
            circumstances=Circumstances(
                connected=self._registry.connected(),
                unanswered=self._unanswered(),
                failures=self._profiling.failures,
                running=frozenset(plan.query_id for plan in running),
                policy=self._policy,
            ),
            running=running,
        )

    def _running(self) -> tuple[Plan, ...]:
        newest = self._rollout.newest
        return wire.selection_from_message(newest.selection).plans if newest is not None else ()

    def _planned_devices(self) -> tuple[Device, ...]:
        excluded = self._rollout.excluded()
        return tuple(device for device in self._registry.alive() if device.id not in excluded)

    def _absent(self) -> dict[DeviceId, str]:
        absent = {
            record.device.id: f"it was last seen at {record.last_seen_at:%Y-%m-%d %H:%M:%S} UTC"
            for record in self._registry.unseen()
        }
        return {**absent, **self._rollout.excluded()}

    def _ask_for_environments(self) -> None:
        """Asks every connected agent, once a connection, about environments that it isn't ready for."""
        now_s = self._clock.monotonic_s()
        for record in self._registry.records():
            session = record.session
            if session is None:
                continue
            ready = {environment.digest for environment in record.device.environments if environment.ready}
            ready &= session.stated
            for registered in self._catalog.pipelines.values():
                digest = registered.environment_digest
                if digest not in ready and digest not in session.prepared:
                    session.prepared[digest] = now_s
                    request = control_pb2.PrepareEnvironmentRequest(
                        environment_digest=digest, bundle_digest=registered.bundle_digest
                    )
                    session.send(control_pb2.ConnectResponse(prepare_environment=request))

    def _unanswered(self) -> frozenset[tuple[DeviceId, Digest]]:
        now_s = self._clock.monotonic_s()
        found = set()
        for record in self._registry.records():
            if record.session is None:
                continue
            said = {environment.digest for environment in record.device.environments}
            for digest, asked_s in record.session.prepared.items():
                if digest not in said and now_s - asked_s < self._times.environment_s:
                    found.add((record.device.id, digest))
        return frozenset(found)


def _summary(result: PlanResult, assessment: Assessment) -> planner_pb2.SelectionSummary:
    summary = wire.selection_to_message(result.selection)
    for query_id, reason in sorted(assessment.refused.items()):
        summary.unplaced.append(planner_pb2.Unplaced(query_id=query_id, reason=reason))
    for query_id, reason in sorted({**assessment.profiling, **assessment.pending}.items()):
        summary.pending.append(planner_pb2.Unplaced(query_id=query_id, reason=reason))
    return summary
