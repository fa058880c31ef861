"""Small problems, by hand and at random."""

from __future__ import annotations

from hypothesis import strategies as st

from circinus.model.plan import Interval
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

SHAPES = {
    "one": [("a", ("source",))],
    "chain": [("a", ("source",)), ("b", ("a",))],
    "long": [("a", ("source",)), ("b", ("a",)), ("c", ("b",))],
    "fan": [("a", ("source",)), ("b", ("a",)), ("c", ("a",))],
    "join": [("a", ("source",)), ("b", ("source",)), ("c", ("a", "b"))],
    "diamond": [("a", ("source",)), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))],
    "skip": [("a", ("source",)), ("b", ("a",)), ("c", ("a", "b"))],
}


def machine(name, **changes):
    given = {"tier": "edge", "site": "s", "cores": 1.0, "memory_bytes": 1000, "price_per_h": 1.0, **changes}
    return Machine(id=name, **given)


def option(name, *, cores=0.5, ms=10.0, variance=0.0, capacity=None, memory=100, batch=1):
    return Option(
        machine=name,
        cores=cores,
        service=Delay(mean_ms=ms, variance_ms2=variance),
        capacity_per_s=capacity if capacity is not None else 1000.0 / ms,
        memory_bytes=memory,
        batch=batch,
    )


def exact(value):
    return Interval(value=value, low=value, high=value)


def wires_between(names, *, bandwidth=1e6, rtt=4.0, price=0.0):
    return tuple(
        Wire(source=a, target=b, bandwidth_bit_per_s=bandwidth, rtt_ms=rtt, price_per_gb=price)
        for a in names
        for b in names
        if a != b
    )


@st.composite
def problems(draw, *, split=False, shapes=tuple(SHAPES), queries=2, waiting=None, objective=None):
    """A problem of two or three machines."""
    machines = []
    for name in ("m1", "m2", "m3")[: draw(st.integers(2, 3))]:
        kind = draw(st.sampled_from(["single", "single", "pool", "exclusive", "endless"]))
        machines.append(
            machine(
                name,
                cores=draw(st.sampled_from([1.0, 2.0])),
                price_per_h=draw(st.sampled_from([0.0, 1.0, 2.5])),
                billing=draw(st.sampled_from(list(Billing))),
                count={"single": 1, "pool": 2, "exclusive": draw(st.sampled_from([1, 2, None])), "endless": None}[kind],
                exclusive=kind == "exclusive",
            )
        )
    names = [each.id for each in machines]
    wires = [
        Wire(
            source=a,
            target=b,
            bandwidth_bit_per_s=draw(st.sampled_from([None, 8e4, 8e5])),
            rtt_ms=draw(st.sampled_from([0.0, 10.0, 40.0])),
            price_per_gb=draw(st.sampled_from([0.0, 50.0])),
        )
        for a in names
        for b in names
        if draw(st.integers(0, 9)) < (7 if a != b else 2)
    ]
    wanted = tuple(
        draw(query_problems(f"q{number}", names, split=split, shapes=shapes))
        for number in range(draw(st.integers(1, queries)))
    )
    return Problem(
        machines=tuple(machines),
        wires=tuple(wires),
        queries=wanted,
        waiting=waiting or draw(st.sampled_from(list(Waiting))),
        objective=objective or draw(st.sampled_from(list(Objective))),
        replica_utilization_cap=draw(st.sampled_from([0.7, 1.0])),
        link_utilization_cap=draw(st.sampled_from([0.7, 1.0])),
    )


@st.composite
def query_problems(draw, name, names, *, split, shapes):
    """A query with one or two candidates of one shape."""
    shape = SHAPES[draw(st.sampled_from(shapes))]
    reads = {each for _, inputs in shape for each in inputs}
    outputs = tuple(each for each, _ in shape if each not in reads)
    candidates = []
    for number in range(draw(st.integers(1, 2))):
        steps = []
        for operator, inputs in shape:
            options = []
            for _ in range(draw(st.integers(1, 2))):
                ms = draw(st.sampled_from([10.0, 25.0, 60.0]))
                batch = draw(st.sampled_from([1, 1, 4]))
                options.append(
                    option(
                        draw(st.sampled_from(names)),
                        cores=draw(st.sampled_from([0.25, 0.6, 1.0])),
                        ms=ms,
                        variance=draw(st.sampled_from([0.0, (ms / 2) ** 2])),
                        capacity=batch * 1000.0 / ms,
                        memory=draw(st.sampled_from([100, 400])),
                        batch=batch,
                    )
                )
            steps.append(
                Step(
                    operator_id=operator,
                    inputs=inputs,
                    output_bytes=draw(st.sampled_from([100.0, 1000.0])),
                    options=tuple(
                        {(o.machine, o.cores, o.service.mean_ms, o.memory_bytes, o.batch): o for o in options}.values()
                    ),
                    items_per_item=draw(st.sampled_from([1.0, 1.0, 2.0])),
                    single=not split and draw(st.sampled_from([False, False, True])),
                )
            )
        accuracy = draw(st.sampled_from([0.8, 0.9]))
        candidates.append(
            Candidate(
                configuration={"a.knob": number},
                accuracy=Interval(value=accuracy, low=accuracy - 0.05, high=accuracy + 0.05),
                steps=tuple(steps),
                source_bytes=draw(st.sampled_from([500.0, 2000.0])),
                outputs=outputs,
                latency_uncertainty_ratio=draw(st.sampled_from([0.0, 0.05])),
                stage_correlation_ratio=draw(st.sampled_from([0.0, 0.0, 0.6])),
            )
        )
    return QueryProblem(
        id=name,
        rate_per_s=draw(st.sampled_from([4.0, 15.0, 40.0])),
        weight=draw(st.sampled_from([1.0, 3.0])),
        slo=Slo(
            latency_ms=draw(st.sampled_from([None, 60.0, 150.0, 400.0])),
            percentile_ratio=draw(st.sampled_from([0.5, 0.95])),
            accuracy_ratio=draw(st.sampled_from([None, 0.7, 0.82])),
            cost_per_h=draw(st.sampled_from([None, None, 1.0, 3.0])),
        ),
        source=draw(st.sampled_from([None, *names])),
        candidates=tuple(candidates),
        answer_to_source=draw(st.booleans()),
        arrival_cv2=draw(st.sampled_from([0.0, 1.0])),
        splittable=split,
    )
