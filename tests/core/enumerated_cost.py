"""Least cost by trying everything.

For one divided chain of operators on machines that each do one operator: which machines are bought for which operator
is tried out; how the items are then divided among them, so that their bytes cost least, is a linear programme over
arcs. For several queries that stay whole: every plan of each.
"""

from __future__ import annotations

from itertools import product
from math import inf

import numpy as np
from brute_force import links_hold, machine_cost, plans_alone
from scipy.optimize import linprog


def least_cost_of_chain(problem, below=inf):
    """The least cost below a limit at which the one query of a problem is served; the limit if there is none.

    The query is a chain with one option for each operator and type and one replica on each machine; all types are
    exclusive and paid whole.
    """
    (query,) = problem.queries
    for candidate in query.candidates:
        if candidate.accuracy.low >= (query.slo.accuracy_ratio or 0.0):
            below = _least_cost(problem, query, candidate, below)
    return below


def _least_cost(problem, query, candidate, best):
    machines = {each.id: each for each in problem.machines}
    types = sorted(machines)
    speed = [
        {
            each.machine: problem.replica_utilization_cap * each.capacity_per_s / step.items_per_item
            for each in step.options
        }
        for step in candidate.steps
    ]
    most = [
        [
            min(
                int(np.ceil(query.rate_per_s / here[name] - 1e-9)),
                machines[name].count if machines[name].count is not None else 10**6,
            )
            if name in here
            else 0
            for name in types
        ]
        for here in speed
    ]
    ways = []
    for here, limits in zip(speed, most, strict=True):
        able = [
            counts
            for counts in product(*(range(limit + 1) for limit in limits))
            if sum(n * here.get(name, 0.0) for n, name in zip(counts, types, strict=True)) >= query.rate_per_s - 1e-9
        ]
        priced = [(sum(n * machines[name].price_per_h for n, name in zip(c, types, strict=True)), c) for c in able]
        ways.append(sorted(priced))
    if not all(ways):
        return best
    ahead = [sum(each[0][0] for each in ways[place:]) for place in range(len(ways) + 1)]

    def bought(place, cost, left, chosen):
        nonlocal best
        if place == len(ways):
            best = min(best, cost + _least_traffic(problem, query, candidate, types, speed, chosen, best - cost))
            return
        for price, counts in ways[place]:
            if cost + price + ahead[place + 1] >= best - 1e-9:
                return
            rest = [there - n for there, n in zip(left, counts, strict=True)]
            if min(rest) >= 0:
                bought(place + 1, cost + price, rest, [*chosen, counts])

    bought(0, 0.0, [10**6 if machines[name].count is None else machines[name].count for name in types], [])
    return best


def _least_traffic(problem, query, candidate, types, speed, chosen, worth):
    """Least cost of bytes per hour with these machines; infinite if no links join them, or it is not worth it."""
    if worth <= 0.0:
        return inf
    wires = {(wire.source, wire.target): wire for wire in problem.wires}
    arcs, prices = [], []
    sizes = [candidate.source_bytes, *(step.output_bytes * step.items_per_item for step in candidate.steps)]
    used = [[query.source]] + [[name for name, n in zip(types, counts, strict=True) if n] for counts in chosen]
    for place in range(len(chosen)):
        for source in used[place]:
            for target in used[place + 1]:
                wire = wires.get((source, target))
                if wire is None and source != target:
                    continue
                price = 0.0 if wire is None else wire.price_per_gb * sizes[place] * query.rate_per_s * 3600.0 / 1e9
                arcs.append((place, source, target))
                prices.append(price)
    if not arcs:
        return inf
    equal, right = [], []
    for place in range(len(chosen)):
        if place == 0:
            equal.append([float(arc[0] == 0) for arc in arcs])
            right.append(1.0)
            continue
        for name in used[place]:
            equal.append(
                [float(arc[:1] + arc[2:] == (place - 1, name)) - float(arc[:2] == (place, name)) for arc in arcs]
            )
            right.append(0.0)
    rows, limits = [], []
    for place, counts in enumerate(chosen):
        for name, n in zip(types, counts, strict=True):
            if n:
                rows.append([float(arc[0] == place and arc[2] == name) for arc in arcs])
                limits.append(n * speed[place][name] / query.rate_per_s + 1e-12)
    solved = linprog(prices, A_ub=rows, b_ub=limits, A_eq=equal, b_eq=right, bounds=(0.0, None), method="highs")
    return float(solved.fun) if solved.status == 0 else inf


def least_cost_of_queries(problem):
    """The least cost at which enough of unsplit queries are served; infinite if that can't be."""
    spaces = [(query, sorted(plans_alone(problem, query), key=lambda plan: plan[2])) for query in problem.queries]
    worth = [query.weight * query.rate_per_s for query, _ in spaces]
    enough = problem.served_ratio * sum(worth) * (1 - 1e-9)
    best = inf

    def served(place, loads, traffic, bits, goodput):
        nonlocal best
        cost = machine_cost(problem, loads)
        if cost is None or cost + traffic >= best - 1e-9 or not links_hold(problem, bits):
            return
        if goodput + sum(worth[place:]) < enough:
            return
        if place == len(spaces):
            best = cost + traffic
            return
        query, plans = spaces[place]
        for index, chosen, _, sent, more in plans:
            steps = query.candidates[index].steps
            new = [(query.id, step.operator_id, each, n) for step, (each, n) in zip(steps, chosen, strict=True)]
            together = {key: bits.get(key, 0.0) + more.get(key, 0.0) for key in bits.keys() | more.keys()}
            served(place + 1, loads + new, traffic + sent, together, goodput + worth[place])
        served(place + 1, loads, traffic, bits, goodput)

    served(0, [], 0.0, {}, 0.0)
    return best
