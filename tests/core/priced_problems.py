"""What to buy at least cost: problems of up to 12 machines and 6 operators, from a seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from small_problems import exact, machine, option

from circinus.model.query import Slo
from cloud_planner.core.problem import (
    Billing,
    Candidate,
    Delay,
    Machine,
    Objective,
    Option,
    Problem,
    QueryProblem,
    Step,
    Waiting,
    Wire,
)

#: Type, price, items per second.
_TYPES = (("edge-cpu", 0.07, 2.0), ("edge-gpu", 0.4, 14.0), ("cloud-cpu", 0.2, 5.0), ("cloud-gpu", 0.9, 45.0))


def divided_chain(rng, operators, counts, variants=1):
    """One query, whose operators' items may be divided over exclusive machines of several types and tiers.

    Machines are paid whole, nothing is sent from the cloud to the edge, and what goes up is paid per byte.
    """
    types = _TYPES[: len(counts)]
    machines = tuple(
        machine(
            name,
            tier=name.split("-")[0],
            site=name.split("-")[0],
            price_per_h=price * rng.choice([0.8, 1.0, 1.3]),
            billing=Billing.WHOLE,
            exclusive=True,
            count=count,
        )
        for (name, price, _), count in zip(types, counts, strict=True)
    )
    names = [each.id for each in machines]
    wires = tuple(
        Wire(
            source=a,
            target=b,
            bandwidth_bit_per_s=None,
            rtt_ms=0.0,
            price_per_gb=0.0 if a.split("-")[0] == b.split("-")[0] else rng.choice([0.02, 0.1]),
        )
        for a in names
        for b in names
        if a != b and not (a.startswith("cloud") and b.startswith("edge"))
    )
    places = [[_step(rng, place, types) for _ in range(variants if place < 2 else 1)] for place in range(operators)]
    candidates = tuple(
        Candidate(
            configuration={"a.knob": number},
            accuracy=exact(rng.choice([0.7, 0.8])),
            steps=steps,
            source_bytes=1e5,
            outputs=(steps[-1].operator_id,),
        )
        for number, steps in enumerate(product(*places))
    )
    query = QueryProblem(
        id="q",
        rate_per_s=rng.choice([5.0, 9.0, 14.0]),
        weight=1.0,
        slo=Slo(accuracy_ratio=0.75 if variants > 1 else None),
        source="edge-cpu",
        candidates=candidates,
        answer_to_source=False,
        splittable=True,
    )
    return _bought(machines, wires, (query,))


def _step(rng, place, types):
    scale = rng.choice([0.5, 1.0, 2.0, 4.0])
    return Step(
        operator_id=f"o{place}",
        inputs=("source" if place == 0 else f"o{place - 1}",),
        output_bytes=rng.choice([1e3, 2e4, 1e5]),
        options=tuple(
            Option(
                machine=name,
                cores=1.0,
                service=Delay(mean_ms=10.0),
                capacity_per_s=speed * scale * rng.choice([0.7, 1.0, 1.4]),
                memory_bytes=10,
            )
            for name, _, speed in types
        ),
    )


def _bought(machines, wires, queries, **changes):
    return Problem(
        machines=tuple(machines),
        wires=tuple(wires),
        queries=tuple(queries),
        objective=Objective.COST,
        waiting=Waiting.NONE,
        **{"replica_utilization_cap": 1.0, "link_utilization_cap": 1.0, **changes},
    )


def several_queries(rng, *, operators=2, queries=3):
    """Queries whose operators stay whole, on twelve machines: single ones, types with a count, paid either way."""
    machines: list[Machine] = []
    while (left := 12 - sum(each.count for each in machines)) > 0:
        count = rng.choice([1, 1, 1, 2, 3])
        machines.append(
            machine(
                f"m{len(machines):02}",
                cores=rng.choice([1.0, 2.0]),
                price_per_h=rng.choice([0.5, 1.0, 1.7]),
                billing=rng.choice([Billing.SHARE, Billing.WHOLE, Billing.WHOLE]),
                exclusive=rng.random() < 0.25,
                count=min(left, count),
            )
        )
    names = [each.id for each in machines]
    wires = [
        Wire(source=a, target=b, bandwidth_bit_per_s=None, rtt_ms=1.0, price_per_gb=rng.choice([0.0, 5.0]))
        for a in names
        for b in names
        if a != b and rng.random() < 0.7
    ]
    wanted = []
    for number in range(queries):
        steps = tuple(
            Step(
                operator_id=f"o{place}",
                inputs=("source" if place == 0 else f"o{place - 1}",),
                output_bytes=rng.choice([1e3, 2e4]),
                options=tuple(
                    option(name, cores=rng.choice([0.25, 0.5, 0.75]), ms=rng.choice([20.0, 60.0]))
                    for name in rng.sample(names, min(5, len(names)))
                ),
            )
            for place in range(operators)
        )
        candidate = Candidate(
            configuration={"a.knob": 0},
            accuracy=exact(0.9),
            steps=steps,
            source_bytes=1e4,
            outputs=(steps[-1].operator_id,),
        )
        wanted.append(
            QueryProblem(
                id=f"q{number}",
                rate_per_s=rng.choice([5.0, 9.0, 20.0]),
                weight=1.0,
                slo=Slo(latency_ms=rng.choice([None, 200.0])),
                source=rng.choice([None, *names]),
                candidates=(candidate,),
                answer_to_source=False,
            )
        )
    served = rng.choice([1.0, 0.6, 0.3])
    return replace(_bought(machines, wires, wanted, replica_utilization_cap=0.9), served_ratio=served)
