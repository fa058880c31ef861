"""What a whole selection takes of each resource, so that one more plan is held against it without all others. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import Resource, is_limited, is_single
from cloud_planner.core.select.assignment import Assignment, amounts_of, traffic
from cloud_planner.core.sharing import lives_in_process, merges, step_amounts


def amounts_taken(network: Network, problem: Problem, assignment: Assignment) -> dict[Resource, float]:
    """What an assignment takes of each resource, with nothing shared."""
    query = problem.queries[assignment.query]
    if query.splittable:
        return amounts_of(network, problem, assignment)[1]
    candidate = query.candidates[assignment.candidate]
    taken: dict[Resource, float] = defaultdict(float)
    for load in assignment.loads:
        step = candidate.steps[load.step]
        option = step.options[load.option]
        for resource, amount in step_amounts(network, problem, query, step, option, load.replicas):
            taken[resource] += amount
    for path in assignment.paths:
        sent = traffic(network, problem, query, candidate, path.options)
        for resource, amount in sent[1].items() if sent is not None else ():
            taken[resource] += amount
    return dict(taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """By resource, what all assignments of a selection take of it, by query."""

    by_resource: Mapping[Resource, Mapping[int, float]]

    @classmethod
    def of(cls, network: Network, problem: Problem, assignments: Iterable[Assignment]) -> Taken:
        """Of these assignments."""
        found: dict[Resource, dict[int, float]] = defaultdict(dict)
        for assignment in assignments:
            for resource, amount in amounts_taken(network, problem, assignment).items():
                found[resource][assignment.query] = amount
        return cls(by_resource=found)

    def free(self, left: Mapping[Resource, float], without: int | None = None) -> dict[Resource, float]:
        """What is left of each resource, below 0 where more is taken; ``without``: a query that takes nothing.

        Resources are told apart by query so that what a query gives back leaves no rounding error.
        """
        found = {resource: there for resource, there in left.items() if isfinite(there)}
        for resource in found:
            mine = self.by_resource.get(resource, {})
            found[resource] -= sum(amount for query, amount in mine.items() if query != without)
        return found


def sums_decide(network: Network, problem: Problem, assignment: Assignment) -> bool:
    """Whether a plan fits as soon as what it takes of each resource is left, whatever the other plans are."""
    query = problem.queries[assignment.query]
    named = any(query.id in other.apart_from for other in problem.queries)
    if query.splittable or query.apart_from or named or problem.budget_per_h is not None or merges(network, query):
        return False
    candidate = query.candidates[assignment.candidate]
    for load in assignment.loads:
        step = candidate.steps[load.step]
        machine = network.machines[step.options[load.option].machine]
        if lives_in_process(problem, machine, query, step) or (is_limited(machine) and not is_single(machine)):
            return False
    return True
