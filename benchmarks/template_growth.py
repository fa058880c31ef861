"""How templates and least costs grow with operators, core shares, machines and candidates.

    .venv/bin/python benchmarks/template_growth.py [--cases live,long,wide] [--rows 0] [--copies 1]

A documents-like chain or a DAG (decode -> detect -> (crop -> classify | track) -> count) runs on a camera, gateways
and a cloud, with more load beside it than they carry, so that every resource is tight. One line a case: the rows that
the largest table of partial routes had, routes, whether the template was thinned, seconds of the template, and
seconds of `least_costs` over all candidates. ``--rows`` is the limit on partial routes (0: the default).
"""

import argparse
import sys
import time
from itertools import product

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Interval
from circinus.model.query import QueryId, Slo
from cloud_planner.core.least_cost import least_costs
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step, Wire
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.templates import Enumeration, TemplateLimits, admissible, template

SPEED = {"camera": 0.25, "gateway": 0.5, "cloud": 1.0}
SHARES = {1: (1.0,), 2: (0.5, 1.0), 3: (0.25, 0.5, 1.0)}
CHAIN = (("shrink", "source"), ("clean", "shrink"), ("find", "clean"), ("read", "find"))
LONG = (*CHAIN, ("fix", "read"), ("tag", "fix"))
DAG = (
    ("decode", "source"),
    ("detect", "decode"),
    ("crop", "detect"),
    ("classify", "crop"),
    ("track", "detect"),
    ("count", "classify track"),
)
CPU_MS = (4.0, 30.0, 2.0, 25.0, 8.0, 3.0)
#: Variants of each operator, by number of candidates.
VARIANTS = {
    2: (2, 1, 1, 1, 1, 1),
    12: (2, 3, 1, 2, 1, 1),
    54: (3, 3, 2, 3, 1, 1),
    72: (2, 4, 1, 3, 3, 1),
}
#: Name: shape, operators, core shares, machines, candidates, queries beside it.
CASES = {
    "small": (CHAIN, 1, 3, 12),
    "live": (CHAIN, 1, 4, 54),
    "live-shares": (CHAIN, 3, 4, 54),
    "live-dag": (DAG, 1, 3, 72),
    "long": (LONG, 3, 3, 72),
    "dag": (DAG, 3, 3, 72),
    "dag-4": (DAG, 3, 4, 72),
}


def machines(number: int) -> tuple[Machine, ...]:
    """A camera, gateways and a cloud."""
    names = ["camera", *(f"gateway-{index}" for index in range(1, number - 1)), "cloud"]
    return tuple(
        Machine(
            id=DeviceId(name),
            tier=Tier.CLOUD if name == "cloud" else Tier.EDGE,
            site=SiteId("site"),
            cores=8.0 if name == "cloud" else 4.0,
            memory_bytes=8_000_000_000,
            price_per_h={"camera": 0.1, "gateway": 0.3, "cloud": 1.2}[name.split("-")[0]] * (1.0 + 0.1 * index),
        )
        for index, name in enumerate(names)
    )


def options(names: tuple[DeviceId, ...], cpu_ms: float, shares: tuple[float, ...], number: int) -> tuple[Option, ...]:
    """Every share on every machine."""
    found = []
    for machine, cores in product(names, shares):
        mean_ms = cpu_ms / SPEED[machine.split("-")[0]] / cores
        delay = Delay(mean_ms=mean_ms, variance_ms2=((0.2 + 0.1 * number) * mean_ms) ** 2)
        found.append(
            Option(
                machine=machine,
                cores=cores,
                service=delay,
                capacity_per_s=1000.0 / mean_ms,
                memory_bytes=100_000_000 + 50_000_000 * number,
            )
        )
    return tuple(found)


def problem(shape: tuple[tuple[str, str], ...], shares: int, devices: int, candidates: int, copies: int = 8) -> Problem:
    """Queries alike, so many that they do not all fit."""
    every = machines(devices)
    names = tuple(machine.id for machine in every)
    wires = tuple(
        Wire(
            source=a,
            target=b,
            bandwidth_bit_per_s=2e7 if "cloud" in (a, b) else 1e8,
            rtt_ms=20.0 if "cloud" in (a, b) else 2.0,
            price_per_gb=0.05 if b == "cloud" else 0.0,
        )
        for a, b in product(names, names)
        if a != b
    )
    read = {name for _, inputs in shape for name in inputs.split()}
    known = []
    variants = VARIANTS[candidates][: len(shape)]
    if len(shape) < len(VARIANTS[candidates]):
        spare = candidates
        for count in variants:
            spare //= count
        variants = (*variants[:-1], variants[-1] * spare)
    for chosen in product(*(range(count) for count in variants)):
        steps = tuple(
            Step(
                operator_id=OperatorId(name),
                inputs=tuple(OperatorId(each) for each in inputs.split()),
                output_bytes=(40_000.0 if place < 2 else 8_000.0) * (1.0 + 0.3 * variant),
                options=options(names, CPU_MS[place] * (1.0 + 0.45 * variant), SHARES[shares], place),
            )
            for place, ((name, inputs), variant) in enumerate(zip(shape, chosen, strict=True))
        )
        accuracy = 0.7 + 0.2 * sum(v / max(1, count - 1) for v, count in zip(chosen, variants, strict=True)) / len(
            shape
        )
        known.append(
            Candidate(
                configuration={f"{name}.variant": variant for (name, _), variant in zip(shape, chosen, strict=True)},
                accuracy=Interval(value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01),
                steps=steps,
                source_bytes=120_000.0,
                outputs=tuple(OperatorId(name) for name, _ in shape if name not in read),
                latency_uncertainty_ratio=0.03,
            )
        )
    queries = tuple(
        QueryProblem(
            id=QueryId(f"q{number}"),
            rate_per_s=4.0,
            weight=1.0,
            slo=Slo(latency_ms=600.0, accuracy_ratio=0.72),
            source=names[0],
            candidates=tuple(known),
        )
        for number in range(copies)
    )
    return Problem(machines=every, wires=wires, queries=queries)


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="Templates and least costs over growing queries.")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--rows", type=int, default=0, help="limit on partial routes (default: the planner's)")
    flags = parser.parse_args()
    limits = TemplateLimits(partial_rows=flags.rows) if flags.rows else TemplateLimits()
    print("case         operators shares machines candidates rows_most routes thinned epsilon template_s least_costs_s")
    for name in flags.cases.split(","):
        shape, shares, devices, candidates = CASES[name]
        given = problem(shape, shares, devices, candidates)
        query, network = given.queries[0], Network.of(given)
        left = tight_resources(network, given)
        wanted = Enumeration(candidates=admissible(given, query), slo=query.slo, limits=limits)
        began_s = time.process_time()
        found = template(network, given, query, left, wanted)
        template_s = time.process_time() - began_s
        began_s = time.process_time()
        least_costs(network, given, query)
        least_s = time.process_time() - began_s
        print(
            f"{name:12} {len(shape):9} {shares:6} {devices:8} {len(query.candidates):10} {found.rows_most:9} "
            f"{len(found.routes):6} {'no' if found.complete else 'yes':7} {found.epsilon_ratio:7.3f} "
            f"{template_s:10.2f} {least_s:13.2f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
