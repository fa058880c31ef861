"""Small problems from a seed, in which most queries could be served, and limits that not every problem has.

Limits: uplinks, a budget, cordoned machines, data that stays at its site, queries that stay apart.
"""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import strategies as st
from small_problems import SHAPES, exact, machine, option

from circinus.model.query import Slo
from cloud_planner.core.problem import (
    Billing,
    Candidate,
    Objective,
    Problem,
    QueryProblem,
    Sharing,
    Step,
    Uplink,
    Waiting,
    Wire,
)
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver

#: What a seed may be: all problems of a law follow from it.
SEEDS = st.integers(0, 2**40)


def crowded(rng, *, shapes=("one", "chain", "fan", "join"), queries=(2, 3), pools=True, split=False, waiting=None):
    """Two or three linked machines, and queries that compete for them."""
    machines = []
    for name in ("m1", "m2", "m3")[: rng.choice([2, 3])]:
        kind = rng.choice(["single", "single", "single", "pool", "exclusive", "endless"]) if pools else "single"
        machines.append(
            machine(
                name,
                cores=rng.choice([1.0, 2.0]),
                price_per_h=rng.choice([0.0, 1.0, 2.5]),
                billing=rng.choice(list(Billing)),
                count={"single": 1, "pool": 2, "exclusive": rng.choice([1, 2, None]), "endless": None}[kind],
                exclusive=kind == "exclusive",
            )
        )
    names = [each.id for each in machines]
    wires = tuple(
        Wire(
            source=a,
            target=b,
            bandwidth_bit_per_s=rng.choice([None, 1.2e5, 8e5]),
            rtt_ms=rng.choice([0.0, 10.0, 40.0]),
            price_per_gb=rng.choice([0.0, 50.0]),
        )
        for a in names
        for b in names
        if a != b and rng.random() < 0.9
    )
    wanted = tuple(
        _query(rng, f"q{number}", names, SHAPES[rng.choice(shapes)], split) for number in range(rng.choice(queries))
    )
    return Problem(
        machines=tuple(machines),
        wires=wires,
        queries=wanted,
        waiting=waiting or rng.choice(list(Waiting)),
        objective=rng.choice(list(Objective)),
        replica_utilization_cap=rng.choice([0.7, 1.0]),
        link_utilization_cap=rng.choice([0.7, 1.0]),
    )


def _query(rng, name, names, shape, split):
    reads = {each for _, inputs in shape for each in inputs}
    candidates = tuple(
        Candidate(
            configuration={"a.knob": number},
            accuracy=exact(0.9),
            steps=tuple(_step(rng, operator, inputs, names, split) for operator, inputs in shape),
            source_bytes=rng.choice([500.0, 2000.0]),
            outputs=tuple(each for each, _ in shape if each not in reads),
        )
        for number in range(rng.choice([1, 1, 2]))
    )
    return QueryProblem(
        id=name,
        rate_per_s=rng.choice([4.0, 15.0, 30.0]),
        weight=rng.choice([1.0, 1.7, 3.0]),
        slo=Slo(
            latency_ms=rng.choice([None, None, 150.0, 400.0]),
            cost_per_h=rng.choice([None, None, None, 3.0]),
        ),
        source=rng.choice([None, *names]),
        candidates=candidates,
        answer_to_source=rng.random() < 0.5,
        arrival_cv2=rng.choice([0.0, 1.0]),
        splittable=split,
    )


def _step(rng, operator, inputs, names, split):
    options = {}
    for where in rng.sample(names, rng.choice([1, 2, 2])):
        ms = rng.choice([10.0, 20.0, 45.0])
        made = option(
            where,
            cores=rng.choice([0.25, 0.4, 0.6]),
            ms=ms,
            variance=rng.choice([0.0, (ms / 2) ** 2]),
            memory=rng.choice([100, 400]),
        )
        options[where] = made
    return Step(
        operator_id=operator,
        inputs=inputs,
        output_bytes=rng.choice([100.0, 1000.0]),
        options=tuple(options.values()),
        items_per_item=rng.choice([1.0, 1.0, 2.0]),
        single=not split and rng.random() < 0.2,
    )


def with_uplinks(rng, problem):
    """One or two uplinks, each over some of the links; a link may be part of both."""
    wires = [(wire.source, wire.target) for wire in problem.wires]
    if not wires:
        return problem
    uplinks = tuple(
        Uplink(
            id=name,
            wires=tuple(rng.sample(wires, min(len(wires), rng.choice([2, 3, 4])))),
            bandwidth_bit_per_s=rng.choice([4e4, 1.5e5, 3e5]),
        )
        for name in ("up", "down")[: rng.choice([1, 2])]
    )
    return replace(problem, uplinks=uplinks)


def with_budget(rng, problem):
    """A budget that may be too small for all."""
    cost = select(problem, CbcSolver()).selection.cost_per_h
    return replace(problem, budget_per_h=round(cost * rng.choice([0.0, 0.4, 0.7, 0.95, 1.5]), 3))


def with_cordons(rng, problem):
    """Some machines take nothing new; what was planned before they were cordoned may run."""
    running = select(problem, CbcSolver()).selection.plans if rng.random() < 0.6 else ()
    machines = tuple(replace(each, cordoned=rng.random() < 0.4) for each in problem.machines)
    if running and rng.random() < 0.5:
        rates = {plan.query_id: rng.choice([1.0, 1.0, 0.5, 1.6]) for plan in running}
        queries = (replace(query, rate_per_s=query.rate_per_s * rates.get(query.id, 1.0)) for query in problem.queries)
        problem = replace(problem, queries=tuple(queries))
    return replace(problem, machines=machines, running=running)


def with_queries_apart(rng, problem):
    """Some queries stay apart from others."""
    names = [query.id for query in problem.queries]
    queries = tuple(
        replace(query, apart_from=frozenset(name for name in [*names, "nobody"] if rng.random() < 0.5))
        for query in problem.queries
    )
    return replace(problem, queries=queries)


def with_data_at_its_site(rng, problem):
    """Machines are at two sites, and some inputs may not leave theirs."""
    machines = tuple(replace(each, site=rng.choice(["s", "t"])) for each in problem.machines)
    queries = []
    for query in problem.queries:
        kept = {
            step.operator_id: frozenset(name for name in step.inputs if rng.random() < 0.6)
            for step in query.candidates[0].steps
        }
        candidates = tuple(
            replace(
                candidate,
                steps=tuple(replace(step, site_inputs=kept[step.operator_id]) for step in candidate.steps),
            )
            for candidate in query.candidates
        )
        queries.append(replace(query, candidates=candidates))
    return replace(problem, machines=machines, queries=tuple(queries))


LIMITS = {
    "uplinks": with_uplinks,
    "budget": with_budget,
    "cordons": with_cordons,
    "apart": with_queries_apart,
    "site": with_data_at_its_site,
}


def limited(seed, limit, **options):
    """A problem, and the same with one of these limits, or (``limit`` "all") with all of them."""
    rng = random.Random(seed)
    free = problem = crowded(rng, **options)
    for name in [each for each in LIMITS if limit in (each, "all")]:
        problem = LIMITS[name](rng, problem)
    return free, problem


def shared(seed, sharing=None, *, queries=(2, 3), shapes=("one", "chain", "fan", "join")):
    """Queries with steps in common, most of which read one stream, on machines with little memory."""
    rng = random.Random(seed)
    base = crowded(rng, shapes=shapes, queries=queries, pools=False)
    machines = tuple(
        replace(each, memory_bytes=rng.choice([400, 500, 700, 900]), cores=rng.choice([1.0, 2.0, 2.0]))
        for each in base.machines
    )
    first = base.queries[0]
    library = [_keyed(rng, candidate) for candidate in first.candidates]
    if len(library) == 1 or rng.random() < 0.5:
        library.append(_later_variant(rng, library[0]))
    queries = []
    for query in base.queries:
        chosen = [each for each in library if rng.random() < 0.7] or [rng.choice(library)]
        same = rng.random() < 0.8
        queries.append(
            replace(
                query,
                candidates=tuple(chosen),
                rate_per_s=first.rate_per_s if same else query.rate_per_s,
                source=first.source if same else query.source,
                slo=replace(query.slo, latency_ms=rng.choice([None, 250.0, 600.0])),
                stream=rng.choice(["gate", "gate", "gate", ""]),
            )
        )
    return replace(
        base,
        machines=machines,
        queries=tuple(queries),
        sharing=sharing or rng.choice([Sharing.PROCESS, Sharing.PREFIX]),
        replica_utilization_cap=0.7,
        budget_per_h=rng.choice([None, None, None, 2.0]),
    )


def _keyed(rng, candidate):
    keys = {step.operator_id: rng.choice(["x", step.operator_id, step.operator_id, ""]) for step in candidate.steps}
    steps = tuple(replace(step, share_key=keys[step.operator_id]) for step in candidate.steps)
    return replace(candidate, steps=steps)


def _later_variant(rng, candidate):
    """Another configuration with the same first step."""
    first, *others = candidate.steps
    changed = tuple(
        replace(
            step,
            share_key=step.share_key and rng.choice([step.share_key, f"{step.share_key}2"]),
            options=tuple(
                replace(each, cores=rng.choice([0.25, 0.5]), memory_bytes=rng.choice([100, 300]))
                for each in step.options
            ),
        )
        for step in others
    )
    return replace(candidate, configuration={"a.knob": 7}, steps=(first, *changed))
