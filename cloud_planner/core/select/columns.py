"""Columns of the programme: a query's template, and the running plan beside it. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import Resource, usable
from cloud_planner.core.select.dominance import undominated
from cloud_planner.core.select.model import Column, column_of
from cloud_planner.core.templates import Enumeration, Prune, TemplateLimits, admissible, template

#: A split query's whole plans are only for the greedy selection: this many candidates, the cheapest, and so few routes.
_GREEDY_CANDIDATES = 8
_GREEDY_LIMITS = TemplateLimits(partial_rows=500, routes=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryColumns:
    """One query's columns. ``possible`` is False if it is proven that no plan meets its SLO, even alone.

    ``candidates`` are those that the query's flows range over, if it may be split.
    """

    query: int
    columns: tuple[Column, ...]
    candidates: tuple[int, ...]
    complete: bool
    possible: bool


def query_columns(
    network: Network,
    problem: Problem,
    number: int,
    left: dict[Resource, float],
    limits: TemplateLimits,
    given: QueryProblem | None = None,
) -> QueryColumns:
    """The columns of one query; ``given`` stands for it, if it is not the problem's."""
    query = given or problem.queries[number]
    meeting = () if query.impossible else admissible(problem, query)
    if not meeting:
        return QueryColumns(query=number, columns=(), candidates=(), complete=True, possible=False)
    candidates = undominated(problem, query, meeting)
    if query.splittable:
        return _for_greedy(network, problem, number, left, candidates)
    listed = template(network, problem, query, left, Enumeration(candidates=candidates, slo=query.slo, limits=limits))
    return QueryColumns(
        query=number,
        columns=tuple(column_of(number, route) for route in listed.routes),
        candidates=candidates,
        complete=listed.complete,
        possible=bool(listed.routes) or not listed.complete,
    )


def _for_greedy(
    network: Network, problem: Problem, number: int, left: dict[Resource, float], candidates: tuple[int, ...]
) -> QueryColumns:
    query = problem.queries[number]

    def least_cost(index: int) -> tuple[float, int]:
        total = 0.0
        for step in query.candidates[index].steps:
            total += min(
                (
                    network.machines[o.machine].price_per_h / o.capacity_per_s
                    for o in step.options
                    if usable(network.machines.get(o.machine), o)
                ),
                default=0.0,
            )
        return (total, index)

    first = tuple(sorted(candidates, key=least_cost)[:_GREEDY_CANDIDATES])
    listed = template(
        network,
        problem,
        query,
        {resource: there for resource, there in left.items() if resource[0] != "shape"},
        Enumeration(candidates=first, slo=query.slo, prune=Prune.ROUTES, limits=_GREEDY_LIMITS),
    )
    columns = tuple(column_of(number, route) for route in listed.routes)
    return QueryColumns(query=number, columns=columns, candidates=candidates, complete=True, possible=True)
