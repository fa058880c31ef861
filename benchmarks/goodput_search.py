"""What each method knows of each query once it has searched, and when; whatever the load, as a query is searched alone.

Profiling is charged to all alike. Each site has one profiling process on a core of the class that was measured, apart
from what serves; queries from the site take turns there, in order of arrival. All plans are made at the end of a first
window. A query whose search takes longer is served from when it is decided: what is left of its lifetime counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from goodput_methods import EXACT_POOL, Kind, Method, planners, task_of
from goodput_problem import problem, query_problem

from cloud_planner.baselines.knowledge import Wanted, listed, wanted
from cloud_planner.baselines.plan_space import Figures
from cloud_planner.baselines.task import Planner
from cloud_planner.baselines.verdict import SLACK
from cloud_planner.core.network import Network
from cloud_planner.core.resources import Resource
from cloud_planner.core.templates import template

if TYPE_CHECKING:
    from goodput_fleet import Fleet
    from goodput_queries import Request

#: Seconds of the first window, and of a query's lifetime after it.
WINDOW_S, LIFETIME_S = 300.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a method knows of a query. ``known``: times of configurations that it takes to be accurate enough.

    ``error_ratio``: of those times, one relative standard error. ``profile_s``: on one core of the class that was
    measured. ``cpu_s``: of deciding what to profile.
    """

    number: int
    known: dict[int, Figures]
    error_ratio: dict[int, float]
    wanted: Wanted
    profile_s: float
    cpu_s: float


def search_all(method: Method, requests: Sequence[Request], seed: int, fleet: Fleet) -> list[Answer]:
    """A method's answers to all queries, each searched alone and cold."""
    if method.kind is Kind.EXACT:
        found = [_exact(request, by_pool=method.name == EXACT_POOL) for request in requests]
    else:
        by_pipeline = planners(method, requests)
        found = [_search(by_pipeline[request.content.pipeline], request, seed) for request in requests]
    return found if not method.selects else [_undominated(one, requests[one.number], fleet) for one in found]


def _search(planner: Planner, request: Request, seed: int) -> Answer:
    task = task_of(request, seed)
    began_s = time.process_time()
    found = planner(task)
    cpu_s = time.process_time() - began_s
    plans = wanted(planner, task, found)
    figures, errors = task.meter.all_figures(), task.meter.error_ratio()
    chosen = [int(index) for index in np.unique(plans.configuration)]
    return Answer(
        number=request.number,
        known={index: figures[index] for index in chosen},
        error_ratio={index: float(errors[index]) for index in chosen},
        wanted=plans,
        profile_s=task.meter.bill.seconds,
        cpu_s=cpu_s,
    )


def _exact(request: Request, *, by_pool: bool) -> Answer:
    """What is true, for nothing."""
    accuracy = request.pool_accuracy if by_pool else request.held.accuracy
    figures = request.content.figures if by_pool else request.held.figures
    least = (request.slo.accuracy_ratio or 0.0) - SLACK
    known = {int(index): figures[index] for index in np.flatnonzero(accuracy >= least)}
    plans = listed(request.space, known, request.slo)
    return Answer(number=request.number, known=known, error_ratio={}, wanted=plans, profile_s=0.0, cpu_s=0.0)


def _undominated(answer: Answer, request: Request, fleet: Fleet) -> Answer:
    """Only configurations with a plan that no other's beats in cost and in all that plans compete for.

    None is lost that a selection could want, on this fleet or with other numbers of cores; each selection is quicker.
    """
    if not answer.known:
        return answer
    query = query_problem(request, fleet, answer.known, answer.error_ratio)
    alone = problem(fleet, (query,))
    there: dict[Resource, float] = {("cores", node.id): 1.0 for node in fleet.nodes if node.cores > 0.0}
    there.update({("bits", wire.source, wire.target): 1.0 for wire in fleet.wires})
    found = template(Network.of(alone), alone, query, there)
    if not found.complete:
        return answer
    kept = {list(answer.known)[route.candidate] for route in found.routes}
    return replace(answer, known={index: one for index, one in answer.known.items() if index in kept})


def ready_times_s(requests: Sequence[Request], answers: Sequence[Answer], fleet: Fleet) -> list[float]:
    """When each query is decided: those of a site take turns, all having come at the start. Answers may be more."""
    free: dict[str, float] = {}
    ready = []
    for request, answer in zip(requests, answers, strict=False):
        site = fleet.node(request.path[0]).site
        free[site] = free.get(site, 0.0) + answer.profile_s
        ready.append(free[site])
    return ready


def lifetime_left_ratio(ready_s: float) -> float:
    """The part of its lifetime that a query can be served for, if it is decided then."""
    return float(np.clip(1.0 - max(0.0, ready_s - WINDOW_S) / LIFETIME_S, 0.0, 1.0))
