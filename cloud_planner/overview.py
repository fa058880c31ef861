"""The planner's parts together, and what they say as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circinus import wire
from circinus.clock import Clock
from circinus.model.directive import Generation
from circinus.model.pipeline import configuration_key
from circinus.model.query import Query
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.accounts import Accounts
from cloud_planner.background import Background
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.chronicle import Chronicle
from cloud_planner.departures import Departures
from cloud_planner.identity.office import IdentityOffice
from cloud_planner.looking import Looking
from cloud_planner.marks import Marks
from cloud_planner.metrics.fleet_totals import FleetTotals
from cloud_planner.planning_loop import PlanningLoop
from cloud_planner.profiling import Profiling
from cloud_planner.recent import Recent
from cloud_planner.registry import Registry
from cloud_planner.rollout import Rollout
from cloud_planner.searching import Searching
from cloud_planner.store import BlobStore, RolloutPhase, Store
from cloud_planner.telemetry import TelemetryWriter
from cloud_planner.trials import Trials
from cloud_planner.watching import Watching


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Every part of a running planner. ``replan`` rings for a new decision, ``watched`` when progress was made."""

    store: Store
    blobs: BlobStore
    registry: Registry
    catalog: Catalog
    profiling: Profiling
    searching: Searching
    rollout: Rollout
    loop: PlanningLoop
    accounts: Accounts
    watching: Watching
    marks: Marks
    departures: Departures
    chronicle: Chronicle
    background: Background
    trials: Trials
    telemetry: TelemetryWriter
    looking: Looking
    recent: Recent
    totals: FleetTotals
    clock: Clock
    replan: Bell
    watched: Bell
    office: IdentityOffice | None = None

    def activity(self) -> str:
        """What the planner does: idle, profiling, planning, rolling out, or stuck and why."""
        rollout, planning = self.rollout.activity(), self.loop.activity()
        for stuck in (rollout, planning):
            if stuck.startswith("stuck"):
                return stuck
        return rollout or ("profiling" if self.profiling.busy else "") or planning or "idle"

    def progress(self) -> planner_pb2.WatchProgressResponse:
        """How far profiling, planning and rollout are. Settled: every query is decided and rolled out."""
        newest = self.rollout.newest
        decision = self.loop.decision
        waiting = {entry.query_id: entry.reason for entry in decision.summary.pending}
        waits = [f"{query.id}: {waiting[query.id]}" for query in self.catalog.queries if query.id in waiting]
        starting = newest is not None and (newest.phase is RolloutPhase.STARTING or self.rollout.under_way)
        busy = self.profiling.busy or self.searching.asking or waits or starting or self.loop.activity()
        settled = self.searching.up_to_date and self.loop.up_to_date and not busy
        message = self.rollout.waits_for() if starting else "; ".join(waits[:5])
        return planner_pb2.WatchProgressResponse(
            activity=self.activity(),
            profiles=self.profiling.tasks(),
            generation=newest.generation.number if newest is not None else 0,
            settled=settled,
            message=message,
        )

    def serving_generation(self) -> Generation | None:
        """The generation under which new items are emitted; None: none yet."""
        newest = self.rollout.newest
        if newest is None:
            return None
        if newest.phase is not RolloutPhase.STARTING:
            return newest.generation
        number = newest.generation.number - 1
        return Generation(epoch=newest.generation.epoch, number=number) if number > 0 else None

    async def scores_of(self, query: Query, plan: types_pb2.Plan) -> Mapping[int, float]:
        """The profiled scores, by sample, of the configuration that a plan uses."""
        registered = self.catalog.pipelines[query.pipeline_id]
        digest = next(content.digest for content in registered.contents if content.name == query.content)
        key = (registered.bundle_digest, digest)
        table = (await self.profiling.tables([key]))[key]
        configuration = wire.configuration_from_message(plan.configuration)
        return table.scores.get(configuration_key(configuration), {})
