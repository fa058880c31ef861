"""Reference answers where queries share processes and prefixes, by trying everything."""

from __future__ import annotations

from itertools import product
from math import ceil

from brute_force import fits_one, links_hold, lives_in_process, may_share, plans_alone, share, stay_apart, way_by_step

from cloud_planner.core.problem import Billing, Sharing


def best_shared(problem):
    """The best goodput and, with it, the least cost. All machines are shared ones with count 1."""
    spaces = [[None, *plans_alone(problem, query)] for query in problem.queries]
    worth = [query.weight * query.rate_per_s for query in problem.queries]
    known = {}
    best = (0.0, 0.0)
    for combination in product(*(range(len(space)) for space in spaces)):
        goodput = sum(value for value, index in zip(worth, combination, strict=True) if index)
        if goodput < best[0] - 1e-9:
            continue
        parts = []
        for number, index in enumerate(combination):
            if index:
                if (number, index) not in known:
                    known[number, index] = parts_of(problem, problem.queries[number], spaces[number][index])
                parts += known[number, index]
        cost = cost_of(problem, parts)
        if cost is None:
            continue
        if goodput > best[0] + 1e-9 or cost < best[1]:
            best = (goodput, cost)
    return best


def parts_of(problem, query, plan):
    """The steps of a plan: query, step, option, replicas, what reaches it, what it does (None: nobody else can)."""
    candidate, chosen = query.candidates[plan[0]], plan[1]
    _, reaching = way_by_step(problem, query, candidate, chosen)
    readers = [
        other
        for other in problem.queries
        if (other.stream, other.source, other.rate_per_s) == (query.stream, query.source, query.rate_per_s)
    ]
    merging = problem.sharing is Sharing.PREFIX and query.stream != "" and len(readers) > 1
    does = {"source": ("source", query.stream, query.source, query.rate_per_s, candidate.source_bytes)}
    found = []
    for step, (each, n), reached in zip(candidate.steps, chosen, reaching, strict=True):
        before = [does[name] for name in step.inputs]
        what = None
        if merging and may_share(problem, query, step, each) and None not in before:
            what = (step.share_key, step.items_per_item, step.output_bytes, each, n, *before)
            what = None if what in does.values() else what
        does[step.operator_id] = what
        found.append((query, step, each, n, reached, what))
    return found


def cost_of(problem, parts):
    """Cost per hour of plans' parts; None if they do not fit."""
    running, unique = set(), []
    for part in parts:
        if part[5] is None or part[5] not in running:
            unique.append(part)
        if part[5] is not None:
            running.add(part[5])
    bits, cost = {}, 0.0
    for _, _, _, _, (price, reached), _ in unique:
        cost += price
        for key, value in reached.items():
            bits[key] = bits.get(key, 0.0) + value
    loads = [(query.id, step.operator_id, each, n) for query, step, each, n, _, _ in parts]
    if not links_hold(problem, bits) or not stay_apart(problem, loads):
        return None
    for size in problem.machines:
        here = [part for part in unique if part[2].machine == size.id]
        if not here:
            continue
        if sum(each.cores * n for _, _, each, n, _, _ in here) > size.cores + 1e-9:
            return None
        processes, memory = {}, 0
        for query, step, each, n, _, _ in here:
            if lives_in_process(problem, query, step, each):
                processes[step.share_key] = processes.get(step.share_key, 0.0) + each.cores * n
            else:
                memory += each.memory_bytes * n
        for key, cores in processes.items():
            serves, takes = process_of(problem, size, key)
            memory += takes * max(1, ceil(cores / serves - 1e-9))
        if memory > size.memory_bytes:
            return None
        if size.billing is Billing.WHOLE:
            cost += size.price_per_h
        else:
            cost += sum(size.price_per_h * share(size, each) * n for _, _, each, n, _, _ in here)
    return None if problem.budget_per_h is not None and cost > problem.budget_per_h * (1 + 1e-9) else cost


def process_of(problem, size, key):
    """What a process of a share key serves and takes on a machine."""
    options = [
        each
        for query in problem.queries
        if not query.splittable
        for candidate in query.candidates
        for step in candidate.steps
        if step.share_key == key and step.pooled and not step.single
        for each in step.options
        if each.machine == size.id and fits_one(size, each)
    ]
    return max(1.0, *(each.cores for each in options)), max(each.memory_bytes for each in options)
