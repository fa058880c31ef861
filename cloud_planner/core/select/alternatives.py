"""Each plan's runner-up: the cheapest plan of its query on other machines, everything else left as it is. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.assignment import Assignment, bill, from_route
from cloud_planner.core.select.taken import Taken, amounts_taken, sums_decide
from cloud_planner.core.templates import Enumeration, Prune, TemplateLimits, admissible, template

#: Plans of other placements, cheapest first, that are checked against what is left.
_TRIES = 200
_LIMITS = TemplateLimits(partial_rows=20_000, routes=20_000)

NONE_MEETS = "no other placement meets the SLO"
NONE_FITS = "no other placement fits in what is left"


def runner_up(
    network: Network,
    problem: Problem,
    assignments: Sequence[Assignment],
    chosen: Assignment,
    left: Mapping[Resource, float],
    taken: Taken | None = None,
) -> tuple[str, float | None]:
    """What the runner-up does elsewhere, and what it costs the query per hour; or why there is none.

    For a split query these are plans that leave each operator whole. ``taken``: what the assignments take, where that
    is known.
    """
    others = [assignment for assignment in assignments if assignment.query != chosen.query]
    query = problem.queries[chosen.query]
    taken = taken or Taken.of(network, problem, assignments)
    free = {resource: max(0.0, there) for resource, there in taken.free(left, chosen.query).items()}
    candidates = (chosen.candidate,) if query.splittable else admissible(problem, query)
    wanted = Enumeration(candidates=candidates, slo=query.slo, prune=Prune.PLACEMENTS, limits=_LIMITS)
    here = _placement(problem, chosen)

    def others_of(room: Mapping[Resource, float]) -> Iterator[tuple[Assignment, float]]:
        """Plans of other placements, cheapest first."""
        listed = template(network, problem, query, room, wanted).routes
        for index in sorted(range(len(listed)), key=lambda index: (listed[index].own_cost_per_h, index)):
            other = from_route(chosen.query, listed[index])
            if _placement(problem, other) != here:
                yield other, listed[index].own_cost_per_h

    def fits(other: Assignment) -> bool:
        # With what is free as limits, plans that take too much are not among the routes.
        return sums_decide(network, problem, other) or not bill(network, problem, [*others, other]).violations

    # Mostly there is room for the cheapest, and then it matters little how many plans take less of what.
    for other, cost_per_h in islice(others_of({}), 1):
        amounts = amounts_taken(network, problem, other)
        if all(amounts.get(resource, 0.0) <= there for resource, there in free.items()) and fits(other):
            return _difference(here, _placement(problem, other)), cost_per_h
    tried = 0
    for other, cost_per_h in islice(others_of(free), _TRIES):
        tried += 1
        if fits(other):
            return _difference(here, _placement(problem, other)), cost_per_h
    return (NONE_FITS if tried else NONE_MEETS), None


def _placement(problem: Problem, assignment: Assignment) -> dict[str, tuple[str, ...]]:
    """Machines by operator."""
    candidate = problem.queries[assignment.query].candidates[assignment.candidate]
    machines: dict[str, list[str]] = defaultdict(list)
    for load in assignment.loads:
        step = candidate.steps[load.step]
        machines[step.operator_id].append(step.options[load.option].machine)
    return {operator: tuple(sorted(set(names))) for operator, names in machines.items()}


def _difference(here: Mapping[str, tuple[str, ...]], there: Mapping[str, tuple[str, ...]]) -> str:
    moved: dict[tuple[str, str], list[str]] = defaultdict(list)
    for operator, names in there.items():
        before = here.get(operator, ())
        if names != before:
            moved[" and ".join(names), " and ".join(before)].append(operator)
    return "; ".join(
        f"{', '.join(operators)} on {names} instead of {before or 'nowhere'}"
        for (names, before), operators in moved.items()
    )
