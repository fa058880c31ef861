"""Our search against its rivals, on the measured tables of the example pipelines, query by query against the truth.

.venv/bin/python benchmarks/search.py --quick        3 seeds x 60 queries, within a quarter of an hour on 2 cores
.venv/bin/python benchmarks/search.py                10 seeds x 300 queries; broken off, it goes on where it stopped
.venv/bin/python benchmarks/search.py --tune         chooses each method's setting on validation samples
.venv/bin/python benchmarks/search.py --validity     2,000 simulated searches with known truth
.venv/bin/python benchmarks/search.py --report       tables and pictures from the lines that are there
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

# On matrices as small as these, threads of the linear algebra take ten times what they give.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

from search_plan import FULL, QUICK, TUNE, jobs
from search_report import report
from search_runs import code_digest, done, left
from search_tables import ROOT
from search_tuning import choose
from search_validity import validity
from search_workers import run_all

RESULTS = ROOT / "benchmarks" / "search"


def main() -> int:
    """Parses the flags, runs what is left, reports."""
    parser = argparse.ArgumentParser(description="Our search against its rivals, query by query.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="3 seeds x 60 queries")
    mode.add_argument("--tune", action="store_true", help="choose settings on validation samples")
    mode.add_argument("--validity", action="store_true", help="simulated searches with known truth")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--any-code", action="store_true", help="count lines that other code wrote")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--searches", type=int, default=2000, help="of --validity")
    parser.add_argument("--only", default="", help="methods with one of these words in their names, by commas")
    parser.add_argument("--seeds", type=int, default=0, help="so many in place of the plan's")
    parser.add_argument("--queries", type=int, default=0, help="so many a cell in place of the plan's")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the results")
    flags = parser.parse_args()
    into: Path = flags.into
    into.mkdir(parents=True, exist_ok=True)
    if flags.validity:
        return validity(flags.searches, flags.workers, into)
    plan = TUNE if flags.tune else QUICK if flags.quick else FULL
    if flags.seeds:
        plan = replace(plan, seeds=tuple(range(1, flags.seeds + 1)))
    if flags.queries:
        most = min(flags.queries, plan.curve_queries)
        plan = replace(plan, queries=min(flags.queries, plan.queries), curve_queries=most)
    lines = into / f"runs-{plan.name}.jsonl"
    if flags.fresh:
        lines.unlink(missing_ok=True)
    code = code_digest()
    began_s = time.monotonic()
    if not flags.report:
        words = [word for word in flags.only.split(",") if word]
        todo = left(
            jobs(plan, None if flags.tune else into / "tuned.json", words),
            done(lines, None if flags.any_code else code),
        )
        run_all(todo, lines, flags.workers, code)
    found = done(lines, None if flags.any_code or flags.report else code)
    if flags.tune:
        return choose(found.values(), into / "tuned.json")
    return report(list(found.values()), plan, into, time.monotonic() - began_s)


if __name__ == "__main__":
    sys.exit(main())
