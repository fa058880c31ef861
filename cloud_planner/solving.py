"""Planning and search steps in processes of their own, so that the event loop never waits for them.

A process is started when it is first needed and kept warm. It ends with the planner: its pipe breaks. One that takes
too long, or dies in the solver, is killed and replaced.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, Protocol, TypeVar

from circinus.errors import Internal, TimedOut
from circinus.events import warning
from circinus.model.device import Digest
from circinus.model.plan import Selection
from circinus.model.profile import ProfileTable
from circinus.model.query import QueryId
from cloud_planner.core.live_search import SearchStepResult, SearchTask, StepMemo
from cloud_planner.core.planning import PlanResult
from cloud_planner.core.problem import Problem

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_TaskContra = TypeVar("_TaskContra", contravariant=True)
_ResultCo = TypeVar("_ResultCo", covariant=True)


class Offloaded(Protocol[_TaskContra, _ResultCo]):
    """Work that is done elsewhere."""

    async def run(self, task: _TaskContra) -> _ResultCo:
        """The result of a task.

        Raises:
            Internal: the work itself failed.
            TimedOut: it took too long.
        """

    async def start(self) -> None:
        """Makes ready, so that the first task needn't wait."""

    async def close(self) -> None:
        """Ends whatever works."""


class Planning(Protocol):
    """Plans, wherever."""

    async def plan(self, problem: Problem, held: frozenset[QueryId] = frozenset()) -> PlanResult:
        """The audited selection for a problem; ``held`` queries keep their running plans or end.

        Raises:
            Internal: planning itself failed.
            TimedOut: it took too long.
        """

    async def explain(self, task: ExplainTask) -> dict[str, Any]:
        """Why a query has its plan, or none, as the document of docs/explain.md.

        Raises:
            Internal: explaining itself failed.
            TimedOut: it took too long.
        """

    async def close(self) -> None:
        """Ends whatever plans."""


def plan_live(problem: Problem, seconds: float, held: frozenset[QueryId] = frozenset()) -> PlanResult:
    """Plans for so many seconds at most; if a solver dies, in a process of its own, a selection still stands.

    Small problems go to CBC, large ones to column generation, whose workers end with this process.
    """
    from cloud_planner.core.audit_figures import audit_figures
    from cloud_planner.core.planning import plan
    from cloud_planner.core.select import SelectLimits, Work
    from cloud_planner.core.select.large import Generation
    from cloud_planner.solver import CbcSolver
    from cloud_planner.solver_pool import warm_pool
    from cloud_planner.solver_process import warm_solver

    generation = Generation(programmes=warm_pool().programmes(), seconds=seconds, clock_s=time.monotonic)
    limits = SelectLimits(work=Work(max_seconds=seconds), generation=generation, held=held)
    result = plan(problem, warm_solver(CbcSolver), limits)
    more = audit_figures(problem, result.selection)
    return replace(result, findings=(*result.findings, *(str(finding) for finding in more)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTask:
    """A problem of which some queries keep their running plans or end."""

    problem: Problem
    held: frozenset[QueryId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTask:
    """A query of a selection that is to be explained."""

    problem: Problem
    selection: Selection
    query_id: QueryId


def explain_live(task: ExplainTask) -> dict[str, Any]:
    """The document that explains it."""
    from cloud_planner.core.explain import explain
    from cloud_planner.offline.explained import explanation_document
    from cloud_planner.solver import CbcSolver
    from cloud_planner.solver_process import warm_solver

    found = explain(task.problem, task.selection, task.query_id, warm_solver(CbcSolver))
    return dict(explanation_document(found))


def work_live(task: Problem | HoldTask | ExplainTask, seconds: float) -> PlanResult | dict[str, Any]:
    """What the planning process does with a task."""
    if isinstance(task, HoldTask):
        return plan_live(task.problem, seconds, task.held)
    return explain_live(task) if isinstance(task, ExplainTask) else plan_live(task, seconds)


TableKey = tuple[Digest, Digest]


@dataclass(slots=True)
class _Known:
    """What the process that makes search steps keeps from one to the next."""

    tables: dict[TableKey, ProfileTable] = field(default_factory=dict)
    memo: StepMemo = field(default_factory=StepMemo)


_KNOWN = _Known()


def step_live(packed: tuple[SearchTask, tuple[TableKey, ...]], _seconds: float) -> SearchStepResult:
    """One step of a query's search, in the process: of the tables that the task needs, it carries the new ones."""
    from cloud_planner.core.live_search import search_step

    task, keys = packed
    _KNOWN.tables.update(task.fleet.tables)
    tables = {key: _KNOWN.tables[key] for key in keys}
    return search_step(replace(task, fleet=replace(task.fleet, tables=tables)), _KNOWN.memo)


def _serve(connection: Connection, function: Callable[[Any, float], Any]) -> None:
    """The process: tasks in, results or error texts out, until the pipe breaks."""
    # Ctrl-C goes to the whole foreground group; the planner itself says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task, seconds = connection.recv()
        except EOFError:
            return
        try:
            answer = function(task, seconds)
        except Exception as error:  # whatever goes wrong in the core must not end the process without a word
            answer = f"{type(error).__name__}: {error}"
        connection.send(answer)


class WorkProcess(Generic[_Task, _Result]):
    """Works in a child process, one task at a time.

    ``function``: what turns a task and a number of seconds into a result; a module-level one, since it crosses to the
    process by name. ``what`` it is called in messages.
    """

    def __init__(
        self, function: Callable[[_Task, float], _Result], *, what: str, seconds: float = 20.0, timeout_s: float = 120.0
    ) -> None:
        self._what = what
        self._seconds = seconds
        self._timeout_s = timeout_s
        self._function = function
        self._lock = asyncio.Lock()
        self._starts = 0
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    async def start(self) -> None:
        """Starts the process, so that the first task needn't wait for it."""
        async with self._lock:
            await self._ready()

    async def run(self, task: _Task) -> _Result:
        """The result of a task."""
        async with self._lock:
            connection = await self._ready()
            asking = asyncio.create_task(asyncio.to_thread(_ask, connection, self._packed(task), self._seconds))
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await asyncio.shield(asking)
            except TimeoutError:
                await self._kill(asking)
                raise TimedOut(f"{self._what} took more than {self._timeout_s:g} s; the plan in force stays") from None
            except (EOFError, OSError) as error:
                await self._kill()
                raise Internal(f"the {self._what} process died; the plan in force stays") from error
            except asyncio.CancelledError:
                await self._kill(asking)
                raise
        if isinstance(answer, str):
            raise Internal(f"{self._what} failed: {answer}")
        result: _Result = answer
        return result

    def _packed(self, task: _Task) -> Any:
        """A task as it is sent to the process, which is there."""
        return task

    async def _ready(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            await self._kill()
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self._function), name=f"circinus-{self._what}", daemon=True
            )
            await asyncio.to_thread(self._process.start)
            theirs.close()
            self._starts += 1
        return self._connection

    async def _kill(self, asking: asyncio.Task[Any] | None = None) -> None:
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if process is not None:
            process.kill()
            # A killed process is gone at once, so this waits for nothing that could hang.
            process.join(timeout=5.0)
            if process.is_alive():
                warning("planning_process_remains", pid=process.pid)
            else:
                process.close()
        if asking is not None:
            # Its thread sees the broken pipe; the descriptor must not be reused before.
            await asyncio.wait([asking], timeout=5.0)
            if asking.done() and not asking.cancelled():
                asking.exception()
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Kills the process."""
        await self._kill()


class PlanningProcess(WorkProcess[Any, Any]):
    """Plans and explains in a child process, one task at a time."""

    def __init__(
        self,
        *,
        solver_s: float = 20.0,
        timeout_s: float = 120.0,
        function: Callable[[Any, float], Any] = work_live,
    ) -> None:
        super().__init__(function, what="planning", seconds=solver_s, timeout_s=timeout_s)

    async def plan(self, problem: Problem, held: frozenset[QueryId] = frozenset()) -> PlanResult:
        """The audited selection for a problem; ``held`` queries keep their running plans or end."""
        found: PlanResult = await self.run(HoldTask(problem=problem, held=held) if held else problem)
        return found

    async def explain(self, task: ExplainTask) -> dict[str, Any]:
        """Why a query has its plan, or none."""
        found: dict[str, Any] = await self.run(task)
        return found


class SearchProcess(WorkProcess[SearchTask, SearchStepResult]):
    """Makes steps of searches in a child process, one at a time."""

    def __init__(self) -> None:
        super().__init__(step_live, what="searching")  # type: ignore[arg-type]  # it gets tasks as _packed makes them
        self._sent: dict[TableKey, ProfileTable] = {}
        self._sent_to = 0

    def _packed(self, task: SearchTask) -> Any:
        """The task with those tables only that this process hasn't got; and the keys of all."""
        if self._sent_to != self._starts:
            self._sent, self._sent_to = {}, self._starts
        tables = task.fleet.tables
        fresh = {key: table for key, table in tables.items() if self._sent.get(key) is not table}
        self._sent.update(fresh)
        return replace(task, fleet=replace(task.fleet, tables=fresh)), tuple(tables)


def _ask(connection: Connection, task: object, seconds: float) -> Any:
    connection.send((task, seconds))
    return connection.recv()
