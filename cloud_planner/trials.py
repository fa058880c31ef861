"""What would be, and why: dry runs, what-ifs, explanations, records. Nothing is applied, nothing is profiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError, NotFound
from circinus.model.directive import Generation
from circinus.model.plan import NO_PLANS, Selection, UnplacedQuery
from circinus.model.plan_diff import PlanDiff
from circinus.model.query import Query, QueryId
from circinus.model.what_if import WhatIf
from circinus.v1 import planner_pb2
from cloud_planner.catalog import Catalog
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.diff import diff
from cloud_planner.core.directives import directives
from cloud_planner.core.drain import with_staying
from cloud_planner.core.planning import Draft, told
from cloud_planner.core.problem import Problem
from cloud_planner.core.shares import shares_of
from cloud_planner.core.what_if import change_problem, change_queries, concerns_queries
from cloud_planner.core.what_if_devices import Kin
from cloud_planner.planning_loop import PlanningLoop, summary_of
from cloud_planner.record import Record
from cloud_planner.rollout import Rollout
from cloud_planner.searching import Searching
from cloud_planner.solving import ExplainTask
from cloud_planner.standing_by import StandingBy


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be decided now, and what that changes in the running generation."""

    summary: planner_pb2.SelectionSummary
    diff: PlanDiff


class Trials:
    """Plans without consequences."""

    def __init__(
        self, loop: PlanningLoop, catalog: Catalog, searching: Searching, rollout: Rollout, clock: Clock
    ) -> None:
        self._loop = loop
        self._catalog = catalog
        self._searching = searching
        self._rollout = rollout
        self._standing_by = StandingBy()
        self._clock = clock

    async def dry_run(self, extra: Sequence[Query]) -> DryRun:
        """What would be decided now if these queries had been submitted, too."""
        taken = {query.id for query in self._catalog.queries}
        added = []
        for number, query in enumerate(extra, start=1):
            query_id = query.id or QueryId(f"extra-{number}")
            if query_id not in taken:
                taken.add(query_id)
                added.append(replace(query, id=query_id))
        began_s = self._clock.monotonic_s()
        summary, _ = await self._decided([*self._catalog.queries, *added], added, ())
        summary.solver_s = self._clock.monotonic_s() - began_s
        newest = self._rollout.newest
        running = _whole(newest.selection) if newest is not None else NO_PLANS
        return DryRun(summary=summary, diff=diff(running, _whole(summary)))

    async def what_if(self, changes: Sequence[WhatIf]) -> tuple[tuple[str, ...], PlanDiff]:
        """What was changed, a line each, and the selections before and after.

        Raises:
            InvalidInput: a change names what is not there.
        """
        present = self._catalog.queries
        queries, lines = change_queries(present, changes)
        # First of all: what is asked for wrongly costs nothing.
        after, said = await self._decided(
            queries,
            [query for query, old in zip(queries, present, strict=True) if query != old],
            [change for change in changes if not concerns_queries(change)],
        )
        before, _ = await self._decided(present, (), ())
        return (*lines, *said), diff(_whole(before), _whole(after))

    async def _decided(
        self, queries: Sequence[Query], fresh: Sequence[Query], changes: Sequence[WhatIf]
    ) -> tuple[planner_pb2.SelectionSummary, tuple[str, ...]]:
        """The decision on these queries with changed devices. ``fresh`` are those that nobody searches for."""
        anew = {query.id for query in fresh}
        known = {name: found for name, found in self._searching.choices().items() if name not in anew}
        choices = {**known, **await self._searching.choices_for(fresh)}
        snapshot, made = await self._loop.draft(queries, choices, anew)
        changed = change_problem(made.problem, changes, _kin(made.fleet, made.assessment.plannable))
        result = await self._loop.plan(changed.problem)
        if result.findings:
            raise CircinusError(f"the plan does not pass its audit: {'; '.join(result.findings[:3])}")
        summary = summary_of(told(snapshot, made, result.selection), made.assessment)
        if not changes:
            summary.stand_bys.extend(await self._stand_bys(made, result.selection))
        return summary, changed.told

    async def _stand_bys(self, made: Draft, selection: Selection) -> list[planner_pb2.StandByState]:
        """The stand-bys beside a selection."""
        queries, plans = made.assessment.plannable, selection.plans
        if not any(query.stand_by for query in queries):
            return []
        unnumbered = Generation(epoch=self._rollout.epoch, number=0)
        alone = directives(made.fleet, queries, plans, unnumbered, shares_of(made.problem, plans))
        _, found = await self._standing_by.add(made.fleet, queries, selection, plans, alone, self._rollout.newest)
        return found

    async def explain(self, query_id: QueryId) -> dict[str, Any]:
        """Why a query has the plan of the last decision, or none, as the document of docs/explain.md.

        Raises:
            NotFound: there is no such query, or nothing was decided since the planner was started.
        """
        self._catalog.select(query_id)
        record = self.record()
        if any(query.id == query_id for query in record.problem.queries):
            problem = await self._with_freely(record.problem, query_id)
            task = ExplainTask(problem=problem, selection=record.selection, query_id=query_id)
            return await self._loop.explain(task)
        summary = self._loop.decision.summary
        left_out = {entry.query_id: entry.reason for entry in (*summary.unplaced, *summary.pending)}
        return {
            "version": 1,
            "query": query_id,
            "placed": False,
            "why": left_out.get(query_id, "it came after the last decision; ask again in a moment"),
            "exact": True,
            "plan": None,
            "margins": [],
            "binding": [],
            "rivals": [],
            "conflict": None,
        }

    async def _with_freely(self, problem: Problem, query_id: QueryId) -> Problem:
        """The problem with what a query could be served with if it had no selector."""
        if not any(query.id == query_id and query.selector for query in problem.queries):
            return problem
        queries = [replace(one, selector="") if one.id == query_id else one for one in self._catalog.queries]
        _, made = await self._loop.draft(queries, self._searching.choices())
        free = {query.id: query.candidates for query in made.problem.queries}
        known = tuple(
            replace(query, freely=free.get(query_id, ())) if query.id == query_id else query
            for query in problem.queries
        )
        return replace(problem, queries=known)

    def record(self) -> Record:
        """The last decision with its problem.

        Raises:
            NotFound: nothing was decided since the planner was started.
        """
        if self._loop.solved is None:
            raise NotFound("nothing was decided since the planner was started; submit a query, or wait a moment")
        problem, result = self._loop.solved
        return Record(problem=with_staying(problem, result.selection), selection=result.selection)


def _whole(summary: planner_pb2.SelectionSummary) -> Selection:
    """A decision as a selection in which queries that wait for profiles are unplaced."""
    selection = wire.selection_from_message(summary)
    waiting = (UnplacedQuery(query_id=QueryId(entry.query_id), reason=entry.reason) for entry in summary.pending)
    return replace(selection, unplaced=(*selection.unplaced, *waiting))


def _kin(fleet: Fleet, queries: Sequence[Query]) -> Kin:
    """What is known of devices and operators beyond the problem."""
    pinned = frozenset(
        (query.id, operator.id)
        for query in queries
        for operator in fleet.pipelines[query.pipeline_id].pipeline.operators
        if operator.pinned
    )
    return Kin(classes={device.id: device.device_class for device in fleet.devices}, pinned=pinned)
