"""A selection without a solver: densest first. It stands when the solver fails. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf, isfinite

from circinus.model.device import DeviceId
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import ONCE, Resource, is_limited, is_single
from cloud_planner.core.select.assignment import Assignment, bill
from cloud_planner.core.select.columns import QueryColumns
from cloud_planner.core.select.model import Column

#: Columns of a query that are tried.
_TRIES = 200


def greedy(
    network: Network, problem: Problem, columns: Sequence[QueryColumns], left: Mapping[Resource, float], *, cheap: bool
) -> tuple[Assignment, ...]:
    """Queries in order of weight x rate over the scarcest share that they need; each takes the first plan that fits.

    Args:
        network: Machines and links.
        problem: The problem.
        columns: Of each query.
        left: How much there is of what could run out.
        cheap: Whether a query's cheapest plan comes first, or that which takes least of its scarcest resource.
    """
    there = {resource: amount for resource, amount in left.items() if isfinite(amount)}

    def share(column: Column) -> float:
        return max((amount / there[name] for name, amount in column.amounts if there.get(name)), default=0.0)

    def order(entry: QueryColumns) -> tuple[float, str]:
        query = problem.queries[entry.query]
        least = min((share(column) for column in entry.columns), default=1.0)
        return (-query.weight * query.rate_per_s / max(least, 1e-9), query.id)

    used: dict[Resource, float] = defaultdict(float)
    on: set[Resource] = set()
    spent = 0.0
    budget = inf if problem.budget_per_h is None else problem.budget_per_h * (1.0 + 1e-9)
    chosen: list[Assignment] = []
    for entry in sorted(columns, key=order):
        ranked = sorted(
            range(len(entry.columns)),
            key=lambda i: (entry.columns[i].cost_per_h if cheap else share(entry.columns[i]), i),
        )
        for index in ranked[:_TRIES]:
            column = entry.columns[index]
            if any(
                used[name] + amount > there[name] * (1.0 + 1e-9) for name, amount in column.amounts if name in there
            ):
                continue
            once = {name for name, _ in column.amounts if name[0] in ONCE}
            if any(name[0] == "apart" for name in once & on):
                continue
            cost = spent + column.cost_per_h + sum(_price(network, name) for name in once - on)
            if _pooled(network, problem, column):
                total = bill(network, problem, [*chosen, column.assignment])
                if total.violations:
                    continue
                cost = total.cost_per_h
            if cost > budget:
                continue
            spent = cost
            on |= once
            for name, amount in column.amounts:
                used[name] += amount
            chosen.append(column.assignment)
            break
    return tuple(sorted(chosen, key=lambda assignment: assignment.query))


def _price(network: Network, resource: Resource) -> float:
    """What switching a machine on costs."""
    return network.machines[DeviceId(str(resource[1]))].price_per_h if resource[0] == "on" else 0.0


def _pooled(network: Network, problem: Problem, column: Column) -> bool:
    """Whether totals do not say if the column fits."""
    if any(name[0] == "process" for name, _ in column.amounts):
        return True
    query = problem.queries[column.assignment.query]
    candidate = query.candidates[column.assignment.candidate]
    for load in column.assignment.loads:
        machine = network.machines[candidate.steps[load.step].options[load.option].machine]
        if query.splittable or (is_limited(machine) and not is_single(machine)):
            return True
    return False
