"""Whether a query has a plan beside a selection's plans of the others, by trying all of its plans."""

from __future__ import annotations

from brute_force import links_hold, machine_cost, plans_alone, stay_apart, way, within_budget


def plan_as_found(problem, plan):
    """A selection's plan in terms of its query: loads, traffic cost, and bits by link."""
    query = next(query for query in problem.queries if query.id == plan.query_id)
    for index, candidate in enumerate(query.candidates):
        chosen = [
            (each, part.replicas)
            for step in candidate.steps
            for part in plan.operators
            if part.operator_id == step.operator_id
            for each in step.options
            if (each.machine, each.cores, each.memory_bytes, each.batch, each.service.mean_ms)
            == (part.device_id, part.cores, part.memory_bytes, part.batch, part.service_ms)
        ]
        if dict(candidate.configuration) == dict(plan.configuration) and len(chosen) == len(candidate.steps):
            _, traffic_cost, bits = way(problem, query, candidate, chosen)
            return loads_of(query, index, chosen), traffic_cost, bits
    raise AssertionError(f"the plan of {plan.query_id} is not in its tables")


def loads_of(query, index, chosen):
    steps = query.candidates[index].steps
    return [(query.id, step.operator_id, each, n) for step, (each, n) in zip(steps, chosen, strict=True)]


def plans_that_fit(problem, selection, query_id):
    """All plans of a query that meet its SLO and fit: (candidate, chosen, own cost, cost of all together)."""
    loads, bits, traffic_cost = [], {}, 0.0
    for plan in selection.plans:
        if plan.query_id != query_id:
            taken, sending_cost, sent = plan_as_found(problem, plan)
            loads += taken
            traffic_cost += sending_cost
            for key, value in sent.items():
                bits[key] = bits.get(key, 0.0) + value
    query = next(query for query in problem.queries if query.id == query_id)
    found = []
    for index, chosen, own, sending_cost, sent in plans_alone(problem, query):
        together = {key: bits.get(key, 0.0) + sent.get(key, 0.0) for key in {*bits, *sent}}
        every = [*loads, *loads_of(query, index, chosen)]
        cost = machine_cost(problem, every)
        if cost is None or not links_hold(problem, together) or not stay_apart(problem, every):
            continue
        if within_budget(problem, cost + traffic_cost + sending_cost):
            found.append((index, chosen, own, cost + traffic_cost + sending_cost))
    return found


def fits_by_trying(problem, selection, query_id):
    return bool(plans_that_fit(problem, selection, query_id))
