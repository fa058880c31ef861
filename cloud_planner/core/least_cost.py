"""The cheapest complete route of each candidate, whatever else runs. PURE.

Accuracy isn't asked about, nor what other queries take: a search asks after every few samples what a configuration
would cost if it proved accurate enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from circinus.model.pipeline import SOURCE
from cloud_planner.core.growth import Prune
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import Resource, bits_amounts, machine_amounts
from cloud_planner.core.templates import Complete, Enumeration, Enumerator, Route

#: Rows for each candidate that a first growth goes on with, for routes that say what is too dear ...
_FIRST_ROWS = 12
#: ... and rows in all that the second goes on with. Beyond, the cheapest may be missed.
_MOST_ROWS = 30_000
#: What a time as long as the limit is weighed at, in least costs of a route.
_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


def least_costs(
    network: Network, problem: Problem, query: QueryProblem, price: Mapping[Resource, float] | None = None
) -> tuple[Route | None, ...]:
    """For each candidate of a query its cheapest route that meets the SLO on latency and cost; None: there is none.

    A replica must fit its machine; whether all of them fit together, beside others or alone, is not looked at. Of
    equals the faster. Complexity: as templates without resources.

    Args:
        network: Machines and links.
        problem: Says how waiting is estimated, and the caps.
        query: The query; its bound on accuracy is held against none, but counts in the probability of its SLO.
        price: Of a unit of a resource per hour, as in the routes' ``amounts``, on top of what a route costs. What is
            cheapest is judged by both together; ``cost_per_h`` of the routes is without.
    """
    price = price or {}
    wanted = Enumeration(candidates=tuple(range(len(query.candidates))), slo=query.slo)
    work = Enumerator(network, problem, query, {}, wanted, price=price)
    found: list[Route | None] = [None] * len(query.candidates)
    for part, row in _cheapest(work):
        route = work.route(part, row)
        found[route.candidate] = _priced_apart(network, problem, query, route, price)
    return tuple(found)


def _cheapest(work: Enumerator) -> Iterator[tuple[Complete, int]]:
    """The cheapest rows, one for each candidate that has one."""
    every = work.wanted.candidates
    most_cost = np.full(len(every), np.inf)
    growers = work.growers(every, _weights(work))
    parts: list[Complete] = []
    open_ones: list[int] = []
    for grower in growers:
        table, growth = grower.grow(_FIRST_ROWS * len(grower.levels[-1].members))
        part = work.meeting(grower, table)
        np.minimum.at(most_cost, part.candidate, part.table.cost_per_h)
        if growth.complete:
            parts.append(part)
        else:
            open_ones += [index for each in grower.levels[-1].members for index in each]
    # Whether there is any is asked first, by time alone: without a route at hand nothing is too dear.
    for grower in work.growers([index for index in open_ones if np.isinf(most_cost[index])], _weights(work)):
        part = work.meeting(grower, replace(grower, prune=Prune.SLOWER).grow(_MOST_ROWS)[0])
        np.minimum.at(most_cost, part.candidate, part.table.cost_per_h)
    left = work.growers([index for index in open_ones if np.isfinite(most_cost[index])], _weights(work))
    parts += [work.meeting(grower, grower.grow(_MOST_ROWS, most_cost=most_cost)[0]) for grower in left]
    for part in parts:
        order = np.lexsort((part.mean_ms, part.table.cost_per_h, part.candidate))
        first = np.append(True, np.diff(part.candidate[order]) != 0)[: len(order)]
        yield from ((part, int(row)) for row in order[first])


def _weights(work: Enumerator) -> list[float]:
    """Weights on time: around what a route costs at its cheapest over the time that it may take."""
    limit_ms = work.wanted.slo.latency_ms
    if limit_ms is None:
        return [0.0]
    least = [work.least_cost(index) for index in work.wanted.candidates]
    known = [cost for cost in least if 0.0 < cost < np.inf] or [1.0]
    return [float(np.median(known)) / limit_ms * weight for weight in _WEIGHTS]


def _priced_apart(
    network: Network, problem: Problem, query: QueryProblem, route: Route, price: Mapping[Resource, float]
) -> Route:
    """The route with what it takes of priced resources, and its cost without their price."""
    if not price:
        return route
    candidate = query.candidates[route.candidate]
    taken: dict[Resource, float] = defaultdict(float)
    options = {
        step.operator_id: step.options[pick.option] for step, pick in zip(candidate.steps, route.picks, strict=True)
    }
    sizes = {step.operator_id: step.items_per_item * step.output_bytes for step in candidate.steps}
    for step, pick in zip(candidate.steps, route.picks, strict=True):
        option = options[step.operator_id]
        for resource, amount in machine_amounts(network.machines[option.machine], option, pick.replicas):
            taken[resource] += amount
        for name in step.inputs:
            hop = network.hop(query.source if name == SOURCE else options[name].machine, option.machine)
            bytes_per_s = query.rate_per_s * (candidate.source_bytes if name == SOURCE else sizes[name])
            for resource, amount in bits_amounts(hop, bytes_per_s, problem.link_utilization_cap) if hop else ():
                taken[resource] += amount
    amounts = tuple(sorted(((name, amount) for name, amount in taken.items() if name in price), key=repr))
    return replace(
        route,
        amounts=amounts,
        cost_per_h=route.cost_per_h - sum(price[name] * amount for name, amount in amounts),
    )
