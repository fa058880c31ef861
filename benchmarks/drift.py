"""Drift: constant load must not flap, a step must be planned for within seconds.

    .venv/bin/python benchmarks/drift.py [--quick] [--seeds 100] [--steps 5] [--only constant|step]

First, two hours of constant load in simulated time, many seeds for each kind of load, through the planner's detection
and planning: the most plan changes of any seed. Then, for real: a planner and two agents in this process, their
operators in processes; a source offers three times its stated rate, and it is measured when a plan for it is in
force: its source emits under it. Also how long a new query of a known pipeline waits for its plan. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil
from drift_simulation import LOADS, Outcome, constant, first_plans, snapshot
from drift_step import Step, measure

RESULTS = Path(__file__).parent / "results" / "drift.json"
#: What must hold.
MOST_CHANGES, WITHIN_S, ARRIVAL_S = 1, 10.0, 1.0


def simulate(seeds: int) -> list[Outcome]:
    """All kinds of load, on all cores."""
    base = snapshot()
    first = first_plans(base)
    tasks = [(load, seed) for load in LOADS for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool() as pool:
        return pool.starmap(partial(constant, base, first), tasks, chunksize=1)


def constant_load(seeds: int) -> dict[str, object]:
    """Figures of the simulated hours."""
    outcomes = simulate(seeds)
    return {
        load: {
            "seeds": seeds,
            "findings": sum(one.findings for one in outcomes if one.load == load),
            "seeds_with_a_plan_change": sum(one.plan_changes > 0 for one in outcomes if one.load == load),
            "most_plan_changes": max(one.plan_changes for one in outcomes if one.load == load),
        }
        for load in LOADS
    }


def steps(count: int) -> list[Step]:
    """Real steps, one fleet each."""
    found = []
    for number in range(count):
        with tempfile.TemporaryDirectory(prefix="circinus-drift-") as folder:
            one = asyncio.run(measure(Path(folder)))
        print(f"step {number + 1}: {one}", file=sys.stderr, flush=True)
        found.append(one)
    return found


def main(arguments: Sequence[str]) -> int:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description="Constant load and a step.")
    parser.add_argument("--quick", action="store_true", help="4 seeds of each load, 1 step")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", choices=["constant", "step"])
    given = parser.parse_args(arguments)
    document: dict[str, object] = {"benchmark": "drift"}
    kept: dict[str, bool] = {}
    if given.only != "step":
        loads = constant_load(4 if given.quick else given.seeds)
        document["constant_load_2_h"] = loads
        most = max(int(one["most_plan_changes"]) for one in loads.values())  # type: ignore[index]
        kept["constant_load_at_most_one_plan_change"] = most <= MOST_CHANGES
    if given.only != "constant":
        found = steps(1 if given.quick else given.steps)
        corrected = [one.in_force_s for one in found]
        document["step_3x"] = {
            "found_s": [round(one.found_s, 2) for one in found],
            "corrected_plan_in_force_s": [round(one, 2) for one in corrected],
            "stated_per_s": found[0].stated_per_s,
            "planned_per_s": [round(one.planned_per_s, 2) for one in found],
            "new_query_planned_s": [round(one.arrival_planned_s, 2) for one in found],
            "new_query_in_force_s": [round(one.arrival_in_force_s, 2) for one in found],
        }
        kept["corrected_plan_within_10_s"] = max(corrected) <= WITHIN_S
        kept["new_query_answered_within_1_s"] = max(one.arrival_planned_s for one in found) <= ARRIVAL_S
    document["machine"] = {
        "cpus": psutil.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
    }
    document["kept"] = kept
    for name, value in document.items():
        print(f"{name}: {value}")
    for name, held in kept.items():
        print(f"{'kept' if held else 'MISSED'}: {name}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
