"""Whether a solver's answer can be true: values within bounds, rows and integrality, and figures that add up. PURE."""

from __future__ import annotations

from math import isfinite

from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Sense

#: How far a value may be off a bound, a row (relative to its terms) or a whole number. Solvers promise 1e-6 of theirs.
TOLERANCE = 1e-5
#: How far a claimed objective may be off, relative to its terms.
_OBJECTIVE_TOLERANCE = 1e-6


def checked(milp: Milp, result: MilpResult) -> MilpResult:
    """The result if nothing speaks against it; else a failure that says what does."""
    fault = fault_of(milp, result)
    if not fault:
        return result
    return failed(f"solver answered wrongly: {fault}")


def failed(detail: str) -> MilpResult:
    """The result of a solve that gave nothing."""
    return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail=detail)


def fault_of(milp: Milp, result: MilpResult) -> str:
    """What is wrong with a result; empty if nothing is. Linear in the programme's size."""
    if not isinstance(result, MilpResult):
        return f"it gives no result, but a {type(result).__name__}"
    if result.status is MilpStatus.FAILED:
        return ""
    if result.status is MilpStatus.INFEASIBLE:
        start = milp.start
        if start is not None and not _point_fault(milp, start):
            return "it calls infeasible what its start solves"
        return ""
    sign = 1.0 if milp.maximize else -1.0
    if result.bound != result.bound:
        return "its bound is no number"
    if not result.solved:
        return ""
    if fault := _point_fault(milp, result.values):
        return fault
    terms = [value * factor for value, factor in zip(result.values, milp.objective, strict=True)]
    objective, size = sum(terms), max(1.0, sum(abs(term) for term in terms))
    if not abs(objective - result.objective) <= _OBJECTIVE_TOLERANCE * size:
        return f"its values are worth {objective:.9g}, it claims {result.objective:.9g}"
    if sign * (result.objective - result.bound) > _OBJECTIVE_TOLERANCE * size:
        return f"its objective {result.objective:.9g} is better than its bound {result.bound:.9g}"
    return ""


def _point_fault(milp: Milp, values: tuple[float, ...]) -> str:
    if len(values) != len(milp.lower):
        return f"it gives {len(values)} values for {len(milp.lower)} columns"
    for column, value in enumerate(values):
        if not isfinite(value):
            return f"column {column} is {value}"
        slack = TOLERANCE * max(1.0, abs(value))
        if not milp.lower[column] - slack <= value <= milp.upper[column] + slack:
            return f"column {column} is {value:.9g}, outside {milp.lower[column]:.9g}..{milp.upper[column]:.9g}"
        if milp.integer[column] and abs(value - round(value)) > TOLERANCE:
            return f"column {column} is {value:.9g}, no whole number"
    for number, row in enumerate(milp.rows):
        terms = [values[column] * factor for column, factor in row.terms]
        total = sum(terms)
        # A whole number that is off by the tolerance puts the row off by as much, times its coefficient.
        largest = max((abs(factor) for _, factor in row.terms), default=0.0)
        slack = TOLERANCE * max(1.0, abs(row.rhs), largest, sum(abs(term) for term in terms))
        over, under = total - row.rhs, row.rhs - total
        if (row.sense is not Sense.AT_LEAST and over > slack) or (row.sense is not Sense.AT_MOST and under > slack):
            return f"row {number} is {total:.9g}, but must be {row.sense} {row.rhs:.9g}"
    return ""
