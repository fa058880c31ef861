"""What one change costs in a running fleet: a query arrives, a gateway is lost, a core more.

    .venv/bin/python benchmarks/changes.py [--quick] [--seeds 3] [--arrivals 1000]

The fleets are those of benchmarks/selection.py: 1,000 queries on 100 devices and 10,000 on 1,000, tight and loose. A
selection is in force, made by prices and a dive; then queries arrive one by one, of kinds and weights like those that
are there, each like one of them drawn at random. Times are of one core, in this process; the planner's other work on an
arrival (search, directives, sending) is not in them. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import psutil
from selection_instances import BOXES, Capacity, Size, instance, plan_tables
from selection_kinds import draw_kinds

from cloud_planner.core.column_generation.areas import apart, generate_apart
from cloud_planner.core.column_generation.attain import Limits, attain
from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.hoods import hoods
from cloud_planner.core.column_generation.pricing import Aim
from cloud_planner.core.column_generation.rounding import dive
from cloud_planner.core.column_generation.sensitivity import Sensitivity, sensitivity
from cloud_planner.core.column_generation.space import NONE, Array, SelectionSpace
from cloud_planner.core.column_generation.standing import Standing
from cloud_planner.solver_pool import SolverPool

SMALL, LARGE = 1_000, 10_000
KINDS = 36
#: Rows that are held against a re-solve with one unit more, at each instance.
_CHECKED = 40
#: More of a class, for the integer plan.
_CLASS_RATIO = 0.05


@dataclass(slots=True)
class Arrivals:
    """Seconds of each arrival, and what came of them."""

    seconds: list[float] = field(default_factory=list)
    placed: int = 0
    moved: int = 0
    dropped: int = 0

    def document(self) -> dict[str, object]:
        """As JSON."""
        p50, p99 = np.percentile(np.array(self.seconds) * 1e3, (50, 99))
        return {
            "arrivals": len(self.seconds),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
            "placed": self.placed,
            "moved": self.moved,
            "dropped": self.dropped,
        }


def relaxed(space: SelectionSpace, pool: SolverPool) -> Relaxation:
    """The relaxation, site by site where that is quicker."""
    sites = hoods(space)
    if apart(space, sites):
        return generate_apart(space, Aim(), pool.masters, sites)
    return generate(space, Aim(), pool.masters)


def standing(space: SelectionSpace, pool: SolverPool) -> Standing:
    """A selection that stands."""
    relaxation = relaxed(space, pool)
    return Standing(dive(space, relaxation, pool.masters), relaxation.prices)


def arrive(now: Standing, rng: np.random.Generator, count: int) -> Arrivals:
    """So many queries like those that are there."""
    found = Arrivals()
    there = now.filling.space.members
    for _ in range(count):
        space = now.filling.space
        like = int(rng.integers(there))
        kind = space.kinds[space.kind[like]]
        slots, worth = space.slots[like, : kind.use.shape[1]], 10.0 * float(rng.uniform(0.5, 2.0))
        began_s = time.perf_counter()
        _, change = now.arrive(kind, slots, worth)
        found.seconds.append(time.perf_counter() - began_s)
        found.placed += len(change.placed) > 0
        found.moved += len(change.moved)
        found.dropped += len(change.dropped)
    return found


def gateway_row(space: SelectionSpace, site: int) -> int:
    """The row of a site's gateway: those of all boxes come first; each site has its boxes, a gateway and an uplink."""
    return int((space.area >= 0).sum()) // (BOXES + 2) * BOXES + site


def lose_gateway(space: SelectionSpace, now: Standing, site: int) -> dict[str, object]:
    """The gateway of a site is lost: how long the new selection takes, and whom it touches elsewhere."""
    row = gateway_row(space, site)
    filling = now.filling
    users = [
        member
        for member in np.flatnonzero(filling.choice >= 0).tolist()
        if row in filling.space.use_of(member, filling.plan(member))[0]
    ]
    at_site = set(np.flatnonzero((np.append(space.area, -1)[filling.space.slots] == site).any(axis=1)).tolist())
    before = filling.choice.copy()
    began_s = time.perf_counter()
    change = now.lose(np.array([row]))
    took_s = time.perf_counter() - began_s
    changed = set(np.flatnonzero(before != filling.choice).tolist())
    outside = int((before != NONE).sum()) - len(at_site)
    return {
        "queries_at_site": len(at_site),
        "queries_on_gateway": len(users),
        "seconds": round(took_s, 4),
        "moved": len(change.moved),
        "dropped": len(change.dropped),
        "touched_outside_ratio": round(len(changed - at_site) / max(1, outside), 5),
        "fits": filling.space.fits(filling.choice, filling.opened),
    }


def crowded(space: SelectionSpace, site: int) -> SelectionSpace:
    """The same with a gateway that is large enough for a whole site's queries to run on it."""
    capacity = space.capacity.copy()
    capacity[gateway_row(space, site)] *= 20.0
    capacity[site * BOXES : (site + 1) * BOXES] *= 0.02
    return replace(space, capacity=capacity)


@dataclass(slots=True)
class Marginals:
    """Values of one unit more against the relaxation solved again."""

    cases: int = 0
    degenerate: int = 0
    near: int = 0

    def document(self) -> dict[str, object]:
        """As JSON."""
        told = self.cases - self.degenerate
        return {
            "cases": self.cases,
            "degenerate_ratio": round(self.degenerate / max(1, self.cases), 4),
            "within_10_percent_ratio": round(self.near / max(1, told), 4),
        }


def marginals(space: SelectionSpace, pool: SolverPool, rng: np.random.Generator, into: Marginals) -> None:
    """One core (or Mbit/s) more of some rows."""
    relaxation = generate(space, Aim(), pool.masters)
    for row in rng.choice(len(space.capacity), size=min(_CHECKED, len(space.capacity)), replace=False).tolist():
        more = np.zeros(len(space.capacity))
        more[row] = 1.0
        found = sensitivity(space, Aim(), pool.masters, relaxation, more)
        if found is None:
            continue
        into.cases += 1
        into.degenerate += found.degenerate
        into.near += not found.degenerate and _near(found)


def _near(found: Sensitivity) -> bool:
    return abs(found.by_price - found.resolved) <= 0.1 * max(abs(found.resolved), 1e-6)


def of_class(space: SelectionSpace, pool: SolverPool, seconds: float) -> dict[str, object]:
    """5% more cloud, and 5% more gateways: what the prices say, and what the integer selection gains."""
    told: dict[str, object] = {}
    first = gateway_row(space, 0)
    rows = {"gateways": np.arange(first, first + first // BOXES), "cloud": np.array([len(space.capacity) - 1])}
    relaxation = generate(space, Aim(), pool.masters)
    before = _goodput(space, pool, seconds)
    for name, mine in rows.items():
        more: Array = np.zeros(len(space.capacity))
        more[mine] = _CLASS_RATIO * space.capacity[mine]
        after = _goodput(replace(space, capacity=space.capacity + more), pool, seconds)
        told[name] = {
            "by_price_per_s": round(float(relaxation.prices.row @ more), 3),
            "integer_gain_per_s": round(after - before, 3),
        }
    return told


def _goodput(space: SelectionSpace, pool: SolverPool, seconds: float) -> float:
    began_s = time.perf_counter()
    limits = Limits(elapsed_s=lambda: time.perf_counter() - began_s, seconds=seconds, goodput_share=1.0)
    free = replace(space, kinds=tuple(replace(kind, cost_per_h=0.0 * kind.cost_per_h) for kind in space.kinds))
    return attain(free, pool.programmes(), limits=limits).attained.goodput_per_s


def main(arguments: Sequence[str]) -> int:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description="What one change costs in a running fleet.")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arrivals", type=int, default=1_000)
    given = parser.parse_args(arguments)
    pool = SolverPool()
    pool.start()
    try:
        figures = run(pool, 1 if given.quick else given.seeds, given.arrivals)
    finally:
        pool.close()
    print(json.dumps({"benchmark": "changes", "machine": _machine(), **figures}))
    return 0


def run(pool: SolverPool, seeds: int, arrivals: int) -> dict[str, object]:
    """All figures."""
    times: dict[str, Arrivals] = {}
    losses, values, classes = [], Marginals(), []
    for seed in range(seeds):
        tables = plan_tables(draw_kinds(seed, KINDS))
        for capacity in Capacity:
            spaces = {count: instance(tables, Size(queries=count, capacity=capacity), seed) for count in (SMALL, LARGE)}
            held = {count: standing(space, pool) for count, space in spaces.items()}
            for count, now in held.items():
                found = arrive(now, np.random.default_rng([seed, 7]), arrivals)
                into = times.setdefault(f"{count} {capacity}", Arrivals())
                into.seconds += found.seconds
                into.placed += found.placed
                into.moved += found.moved
                into.dropped += found.dropped
                losses.append({"size": f"{count} {capacity}", **lose_gateway(spaces[count], now, 3)})
            if capacity is Capacity.TIGHT:
                full = crowded(spaces[LARGE], 5)
                losses.append({"size": f"{LARGE} one full gateway", **lose_gateway(full, standing(full, pool), 5)})
                marginals(spaces[SMALL], pool, np.random.default_rng([seed, 8]), values)
                classes.append(of_class(spaces[SMALL], pool, 10.0))
    table = {name: found.document() for name, found in times.items()}
    growth = {
        str(capacity): round(
            float(np.percentile(times[f"{LARGE} {capacity}"].seconds, 99))
            / float(np.percentile(times[f"{SMALL} {capacity}"].seconds, 99)),
            3,
        )
        for capacity in Capacity
    }
    worst_p99_ms = max(
        float(np.percentile(found.seconds, 99)) * 1e3 for name, found in times.items() if name.startswith(str(LARGE))
    )
    bars = {
        "arrival_p99_at_most_100_ms": worst_p99_ms <= 100.0,
        "arrival_p99_growth_at_most_1.5": max(growth.values()) <= 1.5,
        "loss_within_2_s": max(float(str(loss["seconds"])) for loss in losses) <= 2.0,
        "touched_outside_at_most_1_percent": max(float(str(loss["touched_outside_ratio"])) for loss in losses) <= 0.01,
        "marginal_within_10_percent_in_90": values.near >= 0.9 * (values.cases - values.degenerate),
        "degenerate_at_most_30_percent": values.degenerate <= 0.3 * values.cases,
    }
    for name, row in table.items():
        print(f"{name}: {row}")
    for loss in losses:
        print(f"lost: {loss}")
    print(f"marginal values: {values.document()}; 5% more of a class: {classes}")
    return {
        "arrivals": table,
        "p99_large_over_small": growth,
        "losses": losses,
        "marginal_values": values.document(),
        "class_values": classes,
        "kept": bars,
    }


def _machine() -> dict[str, object]:
    return {
        "cpus": psutil.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
