"""Runs the cells of a plan in a few processes side by side; each writes its own lines."""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from goodput_runs import Cell, Line, Plan, append, done, work


def run_all(plan: Plan, lines: Path, workers: int, code: str, *, any_code: bool) -> None:
    """Runs what is not there yet, cells in their order."""
    there = done(lines, None if any_code else code)
    cells = plan.cells()
    began_s = time.monotonic()
    context = multiprocessing.get_context("fork")
    # An executor, not a pool: where a worker dies, it says so and does not wait for it.
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        waiting = []
        for cell in cells:
            have = {name: line for (of, name), line in there.items() if of == cell}
            waiting.append(executor.submit(_run, cell, plan, have, lines, code))
        for number, ended in enumerate(as_completed(waiting), start=1):
            cell = ended.result()
            gone_min = (time.monotonic() - began_s) / 60.0
            eta = gone_min / number * (len(cells) - number)
            said = f"{cell.layout}, {cell.draw}, seed {cell.seed}"
            print(f"{number} of {len(cells)} cells ({said}), about {eta:.1f} min to go", file=sys.stderr, flush=True)


def _run(cell: Cell, plan: Plan, have: dict[str, Line], lines: Path, code: str) -> Cell:
    for line in work(cell, plan, have, code):
        append(lines, line)
    return cell
