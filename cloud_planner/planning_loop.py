"""Snapshot, plan off the event loop, store, hand to the rollout; again whenever something changed.

Every attempt starts from nothing but the present: what it needs is read anew, and an unchanged fleet with unchanged
queries gives the same directives, of which the rollout makes no new generation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.directive import Directive, Generation
from circinus.model.plan import NO_PLANS, Plan, Selection
from circinus.model.query import Query, QueryId
from circinus.v1 import planner_pb2
from cloud_planner.accounts import Accounts
from cloud_planner.background import Background, within
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.core.audit_directives import audit_directives
from cloud_planner.core.decompose import Choice
from cloud_planner.core.detours import detours_of
from cloud_planner.core.directives import directives
from cloud_planner.core.kept_keys import kept_keys
from cloud_planner.core.less_sure import less_sure
from cloud_planner.core.needs import Assessment, verification_needs
from cloud_planner.core.planning import Draft, PlanResult, Snapshot, draft, revised, told
from cloud_planner.core.problem import Problem
from cloud_planner.core.references import with_references
from cloud_planner.core.revisions import NOTHING_REVISED, Revisions, merged
from cloud_planner.core.shares import shares_of
from cloud_planner.core.transition import Detours
from cloud_planner.core.under_measurement import UnderMeasurement, under_measurement
from cloud_planner.profiling import Profiling
from cloud_planner.rollout import Rollout
from cloud_planner.searching import Searching
from cloud_planner.solving import ExplainTask, Planning
from cloud_planner.standing_by import StandingBy
from cloud_planner.store import Store
from cloud_planner.surroundings import Surroundings
from cloud_planner.watching import Watching

#: Problems and their solutions that are kept: the present one, and the one that was found to end a query.
_KNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopTimes:
    """When to plan.

    ``debounce_s``: changes within it are planned together. ``tick_s``: how often time alone is a reason to look.
    ``environment_s``: how long a device may take to say whether it can run an environment.
    """

    debounce_s: float = 0.15
    tick_s: float = 5.0
    environment_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided last. The queries of ``profiling`` and ``pending`` wait; each with what for."""

    summary: planner_pb2.SelectionSummary
    profiling: Mapping[QueryId, str] = field(default_factory=dict)
    pending: Mapping[QueryId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orders:
    """What devices are told of the plans of queries that are still there."""

    plans: tuple[Plan, ...]
    directives: tuple[Directive, ...]
    stand_bys: tuple[planner_pb2.StandByState, ...]


class PlanningLoop:
    """Decides again whenever ``changed`` rings, or time makes a difference."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        profiling: Profiling,
        searching: Searching,
        surroundings: Surroundings,
        rollout: Rollout,
        planning: Planning,
        clock: Clock,
        *,
        changed: Bell,
        watched: Bell,
        background: Background | None = None,
        accounts: Accounts | None = None,
        watching: Watching | None = None,
        times: LoopTimes | None = None,
    ) -> None:
        """``background`` looks for better selections than those that hold running queries; None: nothing is held.

        ``accounts``: the ledger, where each new generation's promises are booked; None: nowhere. ``watching``: what
        drifted; None: nothing is looked for.
        """
        self._store = store
        self._catalog = catalog
        self._profiling = profiling
        self._searching = searching
        self._surroundings = surroundings
        self._rollout = rollout
        self._planning = planning
        self._clock = clock
        self._changed = changed
        self._watched = watched
        self._background = background
        self._accounts = accounts
        self._watching = watching
        self._affected: frozenset[QueryId] = frozenset()
        self._less_sure: frozenset[QueryId] = frozenset()
        self._booked: Generation | None = None
        self._times = times if times is not None else LoopTimes()
        self._decision = Decision(summary=planner_pb2.SelectionSummary())
        self._measuring: UnderMeasurement | None = None
        self._standing_by = StandingBy()
        self._solved: tuple[Problem, PlanResult] | None = None
        self._known: deque[tuple[Problem, PlanResult]] = deque(maxlen=_KNOWN)
        self._drafted: deque[tuple[Snapshot, Draft]] = deque(maxlen=_KNOWN)
        self._calmed: tuple[Problem, PlanResult] | None = None
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
    def solved(self) -> tuple[Problem, PlanResult] | None:
        """The problem that was solved last, and how; None: none was since the start."""
        return self._solved

    @property
    def up_to_date(self) -> bool:
        """Whether the last decision took in all that changed."""
        return not self._planning_now and self._heard >= self._changed.rings

    def forget(self) -> None:
        """Solves what comes next anew, even if it is what was solved last."""
        self._known.clear()
        self._solved = self._calmed = self._measuring = None

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
        self._surroundings.ask_for_environments()
        if not self._searching.looked:
            # After a start: what is served must not be stopped because nobody knows yet why it was chosen.
            return
        queries_now, choices = self._catalog.queries, self._searching.choices()
        snapshot = await self._present(queries_now, choices)
        if self._measures_on(snapshot):
            return
        made = await self._drafted_of(snapshot)
        self._measuring = None
        result = await self._solve(made.problem)
        if ending := self._ending(made.problem, result, snapshot.fleet.revisions):
            # What was found to be otherwise can't all be carried: whoever it would end keeps what it was promised.
            kept = snapshot.fleet.revisions.without(ending)
            snapshot, made = await self.draft(queries_now, choices, revisions=kept)
            result = await self._solve(made.problem)
        problem, slipped = less_sure(made.problem, _ended(made.problem, result))
        if slipped:
            made = replace(made, problem=problem)
            result = await self._solve(problem, kept=slipped)
        self._tell_less_sure(slipped, result)
        if result.findings:
            raise CircinusError(f"the plan does not pass its audit: {'; '.join(result.findings[:3])}")
        # A query that was removed meanwhile must not come back.
        still_there = {query.id for query in self._catalog.queries}
        queries = [query for query in made.assessment.plannable if query.id in still_there]
        detours = detours_of(made.problem, made.fleet, queries)
        selection = told(snapshot, made, result.selection)
        orders = await self._orders(made, queries, selection)
        if calm := await self._calm(made.problem, result, orders, detours):
            selection = told(snapshot, made, calm.selection)
            orders = await self._orders(made, queries, selection)
        measuring = self._verify(snapshot, selection)
        summary = summary_of(selection, made.assessment)
        self._decision = Decision(summary=summary, profiling=made.assessment.profiling, pending=made.assessment.pending)
        summary.stand_bys.extend(orders.stand_bys)
        made_new = await self._rollout.propose(summary, orders.directives, detours)
        newest = self._rollout.newest
        if newest is not None and newest.generation != self._booked and not self._rollout.under_way:
            self._booked = newest.generation
            if self._watching is not None:
                self._watching.planned_with(newest.generation.number, made.fleet.revisions)
            if self._accounts is not None:
                ratios = made.fleet.revisions.service_ratio
                await self._accounts.open(newest.generation, queries, orders.plans, made.problem, ratios)
        if not made_new:
            await self._store.put_decision(summary)
        self._measuring = measuring

    async def _orders(self, made: Draft, queries: Sequence[Query], selection: Selection) -> _Orders:
        """What devices are told of a selection.

        Raises:
            CircinusError: it does not pass its audit.
        """
        wanted = {query.id for query in queries}
        plans = tuple(plan for plan in selection.plans if plan.query_id in wanted)
        unnumbered = Generation(epoch=self._rollout.epoch, number=0)
        devices = directives(made.fleet, queries, plans, unnumbered, shares_of(made.problem, plans))
        if wrong := audit_directives(replace(selection, plans=plans), devices, {}, made.problem):
            said = "; ".join(f"{finding.subject}: {finding.message}" for finding in wrong[:3])
            raise CircinusError(f"the directives do not pass their audit: {said}")
        # On the way to a generation the keys are those that it is to have, whatever a detour had.
        devices, newest = kept_keys(devices, self._rollout.bound_for), self._rollout.newest
        devices = with_references(devices, made.fleet, queries, newest.directives if newest else {})
        devices, states = await self._standing_by.add(made.fleet, queries, selection, plans, devices, newest)
        return _Orders(plans=plans, directives=tuple(devices), stand_bys=tuple(states))

    async def _calm(self, problem: Problem, result: PlanResult, orders: _Orders, detours: Detours) -> PlanResult | None:
        """What is selected instead where a pause is not worth it: running queries keep their plans. None: it is."""
        background, running = self._background, _running_of(problem)
        # Of many running queries the policy holds most as it is.
        if background is None or self._rollout.under_way or not 0 < len(running) < background.policy.from_running:
            return None
        if not self._rollout.pauses(orders.directives, detours):
            return None
        if self._calmed is None or self._calmed[0] != problem:
            self._calmed = (problem, await self.plan(problem, running))
        calm = self._calmed[1]
        if calm.findings or background.policy.worth_pausing(calm.selection, result.selection):
            return None
        self._solved = (problem, replace(calm, selection=within(calm.selection, result.selection)))
        return self._solved[1]

    def _tell_less_sure(self, queries: frozenset[QueryId], result: PlanResult) -> None:
        """Tells whose plans hold with less than what is asked for, once each."""
        for plan in result.selection.plans:
            if plan.query_id in queries - self._less_sure:
                warning("query_less_sure", query=plan.query_id, probability=plan.slo_probability_ratio)
        self._less_sure = queries

    def _verify(self, snapshot: Snapshot, selection: Selection) -> UnderMeasurement:
        """Has the times measured that certified plans rest on, the provisional ones' later; gives what is to be."""
        choices = snapshot.fleet.choices
        chosen = {query_id for query_id, ones in choices.items() if ones and all(one.certified for one in ones)}
        queries = {query.id: query for query in snapshot.queries}
        plans = [plan for plan in selection.plans if plan.query_id in chosen]
        needs = verification_needs(snapshot.fleet, queries, plans, snapshot.circumstances)
        self._searching.verify(needs)
        return under_measurement(snapshot, plans, needs, self._clock.monotonic_s())

    def _measures_on(self, snapshot: Snapshot) -> bool:
        """Whether the last decision stands, carried out and booked, while what it rests on is measured."""
        newest = self._rollout.newest
        settled = newest is None or newest.generation == self._booked or self._rollout.under_way
        measuring = self._measuring
        return settled and measuring is not None and measuring.goes_on(snapshot, self._clock.monotonic_s())

    async def _solve(self, problem: Problem, kept: frozenset[QueryId] = frozenset()) -> PlanResult:
        """The selection; ``kept`` queries keep their running plans or end."""
        background = self._background
        better = background.better(problem) if background is not None else None
        if better is None and (known := next((one for one in self._known if one[0] == problem), None)) is not None:
            self._solved = known
            return known[1]
        if better is None and (on_the_way := self._on_the_way(problem)) is not None:
            return on_the_way
        began_s = self._clock.monotonic_s()
        held = self._held(problem) | kept
        result = better if better is not None else await self.plan(problem, held)
        if better is None and self._affected and _ended(problem, result):
            # There is no room beside what runs: then everything is selected anew.
            held = frozenset()
            result = await self.plan(problem)
        self._affected = frozenset()
        self._solved = (problem, result)
        self._known.appendleft(self._solved)
        if background is not None and held and not kept and better is None:
            background.consider(problem, result)
        event(
            "planned",
            queries=len(problem.queries),
            plans=len(result.selection.plans),
            held=len(held),
            goodput_per_s=result.selection.goodput_per_s,
            bound_per_s=result.selection.goodput_bound_per_s,
            cost_per_h=result.selection.cost_per_h,
            elapsed_s=self._clock.monotonic_s() - began_s,
        )
        return result

    def _on_the_way(self, problem: Problem) -> PlanResult | None:
        """The last solution, while it is being rolled out in steps: what runs meanwhile is no reason for another."""
        if self._solved is None or not self._rollout.under_way:
            return None
        known, result = self._solved
        return result if replace(problem, running=known.running) == known else None

    def _held(self, problem: Problem) -> frozenset[QueryId]:
        """The queries that a decision leaves alone: those that a finding does not bear on, or as the policy says."""
        running = frozenset(plan.query_id for plan in problem.running)
        if self._watching is not None:
            self._affected |= self._watching.take_affected()
        if self._background is None:
            return frozenset()
        affected = self._affected & running
        return running - affected if affected else self._background.policy.held(problem)

    def _ending(self, problem: Problem, result: PlanResult, revisions: Revisions) -> frozenset[QueryId]:
        """Running queries that would end while they are planned at more than their stated rates."""
        ended = _ended(problem, result)
        return frozenset(revisions.rate_per_s) & running if ended and (running := _running_of(problem)) else frozenset()

    async def plan(self, problem: Problem, held: frozenset[QueryId] = frozenset()) -> PlanResult:
        """The audited selection for a problem, whatever is in force; ``held`` queries keep their plans or end."""
        # Nothing to plan needs no solver, nor a process for one.
        return (
            await self._planning.plan(problem, held) if problem.queries else PlanResult(selection=NO_PLANS, findings=())
        )

    async def explain(self, task: ExplainTask) -> dict[str, Any]:
        """Why a query of a selection has its plan, or none."""
        return await self._planning.explain(task)

    async def draft(
        self,
        queries: Sequence[Query],
        choices: Mapping[QueryId, tuple[Choice, ...]],
        fresh: Collection[QueryId] = (),
        revisions: Revisions | None = None,
    ) -> tuple[Snapshot, Draft]:
        """The present, with these queries and choices, and what is to be solved of it.

        ``fresh``: queries that are not those that the searches know; what was refused them says nothing.
        ``revisions``: what stands in for stated figures; None: all that was found.
        """
        snapshot = await self._present(queries, choices, fresh, revisions)
        return snapshot, await self._drafted_of(snapshot)

    async def _present(
        self,
        queries: Sequence[Query],
        choices: Mapping[QueryId, tuple[Choice, ...]],
        fresh: Collection[QueryId] = (),
        revisions: Revisions | None = None,
    ) -> Snapshot:
        """The present, as ``draft`` takes it."""
        refusals = {name: why for name, why in self._searching.refusals().items() if name not in fresh}
        pipelines = self._catalog.pipelines
        used = {query.pipeline_id for query in queries}
        keys = {
            (pipelines[pipeline_id].bundle_digest, content.digest)
            for pipeline_id in used
            for content in pipelines[pipeline_id].contents
        }
        tables = await self._profiling.tables(keys)
        snapshot = Snapshot(
            fleet=self._surroundings.fleet(pipelines, tables, choices),
            queries=tuple(queries),
            circumstances=self._surroundings.circumstances(self._profiling.failures, refusals),
            running=self._running(),
        )
        return revised(snapshot, self._revisions() if revisions is None else revisions)

    async def _drafted_of(self, snapshot: Snapshot) -> Draft:
        """What is to be solved of a snapshot; kept for when the very same comes again."""
        known = next((one for one in self._drafted if one[0] == snapshot), None)
        if known is None:
            # In a thread, so that agents are heard while a large fleet is decomposed.
            known = (snapshot, await asyncio.to_thread(draft, snapshot))
            self._drafted.append(known)
        return known[1]

    def _revisions(self) -> Revisions:
        corrected = self._accounts.service_ratio if self._accounts is not None else {}
        found = self._watching.revisions if self._watching is not None else NOTHING_REVISED
        return merged(Revisions(service_ratio=corrected), found)

    def _running(self) -> tuple[Plan, ...]:
        newest = self._rollout.newest
        return wire.selection_from_message(newest.selection).plans if newest is not None else ()


def _running_of(problem: Problem) -> frozenset[QueryId]:
    return frozenset(plan.query_id for plan in problem.running)


def _ended(problem: Problem, result: PlanResult) -> frozenset[QueryId]:
    """Running queries that a selection would end."""
    return _running_of(problem) - {plan.query_id for plan in result.selection.plans}


def summary_of(selection: Selection, assessment: Assessment) -> planner_pb2.SelectionSummary:
    """A selection's message, with the queries that had to be left out of it."""
    summary = wire.selection_to_message(selection)
    for query_id, reason in sorted(assessment.refused.items()):
        summary.unplaced.append(planner_pb2.Unplaced(query_id=query_id, reason=reason))
    for query_id, reason in sorted({**assessment.profiling, **assessment.pending}.items()):
        summary.pending.append(planner_pb2.Unplaced(query_id=query_id, reason=reason))
    return summary
