"""Plans in force whose promise has become less sure. PURE.

A promise is made where it holds with the probability that is asked for. Afterwards figures move: times are measured
again, drift is found. A query that would end because its plan holds with 0.94 where 0.95 are asked for loses every item
for the sake of a few; so what runs goes on as it is, as long as it is likelier to keep its SLO than not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from circinus.model.query import QueryId
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.select.running import running_column

#: The least probability with which a running plan may go on.
KEPT_RATIO: Final = 0.5


def less_sure(problem: Problem, ended: Collection[QueryId]) -> tuple[Problem, frozenset[QueryId]]:
    """A problem in which those of ``ended`` may go on that end for want of probability alone; and who these are.

    Args:
        problem: What was selected from.
        ended: Running queries that the selection left without a plan.
    """
    numbers = {
        number
        for number, query in enumerate(problem.queries)
        if query.id in ended and problem.asked_of(query) > KEPT_RATIO
    }
    if not numbers:
        return problem, frozenset()
    network, plans = Network.of(problem), {plan.query_id: plan for plan in problem.running}

    def holds(of: Problem, number: int) -> bool:
        plan = plans.get(of.queries[number].id)
        return plan is not None and running_column(network, of, number, {}, plan) is not None

    asked = _asked(problem, numbers)
    slipped = {number for number in numbers if holds(asked, number) and not holds(problem, number)}
    return _asked(problem, slipped), frozenset(problem.queries[number].id for number in slipped)


def _asked(problem: Problem, numbers: Collection[int]) -> Problem:
    """The problem with the least probability asked of these queries."""
    queries = tuple(
        replace(query, slo_probability_ratio=KEPT_RATIO) if number in numbers else query
        for number, query in enumerate(problem.queries)
    )
    return replace(problem, queries=queries)


__all__ = ["KEPT_RATIO", "less_sure"]
