"""What would be, and why: dry runs, what-ifs, explanations, records. Nothing is applied, nothing is profiled."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError, NotFound
from circinus.model.directive import Generation
from circinus.model.plan import NO_PLANS, Plan, Selection, UnplacedQuery
from circinus.model.plan_diff import PlanDiff
from circinus.model.query import Query, QueryId
from circinus.model.what_if import WhatIf
from circinus.v1 import planner_pb2
from cloud_planner.catalog import Catalog
from cloud_planner.core.decompose import Choice, Fleet
from cloud_planner.core.diff import diff
from cloud_planner.core.directives import directives
from cloud_planner.core.drain import with_staying
from cloud_planner.core.planning import Draft, Snapshot, told
from cloud_planner.core.problem import Problem
from cloud_planner.core.shares import shares_of
from cloud_planner.core.what_if import change_problem, change_queries, concerns_queries
from cloud_planner.core.what_if_devices import Kin
from cloud_planner.planning_loop import PlanningLoop, summary_of
from cloud_planner.record import Record
from cloud_planner.rollout import Rollout
from cloud_planner.searching import Searching
from cloud_planner.solving import ExplainTask, Planning
from cloud_planner.standing_by import StandingBy


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be decided now, and what that changes in the running generation.

    ``queries``: all that it is of; ``extra``: those that nobody submitted; ``record``: with its problem.
    """

    summary: planner_pb2.SelectionSummary
    diff: PlanDiff
    record: Record
    queries: tuple[Query, ...]
    extra: tuple[Query, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What would be if things were different: what was changed, a line each, and the selections before and after.

    ``explained`` says of one query why it would have its plan, or none, as the document of docs/explain.md.
    """

    told: tuple[str, ...]
    diff: PlanDiff
    explained: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A query in one configuration beside all that runs: its plan, or None; ``explained`` as of Tried."""

    plan: Plan | None
    explained: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A decision that nobody carries out, with the changed problem that it is of."""

    summary: planner_pb2.SelectionSummary
    told: tuple[str, ...]
    record: Record


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

    async def dry_run(self, extra: Sequence[Query], without: Collection[QueryId] = ()) -> DryRun:
        """What would be decided now if these queries had been submitted, too, and those ``without`` removed.

        A query with the id of another one, and not equal to it, stands in its place.
        """
        there = {query.id: query for query in self._catalog.queries if query.id not in without}
        changed = {query.id for query in extra if query.id in there and there[query.id] != query}
        kept = [query for query in there.values() if query.id not in changed]
        taken = {query.id for query in kept}
        added = []
        for number, query in enumerate(extra, start=1):
            query_id = query.id or QueryId(f"extra-{number}")
            if query_id not in taken:
                taken.add(query_id)
                added.append(replace(query, id=query_id))
        began_s = self._clock.monotonic_s()
        queries = (*kept, *added)
        decided = await self._decided(queries, added, (), rated=frozenset(changed))
        summary = decided.summary
        summary.solver_s = self._clock.monotonic_s() - began_s
        newest = self._rollout.newest
        running = _whole(newest.selection) if newest is not None else NO_PLANS
        return DryRun(
            summary=summary,
            diff=diff(running, _whole(summary)),
            record=decided.record,
            queries=queries,
            extra=tuple(added),
        )

    async def explained_of(self, found: DryRun, query_id: QueryId) -> dict[str, Any]:
        """Why a dry run has the plan of a query that it has, or none, as the document of docs/explain.md."""
        problem, selection = found.record.problem, found.record.selection
        if any(query.id == query_id for query in problem.queries):
            whole = with_staying(problem, selection)
            return await self._loop.explain(ExplainTask(problem=whole, selection=selection, query_id=query_id))
        return _left_out(found.summary, query_id)

    async def what_if(self, changes: Sequence[WhatIf]) -> tuple[tuple[str, ...], PlanDiff]:
        """What was changed, a line each, and the selections before and after.

        Raises:
            InvalidInput: a change names what is not there.
        """
        lines, after = await self._changed(changes, None)
        before = await self._decided(self._catalog.queries, (), ())
        return lines, await asyncio.to_thread(_differ, before, after)

    async def try_out(self, changes: Sequence[WhatIf], query_id: QueryId, planning: Planning) -> Tried:
        """What ``what_if`` tells, and of one query why. ``planning``: who plans, in place of whoever plans for real.

        Raises:
            InvalidInput: a change names what is not there.
            NotFound: there is no such query.
        """
        self._catalog.select(query_id)
        lines, after = await self._changed(changes, planning)
        before = await self._decided(self._catalog.queries, (), (), planning)
        return Tried(
            told=lines,
            diff=await asyncio.to_thread(_differ, before, after),
            explained=await self._explained(after, query_id, planning),
        )

    async def configured(self, query: Query, choice: Choice, planning: Planning) -> Configured:
        """A query in this configuration beside all that runs, which stays as it is.

        ``query``: one of the catalog's, or one that nobody submitted. Its bound on accuracy keeps nothing out.
        """
        newest = self._rollout.newest
        running = {plan.query_id for plan in newest.selection.plans} if newest is not None else set()
        others = [one for one in self._catalog.queries if one.id in running and one.id != query.id]
        asked = replace(query, slo=replace(query.slo, accuracy_ratio=None))
        choices = {**self._searching.choices(), query.id: (choice,)}
        snapshot, made = await self._loop.draft([*others, asked], choices, {query.id})
        held = frozenset(plan.query_id for plan in made.problem.running if plan.query_id != query.id)
        result = await planning.plan(made.problem, held)
        decided = _Decided(
            summary=summary_of(told(snapshot, made, result.selection), made.assessment),
            told=(),
            record=Record(problem=made.problem, selection=result.selection),
        )
        plan = next((one for one in result.selection.plans if one.query_id == query.id), None)
        return Configured(plan=plan, explained=await self._explained(decided, query.id, planning))

    async def present(self, query: Query) -> Snapshot:
        """The fleet as a query would be planned on it now, with all that was measured of its pipeline."""
        snapshot, _ = await self._loop.draft([query], {}, {query.id})
        return snapshot

    async def _changed(self, changes: Sequence[WhatIf], planning: Planning | None) -> tuple[tuple[str, ...], _Decided]:
        present = self._catalog.queries
        queries, lines = await asyncio.to_thread(change_queries, present, changes)
        # First of all: what is asked for wrongly costs nothing.
        pairs = list(zip(queries, present, strict=True))
        after = await self._decided(
            queries,
            [query for query, old in pairs if query != old],
            [change for change in changes if not concerns_queries(change)],
            planning,
            frozenset(query.id for query, old in pairs if query.rate_per_s != old.rate_per_s),
        )
        return (*lines, *after.told), after

    async def _explained(self, decided: _Decided, query_id: QueryId, planning: Planning) -> dict[str, Any]:
        record = decided.record
        if any(query.id == query_id for query in record.problem.queries):
            problem = with_staying(record.problem, record.selection)
            return await planning.explain(ExplainTask(problem=problem, selection=record.selection, query_id=query_id))
        return _left_out(decided.summary, query_id)

    async def _decided(
        self,
        queries: Sequence[Query],
        fresh: Sequence[Query],
        changes: Sequence[WhatIf],
        planning: Planning | None = None,
        rated: frozenset[QueryId] = frozenset(),
    ) -> _Decided:
        """The decision on these queries with changed devices. ``fresh`` are those that nobody searches for.

        ``rated``: those that are to be planned at their own rate, whatever rate was found.
        """
        anew = {query.id for query in fresh}
        known = {name: found for name, found in self._searching.choices().items() if name not in anew}
        choices = {**known, **await self._searching.choices_for(fresh)}
        snapshot, made = await self._loop.draft(queries, choices, anew)
        revisions = snapshot.fleet.revisions
        if rated & revisions.rate_per_s.keys():
            snapshot, made = await self._loop.draft(queries, choices, anew, revisions.without(rated))
        kin = _kin(made.fleet, made.assessment.plannable)
        changed = await asyncio.to_thread(change_problem, made.problem, changes, kin)
        solved = self._loop.solved if planning is not None else None
        if solved is not None and solved[0] == changed.problem:
            # As things are was decided already.
            result = solved[1]
        else:
            result = await (planning or self._loop).plan(changed.problem)
        if result.findings:
            raise CircinusError(f"the plan does not pass its audit: {'; '.join(result.findings[:3])}")
        # Of thousands of queries it takes a while: agents must be heard meanwhile.
        summary = await asyncio.to_thread(_summary, snapshot, made, result.selection)
        if not changes:
            summary.stand_bys.extend(await self._stand_bys(made, result.selection))
        return _Decided(
            summary=summary, told=changed.told, record=Record(problem=changed.problem, selection=result.selection)
        )

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
        return _left_out(self._loop.decision.summary, query_id)

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


def _summary(snapshot: Snapshot, made: Draft, selection: Selection) -> planner_pb2.SelectionSummary:
    return summary_of(told(snapshot, made, selection), made.assessment)


def _differ(before: _Decided, after: _Decided) -> PlanDiff:
    return diff(_whole(before.summary), _whole(after.summary))


def _left_out(summary: planner_pb2.SelectionSummary, query_id: QueryId) -> dict[str, Any]:
    """What is said of a query that was not planned at all."""
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
