"""The MILP solver behind the planner's port: CBC through python-mip.

One thread and a fixed seed, so that the same problem gives the same answer; work is limited by nodes, and by the clock
only where the caller says so. CBC writes to the process's standard output from C: it is closed off meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, isfinite

import mip

from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Sense, Work

_SEED = 1
#: Redirection concerns the whole process, so one solve at a time.
_LOCK = threading.Lock()
#: CBC's tolerances are absolute: objectives are scaled so that their largest coefficient is this.
_LARGEST_COEFFICIENT = 1e3


@contextmanager
def _silent() -> Iterator[None]:
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
            os.dup2(nowhere, 1)
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


class CbcSolver:
    """Solves with CBC; see ``cloud_planner.core.select.milp.Solver``. Any failure is a result, not an exception."""

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Solves, within the work given."""
        with _silent():
            try:
                return _solve(milp, work)
            except (mip.exceptions.MipBaseException, OSError, ValueError, TypeError, RuntimeError) as error:
                return MilpResult(
                    status=MilpStatus.FAILED,
                    values=(),
                    objective=0.0,
                    bound=0.0,
                    detail=f"{type(error).__name__}: {error}",
                )


def _solve(milp: Milp, work: Work) -> MilpResult:
    model = mip.Model(sense=mip.MAXIMIZE if milp.maximize else mip.MINIMIZE, solver_name=mip.CBC)
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
        model.start = [
            (variable, value)
            for variable, value, integer in zip(variables, milp.start, milp.integer, strict=True)
            if integer
        ]
    seconds = work.max_seconds if work.max_seconds is not None else mip.INF
    status = model.optimize(max_seconds=seconds, max_nodes=work.max_nodes)
    return _result(model, variables, status, scale)


def _result(model: mip.Model, variables: list[mip.Var], status: mip.OptimizationStatus, scale: float) -> MilpResult:
    kinds = mip.OptimizationStatus
    if status in (kinds.INFEASIBLE, kinds.INT_INFEASIBLE):
        return MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
    if status is kinds.ERROR or status is kinds.UNBOUNDED:
        return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail=status.name.lower())
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
