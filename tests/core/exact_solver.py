"""A second solver behind the same port: HiGHS through scipy."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from cloud_planner.core.select.milp import MilpResult, MilpStatus, Sense


class HighsSolver:
    def solve(self, programme, work):
        sign = -1.0 if programme.maximize else 1.0
        rows, columns, values, low, high = [], [], [], [], []
        for number, row in enumerate(programme.rows):
            for column, value in row.terms:
                rows.append(number)
                columns.append(column)
                values.append(value)
            low.append(-np.inf if row.sense is Sense.AT_MOST else row.rhs)
            high.append(np.inf if row.sense is Sense.AT_LEAST else row.rhs)
        matrix = coo_array((values, (rows, columns)), shape=(len(programme.rows), len(programme.lower)))
        solved = milp(
            sign * np.array(programme.objective),
            integrality=np.array(programme.integer, dtype=int),
            bounds=Bounds(programme.lower, programme.upper),
            constraints=[LinearConstraint(matrix.tocsr(), low, high)] if programme.rows else [],
            options={"mip_rel_gap": 0.0},
        )
        if solved.status == 2:
            return MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
        if solved.status != 0:
            return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail=solved.message)
        return MilpResult(
            status=MilpStatus.OPTIMAL, values=tuple(solved.x), objective=sign * solved.fun, bound=sign * solved.fun
        )
