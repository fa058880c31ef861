"""Query goodput of a fleet under load: ours against planners as published and reinforced, on the measured tables.

.venv/bin/python benchmarks/goodput.py --quick      two seeds, loads to 3, within a quarter of an hour on 2 cores
.venv/bin/python benchmarks/goodput.py              ten seeds, loads to 5; broken off, it goes on where it stopped
.venv/bin/python benchmarks/goodput.py --report     tables and pictures from the lines that are there

What is compared and how profiling is charged: docs/goodput.md. The last line is JSON.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

# On matrices as small as these, threads of the linear algebra take ten times what they give.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

from goodput_report import report
from goodput_runs import FULL, QUICK, code_digest, done
from goodput_workers import run_all
from search_tables import ROOT

RESULTS = ROOT / "benchmarks" / "goodput"


def main() -> int:
    """Parses the flags, runs what is left, reports."""
    parser = argparse.ArgumentParser(description="Query goodput of a fleet under load, ours against its rivals.")
    parser.add_argument("--quick", action="store_true", help="two seeds, loads to 3")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--any-code", action="store_true", help="count lines that other code wrote")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=0, help="at most so many")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the results")
    flags = parser.parse_args()
    into: Path = flags.into
    into.mkdir(parents=True, exist_ok=True)
    plan = QUICK if flags.quick else FULL
    if flags.seeds:
        plan = replace(plan, seeds={layout: seeds[: flags.seeds] for layout, seeds in plan.seeds.items()})
    lines = into / f"runs-{plan.name}.jsonl"
    if flags.fresh:
        lines.unlink(missing_ok=True)
    code = code_digest()
    began_s = time.monotonic()
    if not flags.report:
        run_all(plan, lines, flags.workers, code, any_code=flags.any_code)
    found = done(lines, None if flags.any_code or flags.report else code)
    return report(list(found.values()), plan, into, time.monotonic() - began_s)


if __name__ == "__main__":
    sys.exit(main())
