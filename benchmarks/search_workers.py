"""Runs jobs in a few processes side by side; each writes its own lines."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from search_runs import Job, append, work

_TOLD_S = 20.0


def run_all(jobs: Sequence[Job], lines: Path, workers: int, code: str) -> None:
    """Runs them in their order, so that what is looked at first is there first."""
    total = sum(len(job.runs) for job in jobs)
    began_s = told_s = time.monotonic()
    finished = 0
    context = multiprocessing.get_context("fork")
    # An executor, not a pool: where a worker dies, it says so and does not wait for it.
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        waiting = [executor.submit(_run, job, lines, code) for job in jobs]
        for ended in as_completed(waiting):
            finished += ended.result()
            now_s = time.monotonic()
            if now_s - told_s > _TOLD_S or finished == total:
                told_s = now_s
                gone = now_s - began_s
                eta = gone / finished * (total - finished) / 60.0
                print(f"{finished} of {total} runs, about {eta:.1f} min to go", file=sys.stderr, flush=True)


def _run(job: Job, lines: Path, code: str) -> int:
    count = 0
    for line in work(job, code):
        append(lines, line)
        count += 1
    return count
