"""How a method serves a stream on a fleet: who is admitted with which plan, and what that is worth by the truth.

Faithful methods go query by query (admission.py). The others offer all that they know to the global selection; who is
decided after the first window takes what that left, in order of when it is decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import TYPE_CHECKING

from goodput_problem import Judge, Placed, from_plan, from_row, problem, query_problem
from goodput_search import WINDOW_S, Answer, lifetime_left_ratio, ready_times_s

from cloud_planner.baselines.admission import Room, Seeker, first_fit, in_order_of_need
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.solver import CbcSolver

if TYPE_CHECKING:
    from goodput_fleet import Fleet
    from goodput_methods import Method
    from goodput_queries import Request

_LIMITS = SelectLimits(runner_ups=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What came of it. ``bound``: on the queries that can be served, by what the method knows; inf: none is proven.

    ``ready_s``: of each query, when it is decided. ``plan_s``: of placing all.
    """

    placed: tuple[Placed, ...]
    ready_s: tuple[float, ...]
    plan_s: float
    bound: float


def serve(method: Method, requests: Sequence[Request], answers: Sequence[Answer], fleet: Fleet) -> Service:
    """Plans for as many of these queries as the method finds room for; they are the first ones of the stream."""
    ready = ready_times_s(requests, answers, fleet)
    began_s = time.perf_counter()
    late = sorted((one for one in requests if ready[one.number] > WINDOW_S), key=lambda one: ready[one.number])
    early = [one for one in requests if ready[one.number] <= WINDOW_S]
    room, bound = fleet.room(), inf
    if method.selects:
        placed, bound = _selected(early, answers, fleet)
        for one in placed:
            take(one, requests[one.number], answers[one.number], room)
    else:
        seekers = [_seeker(one, answers) for one in early]
        found = first_fit(in_order_of_need(seekers) if method.by_need else seekers, room)
        placed = [from_row(requests[number], answers[number].wanted, row) for number, row in found.items()]
    found = first_fit([_seeker(one, answers) for one in late if lifetime_left_ratio(ready[one.number]) > 0.0], room)
    placed += [from_row(requests[number], answers[number].wanted, row) for number, row in found.items()]
    return Service(
        placed=tuple(sorted(placed, key=lambda one: one.number)),
        ready_s=tuple(ready),
        plan_s=time.perf_counter() - began_s,
        bound=bound,
    )


def _seeker(request: Request, answers: Sequence[Answer]) -> Seeker:
    return Seeker(number=request.number, machines=request.path, wanted=answers[request.number].wanted)


def _selected(early: Sequence[Request], answers: Sequence[Answer], fleet: Fleet) -> tuple[list[Placed], float]:
    """The global selection over all that is known of these queries, and its bound."""
    able = [one for one in early if answers[one.number].known]
    if not able:
        return [], 0.0
    asked = [query_problem(one, fleet, answers[one.number].known, answers[one.number].error_ratio) for one in able]
    by_name = {query.id: request for query, request in zip(asked, able, strict=True)}
    selection = select(problem(fleet, asked), CbcSolver(), limits=_LIMITS).selection
    return [from_plan(by_name[plan.query_id], plan) for plan in selection.plans], selection.goodput_bound_per_s


def take(placed: Placed, request: Request, answer: Answer, room: Room) -> None:
    """Takes from the room what a plan holds, its traffic by the sizes that its method knows."""
    for spot in placed.spots:
        room.cores[spot.machine] -= spot.cores * spot.replicas
    figures = answer.known[placed.configuration]
    for at, inputs in enumerate(request.space.shape.inputs):
        for before in inputs:
            source = request.path[0] if before < 0 else placed.spots[before].machine
            target = placed.spots[at].machine
            if source != target:
                size = float(figures.source_bytes if before < 0 else figures.output_bytes[before])
                room.bit_per_s[source, target] -= size * 8.0 * request.space.rate_per_s


# What it is worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Counts of queries, money and seconds; ``goodput``: queries whose every bound truly holds, by lifetime left.

    ``error_...``: where accuracy counts as missed only beyond the held-out samples' own error; ``pool_...``: where it
    is that over the whole pool, samples that were profiled and all.
    """

    queries: int
    placed: int
    goodput: float
    error_goodput: float
    pool_goodput: float
    short: int
    surely_short: int
    pool_short: int
    late: int
    dear: int
    false_admits: int
    error_false_admits: int
    pool_false_admits: int
    lost_to_profiling: float
    cost_per_h: float
    profile_s: float
    ready_mean_s: float
    ready_p99_s: float
    search_cpu_s: float
    plan_s: float
    bound: float


def worth(service: Service, answers: Sequence[Answer], judge: Judge) -> Worth:
    """By the truth of each plan."""
    verdicts = [(lifetime_left_ratio(service.ready_s[one.number]), judge(one)) for one in service.placed]
    every = [verdict for _, verdict in verdicts]
    count = len(service.ready_s)
    ordered = sorted(service.ready_s)
    return Worth(
        queries=count,
        placed=len(every),
        goodput=sum(left for left, verdict in verdicts if verdict.meets),
        error_goodput=sum(left for left, verdict in verdicts if verdict.meets_within_error),
        pool_goodput=sum(left for left, verdict in verdicts if verdict.meets_by_pool),
        short=sum(not verdict.accurate for verdict in every),
        surely_short=sum(verdict.surely_short for verdict in every),
        pool_short=sum(not verdict.pool_accurate for verdict in every),
        late=sum(not verdict.in_time for verdict in every),
        dear=sum(not verdict.in_budget for verdict in every),
        false_admits=sum(not verdict.meets for verdict in every),
        error_false_admits=sum(not verdict.meets_within_error for verdict in every),
        pool_false_admits=sum(not verdict.meets_by_pool for verdict in every),
        lost_to_profiling=sum(1.0 - left for left, verdict in verdicts if verdict.meets),
        cost_per_h=sum(verdict.cost_per_h for verdict in every),
        profile_s=sum(answer.profile_s for answer in answers[:count]),
        ready_mean_s=sum(ordered) / max(count, 1),
        ready_p99_s=ordered[min(count - 1, int(0.99 * count))] if ordered else 0.0,
        search_cpu_s=sum(answer.cpu_s for answer in answers[:count]),
        plan_s=service.plan_s,
        bound=service.bound if service.bound < inf else -1.0,
    )


# Cost at equal goodput


def least_multiple(
    reaches: Callable[[float], bool], *, low: float = 1 / 16, high: float = 4.0, steps: int = 6
) -> float:
    """The smallest multiple of a fleet, within a factor of (high / low) ^ 2^-steps, that reaches what is asked; inf.

    Where what is reached does not grow with the fleet throughout, one of the multiples where it starts to be.
    """
    if not reaches(high):
        return inf
    for _ in range(steps):
        middle = exp((log(low) + log(high)) / 2.0)
        if reaches(middle):
            high = middle
        else:
            low = middle
    return high
