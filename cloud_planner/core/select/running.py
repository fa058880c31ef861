"""The plans in force, found again in the tables, so that the fewest are changed among equals. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice, product

import numpy as np
from scipy.optimize import linprog

from circinus.model.plan import Plan
from cloud_planner.core.cordon import option_of
from cloud_planner.core.estimate import SLACK_RATIO, meets_accuracy, replicas_needed
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Problem, QueryProblem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.assignment import (
    Assignment,
    Load,
    Path,
    amounts_of,
    own_cost_per_h,
    traffic,
    whole_replicas,
)
from cloud_planner.core.select.model import Column, column_of
from cloud_planner.core.steps import Pick
from cloud_planner.core.templates import Enumeration, Prune, template

#: More ways than this through the options of one split plan are not looked at.
_MOST_WAYS = 20_000


def loads_of(candidate: Candidate, plan: Plan) -> tuple[Load, ...] | None:
    """A plan's operators as loads of a candidate; None if some option is not in the tables."""
    place = {step.operator_id: index for index, step in enumerate(candidate.steps)}
    loads = []
    for placed in plan.operators:
        index = place.get(placed.operator_id)
        option = option_of(candidate.steps[index], placed) if index is not None else None
        if index is None or option is None:
            return None
        loads.append(Load(step=index, option=option, replicas=placed.replicas, share_ratio=placed.share_ratio))
    if {load.step for load in loads} != set(range(len(candidate.steps))):
        return None
    return tuple(sorted(loads, key=lambda load: (load.step, load.option)))


def running_column(
    network: Network, problem: Problem, number: int, left: Mapping[Resource, float], known: Plan | None = None
) -> Column | None:
    """The running plan of a query as a column; None if there is none, or it no longer meets what is asked for.

    ``known``: its running plan, if that was looked up.
    """
    query = problem.queries[number]
    plan = known or next((plan for plan in problem.running if plan.query_id == query.id), None)
    if plan is None:
        return None
    for index, candidate in enumerate(query.candidates):
        if dict(candidate.configuration) != dict(plan.configuration):
            continue
        if not meets_accuracy(query, candidate, problem.asked_of(query)):
            continue
        loads = loads_of(candidate, plan)
        if loads is not None and _carried(problem, query, candidate, loads):
            return _column(network, problem, number, index, loads, left)
    return None


def _carried(problem: Problem, query: QueryProblem, candidate: Candidate, loads: tuple[Load, ...]) -> bool:
    cap = problem.replica_utilization_cap
    for load in loads:
        step = candidate.steps[load.step]
        option = step.options[load.option]
        most = load.replicas if option.replicas_most is None else option.replicas_most
        if option.capacity_per_s <= 0.0 or load.replicas > most:
            return False
        if query.splittable:
            flow = query.rate_per_s * step.items_per_item * load.share_ratio
            if load.replicas < whole_replicas(flow, option.capacity_per_s, cap):
                return False
        elif load.replicas < replicas_needed(query.rate_per_s, step, option, cap):
            return False
    return True


def _column(
    network: Network, problem: Problem, number: int, index: int, loads: tuple[Load, ...], left: Mapping[Resource, float]
) -> Column | None:
    query = problem.queries[number]
    if query.splittable:
        paths = split_paths(network, problem, query, index, loads)
        if paths is None:
            return None
        assignment = Assignment(query=number, candidate=index, loads=loads, paths=paths)
        bound = query.slo.cost_per_h
        if bound is not None and own_cost_per_h(network, problem, query, assignment) > bound * (1.0 + 1e-7):
            return None
        cost, amounts = amounts_of(network, problem, assignment)
        on = {query.candidates[index].steps[load.step].options[load.option].machine for load in loads}
        amounts |= {name: 1.0 for name in left if name[0] == "apart" and name[1] in on and query.id in name[2:]}
        return Column(assignment=assignment, cost_per_h=cost, amounts=tuple(sorted(amounts.items(), key=repr)))
    if len(loads) != len(query.candidates[index].steps):
        return None
    return fixed_column(network, problem, number, index, loads, left)


def fixed_column(
    network: Network, problem: Problem, number: int, index: int, loads: tuple[Load, ...], left: Mapping[Resource, float]
) -> Column | None:
    """An unsplit plan as a column, if it meets the query's SLO."""
    query = problem.queries[number]
    candidate = query.candidates[index]
    picks = tuple(Pick(option=0, replicas=load.replicas) for load in loads)
    # Only what runs: the other options and their machines take time to look at.
    steps = tuple(
        replace(step, options=(step.options[load.option],)) for step, load in zip(candidate.steps, loads, strict=True)
    )
    found = template(
        network,
        problem,
        replace(query, candidates=(replace(candidate, steps=steps),)),
        left,
        Enumeration(candidates=(0,), slo=query.slo, prune=Prune.NOTHING, fixed=picks),
    )
    if not found.routes:
        return None
    route = found.routes[0]
    there = tuple(Pick(option=load.option, replicas=load.replicas) for load in loads)
    return column_of(number, replace(route, candidate=index, picks=there))


def split_paths(
    network: Network, problem: Problem, query: QueryProblem, index: int, loads: tuple[Load, ...]
) -> tuple[Path, ...] | None:
    """The cheapest ways that give each option its share, each meeting the SLO; None if there are none."""
    candidate = query.candidates[index]
    options = [[load for load in loads if load.step == step] for step in range(len(candidate.steps))]
    ways: list[tuple[tuple[Load, ...], float]] = []
    for way in islice(product(*options), _MOST_WAYS):
        chosen = tuple(load.option for load in way)
        sent = traffic(network, problem, query, candidate, chosen)
        if sent is not None and _in_time(network, problem, query, index, chosen):
            ways.append((way, sent[0]))
    if not ways:
        return None
    equal = np.array([[1.0 if load in way else 0.0 for way, _ in ways] for load in loads])
    shares = np.array([load.share_ratio for load in loads])
    slack = 1e-7
    solved = linprog(
        [cost for _, cost in ways],
        A_ub=np.vstack([equal, -equal]),
        b_ub=np.concatenate([shares + slack, slack - shares]),
        bounds=(0.0, None),
        method="highs",
    )
    if solved.status != 0:
        return None
    return tuple(
        Path(options=tuple(load.option for load in way), share_ratio=float(share))
        for (way, _), share in zip(ways, solved.x, strict=True)
        if share > SLACK_RATIO
    )


def _in_time(network: Network, problem: Problem, query: QueryProblem, index: int, options: tuple[int, ...]) -> bool:
    if query.slo.latency_ms is None:
        return True
    picks = tuple(Pick(option=option, replicas=1) for option in options)
    wanted = Enumeration(candidates=(index,), slo=query.slo, prune=Prune.NOTHING, fractional=True, fixed=picks)
    return bool(template(network, problem, query, {}, wanted).routes)
