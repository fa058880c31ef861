"""Candidate searches of all queries: a step whenever something is known that was not, off the event loop.

A step is made from the present tables and the query's attempts; what it asks for is handed to profiling, what it
chose to planning. Nothing is lost with the planner: attempts and what was spent are stored before anything is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.pipeline import configuration_key
from circinus.model.query import Query, QueryId
from circinus.model.search import MAX_STEPS, SearchPhase, SearchState, SearchStep
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.core.decompose import Choice, Fleet, content_of, impossibility
from cloud_planner.core.live_search import SearchStepResult, SearchTask, Spent, begun, over_budget
from cloud_planner.core.needs import Circumstances, ProfileNeed, preparing, search_need
from cloud_planner.core.search_terms import (
    Attempt,
    SearchPolicy,
)
from cloud_planner.profiling import Profiling, TableKey
from cloud_planner.solving import Offloaded
from cloud_planner.store import SearchRecord, Store
from cloud_planner.surroundings import Surroundings

_TICK_S = 5.0
#: A search whose wish is still open may go so long without a step while others' samples of its content come in.
_STALE_S = 2.0


@dataclass(slots=True, kw_only=True)
class _Search:
    """One query's search. ``task``: what the last step was made from; ``result``: what it found.

    ``idle``: nothing is asked for, and nothing more will be as things stand. ``stepped_s``: of the last step.
    """

    submitted_at: datetime
    submitted_s: float
    attempts: tuple[Attempt, ...] = ()
    spent: Spent = field(default_factory=Spent)
    history: tuple[SearchStep, ...] = ()
    task: SearchTask | None = None
    stepped_s: float = 0.0
    result: SearchStepResult | None = None
    agreement: bool = False
    asks: bool = False
    idle: bool = False


class Searching:
    """Runs searches. ``changed`` rings when there may be something new, ``replan`` when a choice changed."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        profiling: Profiling,
        surroundings: Surroundings,
        steps: Offloaded[SearchTask, SearchStepResult],
        clock: Clock,
        *,
        changed: Bell,
        replan: Bell,
        watched: Bell,
        policy: SearchPolicy,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._profiling = profiling
        self._surroundings = surroundings
        self._steps = steps
        self._clock = clock
        self._changed = changed
        self._replan = replan
        self._watched = watched
        self._policy = policy
        self._searches: dict[QueryId, _Search] = {}
        self._verifications: tuple[ProfileNeed, ...] = ()
        self._heard = -1
        self._busy = False
        self._deferred = False
        self._looked = False

    async def load(self) -> None:
        """Takes up the searches of an earlier run."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        for record in await self._store.searches():
            state = wire.search_from_message(record.state)
            self._searches[record.query_id] = _Search(
                submitted_at=record.submitted_at,
                submitted_s=now_s - max(0.0, (now - record.submitted_at).total_seconds()),
                attempts=record.attempts,
                spent=Spent(samples=state.samples_done, operator_s=state.operator_s, cost=state.profile_cost),
                history=state.history,
            )

    @property
    def up_to_date(self) -> bool:
        """Whether every search took in all that changed, and none waits for anything."""
        return not self._busy and not self._deferred and self._heard >= self._changed.rings

    @property
    def looked(self) -> bool:
        """Whether every query was looked at since the planner started: before, there are no choices to plan with."""
        return self._looked

    @property
    def asking(self) -> bool:
        """Whether some search waits for samples."""
        return any(search.asks for search in self._searches.values())

    def choices(self) -> dict[QueryId, tuple[Choice, ...]]:
        """What each query may be planned with now."""
        return {
            query_id: search.result.choices
            for query_id, search in self._searches.items()
            if search.result is not None and search.result.choices
        }

    def refusals(self) -> dict[QueryId, str]:
        """The queries whose search found nothing, and why."""
        found = {}
        for query in self._catalog.queries:
            search = self._searches.get(query.id)
            result = search.result if search is not None else None
            if result is None or result.choices or result.wanted is not None:
                continue
            if result.stopped:
                found[query.id] = f"no configuration was certified: {result.stopped}"
            elif result.phase is SearchPhase.REFUSED:
                found[query.id] = (
                    f"no configuration of {query.pipeline_id} meets its SLO on {query.content}, as far as "
                    "measurements and what follows from them tell: lower its accuracy bound, or raise latency or cost"
                )
        return found

    def state(self, query_id: QueryId) -> SearchState | None:
        """What is known of a query's search; None: it hasn't begun."""
        search = self._searches.get(query_id)
        return self._state(query_id, search) if search is not None else None

    def begin_anew(self, query_ids: Collection[QueryId]) -> None:
        """Forgets what was found for these queries: what they ask for is another thing now."""
        for query_id in query_ids:
            self._searches.pop(query_id, None)

    def verify(self, needs: Sequence[ProfileNeed]) -> None:
        """What plans need measured; it goes before what searches ask for."""
        if tuple(needs) != self._verifications:
            self._verifications = tuple(needs)
            self._changed.ring()

    async def run(self) -> None:
        """Steps whenever something changed, for ever."""
        while True:
            await self._changed.wait(self._heard, _STALE_S if self._deferred else _TICK_S)
            heard = self._changed.rings
            self._busy = True
            try:
                await self._attempt()
                if not self._looked:
                    self._looked = True
                    self._replan.ring()
            except CircinusError as error:
                warning("search_failed", reason=error.message)
            except Exception as error:  # a fault of searching must not end what the planner does beside it
                warning("search_failed", reason=f"{type(error).__name__}: {error}")
            finally:
                self._busy = False
                self._heard = heard
                self._watched.ring()

    async def _attempt(self) -> None:
        version = self._profiling.version
        there = {query.id for query in self._catalog.queries}
        self._deferred = False
        self._searches = {query_id: search for query_id, search in self._searches.items() if query_id in there}
        self._surroundings.ask_for_environments()
        self._note_charges()
        asks: list[tuple[tuple[int, float], ProfileNeed]] = []
        for query in self._in_turn():
            search = self._searches.get(query.id)
            if search is None:
                search = _Search(submitted_at=self._clock.now(), submitted_s=self._clock.monotonic_s())
                self._searches[query.id] = search
            pipeline = self._catalog.pipelines[query.pipeline_id].pipeline
            search.agreement = pipeline.content(query.content).reference is not None
            circumstances = self._surroundings.circumstances(self._profiling.failures)
            fleet = await self._fleet(query)
            try:
                need = await self._step(query, search, fleet, circumstances)
            except CircinusError as error:
                # Others go on; it is tried again with the next pass.
                warning("search_failed", query=query.id, reason=error.message)
                need = None
            search.asks = need is not None
            search.idle = need is None and self._hopeless(query, fleet, circumstances)
            if need is not None:
                result = search.result
                certified = result is not None and result.phase is SearchPhase.CERTIFIED
                # Who has nothing comes first, then who has nothing that is proven.
                rank = 0 if result is None or not result.choices else 2 if certified else 1
                asks.append(((rank, search.submitted_s), need))
        asks.sort(key=lambda one: one[0])
        nothing_yet = [need for (rank, _), need in asks if rank == 0]
        others = [need for (rank, _), need in asks if rank > 0]
        self._profiling.update((*nothing_yet, *self._verifications, *others), version)

    def _in_turn(self) -> Iterator[Query]:
        """Every query once. Who waits for a first word, even since a moment, doesn't wait for the others' next one."""
        heard, done = self._changed.rings, set[QueryId]()
        waiting = deque(sorted(self._catalog.queries, key=lambda query: query.id in self._searches))
        while waiting:
            query = waiting.popleft()
            done.add(query.id)
            yield query
            if self._changed.rings != heard:
                heard = self._changed.rings
                new = [one for one in self._catalog.queries if one.id not in self._searches and one.id not in done]
                known = {one.id for one in new}
                waiting = deque((*new, *(one for one in waiting if one.id not in known)))

    async def _fleet(self, query: Query) -> Fleet:
        registered = self._catalog.pipelines[query.pipeline_id]
        keys = [(registered.bundle_digest, content.digest) for content in registered.contents]
        tables = await self._profiling.tables(keys)
        return self._surroundings.fleet({query.pipeline_id: registered}, tables)

    async def _step(
        self, query: Query, search: _Search, fleet: Fleet, circumstances: Circumstances
    ) -> ProfileNeed | None:
        """One step of a query's search; gives the run that it asks for."""
        if preparing(fleet, query, circumstances.unanswered) or impossibility(fleet, query):
            return None
        registered = fleet.pipelines[query.pipeline_id]
        key = (registered.bundle_digest, content_of(registered, query.content).digest)
        task = SearchTask(
            fleet=fleet,
            query=query,
            attempts=search.attempts,
            spent=search.spent,
            failed=frozenset(self._profiling.broken(key)),
            chosen=_believed_choice(search.result),
            policy=self._policy_of(query),
        )
        if search.result is None or _news(search.task, task, key):
            if self._may_wait(search, task, key):
                self._deferred = True
            else:
                before, search.stepped_s = search.result, self._clock.monotonic_s()
                result = await self._steps.run(task)
                search.task, search.result, search.attempts = task, result, result.attempts
                await self._note(query, search, before)
        wanted = search.result.wanted if search.result is not None else None
        return search_need(fleet, query, wanted, circumstances) if wanted is not None else None

    def _may_wait(self, search: _Search, task: SearchTask, key: TableKey) -> bool:
        """Whether all that is new are others' samples, and nothing has come yet of what the search asked for last."""
        if search.result is None or search.task is None or search.result.wanted is None:
            return False
        stale = self._clock.monotonic_s() - search.stepped_s >= _STALE_S
        untouched = not begun(search.result.wanted, task.fleet.tables.get(key))
        return untouched and not stale and _rest(search.task) == _rest(task)

    def _hopeless(self, query: Query, fleet: Fleet, circumstances: Circumstances) -> bool:
        """Whether a query without a run to ask for can't be planned, or every class failed: it waits for nobody."""
        if preparing(fleet, query, circumstances.unanswered):
            return False
        if impossibility(fleet, query):
            return True
        registered = fleet.pipelines[query.pipeline_id]
        key = (registered.bundle_digest, content_of(registered, query.content).digest)
        return any(failed[:2] == key for failed in circumstances.failures)

    def _policy_of(self, query: Query) -> SearchPolicy:
        return replace(self._policy, guarantee=query.guarantee, margin_ratio=query.slo.accuracy_margin_ratio)

    async def _note(self, query: Query, search: _Search, before: SearchStepResult | None) -> None:
        """Keeps what a step found, and has planning hear of it."""
        result = search.result
        if result is None:
            return
        ended = result.wanted is None
        # A plan that waits for its times to be measured is certified by the next decision.
        replans = before is None or before.choices != result.choices or (ended and before.wanted is not None)
        if replans or self._verifications:
            # Before anything is awaited: who sees the search finished must not take the last decision for its answer.
            self._replan.ring()
        last = search.history[-1] if search.history else None
        news = last is None or (last.phase, last.configuration) != (result.phase, result.configuration)
        if not news and last is not None and result.cost_per_h is not None:
            news = last.cost_per_h is None or abs(result.cost_per_h - last.cost_per_h) > 0.02 * last.cost_per_h
        if news:
            elapsed_s = self._clock.monotonic_s() - search.submitted_s
            step = SearchStep(
                at=self._clock.now(),
                phase=result.phase,
                configuration=result.configuration,
                accuracy_ratio=result.accuracy,
                cost_per_h=result.cost_per_h,
                samples_done=search.spent.samples,
                elapsed_s=elapsed_s,
            )
            search.history = (*search.history, step)[-MAX_STEPS:]
            event("search_step", query=query.id, phase=result.phase, samples=search.spent.samples, elapsed_s=elapsed_s)
        if self._searches.get(query.id) is not search:
            # It was begun anew meanwhile: what was found is of another question.
            return
        message = wire.search_to_message(self._state(query.id, search))
        await self._store.put_search(
            SearchRecord(query_id=query.id, submitted_at=search.submitted_at, attempts=search.attempts, state=message)
        )
        self._watched.ring()

    def _state(self, query_id: QueryId, search: _Search) -> SearchState:
        result, spent = search.result, search.spent
        if result is None:
            return SearchState(
                phase=SearchPhase.UNKNOWN,
                finished=search.idle,
                agreement=search.agreement,
                samples_done=spent.samples,
                operator_s=spent.operator_s,
                profile_cost=spent.cost,
                history=search.history,
            )
        return SearchState(
            phase=result.phase,
            finished=(result.wanted is None or search.idle)
            and not any(need.query_id == query_id for need in self._verifications),
            configuration=result.configuration,
            probability_ratio=min(1.0, max(0.0, result.probability_ratio)),
            accuracy_ratio=result.accuracy,
            agreement=search.agreement,
            cost_per_h=result.cost_per_h,
            samples_done=spent.samples,
            operator_s=spent.operator_s,
            profile_cost=spent.cost,
            candidates_left=result.candidates_left,
            eta_s=result.eta_s,
            stopped=result.stopped,
            history=search.history,
        )

    def _note_charges(self) -> None:
        prices = self._surroundings.core_prices_per_h()
        for charge in self._profiling.take_charges():
            search = self._searches.get(charge.query_id)
            if search is not None:
                search.spent = Spent(
                    samples=search.spent.samples + charge.samples,
                    operator_s=search.spent.operator_s + charge.operator_s,
                    cost=search.spent.cost + charge.operator_s * prices.get(charge.device_id, 0.0) / 3600.0,
                )

    async def choices_for(self, extra: Sequence[Query]) -> Mapping[QueryId, tuple[Choice, ...]]:
        """What queries that nobody submitted could be planned with now; nothing is asked for."""
        found = {}
        for query in extra:
            fleet = await self._fleet(query)
            if not impossibility(fleet, query):
                result = await self._steps.run(SearchTask(fleet=fleet, query=query, policy=self._policy_of(query)))
                if result.choices:
                    found[query.id] = result.choices
        return found


def _news(before: SearchTask | None, now: SearchTask, key: TableKey) -> bool:
    """Whether a step may find what the last one didn't. What other contents show matters at the beginning alone."""
    if before is None:
        return True
    same_table = before.fleet.tables.get(key) is now.fleet.tables.get(key)
    spent = over_budget(now.query, before.spent) != over_budget(now.query, now.spent)
    return not same_table or spent or _rest(before) != _rest(now)


def _rest(task: SearchTask) -> tuple[object, ...]:
    """What a step goes by beside tables and budgets."""
    return (task.fleet.devices, task.query, task.failed, task.policy)


def _believed_choice(result: SearchStepResult | None) -> str:
    """The key of the configuration that a query may be served with on belief; empty: there is none."""
    if result is None or not result.choices or result.choices[0].certified:
        return ""
    return configuration_key(result.choices[0].configuration)
