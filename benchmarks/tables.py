"""Measures all configurations of the example pipelines on all contents: the tables of the planner's benchmarks.

    .venv/bin/python benchmarks/tables.py [NAME ...]            writes benchmarks/tables/NAME and the README's table
    .venv/bin/python benchmarks/tables.py --check [NAME ...]    holds a smaller measurement against what is there
    .venv/bin/python benchmarks/tables.py --readme [NAME ...]   writes the READMEs' tables from what is there

Broken off, it goes on where it stopped. ``--check`` ends with 1 if a spread is not as promised or accuracies fall out
of their intervals. The last line of each pipeline is JSON.
"""

import argparse
import asyncio
import gzip
import json
import sys
import tempfile
import time
from math import hypot
from pathlib import Path

from table_text import readme_table, spreads

from circinus.cli.front_picture import draw_fronts
from circinus.model.pipeline import Configuration
from edge_agent.local.profile import ProfileProgress, ProfileReport, profile, report_of
from edge_agent.local.results import RESULTS_NAME

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "benchmarks" / "tables"
EXAMPLES = ROOT / "examples"
NAMES = ("documents", "meeting", "traffic")
#: Samples of each content: so many are measured, and so many again to check.
SAMPLES = {"documents": 100, "meeting": 100, "traffic": 60}
CHECK_SAMPLES = {"documents": 16, "meeting": 16, "traffic": 10}
LEAST_CONFIGURATIONS = 48
LEAST_SPREAD_RATIO = 0.20
LEAST_TIME_SPREAD = 4.0
MARK = "<!-- table -->"
END = "<!-- end of table -->"
PACKED_NAME = RESULTS_NAME + ".gz"


class Told:
    """Progress, a line each half minute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told_s = 0.0

    def note(self, text: str) -> None:
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def progress(self, progress: ProfileProgress) -> None:
        if time.monotonic() - self.told_s < 30.0:
            return
        self.told_s = time.monotonic()
        eta = f", {progress.eta_s / 60:.1f} min to go" if progress.eta_s is not None else ""
        self.note(f"{progress.content}: {progress.samples_done} of {progress.samples_total} samples{eta}")


def measured(name: str, into: Path, samples: int) -> ProfileReport:
    told = Told(name)
    return asyncio.run(profile(EXAMPLES / name, into, count=samples, on_note=told.note, on_progress=told.progress))


def measure(name: str, samples: int) -> ProfileReport:
    """Measures a pipeline into its folder of tables; the raw results are packed when all are there."""
    into = TABLES / name
    packed, plain = into / PACKED_NAME, into / RESULTS_NAME
    if packed.exists() and not plain.exists():
        plain.write_bytes(gzip.decompress(packed.read_bytes()))
    report = measured(name, into, samples)
    # Without a time in it: the same results are the same file.
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    draw_fronts(report, into / "front.png")
    return report


def stored(name: str) -> ProfileReport:
    """What benchmarks/tables has of a pipeline."""
    return asyncio.run(report_of(EXAMPLES / name, TABLES / name / PACKED_NAME))


def write_readme(name: str, report: ProfileReport) -> None:
    path = EXAMPLES / name / "README.md"
    text = path.read_text(encoding="utf-8")
    head, mark, rest = text.partition(MARK)
    if not mark:
        raise SystemExit(f"{path} has no line {MARK}")
    tail = rest.partition(END)[2] if END in rest else rest
    path.write_text(f"{head}{MARK}\n\n{readme_table(report)}\n\n{END}{tail}", encoding="utf-8")


def promised(name: str, report: ProfileReport) -> list[str]:
    """What a pipeline's table must show; gives what it doesn't."""
    wrong = []
    count = len(report.contents[0].rows)
    if count < LEAST_CONFIGURATIONS:
        wrong.append(f"{count} configurations; {LEAST_CONFIGURATIONS} are the least")
    if len(report.contents) < 4:
        wrong.append(f"{len(report.contents)} contents; 4 are the least")
    for summary in report.contents:
        if summary.accuracy_spread_ratio < LEAST_SPREAD_RATIO:
            wrong.append(f"{summary.content}: accuracy spreads over {100 * summary.accuracy_spread_ratio:.0f} points")
        if summary.time_spread < LEAST_TIME_SPREAD:
            wrong.append(f"{summary.content}: time spreads over a factor of {summary.time_spread:.1f}")
    if len({summary.best for summary in report.contents}) == 1:
        wrong.append("one configuration is the most accurate for every content")
    return [f"{name}: {text}" for text in wrong]


def against(
    report: ProfileReport, reference: ProfileReport
) -> tuple[int, list[tuple[str, Configuration, float]], float]:
    """How many accuracies of a new report differ from the reference's by more than the two intervals allow."""
    known = {summary.content: summary for summary in reference.contents}
    compared, outside, worst = 0, [], 0.0
    for summary in report.contents:
        for row, other in zip(summary.rows, known[summary.content].rows, strict=True):
            off = row.accuracy.value - other.accuracy.value
            allowed = hypot(*((one.accuracy.high - one.accuracy.low) / 2 for one in (row, other)))
            compared += 1
            worst = max(worst, abs(off))
            if abs(off) > allowed:
                outside.append((summary.content, dict(row.configuration), round(off, 4)))
    return compared, outside, worst


def check(name: str, samples: int) -> list[str]:
    """Measures anew, elsewhere, and compares."""
    reference = stored(name)
    with tempfile.TemporaryDirectory(prefix="circinus-tables-") as folder:
        report = measured(name, Path(folder), samples)
    compared, outside, worst = against(report, reference)
    wrong = promised(name, report)
    # Of 95% intervals one in twenty may be missed; what was measured on the same samples hardly ever is.
    if len(outside) > 0.05 * compared:
        wrong.append(f"{name}: {len(outside)} of {compared} accuracies are outside of their intervals")
    for one in outside[:5]:
        print(f"{name}: outside: {one}", file=sys.stderr)
    print(spreads(report))
    facts = {
        "compared": compared,
        "outside": len(outside),
        "largest_difference": round(worst, 4),
        "samples": samples,
        "wrong": wrong,
    }
    print(json.dumps({"pipeline": name, **facts}))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--samples", type=int, default=0, help="of each content, in place of the usual number")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--check", action="store_true", help="hold a new measurement against what is there")
    kind.add_argument("--readme", action="store_true", help="only write the READMEs' tables")
    args = parser.parse_args()
    wrong = []
    for name in args.names or NAMES:
        if name not in NAMES:
            parser.error(f"there is no pipeline {name!r}; there are {', '.join(NAMES)}")
        if args.check:
            wrong += check(name, args.samples or CHECK_SAMPLES[name])
            continue
        report = stored(name) if args.readme else measure(name, args.samples or SAMPLES[name])
        write_readme(name, report)
        print(spreads(report))
        lacking = promised(name, report)
        wrong += lacking
        facts = {"configurations": len(report.contents[0].rows), "contents": len(report.contents)}
        print(json.dumps({"pipeline": name, **facts, "elapsed_s": round(report.elapsed_s), "wrong": lacking}))
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
