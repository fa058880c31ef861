"""A solver in a process of its own: it may crash, hang, eat memory or lie, and what it was asked for still ends.

``LimitedProcess`` runs any module-level function on a value that can be pickled. ``ProcessSolver`` is a Solver on top
of it: whatever goes wrong is a failed result whose detail begins with the name of the fault. The process is started
once and kept warm; it ends with its parent, and after a fault the next call starts a new one.
"""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, TypeVar

from circinus.errors import Internal
from cloud_planner.core.select.milp import Milp, MilpResult, Solver, Work
from cloud_planner.solver_check import checked, failed
from cloud_planner.solver_worker import BEGUN, GAVE, NO_MEMORY

V = TypeVar("V")
R = TypeVar("R")

#: From the start of a process to its first answer: it imports what the function needs.
_START_S = 60.0
#: How often the process's memory is looked at while it works.
_LOOK_S = 0.1
#: A process that died when it held so much of its limit died of it.
_NEAR_LIMIT_RATIO = 0.9
_STDERR_BYTES = 4_000
#: What is said on standard error by who dies of it.
_NO_MEMORY_WORDS = ("bad_alloc", "memoryerror", "memory allocation", "cannot allocate memory", "out of memory")


class Fault(StrEnum):
    """How a call went wrong."""

    CRASHED = "crashed"
    HUNG = "hung"
    OUT_OF_MEMORY = "out of memory"
    RAISED = "raised an error"


class ProcessFault(Internal):
    """A call in a process of its own gave no answer."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    connection: Connection
    lifeline: int
    stderr: IO[bytes]
    peak_bytes: int = 0


class LimitedProcess:
    """One child process, one call at a time; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def start(self) -> None:
        """Starts the process, without waiting for it."""
        with self._lock:
            self._ready()

    @property
    def pid(self) -> int | None:
        """The process there is now."""
        child = self._child
        return None if child is None else child.process.pid

    def call(self, function: Callable[[V], R], value: V, *, seconds: float, memory_bytes: int | None = None) -> R:
        """``function(value)``, run in the process.

        Args:
            function: A module-level one, since it crosses by name.
            value: Anything that can be pickled.
            seconds: From the moment at which it runs; then the process is killed.
            memory_bytes: Most private memory that the process may hold, with what its modules take; None: no limit.

        Raises:
            ProcessFault: it crashed, hung, ran out of memory or raised.
        """
        packed = pickle.dumps((function, value), protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            try:
                kind, answer = self._asked(packed, seconds, memory_bytes)
            except BaseException:
                self._end()
                raise
            if kind == NO_MEMORY:
                # What it holds by now is anybody's guess.
                self._end()
                raise ProcessFault(Fault.OUT_OF_MEMORY, _limit_text(memory_bytes))
        if kind != GAVE:
            raise ProcessFault(Fault.RAISED, str(answer))
        found: R = answer
        return found

    def _asked(self, packed: bytes, seconds: float, memory_bytes: int | None) -> tuple[str, Any]:
        child = self._ready()
        child.peak_bytes = 0
        # The offset is shared: what it says from now on stands at the beginning.
        child.stderr.seek(0)
        child.stderr.truncate()
        # A process that stands still before it has taken in the whole task would block the sending.
        watch = threading.Timer(_START_S, child.process.kill)
        watch.daemon = True
        watch.start()
        try:
            child.connection.send((memory_bytes, packed))
            kind, answer = self._received(child, _START_S)
        except (EOFError, OSError) as error:
            raise self._death(child, memory_bytes) from error
        finally:
            watch.cancel()
        if kind != BEGUN:
            return kind, answer
        try:
            return self._received(child, seconds)
        except (EOFError, OSError) as error:
            raise self._death(child, memory_bytes) from error

    def _received(self, child: _Child, seconds: float) -> tuple[str, Any]:
        until_s = time.monotonic() + seconds
        while not child.connection.poll(min(_LOOK_S, max(0.0, until_s - time.monotonic()))):
            child.peak_bytes = max(child.peak_bytes, _private_bytes(child.process.pid))
            if time.monotonic() >= until_s:
                raise ProcessFault(Fault.HUNG, f"no answer within {seconds:g} s")
        packed = child.connection.recv_bytes()
        try:
            kind, answer = pickle.loads(packed)
        except Exception as error:  # unpickling may raise anything
            raise ProcessFault(Fault.CRASHED, f"its answer can't be read: {error}") from error
        return str(kind), answer

    def _death(self, child: _Child, memory_bytes: int | None) -> ProcessFault:
        code = child.process.wait(timeout=10.0)
        child.stderr.seek(0)
        said = child.stderr.read(_STDERR_BYTES).decode(errors="replace")
        near = memory_bytes is not None and child.peak_bytes >= _NEAR_LIMIT_RATIO * memory_bytes
        if memory_bytes is not None and (near or any(words in said.lower() for words in _NO_MEMORY_WORDS)):
            return ProcessFault(Fault.OUT_OF_MEMORY, _limit_text(memory_bytes))
        first = said.strip().splitlines()[:1]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ProcessFault(Fault.CRASHED, f"{how}{': ' + first[0][:200] if first else ''}")

    def _ready(self) -> _Child:
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        self._end()
        ours, theirs = socket.socketpair()
        lifeline, held = os.pipe()
        # It lives as long as the process does.
        stderr = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "cloud_planner.solver_worker", str(theirs.fileno()), str(lifeline)],
                pass_fds=(theirs.fileno(), lifeline),
                stdin=subprocess.DEVNULL,
                # What C code prints is nobody's data.
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        except BaseException:
            ours.close()
            os.close(held)
            stderr.close()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self._child = _Child(process=process, connection=Connection(ours.detach()), lifeline=held, stderr=stderr)
        self._child.connection.send(list(sys.path))
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        child.process.wait()
        child.connection.close()
        child.stderr.close()
        os.close(child.lifeline)

    def close(self) -> None:
        """Kills the process; a call in progress has crashed. May be used again."""
        child = self._child
        if child is not None:
            child.process.kill()
        with self._lock:
            self._end()


def _limit_text(memory_bytes: int | None) -> str:
    if memory_bytes is None:
        return "the machine has no more"
    return f"it needs more than the {memory_bytes / 2**20:,.0f} MiB that it may have"


def _private_bytes(pid: int) -> int:
    """What counts against the limit; 0 if it can't be told."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverLimits:
    """What a solver may take beyond the work that it is given.

    ``hang_s``: with no time limit in the work, after so long it hangs. ``grace_s``: after a time limit it has so long
    to end by itself. ``memory_bytes``: of its process.
    """

    hang_s: float = 3_600.0
    grace_s: float = 10.0
    memory_bytes: int | None = 4 * 2**30


class ProcessSolver:
    """Solves in a process of its own; see ``cloud_planner.core.select.milp.Solver``. Never raises for a programme.

    ``solver``: the one that works there; it must be picklable. Its answers are checked against the programmes.
    """

    def __init__(self, solver: Solver, limits: SolverLimits | None = None) -> None:
        self._solver = solver
        self._limits = limits if limits is not None else SolverLimits()
        self._process = LimitedProcess()

    def start(self) -> None:
        """Starts the process, so that the first programme needn't wait for it."""
        self._process.start()

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves, within the work given and the limits."""
        limits = self._limits
        seconds = limits.hang_s if work.max_seconds is None else work.max_seconds + limits.grace_s
        try:
            result = self._process.call(
                _solve_one, (self._solver, milp, work), seconds=seconds, memory_bytes=limits.memory_bytes
            )
        except ProcessFault as fault:
            return failed(f"solver {fault.fault}: {fault.detail}")
        if isinstance(result, MilpResult) and result.detail.startswith("MemoryError"):
            return failed(f"solver {Fault.OUT_OF_MEMORY}: {_limit_text(limits.memory_bytes)}")
        return checked(milp, result)

    def close(self) -> None:
        """Ends the process."""
        self._process.close()


@cache
def warm_solver(solver: Callable[[], Solver]) -> ProcessSolver:
    """The one process of this program for a kind of solver, started when it is first asked for."""
    made = ProcessSolver(solver())
    made.start()
    atexit.register(made.close)
    return made


def _solve_one(task: tuple[Solver, Milp, Work]) -> MilpResult:
    solver, milp, work = task
    return solver.solve(milp, work)
