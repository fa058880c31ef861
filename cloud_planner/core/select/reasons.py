"""Why a query has no plan: the limit that binds. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

from circinus.model.pipeline import Configuration
from circinus.model.query import Slo
from cloud_planner.core.cordon import left_out
from cloud_planner.core.estimate import accuracy_probability_ratio
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Objective, Problem, QueryProblem
from cloud_planner.core.resources import Resource, fit_count, shape_of
from cloud_planner.core.select.assignment import Assignment, bill, from_route, together
from cloud_planner.core.select.taken import Taken, amounts_taken
from cloud_planner.core.templates import Enumeration, Prune, Route, TemplateLimits, admissible, template

_LIMITS = TemplateLimits(partial_rows=5_000, routes=2_000)
#: Plans, cheapest first, that are held against the others' machines and the budget.
_TRIED = 50
#: ... and against what is left of each resource.
_LACKING = 500
#: Machines that a reason names.
_NAMED = 5
_NAMES = {"memory": "of the memory", "slots": "of the accelerator slots"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the others take; ``alone``: plans that the query could have if it were alone, if there are any known."""

    taken: Taken
    alone: tuple[Assignment, ...] = ()


def reason(
    network: Network,
    problem: Problem,
    number: int,
    assignments: Sequence[Assignment],
    left: Mapping[Resource, float],
    known: Known | None = None,
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
    known = known or Known(taken=Taken.of(network, problem, assignments))
    return _unplaced(network, problem, number, meeting, assignments, left, known) + _left_out(query)


def _unplaced(
    network: Network,
    problem: Problem,
    number: int,
    meeting: tuple[int, ...],
    assignments: Sequence[Assignment],
    left: Mapping[Resource, float],
    known: Known,
) -> str:
    query = problem.queries[number]
    alone = known.alone
    if not alone:
        alone = tuple(from_route(number, route) for route in _routes(network, problem, query, meeting, left, query.slo))
    if alone:
        if problem.objective is Objective.COST and problem.served_ratio < 1.0:
            return f"not needed: {problem.served_ratio:.6g} of the load is served at less cost without it"
        return _capacity(network, problem, number, assignments, alone, known.taken.free(left))
    endless = Slo(latency_ms=1e15, percentile_ratio=query.slo.percentile_ratio)
    fastest = _routes(network, problem, query, meeting, {}, endless, Prune.SLOWER)
    if not fastest:
        freely = _routes(network, problem, _anywhere(query), meeting, {}, endless, Prune.SLOWER)
        return _residency(network, query) if freely else _placement(network, query, meeting)
    said = _slo(network, problem, number, meeting, left, fastest)
    kept = any(step.site_inputs for index in meeting for step in query.candidates[index].steps)
    freely = _routes(network, problem, _anywhere(query), meeting, left, query.slo) if kept else ()
    return f"{said}; {_residency(network, query)}" if freely else said


def _left_out(query: QueryProblem) -> str:
    """Names the cordoned machines that it could have run on, and the selector that leaves out others."""
    names = left_out(query)
    said = f"; cordoned and so left out: {', '.join(names)}" if names else ""
    if query.selector:
        meant = sorted({o.machine for c in query.candidates for s in c.steps for o in s.options})
        more = f" and {len(meant) - _NAMED} more" if len(meant) > _NAMED else ""
        said += f"; by its selector {query.selector!r} it may use {', '.join(meant[:_NAMED])}{more} only"
    return said


def _anywhere(query: QueryProblem) -> QueryProblem:
    """The query as if all its data might leave its site."""
    candidates = tuple(
        replace(candidate, steps=tuple(replace(step, site_inputs=frozenset()) for step in candidate.steps))
        for candidate in query.candidates
    )
    return replace(query, candidates=candidates)


def _residency(network: Network, query: QueryProblem) -> str:
    """What data may not leave its site."""
    reads = sorted(
        {(name, step.operator_id) for c in query.candidates for step in c.steps for name in step.site_inputs}
    )
    said = ", ".join(f"{name} -> {operator}" for name, operator in reads)
    source = network.machines.get(query.source) if query.source is not None else None
    where = f" (the source is at {source.site})" if source is not None else ""
    return f"the data of {said} may not leave its site{where}, and no plan keeps it there"


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
        lacking = _least_lack(network, problem, [from_route(number, route) for route in needs[:_LACKING]], left)
        return f"no capacity for it even alone: it would need {wants}" + (f"; needs {lacking}" if lacking else "")
    if slo.latency_ms is not None:
        best = min(route.percentile_ms for route in fastest)
        return (
            f"latency <= {slo.latency_ms:.6g} ms: fastest plan that {what} takes {best:.4g} ms at {percentile}, "
            f"too close to promise with probability {problem.asked_of(query):.6g}"
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
        said += f", which holds with probability {probability:.4g} only ({problem.asked_of(query):.4g} asked for)"
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
        open_ones = [option for option in options if option.replicas_most != 0]
        if not open_ones:
            but = " but cordoned ones" if options else ""
            return f"no device{but} can run operator {step.operator_id}"
        if not any(fit_count(network.machines[option.machine], shape_of(option)) for option in open_ones):
            least = min(option.cores for option in open_ones)
            return (
                f"no device is large enough for operator {step.operator_id}: a replica takes {least:.4g} cores and "
                f"{min(option.memory_bytes for option in open_ones)} bytes of memory at least"
            )
    start = f"from {query.source} " if query.source is not None else ""
    return f"no links lead {start}along machines that can run its operators"


def _capacity(
    network: Network,
    problem: Problem,
    number: int,
    assignments: Sequence[Assignment],
    alone: tuple[Assignment, ...],
    free: Mapping[Resource, float],
) -> str:
    """What its least demanding plan lacks beside the others; ``free``: what they leave."""
    query = problem.queries[number]
    if query.splittable and (short := _short_operator(network, problem, query)):
        return f"no capacity for it even alone: {short}"
    # A split query's routes stand for parts of its load: one of them says nothing about the whole.
    lacking = "" if query.splittable else _least_lack(network, problem, alone, free)
    if lacking:
        return f"no capacity left: needs {lacking}"
    if not query.splittable and (said := _together_or_dear(network, problem, number, assignments, alone)):
        return said
    budget = problem.budget_per_h
    dear = "" if budget is None else f", or costs more than is left of the budget of {budget:.6g} per hour"
    if not assignments:
        return f"no capacity for it even alone: its operators together take more than machines and links have{dear}"
    if query.splittable:
        return f"no capacity left beside the other queries: it takes more than they leave of machines and links{dear}"
    return "no capacity left: other queries are worth more of what it needs"


def _together_or_dear(
    network: Network, problem: Problem, number: int, assignments: Sequence[Assignment], alone: Sequence[Assignment]
) -> str:
    """Whether it is kept out by whom it must stay apart from, or by the budget; empty: by neither alone."""
    query = problem.queries[number]
    others = [a for a in assignments if _must_part(query, problem.queries[a.query])]
    first = alone[:_TRIED]
    apart = [one for one in first if not any(together(network, problem, [one, other]) for other in others)]
    if not apart and others:
        names = ", ".join(problem.queries[other.query].id for other in others)
        return f"no machine of its own left: it must stay apart from {names}"
    if problem.budget_per_h is None or not apart:
        return ""
    spent = bill(network, problem, assignments).cost_per_h
    least = min(bill(network, problem, [*assignments, one]).cost_per_h for one in apart) - spent
    left_per_h = problem.budget_per_h - spent
    if least <= left_per_h * (1.0 + 1e-6):
        return ""
    if not assignments:
        return f"budget <= {problem.budget_per_h:.6g} per hour: cheapest plan that there is costs {least:.4g} per hour"
    return (
        f"no budget left: its cheapest plan adds {least:.4g} per hour, "
        f"{max(0.0, left_per_h):.4g} of {problem.budget_per_h:.6g} are left"
    )


def _must_part(one: QueryProblem, other: QueryProblem) -> bool:
    return other.id in one.apart_from or one.id in other.apart_from


def _short_operator(network: Network, problem: Problem, query: QueryProblem) -> str:
    """The operator whose load is too much for all machines together, if there is one in each candidate."""
    said = ""
    for index in admissible(problem, query):
        short = ""
        for step in query.candidates[index].steps:
            best: dict[str, float] = {}
            for option in step.options:
                machine = network.machines.get(option.machine)
                if machine is None or option.replicas_most == 0:
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


def _least_lack(network: Network, problem: Problem, plans: Sequence[Assignment], free: Mapping[Resource, float]) -> str:
    """What is missing for the plan that lacks least; empty: nothing."""

    def missing(plan: Assignment) -> tuple[float, Resource | None, float]:
        taken = amounts_taken(network, problem, plan)
        lacks = [(amount - free[name], name, amount) for name, amount in taken.items() if name in free]
        return max(lacks, key=lambda lack: (lack[0], repr(lack[1])), default=(0.0, None, 0.0))

    lack, resource, needed = min(
        (missing(plan) for plan in plans[:_LACKING]), key=lambda lack: (lack[0], repr(lack[1]))
    )
    if resource is None or lack <= 0.0:
        return ""
    there = max(0.0, free[resource])
    if resource[0] == "uplink":
        return f"{needed:.3g} of the planned rate of uplink {resource[1]}, {there:.3g} is left"
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
