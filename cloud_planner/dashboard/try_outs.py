"""What-ifs for people who turn knobs: in a process of their own, so that a decision never waits for one.

A slider sends a new question before the last one is answered. Of a session's questions one is worked at and the newest
waits; those in between are let go. The process starts with the first question and ends when none has come for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from circinus.clock import Clock
from circinus.errors import CircinusError, TimedOut, TooLarge
from circinus.events import warning
from circinus.model.plan import NO_PLANS
from circinus.model.query import Query, QueryId
from circinus.model.what_if import WhatIf
from cloud_planner.core.configuration_front import ConfigurationFront, configuration_front
from cloud_planner.core.decompose import Choice, Fleet
from cloud_planner.core.planning import PlanResult
from cloud_planner.core.problem import Problem
from cloud_planner.solving import ExplainTask, PlanningProcess, work_live
from cloud_planner.trials import Configured, Trials, Tried

#: Seconds that a solver gets, that a task may take, and that one answer may: planned twice and explained.
SOLVER_S, TASK_S, ANSWER_S = 4.0, 30.0, 40.0
#: Sessions whose questions are worked at or wait.
_MOST_SESSIONS = 16
#: The process ends when nobody has asked for so long.
IDLE_S = 180.0
_LOOK_S = 15.0
#: Problems whose selections are kept: the present one is solved for every question.
_KEPT = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontTask:
    """A query whose pipeline's configurations are to be looked at."""

    fleet: Fleet
    query: Query


def try_live(task: Any, seconds: float) -> Any:
    """What the process does with a task; None: nothing, but all that others need is loaded."""
    if task is None:
        from cloud_planner.core import explain, select

        return [explain.__name__, select.__name__]
    if isinstance(task, FrontTask):
        return configuration_front(task.fleet, task.query)
    return work_live(task, seconds)


@dataclass(slots=True)
class _Turn:
    """A session's questions: ``asked`` counts them, so that the one that waits knows whether it is the newest."""

    asked: int = 0
    open: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class TryOuts:
    """Questions without consequences, one at a time for each session."""

    def __init__(self, trials: Trials, clock: Clock, process: PlanningProcess | None = None) -> None:
        """``process``: who works; None: one that is started with the first question."""
        self._trials = trials
        self._clock = clock
        self._process = process or PlanningProcess(solver_s=SOLVER_S, timeout_s=TASK_S, function=try_live)
        self._planning = _Remembering(self._process)
        self._turns: dict[Hashable, _Turn] = {}
        self._used_s = -inf
        self._expected = asyncio.Event()

    async def what_if(self, who: Hashable, changes: Sequence[WhatIf], query_id: QueryId) -> Tried | None:
        """What would be if things were different; None: the same session asked something newer meanwhile.

        Raises:
            InvalidInput: a change names what is not there, or a figure that can't be.
            NotFound: there is no such query.
            TimedOut: it took too long.
            TooLarge: too many ask.
        """
        return await self._ask(who, lambda: self._trials.try_out(changes, query_id, self._planning))

    async def front(self, who: Hashable, query: Query) -> ConfigurationFront | None:
        """All configurations of a query's pipeline on the fleet as it is; None: as of ``what_if``.

        Raises:
            TimedOut: it took too long.
            TooLarge: too many ask.
        """

        async def work() -> ConfigurationFront:
            snapshot = await self._trials.present(query)
            task = FrontTask(fleet=snapshot.fleet, query=snapshot.queries[0])
            found: ConfigurationFront = await self._process.run(task)
            return found

        return await self._ask(who, work)

    async def configured(self, who: Hashable, query: Query, choice: Choice) -> Configured | None:
        """A query in one configuration beside all that runs; None: as of ``what_if``.

        Raises:
            TimedOut: it took too long.
            TooLarge: too many ask.
        """
        return await self._ask(who, lambda: self._trials.configured(query, choice, self._planning))

    async def _ask(self, who: Hashable, work: Callable[[], Awaitable[T]]) -> T | None:
        if who not in self._turns and len(self._turns) >= _MOST_SESSIONS:
            raise TooLarge(f"{_MOST_SESSIONS} sessions ask what if already: try again in a moment")
        turn = self._turns.setdefault(who, _Turn())
        turn.asked += 1
        turn.open += 1
        mine = turn.asked
        try:
            async with turn.lock:
                if turn.asked != mine:
                    return None
                async with asyncio.timeout(ANSWER_S):
                    return await work()
        except TimeoutError:
            raise TimedOut(
                f"no answer within {ANSWER_S:g} s: ask for less, or try `circinus what-if`, which may take longer"
            ) from None
        finally:
            self._used_s = self._clock.monotonic_s()
            turn.open -= 1
            if not turn.open:
                del self._turns[who]

    def expect(self) -> None:
        """Somebody is about to ask: the process is started, so that they needn't wait for it."""
        self._expected.set()

    async def run(self) -> None:
        """Starts the process when somebody is about to ask, and ends it when nobody has for a while; for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make_ready(), name="what-ifs to come")
            tasks.create_task(self._rest(), name="what-ifs at rest")

    async def _make_ready(self) -> None:
        while True:
            await self._expected.wait()
            self._expected.clear()
            self._used_s = self._clock.monotonic_s()
            try:
                await self._process.run(None)
            except (CircinusError, OSError) as error:
                # Whoever asks hears of it.
                warning("what_if_process_failed", reason=f"{type(error).__name__}: {error}")

    async def _rest(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_S)
            if not self._turns and self._clock.monotonic_s() - self._used_s > IDLE_S:
                await self.close()

    async def close(self) -> None:
        """Ends the process; the next question starts another."""
        await self._process.close()


class _Remembering:
    """Plans in the process, and knows the last few answers."""

    def __init__(self, process: PlanningProcess) -> None:
        self._process = process
        self._known: deque[tuple[Problem, frozenset[QueryId], PlanResult]] = deque(maxlen=_KEPT)

    async def plan(self, problem: Problem, held: frozenset[QueryId] = frozenset()) -> PlanResult:
        """The audited selection for a problem; ``held`` queries keep their running plans or end."""
        if not problem.queries:
            return PlanResult(selection=NO_PLANS, findings=())
        for known, with_held, result in self._known:
            if with_held == held and known == problem:
                return result
        result = await self._process.plan(problem, held)
        self._known.appendleft((problem, held, result))
        return result

    async def explain(self, task: ExplainTask) -> dict[str, Any]:
        """Why a query of a selection has its plan, or none."""
        return await self._process.explain(task)

    async def close(self) -> None:
        """Ends the process."""
        await self._process.close()
