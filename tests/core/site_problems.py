"""Large problems: sites of boxes behind a gateway and an uplink, one capped cloud, three pipelines."""

from __future__ import annotations

from random import Random

from circinus.model.plan import Interval
from circinus.model.query import Slo
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step, Uplink, Wire

BOXES = 9
QUERIES_A_SITE = 100
SHARES = (0.25, 0.5, 1.0)
SPEEDS = (0.5, 0.75, 1.0)
#: Milliseconds of a whole core, and kB that leave each step, by pipeline.
PIPELINES = {
    "read": {"steps": ("cut", "clean", "read"), "ms": (3.0, 6.0, 60.0), "kilobytes": (30.0, 20.0, 0.2)},
    "count": {"steps": ("scale", "find"), "ms": (4.0, 40.0), "kilobytes": (60.0, 0.5)},
    "watch": {"steps": ("scale", "move", "find", "name"), "ms": (3.0, 5.0, 25.0, 12.0), "kilobytes": (40, 20, 5, 0.1)},
}
SOURCE_BYTES = 200_000.0


def site_problem(queries: int, seed: int = 0, *, rates: int = 3, cloud_cores: float = 40.0, **changes) -> Problem:
    """So many queries, a hundred a site. ``rates``: so many different ones; ``changes``: of the problem."""
    rng = Random(seed)
    sites = max(1, -(-queries // QUERIES_A_SITE))
    cloud = Machine(
        id="cloud", tier="cloud", site="cloud", cores=cloud_cores * sites, memory_bytes=2**45, price_per_h=6.0 * sites
    )
    machines, wires, uplinks = [cloud], [], []
    speed = {"cloud": 1.0}
    for site in range(sites):
        gateway = f"s{site:03}-gateway"
        names = [f"s{site:03}-box-{number}" for number in range(BOXES)]
        speed |= {gateway: 1.0} | {name: SPEEDS[number % len(SPEEDS)] for number, name in enumerate(names)}
        machines.append(_edge(gateway, site, 16.0, 2.0))
        for name in names:
            machines.append(_edge(name, site, 4.0, 0.4 * speed[name]))
            wires += [Wire(source=name, target=gateway, bandwidth_bit_per_s=1e9, rtt_ms=1.0)]
        wires += [
            Wire(source=name, target="cloud", bandwidth_bit_per_s=1e8, rtt_ms=30.0, price_per_gb=0.05)
            for name in (*names, gateway)
        ]
        ends = tuple((name, "cloud") for name in (*names, gateway))
        uplinks.append(Uplink(id=f"up-{site:03}", wires=ends, bandwidth_bit_per_s=1e8))
    made: dict[tuple[str, str], tuple[Candidate, ...]] = {}
    asked = []
    for number in range(queries):
        site = number % sites
        box = f"s{site:03}-box-{rng.randrange(BOXES)}"
        pipeline = rng.choice(sorted(PIPELINES))
        if (pipeline, box) not in made:
            made[pipeline, box] = candidates(pipeline, (box, f"s{site:03}-gateway", "cloud"), speed)
        asked.append(
            QueryProblem(
                id=f"q{number:05}",
                rate_per_s=round(2.0 + 12.0 * rng.randrange(rates) / rates, 6),
                weight=rng.uniform(0.5, 2.0),
                slo=Slo(latency_ms=rng.choice((200.0, 400.0)), accuracy_ratio=rng.choice((0.7, 0.8))),
                source=box,
                candidates=made[pipeline, box],
            )
        )
    given = {"queries": tuple(asked), "uplinks": tuple(uplinks), **changes}
    return Problem(machines=tuple(machines), wires=tuple(wires), **given)


def _edge(name, site, cores, price):
    return Machine(id=name, tier="edge", site=f"s{site:03}", cores=cores, memory_bytes=2**34, price_per_h=price)


def candidates(pipeline, machines, speed):
    """A dozen configurations: four sizes, three engines."""
    shape = PIPELINES[pipeline]
    found = []
    for scale in (0.4, 0.6, 0.8, 1.0):
        for engine, factor in enumerate((0.5, 1.0, 1.8)):
            accuracy = 0.97 - 0.25 * (1.0 - scale) ** 2 - 0.06 * (2 - engine)
            steps, before = [], "source"
            for place, (name, ms, kilobytes) in enumerate(
                zip(shape["steps"], shape["ms"], shape["kilobytes"], strict=True)
            ):
                last = place == len(shape["steps"]) - 1
                cpu_ms = ms * scale * (factor if last else 1.0)
                steps.append(
                    Step(
                        operator_id=name,
                        inputs=(before,),
                        output_bytes=1e3 * kilobytes * scale,
                        options=tuple(_option(m, cores, cpu_ms / speed[m]) for m in machines for cores in SHARES),
                    )
                )
                before = name
            found.append(
                Candidate(
                    configuration={"scale": scale, "engine": engine},
                    accuracy=Interval(value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01),
                    steps=tuple(steps),
                    source_bytes=SOURCE_BYTES,
                    outputs=(before,),
                )
            )
    return tuple(found)


def _option(machine, cores, cpu_ms):
    mean_ms = cpu_ms / cores
    delay = Delay(mean_ms=mean_ms, variance_ms2=(0.2 * mean_ms) ** 2)
    return Option(machine=machine, cores=cores, service=delay, capacity_per_s=1e3 / mean_ms, memory_bytes=2**27)
