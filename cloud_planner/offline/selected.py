"""The selection for a problem from files, as every offline command makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud_planner.core.problem import Problem
    from cloud_planner.core.select import SelectResult


def selected(problem: Problem) -> SelectResult:
    """Selects, in as much time as it takes; large problems by column generation, whose work has its own limits."""
    # Solver and numerics take a while to import: bad files are told without them.
    from cloud_planner.core.select import SelectLimits, select
    from cloud_planner.core.select.large import Generation
    from cloud_planner.solver import ThoroughSolver
    from cloud_planner.solver_pool import warm_pool
    from cloud_planner.solver_process import warm_solver

    limits = SelectLimits(generation=Generation(programmes=warm_pool().programmes()))
    return select(problem, warm_solver(ThoroughSolver), limits=limits)
