"""CBC through python-mip for the programmes of column generation, where HiGHS is not installed.

CBC, as python-mip drives it, loses columns that come after a solve, so a growing programme is built anew each time.
"""

from __future__ import annotations

from math import inf, isfinite

import mip
import numpy as np
from scipy.sparse import csc_array, csr_array, hstack

from cloud_planner.core.column_generation.programmes import IntegerResult, IntegerTask, LinearResult
from cloud_planner.core.column_generation.space import Array
from cloud_planner.core.select.milp import MilpStatus

_SEED = 1
_BROKEN = (mip.exceptions.MipBaseException, OSError, ValueError, TypeError, RuntimeError)


class CbcMaster:
    """A growing linear programme; see ``programmes.Master``."""

    def __init__(self, rhs: Array) -> None:
        self._rhs = rhs
        self._use = csc_array((len(rhs), 0))
        self._gain, self._most = np.zeros(0), np.zeros(0)

    def add(self, use: csc_array, gain: Array, most: Array) -> None:
        """More columns."""
        self._use = csc_array(hstack([self._use, use], format="csc"))
        self._gain, self._most = np.append(self._gain, gain), np.append(self._most, most)

    def solve(self) -> LinearResult:
        """Solves; what goes wrong is told, not raised."""
        nothing = np.zeros(0)
        # CBC is not asked about rows without columns.
        empty = np.diff(csr_array(self._use).indptr) == 0
        if (self._rhs[empty] < 0.0).any():
            return LinearResult(solved=False, values=nothing, duals=nothing, detail="CBC: infeasible")
        if not len(self._gain):
            return LinearResult(solved=True, values=nothing, duals=np.zeros(len(self._rhs)))
        try:
            model, variables, rows = _model(self._use, self._rhs, self._gain, self._most, integer=False)
            status = model.optimize()
            if status is not mip.OptimizationStatus.OPTIMAL:
                return LinearResult(solved=False, values=nothing, duals=nothing, detail=f"CBC: {status.name.lower()}")
            duals = np.zeros(len(self._rhs))
            for row, constraint in rows:
                duals[row] = constraint.pi
            values = np.array([variable.x for variable in variables], dtype=float)
            return LinearResult(solved=True, values=values, duals=duals)
        except _BROKEN as error:
            return LinearResult(solved=False, values=nothing, duals=nothing, detail=f"{type(error).__name__}: {error}")


def solve_integer(task: IntegerTask) -> IntegerResult:
    """Solves one integer programme within its limits; what goes wrong is told, not raised."""
    try:
        return _integer(task)
    except _BROKEN as error:
        detail = f"{type(error).__name__}: {error}"
        return IntegerResult(status=MilpStatus.FAILED, values=np.zeros(0), bound=inf, detail=detail)


def _integer(task: IntegerTask) -> IntegerResult:
    if not task.use.shape[1]:
        return IntegerResult(status=MilpStatus.OPTIMAL, values=np.zeros(0), bound=0.0)
    model, variables, _ = _model(task.use, task.rhs, task.gain, task.most, integer=True)
    # See solver.py: with its integer preprocessing CBC calls optimal what is not.
    model.preprocess = 0
    model.max_mip_gap, model.max_mip_gap_abs = task.gap_ratio, 1e-9
    model.start = [(variable, float(value)) for variable, value in zip(variables, task.start, strict=True)]
    seconds = mip.INF if task.seconds is None else task.seconds
    status = model.optimize(max_seconds=seconds, max_nodes=task.nodes)
    kinds = mip.OptimizationStatus
    if status in (kinds.INFEASIBLE, kinds.INT_INFEASIBLE):
        return IntegerResult(status=MilpStatus.INFEASIBLE, values=np.zeros(0), bound=-inf)
    if status not in (kinds.OPTIMAL, kinds.FEASIBLE, kinds.NO_SOLUTION_FOUND):
        detail = f"CBC: {status.name.lower()}"
        return IntegerResult(status=MilpStatus.FAILED, values=np.zeros(0), bound=inf, detail=detail)
    bound = inf if model.objective_bound is None else float(model.objective_bound)
    if not model.num_solutions:
        return IntegerResult(status=MilpStatus.NO_SOLUTION, values=np.zeros(0), bound=bound)
    values = np.round(np.array([variable.x for variable in variables], dtype=float))
    found = MilpStatus.OPTIMAL if status is kinds.OPTIMAL else MilpStatus.FEASIBLE
    return IntegerResult(status=found, values=values, bound=max(bound, float(task.gain @ values)))


def _model(
    use: csc_array, rhs: Array, gain: Array, most: Array, *, integer: bool
) -> tuple[mip.Model, list[mip.Var], list[tuple[int, mip.Constr]]]:
    model = mip.Model(sense=mip.MAXIMIZE, solver_name=mip.CBC)
    model.verbose, model.threads, model.seed = 0, 1, _SEED
    kind = mip.INTEGER if integer else mip.CONTINUOUS
    variables = [
        model.add_var(lb=0.0, ub=float(upper) if isfinite(upper) else mip.INF, obj=float(value), var_type=kind)
        for value, upper in zip(gain, most, strict=True)
    ]
    by_row = csr_array(use)
    rows = []
    for row in range(len(rhs)):
        begin, end = by_row.indptr[row], by_row.indptr[row + 1]
        if begin == end:
            continue
        terms = [variables[column] for column in by_row.indices[begin:end].tolist()]
        expression = mip.LinExpr(terms, by_row.data[begin:end].tolist(), -float(rhs[row]), "<")
        rows.append((row, model.add_constr(expression)))
    return model, variables, rows
