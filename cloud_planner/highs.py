"""HiGHS by whole arrays, through the library and the declarations that python-mip brings.

python-mip adds columns one by one, which takes longer than HiGHS does to solve them. One thread, a fixed seed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from cloud_planner.core.column_generation.programmes import IntegerResult, IntegerTask, LinearResult
from cloud_planner.core.column_generation.space import Array
from cloud_planner.core.select.milp import MilpStatus

if TYPE_CHECKING:
    from scipy.sparse import csc_array

_COLUMNWISE, _MAXIMIZE, _INTEGER = 1, -1, 1
_OPTIMAL, _INFEASIBLE = 7, 8
#: Statuses of HiGHS that a limit on time or nodes (solutions, too) ends with.
_LIMITED = (13, 14, 16)
_SEED = 1


@cache
def library() -> Any:
    """HiGHS's functions and cffi, or None: it isn't installed."""
    # It complains where it finds highspy without the C interface, and then looks further.
    logging.getLogger("mip.highs").setLevel(logging.CRITICAL)
    try:
        import mip.highs
    except Exception:  # whatever its loader stumbles over, there are other solvers
        return None
    return mip.highs if mip.highs.has_highs else None


class Failed(Exception):
    """HiGHS refused what it was asked."""


class _Highs:
    """One instance of HiGHS."""

    def __init__(self) -> None:
        found = library()
        if found is None:
            raise Failed("HiGHS is not installed")
        self.lib, self.ffi = found.highslib, found.ffi
        self._it = self.lib.Highs_create()
        self.set("output_flag", value=False)
        self.set("threads", value=1)
        self.set("random_seed", value=_SEED)

    def close(self) -> None:
        """Frees it."""
        if self._it is not None:
            self.lib.Highs_destroy(self._it)
            self._it = None

    def set(self, name: str, *, value: bool | int | float | str) -> None:
        """Sets an option."""
        key = name.encode()
        if isinstance(value, bool):
            self._check(self.lib.Highs_setBoolOptionValue(self._it, key, int(value)), name)
        elif isinstance(value, int):
            self._check(self.lib.Highs_setIntOptionValue(self._it, key, value), name)
        elif isinstance(value, float):
            self._check(self.lib.Highs_setDoubleOptionValue(self._it, key, value), name)
        else:
            self._check(self.lib.Highs_setStringOptionValue(self._it, key, value.encode()), name)

    def call(self, name: str, *arguments: object) -> None:
        """Calls a function with arrays and numbers."""
        self._check(getattr(self.lib, f"Highs_{name}")(self._it, *map(self._passed, arguments)), name)

    def run(self) -> int:
        """Solves; the status of the model."""
        # A warning (1) is no error: a limit that was reached is one.
        if self.lib.Highs_run(self._it) < 0:
            raise Failed("HiGHS failed")
        return int(self.lib.Highs_getModelStatus(self._it))

    def solution(self, columns: int, rows: int) -> tuple[Array, Array]:
        """Values of columns and duals of rows."""
        value, dual = np.zeros(columns), np.zeros(rows)
        spare, activity = np.zeros(columns), np.zeros(rows)
        self.call("getSolution", value, spare, activity, dual)
        return value, dual

    def figure(self, name: str) -> float:
        """A figure of the last solve."""
        found = self.ffi.new("double *")
        self._check(self.lib.Highs_getDoubleInfoValue(self._it, name.encode(), found), name)
        return float(found[0])

    def _passed(self, argument: object) -> object:
        if not isinstance(argument, np.ndarray):
            return self.ffi.NULL if argument is None else argument
        if argument.dtype == np.float64:
            return self.ffi.cast("double *", self.ffi.from_buffer(argument))
        return self.ffi.cast("HighsInt *", self.ffi.from_buffer(argument))

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status < 0:
            raise Failed(f"HiGHS refused {what}")


@contextmanager
def _highs() -> Iterator[_Highs]:
    made = _Highs()
    try:
        yield made
    finally:
        made.close()


class HighsMaster:
    """A growing linear programme; see ``programmes.Master``. It goes on from its last basis."""

    def __init__(self, rhs: Array) -> None:
        self._highs = _Highs()
        self._rows, self._columns = len(rhs), 0
        nothing, whole = np.zeros(0), np.zeros(0, dtype=np.int32)
        start = np.zeros(1, dtype=np.int32)
        low = np.full(len(rhs), -inf)
        self._highs.call(
            "passLp",
            0,
            len(rhs),
            0,
            _COLUMNWISE,
            _MAXIMIZE,
            0.0,
            nothing,
            nothing,
            nothing,
            low,
            rhs,
            start,
            whole,
            nothing,
        )
        # Columns come to an optimal point: it stays feasible, so primal simplex goes on from it.
        self._highs.set("solver", value="simplex")
        self._highs.set("simplex_strategy", value=4)

    def add(self, use: csc_array, gain: Array, most: Array) -> None:
        """More columns."""
        count = use.shape[1]
        starts, index = use.indptr[:-1].astype(np.int32), use.indices.astype(np.int32)
        data = use.data.astype(float)
        self._highs.call("addCols", count, gain, np.zeros(count), most, len(data), starts, index, data)
        self._columns += count

    def solve(self) -> LinearResult:
        """Solves; what goes wrong is told, not raised."""
        if not self._columns:
            return LinearResult(solved=True, values=np.zeros(0), duals=np.zeros(self._rows))
        try:
            status = self._highs.run()
            if status != _OPTIMAL:
                return failed(f"HiGHS ended with status {status}")
            values, duals = self._highs.solution(self._columns, self._rows)
        except Failed as error:
            return failed(str(error))
        return LinearResult(solved=True, values=values, duals=duals)

    def __del__(self) -> None:
        highs = getattr(self, "_highs", None)
        if highs is not None:
            highs.close()


def failed(detail: str) -> LinearResult:
    """A programme that was not solved."""
    return LinearResult(solved=False, values=np.zeros(0), duals=np.zeros(0), detail=detail)


def solve_integer(task: IntegerTask) -> IntegerResult:
    """Solves one integer programme within its limits; what goes wrong is told, not raised."""
    try:
        with _highs() as highs:
            return _integer(highs, task)
    except Failed as error:
        return IntegerResult(status=MilpStatus.FAILED, values=np.zeros(0), bound=inf, detail=str(error))


def _integer(highs: _Highs, task: IntegerTask) -> IntegerResult:
    rows, columns = task.use.shape
    use = task.use
    if not columns:
        return IntegerResult(status=MilpStatus.OPTIMAL, values=np.zeros(0), bound=0.0)
    highs.call(
        "passMip",
        columns,
        rows,
        len(use.data),
        _COLUMNWISE,
        _MAXIMIZE,
        0.0,
        np.ascontiguousarray(task.gain, dtype=float),
        np.zeros(columns),
        np.ascontiguousarray(task.most, dtype=float),
        np.full(rows, -inf),
        np.ascontiguousarray(task.rhs, dtype=float),
        use.indptr.astype(np.int32),
        use.indices.astype(np.int32),
        use.data.astype(float),
        np.full(columns, _INTEGER, dtype=np.int32),
    )
    highs.set("mip_rel_gap", value=float(task.gap_ratio))
    highs.set("mip_abs_gap", value=1e-9)
    highs.set("mip_max_nodes", value=int(task.nodes))
    if task.seconds is not None:
        highs.set("time_limit", value=float(task.seconds))
    highs.call("setSolution", np.ascontiguousarray(task.start, dtype=float), None, None, None)
    status = highs.run()
    if status == _INFEASIBLE:
        return IntegerResult(status=MilpStatus.INFEASIBLE, values=np.zeros(0), bound=-inf)
    if status not in (_OPTIMAL, *_LIMITED):
        return IntegerResult(
            status=MilpStatus.FAILED, values=np.zeros(0), bound=inf, detail=f"HiGHS ended with status {status}"
        )
    bound = highs.figure("mip_dual_bound")
    values, _ = highs.solution(columns, rows)
    found = isfinite(highs.figure("objective_function_value")) and bool(
        (use @ np.round(values) <= task.rhs + 1e-6 * np.maximum(1.0, np.abs(task.rhs))).all()
    )
    return IntegerResult(
        status=MilpStatus.OPTIMAL if status == _OPTIMAL else (MilpStatus.FEASIBLE if found else MilpStatus.NO_SOLUTION),
        values=np.round(values) if found else np.zeros(0),
        bound=bound if isfinite(bound) else inf,
    )
