"""Runs methods over queries, holds their answers against the truth, and keeps a line for each run that is done.

A run that is broken off goes on where it stopped: a line is written when all of its queries are through, and only lines
that the same code wrote count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

import numpy as np
from run_lines import digest_of
from search_methods import STATIC, Method, static_of
from search_queries import SLACK, Asked, queries, world
from search_tables import PROFILING, ROOT

from cloud_planner.baselines.task import Found, Planner, Task
from cloud_planner.baselines.world import KnobSpace, Memory, Meter, PlanBook, new_memory

#: What decides a run's results; a line of other code is no line.
CODE = (
    "benchmarks/search_queries.py",
    "benchmarks/search_methods.py",
    "benchmarks/search_runs.py",
    "benchmarks/search_tables.py",
    "cloud_planner/core/estimate.py",
    "cloud_planner/core/knob_model.py",
    "cloud_planner/core/precision.py",
    "cloud_planner/core/search.py",
    *(f"cloud_planner/baselines/{path.name}" for path in sorted((ROOT / "cloud_planner" / "baselines").glob("*.py"))),
)
#: Figures of a query that is run, in the order of a line's rows.
FIGURES = (
    "executions",
    "runs",
    "seconds",
    "uncached_s",
    "cpu_s",
    "answered",
    "regret",
    "accuracy_gap",
    "test_gap",
    "late",
    "dear",
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """Queries that methods are compared on. ``warm``: what was learnt from one query is known at the next."""

    seed: int
    draw: str
    similarity: float
    warm: bool
    queries: int
    part: str = PROFILING


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell, and the methods with the places of their settings that are run on it."""

    cell: Cell
    runs: tuple[tuple[Method, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A cell's queries and what is true of them whoever searches."""

    asked: tuple[Asked, ...]
    exhaustive_s: tuple[float, ...]


@lru_cache(maxsize=2)
def group(seed: int, draw: str, similarity: float, count: int, part: str) -> Group:
    """The queries of a cell, kept while several methods are run on them."""
    asked = tuple(queries(seed, draw, similarity, count, part))
    return Group(asked=asked, exhaustive_s=tuple(_exhaustive_s(one) for one in asked))


def _exhaustive_s(asked: Asked) -> float:
    """Seconds that every configuration on the whole pool takes, equal work done once."""
    meter = Meter(asked.content.table, world(asked.content.pipeline).space)
    for index in range(meter.count):
        meter.run(index, range(meter.pool))
    return meter.bill.seconds


def judge(asked: Asked, found: Found, meter: Meter, cpu_s: float) -> list[float | None]:
    """What an answer is worth, in the order of FIGURES. None: there is no such figure.

    Regret is of answers that are accurate enough: the true cost of the answered plan over the least, which a plan that
    misses another bound may undercut (0 then). Gaps are accuracies less the bound.
    """
    bill, truth, slo = meter.bill, asked.truth, asked.slo
    spent = [bill.executions, bill.operator_runs, bill.seconds, bill.uncached_seconds, cpu_s]
    if found.configuration is None or found.plan is None:
        return [*spent, 0, None, None, None, None, None]
    bound = slo.accuracy_ratio or 0.0
    scored = truth.scored[found.configuration]
    cost, latency = float(scored.cost_per_h[found.plan]), float(scored.latency_ms[found.plan])
    gap = float(truth.accuracy[found.configuration]) - bound
    test_gap = float(asked.content.test[found.configuration]) - bound
    met = gap >= -SLACK and isfinite(truth.cost_per_h)
    regret = max(0.0, cost / truth.cost_per_h - 1.0) if met else None
    late = slo.latency_ms is not None and latency > slo.latency_ms * (1.0 + 1e-6)
    dear = slo.cost_per_h is not None and cost > slo.cost_per_h * (1.0 + 1e-6)
    return [*spent, 1, regret, gap, test_gap, int(late), int(dear)]


def run(planner: Planner, cell: Cell, asked: Sequence[Asked], method: Method) -> list[list[float | None]]:
    """A method's figures of each query, (queries, FIGURES)."""
    contents: dict[int, Memory] = {}
    kept: dict[str, dict[str, object]] = {}
    spaces: dict[str, KnobSpace] = {}
    rows = []
    for one in asked:
        pipeline = one.content.pipeline
        if pipeline not in spaces:
            there = world(pipeline).space
            spaces[pipeline] = method.space(there) if method.space is not None else there
        memory, known = None, dict[str, object]()
        if cell.warm:
            memory = contents.setdefault(one.content.number, new_memory(one.content.table))
            known = kept.setdefault(pipeline, {})
        meter = Meter(one.content.table, spaces[pipeline], memory)
        book = PlanBook(one.space, one.slo, meter)
        rng = np.random.default_rng([cell.seed, one.number])
        began_s = time.process_time()
        found = planner(Task(meter=meter, book=book, rng=rng, memory=known))
        rows.append(judge(one, found, meter, time.process_time() - began_s))
    return rows


# Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run that is done: a setting of a method on a cell. ``rows``: (queries, FIGURES).

    ``process_s``: CPU time of the run, deciding and judging, to plan the next by.
    """

    cell: Cell
    method: str
    setting: str
    code: str
    process_s: float
    pipelines: tuple[str, ...]
    repeats: tuple[bool, ...]
    feasible: tuple[bool, ...]
    exhaustive_s: tuple[float, ...]
    full_executions: tuple[int, ...]
    rows: tuple[tuple[float | None, ...], ...]

    def key(self) -> tuple[object, ...]:
        """What it is of."""
        return self.cell, self.method, self.setting


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Of all code that decides a result, and of the tables."""
    tables = (f"benchmarks/tables/{name}/results.jsonl.gz" for name in ("documents", "meeting", "traffic"))
    return digest_of(ROOT / path for path in (*CODE, *tables))


def done(path: Path, code: str | None) -> dict[tuple[object, ...], Line]:
    """The lines of a file that this code wrote (None: that any wrote); a line that was cut off is none."""
    found: dict[tuple[object, ...], Line] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8") as lines:
        for text in lines:
            if not text.endswith("\n"):
                break
            line = parsed(text)
            if line is not None and (code is None or line.code == code):
                found[line.key()] = line
    return found


def parsed(text: str) -> Line | None:
    """A line; None: it is not whole."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    document["cell"] = Cell(**document["cell"])
    document["rows"] = tuple(tuple(row) for row in document["rows"])
    for name in ("pipelines", "repeats", "feasible", "exhaustive_s", "full_executions"):
        document[name] = tuple(document[name])
    return Line(**document)


def work(job: Job, code: str) -> Iterator[Line]:
    """Runs a job, line by line."""
    cell = job.cell
    there = group(cell.seed, cell.draw, cell.similarity, cell.queries, cell.part)
    for method, setting in job.runs:
        planner = method.settings[setting]
        if method.name == STATIC:
            planner = static_of(there.asked, lambda name: world(name).space)
        began_s = time.process_time()
        rows = run(planner, cell, there.asked, method)
        yield Line(
            cell=cell,
            method=method.name,
            setting=method.label(setting),
            code=code,
            process_s=round(time.process_time() - began_s, 3),
            pipelines=tuple(one.content.pipeline for one in there.asked),
            repeats=tuple(one.repeats for one in there.asked),
            feasible=tuple(isfinite(one.truth.cost_per_h) for one in there.asked),
            exhaustive_s=tuple(_rounded(value) or 0.0 for value in there.exhaustive_s),
            full_executions=tuple(one.content.table.scores.size for one in there.asked),
            rows=tuple(tuple(_rounded(value) for value in row) for row in rows),
        )


def _rounded(value: float | None) -> float | None:
    """To five digits; what is a whole number stays one."""
    if value is None or value == int(value):
        return None if value is None else int(value)
    return float(f"{value:.5g}")


def left(jobs: Iterable[Job], there: dict[tuple[object, ...], Line]) -> list[Job]:
    """What of these jobs has no line yet."""
    found = []
    for job in jobs:
        runs = tuple(one for one in job.runs if (job.cell, one[0].name, one[0].label(one[1])) not in there)
        if runs:
            found.append(Job(cell=job.cell, runs=runs))
    return found
