"""How selection grows with the number of queries, against the greedy that stands in when the solver fails.

    .venv/bin/python benchmarks/selection_growth.py [--queries 4,16,48]

A site is a slow camera box and a gateway; all sites share one capped cloud. Four queries a site, so tight that not all
fit. Both planners get the same problem and the same templates in the same run. One line of JSON a size; ratios are
the program's over the greedy's.
"""

import argparse
import json
import platform
import sys
import time
from random import Random

import psutil

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Interval
from circinus.model.query import QueryId, Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step, Wire
from cloud_planner.core.select import select
from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Solver, Work
from cloud_planner.solver import CbcSolver

SPEED = {"camera": 0.25, "gateway": 0.4, "cloud": 1.0}
SHARES = (0.25, 0.5, 1.0)
SCALES = (0.5, 0.75, 1.0)
QUALITY = (20, 80)
#: Milliseconds of a full core at scale 1, by engine and step.
CPU_MS = {"small": {"shrink": 2.0, "clean": 3.0, "read": 50.0}, "large": {"shrink": 2.0, "clean": 3.0, "read": 110.0}}
ACCURACY = {"small": 0.85, "large": 0.96}


class NoSolver:
    """A solver that always fails: what is left is the greedy."""

    def solve(self, milp: Milp, work: Work) -> MilpResult:
        """Fails."""
        del milp, work
        return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail="switched off")


def candidates(machines: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Every configuration of a three-step pipeline on these machines."""
    found = []
    for engine in ("small", "large"):
        for scale in SCALES:
            for quality in QUALITY:
                accuracy = ACCURACY[engine] - 0.15 * (1.0 - scale) - (0.02 if quality == min(QUALITY) else 0.0)
                times = {step: ms * (0.4 + 0.6 * scale) for step, ms in CPU_MS[engine].items()}
                output_bytes = {"shrink": 30_000.0 * scale * quality / 80, "clean": 28_000.0 * scale, "read": 200.0}
                found.append(
                    Candidate(
                        configuration={"shrink.scale": scale, "shrink.quality": quality, "read.engine": engine},
                        accuracy=Interval(value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01),
                        steps=tuple(
                            Step(
                                operator_id=OperatorId(name),
                                inputs=(OperatorId(before),),
                                output_bytes=output_bytes[name],
                                options=options(machines, times[name]),
                            )
                            for before, name in (("source", "shrink"), ("shrink", "clean"), ("clean", "read"))
                        ),
                        source_bytes=300_000.0,
                        outputs=(OperatorId("read"),),
                    )
                )
    return tuple(found)


def options(machines: tuple[str, ...], cpu_ms: float) -> tuple[Option, ...]:
    """Every share on every machine."""
    found = []
    for machine in machines:
        for cores in SHARES:
            mean_ms = cpu_ms / SPEED[machine.split("-")[0]] / cores
            delay = Delay(mean_ms=mean_ms, variance_ms2=(0.2 * mean_ms) ** 2)
            found.append(Option(machine=DeviceId(machine), cores=cores, service=delay, capacity_per_s=1000.0 / mean_ms))
    return tuple(found)


def problem(queries: int, rng: Random) -> Problem:
    """A fleet with four queries a site."""
    sites = -(-queries // 4)
    cloud = Machine(
        id=DeviceId("cloud"),
        tier=Tier.CLOUD,
        site=SiteId("cloud"),
        cores=float(sites),
        memory_bytes=0,
        price_per_h=sites,
    )
    machines, wires, asked = [cloud], [], []
    for site in range(sites):
        camera, gateway = DeviceId(f"camera-{site:03}"), DeviceId(f"gateway-{site:03}")
        for name, cores, price in ((camera, 2.0, 0.1), (gateway, 2.0, 0.4)):
            machines.append(
                Machine(id=name, tier=Tier.EDGE, site=SiteId(f"{site}"), cores=cores, memory_bytes=0, price_per_h=price)
            )
        for source, target, rate, rtt_ms in (
            (camera, gateway, 1e8, 2.0),
            (camera, cloud.id, 2e7, 20.0),
            (gateway, cloud.id, 2e7, 20.0),
        ):
            for one, other in ((source, target), (target, source)):
                wires.append(Wire(source=one, target=other, bandwidth_bit_per_s=rate, rtt_ms=rtt_ms))
        known = candidates((camera, gateway, cloud.id))
        for number in range(4 * site, min(4 * site + 4, queries)):
            slo = Slo(latency_ms=rng.choice([200.0, 300.0, 450.0]), accuracy_ratio=rng.choice([0.75, 0.82, 0.93]))
            asked.append(
                QueryProblem(
                    id=QueryId(f"q{number:04}"),
                    rate_per_s=rng.choice([1.0, 2.0, 3.0]),
                    weight=1.0,
                    slo=slo,
                    source=camera,
                    candidates=known,
                )
            )
    return Problem(machines=tuple(machines), wires=tuple(wires), queries=tuple(asked))


def timed(given: Problem, solver: Solver) -> tuple[float, float, float, float, int]:
    """Seconds, goodput, goodput gap, cost, findings of the audit."""
    began_s = time.perf_counter()
    selection = select(given, solver).selection
    elapsed_s = time.perf_counter() - began_s
    return elapsed_s, selection.goodput_per_s, selection.gap_ratio, selection.cost_per_h, len(audit(given, selection))


def main() -> int:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description="Selection against greedy over growing fleets.")
    parser.add_argument("--queries", default="4,16,48", help="sizes (default: 4,16,48)")
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    for size in (int(text) for text in flags.queries.split(",")):
        given = problem(size, Random(flags.seed))
        greedy_s, greedy_goodput, _, greedy_cost, greedy_findings = timed(given, NoSolver())
        milp_s, goodput, gap, cost, findings = timed(given, CbcSolver())
        print(
            json.dumps(
                {
                    "benchmark": "selection_growth",
                    "machine": machine,
                    "queries": size,
                    "devices": len(given.machines),
                    "milp_s": round(milp_s, 2),
                    "greedy_s": round(greedy_s, 2),
                    "goodput_per_s": round(goodput, 3),
                    "goodput_gap_ratio": round(gap, 4),
                    "goodput_over_greedy": round(goodput / greedy_goodput, 3) if greedy_goodput else None,
                    "cost_per_goodput_over_greedy": round((cost / goodput) / (greedy_cost / greedy_goodput), 3),
                    "audit_findings": findings + greedy_findings,
                }
            ),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
