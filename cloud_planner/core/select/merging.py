"""Steps that several columns would run once: what each takes and costs, apart from its columns. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass

from cloud_planner.core.estimate import dominant_share_ratio, paid_share
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import ONCE, Resource
from cloud_planner.core.select.assignment import Assignment, prefixes_of, step_traffic
from cloud_planner.core.sharing import Prefix, step_amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A step that queries of one stream may run once, whoever of them does it: cost per hour and amounts."""

    cost_per_h: float
    amounts: tuple[tuple[Resource, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a column costs and takes beside what others may run for it, and that."""

    cost_per_h: float
    amounts: tuple[tuple[Resource, float], ...]
    prefixes: tuple[Prefix, ...]


def merged_prefixes(
    network: Network, problem: Problem, assignments: Sequence[Assignment], tight: Container[Resource]
) -> dict[Prefix, Merged]:
    """The prefixes that columns of more than one query have."""
    queries: dict[Prefix, set[int]] = defaultdict(set)
    found: dict[Prefix, Merged] = {}
    for assignment in assignments:
        for place, prefix in prefixes_of(network, problem, assignment):
            queries[prefix].add(assignment.query)
            if prefix not in found:
                found[prefix] = _step(network, problem, assignment, place, tight)
    return {prefix: merged for prefix, merged in found.items() if len(queries[prefix]) > 1}


def _step(network: Network, problem: Problem, assignment: Assignment, place: int, tight: Container[Resource]) -> Merged:
    query = problem.queries[assignment.query]
    candidate = query.candidates[assignment.candidate]
    load = assignment.loads[place]
    step = candidate.steps[place]
    option = step.options[load.option]
    machine = network.machines[option.machine]
    arriving = step_traffic(network, problem, query, candidate, assignment.paths[0].options)
    sent, bits = arriving[place] if arriving is not None else (0.0, [])
    cost = machine.price_per_h * dominant_share_ratio(machine, option) * load.replicas if paid_share(machine) else 0.0
    amounts: dict[Resource, float] = defaultdict(float)
    for resource, amount in [*step_amounts(network, problem, query, step, option, load.replicas, tight), *bits]:
        if resource in tight and resource[0] not in ONCE:
            amounts[resource] += amount
    return Merged(cost_per_h=cost + sent, amounts=tuple(amounts.items()))


def rest_of(
    network: Network,
    problem: Problem,
    assignment: Assignment,
    whole: tuple[float, tuple[tuple[Resource, float], ...]],
    merged: dict[Prefix, Merged],
) -> Rest:
    """A column without what is merged; ``whole``: its cost per hour and amounts with nothing shared."""
    cost, amounts = whole[0], dict(whole[1])
    here = tuple(prefix for _, prefix in prefixes_of(network, problem, assignment) if prefix in merged)
    for prefix in here:
        cost -= merged[prefix].cost_per_h
        for resource, amount in merged[prefix].amounts:
            amounts[resource] -= amount
    if not here:
        return Rest(cost_per_h=whole[0], amounts=whole[1], prefixes=())
    # What is left of rounding is nothing.
    left = tuple((name, amount) for name, amount in amounts.items() if name[0] in ONCE or amount > 1e-9)
    return Rest(cost_per_h=cost if abs(cost) > 1e-12 else 0.0, amounts=left, prefixes=here)
