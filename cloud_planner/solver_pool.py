"""Workers that solve the programmes of column generation, each in a process of its own.

HiGHS does the work where it is installed, else CBC. What a worker does wrong (it crashes, hangs, eats memory, answers
what breaks a row) is a failed result that says so; the next task gets a new process.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import inf
from queue import SimpleQueue
from threading import Thread

import numpy as np
from scipy.sparse import csc_array, hstack

from cloud_planner.core.column_generation.programmes import (
    IntegerResult,
    IntegerTask,
    LinearResult,
    Master,
    Programmes,
)
from cloud_planner.core.column_generation.space import Array
from cloud_planner.core.select.milp import MilpStatus
from cloud_planner.solver_process import LimitedProcess, ProcessFault

#: Rows may be exceeded by so much, against their right-hand side or 1.
_TOLERANCE_RATIO = 1e-6
#: Tasks that wait beside those that are worked at.
_AHEAD = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What a worker may take: ``hang_s`` where a task has no time limit of its own, else ``grace_s`` beyond it."""

    hang_s: float = 600.0
    grace_s: float = 10.0
    memory_bytes: int | None = 2 * 2**30


class SolverPool:
    """Workers for integer programmes and one for linear programmes; may be closed and used again."""

    def __init__(self, workers: int | None = None, limits: PoolLimits | None = None) -> None:
        self._limits = limits or PoolLimits()
        self._workers = [LimitedProcess() for _ in range(workers or max(1, min(8, os.cpu_count() or 1)))]
        self._free: SimpleQueue[LimitedProcess] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._linear = LimitedProcess()
        self._sessions = count()

    def start(self) -> None:
        """Starts all processes and has them import what they need."""
        nothing = IntegerTask(
            use=csc_array((0, 0)), rhs=np.zeros(0), gain=np.zeros(0), most=np.zeros(0), start=np.zeros(0)
        )
        first = self.masters(np.zeros(0))
        # As many at once as there are workers, so that each gets one.
        waiting = [self._begin(nothing) for _ in self._workers]
        first.solve()
        for one in waiting:
            one.result()

    def programmes(self) -> Programmes:
        """How column generation is to solve its programmes."""
        return Programmes(masters=self.masters, integers=self)

    def masters(self, rhs: Array) -> Master:
        """Starts a growing linear programme; one is worked at, at a time."""
        return _PooledMaster(self._linear, self._limits, next(self._sessions), rhs)

    def __call__(self, tasks: Iterable[IntegerTask]) -> Iterator[IntegerResult]:
        """Solves integer programmes side by side; results in their order."""
        ahead: deque[Future[IntegerResult]] = deque()
        coming = iter(tasks)
        try:
            while True:
                while len(ahead) < len(self._workers) + _AHEAD:
                    task = next(coming, None)
                    if task is None:
                        break
                    ahead.append(self._begin(task))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            for one in ahead:
                one.cancel()

    def _begin(self, task: IntegerTask) -> Future[IntegerResult]:
        """Begins a task as soon as a worker is free. The program needn't wait for it when it ends."""
        future: Future[IntegerResult] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._solve(task))
                except BaseException as error:  # it is for whoever waits
                    future.set_exception(error)

        Thread(target=work, name="circinus-solver", daemon=True).start()
        return future

    def _solve(self, task: IntegerTask) -> IntegerResult:
        limits, worker = self._limits, self._free.get()
        seconds = limits.hang_s if task.seconds is None else task.seconds + limits.grace_s
        try:
            found = worker.call(solve_integer, task, seconds=seconds, memory_bytes=limits.memory_bytes)
        except ProcessFault as fault:
            return _failed(f"solver {fault.fault}: {fault.detail}")
        finally:
            self._free.put(worker)
        return checked(task, found)

    def close(self) -> None:
        """Ends all processes."""
        for worker in (*self._workers, self._linear):
            worker.close()


class _PooledMaster:
    """A growing linear programme in the worker: only what is new crosses over."""

    def __init__(self, process: LimitedProcess, limits: PoolLimits, session: int, rhs: Array) -> None:
        self._process, self._limits, self._session, self._rhs = process, limits, session, rhs
        self._use = csc_array((len(rhs), 0))
        self._gain, self._most = np.zeros(0), np.zeros(0)
        self._sent = 0

    def add(self, use: csc_array, gain: Array, most: Array) -> None:
        self._use = csc_array(hstack([self._use, use], format="csc"))
        self._gain, self._most = np.append(self._gain, gain), np.append(self._most, most)

    def solve(self) -> LinearResult:
        fresh = _Columns(use=self._use[:, self._sent :], gain=self._gain[self._sent :], most=self._most[self._sent :])
        step = _Step(session=self._session, rhs=self._rhs if not self._sent else None, fresh=fresh)
        self._sent = len(self._gain)
        limits = self._limits
        try:
            found = self._process.call(solve_linear, step, seconds=limits.hang_s, memory_bytes=limits.memory_bytes)
        except ProcessFault as fault:
            return LinearResult(
                solved=False, values=np.zeros(0), duals=np.zeros(0), detail=f"solver {fault.fault}: {fault.detail}"
            )
        return self._checked(found)

    def _checked(self, found: LinearResult) -> LinearResult:
        if not found.solved:
            return found
        fault = ""
        if len(found.values) != len(self._gain) or len(found.duals) != len(self._rhs):
            fault = "values are missing"
        elif not (np.isfinite(found.values).all() and np.isfinite(found.duals).all()):
            fault = "values are not finite"
        elif _exceeds(self._use, self._rhs, found.values):
            fault = "a row is exceeded"
        if not fault:
            return found
        detail = f"solver answered wrongly: {fault}"
        return LinearResult(solved=False, values=np.zeros(0), duals=np.zeros(0), detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    use: csc_array
    gain: Array
    most: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One solve of a growing programme. ``rhs``: of a new one; None: it goes on."""

    session: int
    rhs: Array | None
    fresh: _Columns


#: In the worker: the programme that is worked at, by its session.
_MASTERS: dict[int, Master] = {}


def solve_linear(step: _Step) -> LinearResult:
    """In the worker: goes on with a programme, or begins a new one in the last one's place."""
    if step.rhs is not None:
        _MASTERS.clear()
        _MASTERS[step.session] = _master(step.rhs)
    master = _MASTERS.get(step.session)
    if master is None:
        detail = "the programme was lost with its process, or gave way to another"
        return LinearResult(solved=False, values=np.zeros(0), duals=np.zeros(0), detail=detail)
    if len(step.fresh.gain):
        master.add(step.fresh.use, step.fresh.gain, step.fresh.most)
    return master.solve()


def _master(rhs: Array) -> Master:
    from cloud_planner import highs

    if highs.library() is not None:
        return highs.HighsMaster(rhs)
    from cloud_planner.cbc import CbcMaster

    return CbcMaster(rhs)


def solve_integer(task: IntegerTask) -> IntegerResult:
    """In the worker: one integer programme."""
    from cloud_planner import cbc, highs

    if highs.library() is not None:
        return highs.solve_integer(task)
    return cbc.solve_integer(task)


def checked(task: IntegerTask, found: IntegerResult) -> IntegerResult:
    """The result, or a failed one if it can't be right."""
    values = found.values
    if found.status is not MilpStatus.FAILED and len(task.gain):
        started = float(task.gain @ task.start)
        if found.bound < started - 1e-6 * max(1.0, abs(started)):
            return _failed("solver answered wrongly: the start is better than its bound")
    if not len(values):
        return found
    fault = ""
    if len(values) != len(task.gain) or not np.isfinite(values).all():
        fault = "values are missing"
    elif (values < -1e-9).any() or (values > task.most + 1e-9).any() or (values != np.round(values)).any():
        fault = "a value is out of its bounds"
    elif _exceeds(task.use, task.rhs, values):
        fault = "a row is exceeded"
    elif float(task.gain @ values) > found.bound + 1e-6 * max(1.0, abs(found.bound)):
        fault = "its values are better than its bound"
    return _failed(f"solver answered wrongly: {fault}") if fault else found


def _exceeds(use: csc_array, rhs: Array, values: Array) -> bool:
    return bool((use @ values > rhs + _TOLERANCE_RATIO * np.maximum(1.0, np.abs(rhs))).any())


def _failed(detail: str) -> IntegerResult:
    return IntegerResult(status=MilpStatus.FAILED, values=np.zeros(0), bound=inf, detail=detail)


@cache
def warm_pool() -> SolverPool:
    """The one pool of this program, started when it is first asked for."""
    made = SolverPool()
    atexit.register(made.close)
    return made
