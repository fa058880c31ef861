"""Planning in a process of its own, so that the event loop never waits for the solver.

The process is started when it is first needed and kept warm. It ends with the planner: its pipe breaks. One that
takes too long, or dies in the solver, is killed and replaced.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol

from circinus.errors import Internal, TimedOut
from circinus.events import warning
from cloud_planner.core.planning import PlanResult
from cloud_planner.core.problem import Problem

#: What turns a problem into a result; a module-level function, since it crosses to another process by name.
PlanFunction = Callable[[Problem, float], PlanResult]


class Planning(Protocol):
    """Plans, wherever."""

    async def plan(self, problem: Problem) -> PlanResult:
        """The audited selection for a problem.

        Raises:
            Internal: planning itself failed.
            TimedOut: it took too long.
        """

    async def close(self) -> None:
        """Ends whatever plans."""


def plan_live(problem: Problem, seconds: float) -> PlanResult:
    """Plans with CBC, for so many seconds at most."""
    from cloud_planner.core.planning import plan
    from cloud_planner.core.select import SelectLimits, Work
    from cloud_planner.solver import CbcSolver

    return plan(problem, CbcSolver(), SelectLimits(work=Work(max_seconds=seconds)))


def _serve(connection: Connection, function: PlanFunction) -> None:
    """The process: problems in, results or error texts out, until the pipe breaks."""
    # Ctrl-C goes to the whole foreground group; the planner itself says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            problem, seconds = connection.recv()
        except EOFError:
            return
        try:
            answer: PlanResult | str = function(problem, seconds)
        except Exception as error:  # whatever goes wrong in the core must not end the process without a word
            answer = f"{type(error).__name__}: {error}"
        connection.send(answer)


class PlanningProcess:
    """Plans in a child process, one problem at a time."""

    def __init__(self, *, solver_s: float = 20.0, timeout_s: float = 120.0, function: PlanFunction = plan_live) -> None:
        self._solver_s = solver_s
        self._timeout_s = timeout_s
        self._function = function
        self._lock = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    async def plan(self, problem: Problem) -> PlanResult:
        """The audited selection for a problem."""
        async with self._lock:
            connection = await self._ready()
            asking = asyncio.create_task(asyncio.to_thread(_ask, connection, problem, self._solver_s))
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await asyncio.shield(asking)
            except TimeoutError:
                await self._kill(asking)
                raise TimedOut(f"planning took more than {self._timeout_s:g} s; the plan in force stays") from None
            except (EOFError, OSError) as error:
                await self._kill()
                raise Internal("the planning process died; the plan in force stays") from error
            except asyncio.CancelledError:
                await self._kill(asking)
                raise
        if isinstance(answer, str):
            raise Internal(f"planning failed: {answer}")
        return answer

    async def _ready(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            await self._kill()
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self._function), name="circinus-planning", daemon=True
            )
            await asyncio.to_thread(self._process.start)
            theirs.close()
        return self._connection

    async def _kill(self, asking: asyncio.Task[PlanResult | str] | None = None) -> None:
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


def _ask(connection: Connection, problem: Problem, seconds: float) -> PlanResult | str:
    connection.send((problem, seconds))
    answer: PlanResult | str = connection.recv()
    return answer
