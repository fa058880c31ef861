"""From a split query's values to shares, replicas and paths. PURE."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice, product

import numpy as np
from scipy.optimize import linprog

from circinus.model.device import DeviceId
from cloud_planner.core.problem import Candidate, Problem, QueryProblem
from cloud_planner.core.select.assignment import Assignment, Load, Path, whole_replicas
from cloud_planner.core.select.flows import NOISE_RATIO, Flow, chosen_candidate

#: Ways through the options that are used, in a DAG with a cycle.
_MOST_WAYS = 20_000


def read_flow(problem: Problem, flow: Flow, values: tuple[float, ...]) -> Assignment | None:
    """The assignment that the values give a split query; None if they do not serve it."""
    chosen = chosen_candidate(flow, values)
    if chosen is None:
        return None
    query = problem.queries[flow.query]
    candidate = query.candidates[chosen]
    if flow.routes:
        paths = [
            Path(options=options, share_ratio=values[variable])
            for (index, options), variable in flow.routes.items()
            if index == chosen and values[variable] > NOISE_RATIO
        ]
    elif flow.skeleton.cycles:
        paths = _solved(flow, candidate, values)
    else:
        paths = _woven(flow, candidate, values)
    if not paths:
        return None
    return from_paths(problem, flow.query, chosen, paths)


def _used(flow: Flow, candidate: Candidate, values: tuple[float, ...]) -> list[dict[int, float]]:
    """By step, the share of each option that has one."""
    return [
        {
            index: values[variable]
            for (position, step, index), variable in flow.shares.items()
            if position == place and step == candidate.steps[place] and values[variable] > NOISE_RATIO
        }
        for place in range(len(candidate.steps))
    ]


def _arcs(flow: Flow, values: tuple[float, ...]) -> dict[tuple[int, int, DeviceId | None, DeviceId], float]:
    return {key: sum(values[variable] for variable in variables) for key, variables in flow.arcs.items()}


def _solved(flow: Flow, candidate: Candidate, values: tuple[float, ...]) -> list[Path]:
    """Paths through the options that are used, by linear programme: as close to shares and arcs as can be."""
    used = _used(flow, candidate, values)
    ways = list(islice(product(*(sorted(shares) for shares in used)), _MOST_WAYS))
    rows, right = [], []
    for place, shares in enumerate(used):
        for option, share in shares.items():
            rows.append([float(way[place] == option) for way in ways])
            right.append(share)
    machines = [[candidate.steps[place].options[option].machine for place, option in enumerate(way)] for way in ways]
    for (source, target, machine, receiver), share in _arcs(flow, values).items():
        if source >= 0:
            rows.append([float(m[source] == machine and m[target] == receiver) for m in machines])
            right.append(share)
    misses = len(rows)
    solved = linprog(
        np.concatenate([np.zeros(len(ways)), np.ones(2 * misses)]),
        A_eq=np.hstack([np.array(rows), np.eye(misses), -np.eye(misses)]),
        b_eq=np.array(right),
        bounds=(0.0, None),
        method="highs",
    )
    if solved.status != 0:
        return []
    return [
        Path(options=way, share_ratio=float(share))
        for way, share in zip(ways, solved.x[: len(ways)], strict=True)
        if share > NOISE_RATIO
    ]


def from_paths(problem: Problem, number: int, chosen: int, paths: list[Path]) -> Assignment:
    """The assignment with these paths, their shares made to sum to 1, and the fewest replicas that carry them."""
    query: QueryProblem = problem.queries[number]
    candidate = query.candidates[chosen]
    total = sum(path.share_ratio for path in paths)
    together: dict[tuple[int, ...], float] = defaultdict(float)
    for path in paths:
        together[path.options] += path.share_ratio / total
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for options, share in together.items():
        for position, option in enumerate(options):
            shares[position, option] += share
    loads = []
    for (position, index), share in sorted(shares.items()):
        step = candidate.steps[position]
        flow_per_s = query.rate_per_s * step.items_per_item * share
        count = whole_replicas(flow_per_s, step.options[index].capacity_per_s, problem.replica_utilization_cap)
        loads.append(Load(step=position, option=index, replicas=count, share_ratio=share))
    return Assignment(
        query=number,
        candidate=chosen,
        loads=tuple(loads),
        paths=tuple(Path(options=options, share_ratio=share) for options, share in sorted(together.items())),
    )


def _woven(flow: Flow, candidate: Candidate, values: tuple[float, ...]) -> list[Path]:
    """Paths with the shares and arcs of a DAG without cycles: each edge extends the paths so far by its arcs."""
    shares = _used(flow, candidate, values)
    neighbours: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for target, reads in enumerate(flow.skeleton.inputs):
        for source in reads:
            if source >= 0:
                neighbours[source].append((source, target))
                neighbours[target].append((source, target))
    partial: list[tuple[dict[int, int], float]] = [({}, 1.0)]
    for start in range(len(candidate.steps)):
        if partial and start in partial[0][0]:
            continue
        left = dict(sorted(shares[start].items()))
        partial = [grown for options, share in partial for grown in _dealt(options, share, start, left)]
        waiting = [start]
        while waiting:
            here = waiting.pop(0)
            for source, target in neighbours[here]:
                there = target if here == source else source
                if there in partial[0][0]:
                    continue
                moved: dict[tuple[DeviceId, DeviceId], float] = defaultdict(float)
                for (a, b, m, k), variables in flow.arcs.items():
                    if (a, b) == (source, target) and m is not None:
                        amount = sum(values[variable] for variable in variables)
                        moved[(m, k) if here == source else (k, m)] += amount
                partial = _joined(partial, candidate, here, there, shares[there], moved)
                waiting.append(there)
    return [
        Path(options=tuple(options[place] for place in range(len(candidate.steps))), share_ratio=share)
        for options, share in partial
        if share > NOISE_RATIO
    ]


def _dealt(
    options: dict[int, int], share: float, place: int, left: dict[int, float]
) -> list[tuple[dict[int, int], float]]:
    """One path's share over what is left of options, in order; what is left is used up."""
    grown: list[tuple[dict[int, int], float]] = []
    for option in list(left):
        part = min(share, left[option])
        if part <= 0.0:
            continue
        left[option] -= part
        share -= part
        grown.append(({**options, place: option}, part))
    if share > 0.0 and left:  # rounding
        last = grown[-1][0][place] if grown else next(iter(left))
        grown.append(({**options, place: last}, share))
    return grown


def _joined(
    partial: list[tuple[dict[int, int], float]],
    candidate: Candidate,
    here: int,
    there: int,
    shares: dict[int, float],
    moved: dict[tuple[DeviceId, DeviceId], float],
) -> list[tuple[dict[int, int], float]]:
    """Extends paths along an edge: by machine as the arcs say, then by option on the machine."""
    arcs = {key: amount for key, amount in sorted(moved.items()) if amount > NOISE_RATIO}
    left = dict(sorted(shares.items()))
    grown: list[tuple[dict[int, int], float]] = []
    for options, whole in partial:
        share = whole
        machine = candidate.steps[here].options[options[here]].machine
        ways = [key for key in arcs if key[0] == machine]
        for key in ways:
            part = min(share, arcs[key])
            if part <= 0.0:
                continue
            arcs[key] -= part
            share -= part
            here_left = {
                option: amount
                for option, amount in left.items()
                if candidate.steps[there].options[option].machine == key[1]
            }
            if not here_left:
                continue
            grown += _dealt(options, part, there, here_left)
            left.update(here_left)
    return grown
