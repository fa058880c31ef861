"""The MILP solvers behind the planner's port: CBC through python-mip, and HiGHS where CBC leaves a gap.

HiGHS comes through python-mip as well where its library is installed (the extra ``highs``), which takes a start; else
through scipy, which takes none. One thread and a fixed seed, so that the same problem gives the same answer; work is
limited by nodes, and by the clock only where the caller says so. Solvers write to the process's standard output from
C: it is closed off meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf, isfinite

import mip
import numpy as np
from scipy.optimize import Bounds, LinearConstraint
from scipy.optimize import milp as highs
from scipy.sparse import csr_array

from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Row, Sense, Work
from cloud_planner.highs import library
from cloud_planner.solver_check import failed

_SEED = 1
#: Redirection concerns the whole process, so one solve at a time.
_LOCK = threading.Lock()
_C = ctypes.CDLL(None)
#: CBC's tolerances are absolute: objectives are scaled so that their largest coefficient is this.
_LARGEST_COEFFICIENT = 1e3
#: A HiGHS node costs much more than CBC's, and more on a larger programme: nodes x columns stay within this ...
_HIGHS_NODE_COLUMNS = 500_000
#: ... but it gets at least so many.
_HIGHS_LEAST_NODES = 20
#: Relative difference beyond which the two solvers contradict each other.
_CONTRADICTION_RATIO = 1e-6


@contextmanager
def silent() -> Iterator[None]:
    """Sends what C code writes to standard output to nowhere."""
    with _LOCK:
        sys.stdout.flush()
        try:
            kept = os.dup(1)
        except OSError:  # there is no standard output to protect
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            _C.fflush(None)
            os.dup2(nowhere, 1)
            yield
        finally:
            # What C has buffered meanwhile (a pipe is buffered) would come out later, where it is read as ours.
            _C.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


class CbcSolver:
    """Solves with CBC; see ``cloud_planner.core.select.milp.Solver``. Any failure is a result, not an exception."""

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves, within the work given."""
        with silent():
            return _solved(milp, work, mip.CBC)


def _solved(milp: Milp, work: Work, name: str) -> MilpResult:
    # CBC dies of rows without terms.
    empty = [row for row in milp.rows if not row.terms]
    if any(not _holds(row) for row in empty):
        return MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
    if empty:
        milp = replace(milp, rows=tuple(row for row in milp.rows if row.terms))
    try:
        return _solve(milp, work, name)
    except (mip.exceptions.MipBaseException, OSError, ValueError, TypeError, RuntimeError) as error:
        return failed(f"{type(error).__name__}: {error}")


def _holds(row: Row) -> bool:
    """Whether a row without terms holds."""
    if row.sense is Sense.EQUAL:
        return row.rhs == 0.0
    return row.rhs >= 0.0 if row.sense is Sense.AT_MOST else row.rhs <= 0.0


def _solve(milp: Milp, work: Work, name: str) -> MilpResult:
    """Solves with python-mip, by the solver of this name."""
    model = mip.Model(sense=mip.MAXIMIZE if milp.maximize else mip.MINIMIZE, solver_name=name)
    model.verbose = 0
    model.threads = 1
    model.seed = _SEED
    # CBC's integer preprocessing is fast and wrong: on some programmes it calls optimal what is not.
    model.preprocess = 0
    model.max_mip_gap = 1e-9
    model.max_mip_gap_abs = 1e-9
    largest = max((abs(value) for value in milp.objective), default=0.0)
    scale = _LARGEST_COEFFICIENT / largest if largest > 0.0 else 1.0
    variables = [
        model.add_var(
            name=f"v{index}",
            lb=lower,
            ub=upper if isfinite(upper) else mip.INF,
            obj=value * scale,
            var_type=mip.INTEGER if integer else mip.CONTINUOUS,
        )
        for index, (lower, upper, integer, value) in enumerate(
            zip(milp.lower, milp.upper, milp.integer, milp.objective, strict=True)
        )
    ]
    senses = {Sense.AT_MOST: "<", Sense.EQUAL: "=", Sense.AT_LEAST: ">"}
    for index, row in enumerate(milp.rows):
        expression = mip.LinExpr(
            [variables[column] for column, _ in row.terms],
            [value for _, value in row.terms],
            -row.rhs,
            senses[row.sense],
        )
        model.add_constr(expression, name=f"r{index}")
    if milp.start is not None:
        # CBC works out the continuous ones; HiGHS would take them for 0.
        model.start = [
            (variable, value)
            for variable, value, integer in zip(variables, milp.start, milp.integer, strict=True)
            if integer or name == mip.HIGHS
        ]
    seconds = work.max_seconds if work.max_seconds is not None else mip.INF
    status = model.optimize(max_seconds=seconds, max_nodes=work.max_nodes)
    return _result(model, variables, status, scale)


def _result(model: mip.Model, variables: list[mip.Var], status: mip.OptimizationStatus, scale: float) -> MilpResult:
    kinds = mip.OptimizationStatus
    if status in (kinds.INFEASIBLE, kinds.INT_INFEASIBLE):
        return MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
    if status is kinds.ERROR or status is kinds.UNBOUNDED:
        return failed(status.name.lower())
    raw_bound = model.objective_bound
    bound = float(raw_bound) / scale if raw_bound is not None else (inf if model.sense == mip.MAXIMIZE else -inf)
    if status in (kinds.OPTIMAL, kinds.FEASIBLE) and model.num_solutions:
        found = MilpStatus.OPTIMAL if status is kinds.OPTIMAL else MilpStatus.FEASIBLE
        values = tuple(float(variable.x) for variable in variables)
        objective = float(model.objective_value) / scale
        return MilpResult(
            status=found, values=values, objective=objective, bound=objective if found is MilpStatus.OPTIMAL else bound
        )
    return MilpResult(status=MilpStatus.NO_SOLUTION, values=(), objective=0.0, bound=bound)


class HighsSolver:
    """Solves with HiGHS; any failure is a result, not an exception. Through scipy (``plain``) it takes no start."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves, within the work given; nodes are fewer on large programmes."""
        if not milp.lower:
            return MilpResult(status=MilpStatus.OPTIMAL, values=(), objective=0.0, bound=0.0)
        with silent():
            if not self._plain and library() is not None:
                found = _solved(milp, replace(work, max_nodes=_highs_nodes(milp, work)), mip.HIGHS)
                # It may say "unbounded" where it means "infeasible": scipy's tells the two apart.
                if found.status is not MilpStatus.FAILED:
                    return found
            try:
                return _solve_highs(milp, work)
            except (ValueError, TypeError, RuntimeError, MemoryError) as error:
                return failed(f"{type(error).__name__}: {error}")


class ThoroughSolver:
    """CBC, and HiGHS on what CBC could not settle within its nodes: the better point of the two, the tighter bound."""

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves; each of the two gets the work given."""
        first = CbcSolver().solve(milp, work)
        if first.status in {MilpStatus.OPTIMAL, MilpStatus.INFEASIBLE}:
            return first
        further = replace(milp, start=first.values) if first.solved else milp
        return settle(first, HighsSolver().solve(further, work), maximize=milp.maximize)


def settle(first: MilpResult, second: MilpResult, *, maximize: bool) -> MilpResult:
    """What two results say together; where they contradict each other, the one that has the point is believed."""
    sign = 1.0 if maximize else -1.0
    if second.status is MilpStatus.FAILED:
        return first
    if not first.solved:
        if first.status is second.status is MilpStatus.NO_SOLUTION:
            return replace(second, bound=sign * min(sign * first.bound, sign * second.bound))
        return second
    if second.status is MilpStatus.INFEASIBLE:
        return first
    slack = _CONTRADICTION_RATIO * max(1.0, abs(first.objective))
    if sign * (first.objective - second.bound) > slack:
        return first
    if not second.solved:
        return replace(first, bound=sign * min(sign * first.bound, sign * second.bound))
    if sign * (second.objective - first.bound) > slack:
        return second
    better = second if sign * (second.objective - first.objective) > slack else first
    bound = sign * min(sign * first.bound, sign * second.bound)
    return replace(better, status=second.status, bound=sign * max(sign * bound, sign * better.objective))


def _highs_nodes(milp: Milp, work: Work) -> int:
    return max(_HIGHS_LEAST_NODES, min(work.max_nodes, _HIGHS_NODE_COLUMNS // len(milp.lower)))


def _solve_highs(milp: Milp, work: Work) -> MilpResult:
    largest = max((abs(value) for value in milp.objective), default=0.0)
    scale = (_LARGEST_COEFFICIENT / largest if largest > 0.0 else 1.0) * (-1.0 if milp.maximize else 1.0)
    options: dict[str, float | int] = {"mip_rel_gap": 1e-9, "node_limit": _highs_nodes(milp, work)}
    if work.max_seconds is not None:
        options["time_limit"] = work.max_seconds
    solved = highs(
        np.array(milp.objective) * scale,
        integrality=np.array(milp.integer, dtype=int),
        bounds=Bounds(np.array(milp.lower), np.array(milp.upper)),
        constraints=_rows(milp),
        options=options,
    )
    if solved.status == 2:
        return MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
    proven = solved.mip_dual_bound
    bound = float(proven) / scale if proven is not None and isfinite(proven) else (inf if milp.maximize else -inf)
    if solved.x is None:
        if not isfinite(bound):
            return failed(str(solved.message))
        return MilpResult(status=MilpStatus.NO_SOLUTION, values=(), objective=0.0, bound=bound)
    objective = float(solved.fun) / scale
    optimal = solved.status == 0
    return MilpResult(
        status=MilpStatus.OPTIMAL if optimal else MilpStatus.FEASIBLE,
        values=tuple(float(value) for value in solved.x),
        objective=objective,
        bound=objective if optimal else bound,
    )


def _rows(milp: Milp) -> LinearConstraint | None:
    if not milp.rows:
        return None
    entries = [(index, column, value) for index, row in enumerate(milp.rows) for column, value in row.terms]
    matrix = csr_array(
        (
            np.array([value for _, _, value in entries], dtype=float),
            (
                np.array([index for index, _, _ in entries], dtype=int),
                np.array([column for _, column, _ in entries], dtype=int),
            ),
        ),
        shape=(len(milp.rows), len(milp.lower)),
    )
    lower = np.array([-inf if row.sense is Sense.AT_MOST else row.rhs for row in milp.rows])
    upper = np.array([inf if row.sense is Sense.AT_LEAST else row.rhs for row in milp.rows])
    return LinearConstraint(matrix, lower, upper)
