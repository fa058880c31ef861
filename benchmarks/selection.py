"""Selection by column generation against the naive programme over all columns, a greedy one, and the bound.

.venv/bin/python benchmarks/selection.py --quick      one seed, about a quarter of an hour on 2 cores
.venv/bin/python benchmarks/selection.py              five seeds, about an hour and a half; broken off, it goes on
.venv/bin/python benchmarks/selection.py --report     tables and pictures from the lines that are there

The last line is JSON.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

# On matrices as small as these, threads of the linear algebra take ten times what they give.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

from search_tables import ROOT
from selection_plan import FULL, QUICK
from selection_report import report
from selection_runs import code_digest, done, run_all

RESULTS = ROOT / "benchmarks" / "selection"


def main() -> int:
    """Parses the flags, runs what is left, reports."""
    parser = argparse.ArgumentParser(description="Selection by column generation against its rivals.")
    parser.add_argument("--quick", action="store_true", help="one seed, some sizes with the short limit alone")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is there")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--any-code", action="store_true", help="count lines that other code wrote")
    parser.add_argument("--seeds", type=int, default=0, help="at most so many")
    parser.add_argument("--remark", default="", help="a sentence for the head of the results: what else ran meanwhile")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the results")
    flags = parser.parse_args()
    into: Path = flags.into
    into.mkdir(parents=True, exist_ok=True)
    plan = QUICK if flags.quick else FULL
    if flags.seeds:
        plan = replace(plan, seeds=plan.seeds[: flags.seeds])
    lines = into / f"runs-{plan.name}.jsonl"
    if flags.fresh:
        lines.unlink(missing_ok=True)
    code = code_digest()
    began_s = time.monotonic()
    if not flags.report:
        run_all(plan, lines, code, any_code=flags.any_code)
    found = done(lines, None if flags.any_code or flags.report else code)
    return report(list(found.values()), plan, into, time.monotonic() - began_s, flags.remark)


if __name__ == "__main__":
    sys.exit(main())
