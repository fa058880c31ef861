"""Whether a query has a plan beside a selection's plans of the others, over all of its plans. PURE."""

from __future__ import annotations

from dataclasses import replace

from circinus.errors import NotFound
from circinus.model.device import DeviceId
from circinus.model.plan import Plan, Selection
from circinus.model.query import QueryId
from cloud_planner.core.network import Network
from cloud_planner.core.placeable_room import Room, machines_of
from cloud_planner.core.problem import Problem, Sharing
from cloud_planner.core.select.assignment import Assignment, Path
from cloud_planner.core.select.milp import Solver
from cloud_planner.core.select.running import loads_of, split_paths


def number_of(problem: Problem, query_id: QueryId) -> int:
    """The place of a query in a problem.

    Raises:
        NotFound: there is no such query.
    """
    for number, query in enumerate(problem.queries):
        if query.id == query_id:
            return number
    raise NotFound(f"there is no query {query_id!r}; known: {', '.join(q.id for q in problem.queries[:20]) or 'none'}")


def assignment_of(problem: Problem, plan: Plan, network: Network | None = None) -> Assignment | None:
    """A plan found again in the problem; None if its options are not there (any more)."""
    network = network or Network.of(problem)
    number = next((place for place, query in enumerate(problem.queries) if query.id == plan.query_id), None)
    if number is None or any(part.device_id not in network.machines for part in plan.operators):
        return None
    query = problem.queries[number]
    same = [
        index
        for index, candidate in enumerate(query.candidates)
        if dict(candidate.configuration) == dict(plan.configuration)
    ]
    for index in sorted(same, key=lambda index: query.candidates[index].accuracy != plan.accuracy_ratio):
        loads = loads_of(query.candidates[index], plan)
        if loads is None:
            continue
        if query.splittable:
            paths = split_paths(network, problem, query, index, loads)
        else:
            paths = (Path(options=tuple(load.option for load in loads), share_ratio=1.0),)
        if paths is not None:
            return Assignment(query=number, candidate=index, loads=loads, paths=paths)
    return None


def room_for(problem: Problem, selection: Selection, query_id: QueryId, solver: Solver | None = None) -> Room:
    """A query beside the selection's plans of the others, in a problem of only what has to do with it.

    Others count that use a machine or an uplink that it could use; where there is a budget, all do.

    Raises:
        NotFound: there is no such query.
    """
    query = problem.queries[number_of(problem, query_id)]
    sources = {other.id: other.source for other in problem.queries}
    near = set(machines_of(query))
    uplinks = [uplink for uplink in problem.uplinks if any(set(ends) <= near for ends in uplink.wires)]
    ends = near | {end for uplink in uplinks for pair in uplink.wires for end in pair}
    plans, used = [], set(near)
    for plan in selection.plans:
        if plan.query_id not in sources:
            continue
        source = sources[plan.query_id]
        here = {part.device_id for part in plan.operators} | ({source} if source is not None else set())
        if plan.query_id == query_id or here & ends or problem.budget_per_h is not None:
            plans.append(plan)
            used |= here
    local = _local(problem, {query_id, *(plan.query_id for plan in plans)}, used)
    network = Network.of(local)
    others = [assignment_of(local, plan, network) for plan in plans if plan.query_id != query_id]
    return Room(
        problem=local,
        number=number_of(local, query_id),
        others=tuple(other for other in others if other is not None),
        solver=solver,
    )


def _local(problem: Problem, queries: set[QueryId], machines: set[DeviceId]) -> Problem:
    """The problem with these queries and machines alone, in the order in which they stand.

    Where queries share, what a process takes depends on all who could live in it.
    """
    if problem.sharing is not Sharing.NONE:
        return problem
    return replace(
        problem,
        queries=tuple(query for query in problem.queries if query.id in queries),
        machines=tuple(machine for machine in problem.machines if machine.id in machines),
        wires=tuple(wire for wire in problem.wires if wire.source in machines and wire.target in machines),
        running=tuple(plan for plan in problem.running if plan.query_id in queries),
    )


def placeable(problem: Problem, selection: Selection, query_id: QueryId, solver: Solver | None = None) -> bool:
    """Whether the query has a plan that meets its SLO and fits beside the selection's plans of the others."""
    return room_for(problem, selection, query_id, solver).any().fit is not None
