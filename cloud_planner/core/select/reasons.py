"""Why a query has no plan: the limit that binds. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite

from circinus.model.pipeline import Configuration
from circinus.model.query import Slo
from cloud_planner.core.estimate import accuracy_probability_ratio
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Objective, Problem, QueryProblem
from cloud_planner.core.resources import Resource, fit_count, shape_of
from cloud_planner.core.select.alternatives import amounts_taken
from cloud_planner.core.select.assignment import Assignment, from_route
from cloud_planner.core.templates import Enumeration, Prune, Route, TemplateLimits, admissible, template

_LIMITS = TemplateLimits(partial_rows=5_000, routes=2_000)
_NAMES = {"memory": "of the memory", "slots": "of the accelerator slots"}


def reason(
    network: Network,
    problem: Problem,
    number: int,
    assignments: Sequence[Assignment],
    left: Mapping[Resource, float],
) -> str:
    """Why the query is unplaced, given the assignments of the others."""
    query = problem.queries[number]
    if query.impossible:
        return query.impossible
    if not query.candidates:
        return "no configuration is known: there are no profiles"
    meeting = admissible(problem, query)
    if not meeting:
        return _accuracy(problem, query)
    alone = _routes(network, problem, query, meeting, left, query.slo)
    if alone:
        if problem.objective is Objective.COST and problem.served_ratio < 1.0:
            return f"not needed: {problem.served_ratio:.6g} of the load is served at less cost without it"
        return _capacity(network, problem, number, assignments, alone, left)
    endless = Slo(latency_ms=1e15, percentile_ratio=query.slo.percentile_ratio)
    fastest = _routes(network, problem, query, meeting, {}, endless, Prune.SLOWER)
    if not fastest:
        return _placement(network, query, meeting)
    return _slo(network, problem, number, meeting, left, fastest)


def _routes(
    network: Network,
    problem: Problem,
    query: QueryProblem,
    candidates: tuple[int, ...],
    left: Mapping[Resource, float],
    slo: Slo,
    prune: Prune = Prune.ROUTES,
) -> tuple[Route, ...]:
    wanted = Enumeration(candidates=candidates, slo=slo, prune=prune, limits=_LIMITS)
    routes = template(
        network, problem, replace(query, slo=replace(query.slo, latency_ms=slo.latency_ms)), left, wanted
    ).routes
    return tuple(route for route in routes if isfinite(route.percentile_ms))


def _slo(
    network: Network,
    problem: Problem,
    number: int,
    meeting: tuple[int, ...],
    left: Mapping[Resource, float],
    fastest: tuple[Route, ...],
) -> str:
    query = problem.queries[number]
    slo = query.slo
    percentile = f"p{slo.percentile_ratio * 100:.4g}"
    what = "meets accuracy" if slo.accuracy_ratio is not None else "there is"
    if slo.latency_ms is not None:
        best = min(route.percentile_ms for route in fastest)
        if best > slo.latency_ms:
            return f"latency <= {slo.latency_ms:.6g} ms: fastest plan that {what} takes {best:.4g} ms at {percentile}"
        in_time = _routes(network, problem, query, meeting, {}, replace(slo, cost_per_h=None))
    else:
        in_time = fastest
    if slo.cost_per_h is not None and in_time:
        cheapest = min(route.own_cost_per_h for route in in_time)
        if cheapest > slo.cost_per_h:
            rest = " and latency" if slo.latency_ms is not None else ""
            return (
                f"cost <= {slo.cost_per_h:.6g} per hour: cheapest plan that {what}{rest} costs {cheapest:.4g} per hour"
            )
    needs = _routes(network, problem, query, meeting, {}, slo)
    if needs and left:
        lightest = min(needs, key=lambda route: route.own_cost_per_h)
        wants = ", ".join(
            f"{step.operator_id} {pick.replicas} x {step.options[pick.option].cores:.4g} cores on "
            f"{step.options[pick.option].machine}"
            for step, pick in zip(query.candidates[lightest.candidate].steps, lightest.picks, strict=True)
        )
        lacking = _least_lack(network, problem, number, needs, left)
        return f"no capacity for it even alone: it would need {wants}" + (f"; needs {lacking}" if lacking else "")
    if slo.latency_ms is not None:
        best = min(route.percentile_ms for route in fastest)
        return (
            f"latency <= {slo.latency_ms:.6g} ms: fastest plan that {what} takes {best:.4g} ms at {percentile}, "
            f"too close to promise with probability {problem.slo_probability_ratio:.6g}"
        )
    return "no plan meets all bounds at once"


def _accuracy(problem: Problem, query: QueryProblem) -> str:
    best = max(query.candidates, key=lambda candidate: (candidate.accuracy.low, candidate.accuracy.value))
    bound = query.slo.accuracy_ratio
    said = f"accuracy >= {bound:.6g}: best known is {best.accuracy.value:.4g}"
    if best.accuracy.low != best.accuracy.value:
        said += f" (low {best.accuracy.low:.4g})"
    said += f" with {_written(best.configuration)}"
    if bound is not None and best.accuracy.low >= bound:
        probability = accuracy_probability_ratio(query, best)
        said += f", which holds with probability {probability:.4g} only ({problem.slo_probability_ratio:.4g} asked for)"
    return said


def _written(configuration: Configuration) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in sorted(configuration.items())) + "}"


def _placement(network: Network, query: QueryProblem, meeting: tuple[int, ...]) -> str:
    """Which operator cannot run anywhere, or that no links join the machines that could."""
    candidates: list[Candidate] = [query.candidates[index] for index in meeting]
    for step in candidates[0].steps:
        variants = [
            other for candidate in candidates for other in candidate.steps if other.operator_id == step.operator_id
        ]
        options = [option for variant in variants for option in variant.options if option.machine in network.machines]
        if not options:
            return f"no device can run operator {step.operator_id}"
        if not any(fit_count(network.machines[option.machine], shape_of(option)) for option in options):
            least = min(option.cores for option in options)
            return (
                f"no device is large enough for operator {step.operator_id}: a replica takes {least:.4g} cores and "
                f"{min(option.memory_bytes for option in options)} bytes of memory at least"
            )
    start = f"from {query.source} " if query.source is not None else ""
    return f"no links lead {start}along machines that can run its operators"


def _capacity(
    network: Network,
    problem: Problem,
    number: int,
    assignments: Sequence[Assignment],
    alone: tuple[Route, ...],
    left: Mapping[Resource, float],
) -> str:
    """What its least demanding plan lacks beside the others."""
    query = problem.queries[number]
    if query.splittable and (short := _short_operator(network, problem, query)):
        return f"no capacity for it even alone: {short}"
    free = {resource: there for resource, there in left.items() if isfinite(there)}
    for assignment in assignments:
        for name, amount in amounts_taken(network, problem, assignment).items():
            if name in free:
                free[name] -= amount
    # A split query's routes stand for parts of its load: one of them says nothing about the whole.
    lacking = "" if query.splittable else _least_lack(network, problem, number, alone, free)
    if lacking:
        return f"no capacity left: needs {lacking}"
    if not assignments:
        return "no capacity for it even alone: its operators together take more than machines and links have"
    if query.splittable:
        return "no capacity left beside the other queries: it takes more than they leave of machines and links"
    return "no capacity left: other queries are worth more of what it needs"


def _short_operator(network: Network, problem: Problem, query: QueryProblem) -> str:
    """The operator whose load is too much for all machines together, if there is one in each candidate."""
    said = ""
    for index in admissible(problem, query):
        short = ""
        for step in query.candidates[index].steps:
            best: dict[str, float] = {}
            for option in step.options:
                machine = network.machines.get(option.machine)
                if machine is None:
                    continue
                fitting = fit_count(machine, shape_of(option)) * (inf if machine.count is None else machine.count)
                rate = fitting * option.capacity_per_s if fitting else 0.0
                best[option.machine] = max(best.get(option.machine, 0.0), rate)
            most = problem.replica_utilization_cap * sum(best.values())
            load = query.rate_per_s * step.items_per_item
            if most < load * (1.0 - 1e-9):
                short = (
                    f"operator {step.operator_id} has {load:.6g} items/s, of which all machines "
                    f"that can run it do {most:.6g} at most"
                )
                break
        if not short:
            return ""
        said = said or short
    return said


def _least_lack(
    network: Network, problem: Problem, number: int, routes: Sequence[Route], free: Mapping[Resource, float]
) -> str:
    """What is missing for the route that lacks least; empty: nothing."""

    def missing(route: Route) -> tuple[float, Resource | None, float]:
        taken = amounts_taken(network, problem, from_route(number, route))
        lacks = [(amount - free[name], name, amount) for name, amount in taken.items() if name in free]
        return max(lacks, key=lambda lack: (lack[0], repr(lack[1])), default=(0.0, None, 0.0))

    lack, resource, needed = min((missing(route) for route in routes[:500]), key=lambda lack: (lack[0], repr(lack[1])))
    if resource is None or lack <= 0.0:
        return ""
    there = max(0.0, free[resource])
    machine = next((m for m in problem.machines if m.id == resource[1]), None)
    if resource[0] == "cores" and machine is not None:
        return f"{needed * machine.cores:.4g} cores on {machine.id}, {there * machine.cores:.4g} are left"
    if resource[0] == "bits":
        link = f"link {resource[1]} -> {resource[2]}"
        return f"{needed:.3g} of the planned rate of {link}, {there:.3g} is left"
    if resource[0] == "machines":
        return f"{needed:.4g} machines {resource[1]}, {there:.4g} are left"
    if resource[0] == "shape":
        return f"{needed:.4g} places for such replicas on {resource[1]}, {there:.4g} are left"
    part = _NAMES.get(str(resource[0]), "of the accelerator memory")
    return f"{needed:.3g} {part} of {resource[1]}, {there:.3g} is left"
