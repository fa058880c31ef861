"""Runs the cases of a plan, each in a process of its own, so that its memory is its own; one line of JSON each."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from run_lines import digest_of
from search_tables import NAMES, ROOT
from selection_check import check
from selection_curves import Point, thinned
from selection_instances import Capacity, PlanTable, Size, instance, plan_tables
from selection_kinds import draw_kinds
from selection_memory import PeakMemory
from selection_plan import OURS, Case, Plan
from selection_rivals import GREEDY, Found, greedy, naive

from cloud_planner.core.column_generation.attain import Attained, Limits, attain
from cloud_planner.core.column_generation.space import NONE, SelectionSpace
from cloud_planner.solver_pool import SolverPool

WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came of a case. ``memory_bytes``: most at once, with all processes; ``findings``: what the check found."""

    case: Case
    code: str
    queries: int
    plans: int
    worth_per_s: float
    points: tuple[Point, ...]
    elapsed_s: float
    cpu_s: float
    building_s: float = 0.0
    memory_bytes: int = 0
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    placed: int = 0

    @property
    def last(self) -> Point:
        """How it ended."""
        return self.points[-1]


def run_all(plan: Plan, path: Path, code: str, *, any_code: bool) -> None:
    """Runs what is not there yet, one case at a time: each may have all cores."""
    there = done(path, None if any_code else code)
    todo = [case for case in plan.cases() if case.key not in there]
    began_s = time.monotonic()
    for number, case in enumerate(todo, start=1):
        line = run(case, plan.kinds, code)
        with path.open("a", encoding="utf-8") as file:
            file.write(text_of(line) + "\n")
        gone_min = (time.monotonic() - began_s) / 60.0
        said = "; ".join((*line.findings, *line.notes))
        print(
            f"{number} of {len(todo)}, {gone_min:.1f} min: {case.key}: gap {line.last.gap_ratio:.2%} {said}",
            file=sys.stderr,
            flush=True,
        )


def run(case: Case, kinds: int, code: str) -> Line:
    """Runs one case. The tables are made here, before its time counts."""
    tables = tables_of(case.seed, kinds)
    context = multiprocessing.get_context("spawn")
    with PeakMemory() as memory:
        try:
            with ProcessPoolExecutor(1, mp_context=context) as executor:
                line = executor.submit(work, case, tables, code).result()
        except BrokenProcessPool:
            line = _broken(case, tables, code)
    return replace(line, memory_bytes=memory.bytes)


def _broken(case: Case, tables: tuple[PlanTable, ...], code: str) -> Line:
    space = instance(tables, case.size, case.seed)
    nothing = Point(elapsed_s=0.0, goodput_per_s=0.0, cost_per_h=0.0)
    return Line(
        case=case,
        code=code,
        queries=space.members,
        plans=space.plans,
        worth_per_s=float(space.worth.sum()),
        points=(nothing,),
        elapsed_s=0.0,
        cpu_s=0.0,
        notes=("its process died",),
    )


@cache
def tables_of(seed: int, kinds: int) -> tuple[PlanTable, ...]:
    """The templates of a seed."""
    return plan_tables(draw_kinds(seed, kinds))


def work(case: Case, tables: tuple[PlanTable, ...], code: str) -> Line:
    """In the case's process: solves and checks."""
    space = instance(tables, case.size, case.seed)
    before_s = cpu_s()
    if case.method == OURS:
        found, cpu = _ours(space, case.seconds)
    else:
        found = greedy(space) if case.method == GREEDY else naive(space, case.method, case.seconds, WORKERS)
        cpu = cpu_s() - before_s
    last = found.points[-1]
    findings = check(space, found.choice, last.goodput_per_s, last.cost_per_h)
    if last.bound_per_s < last.goodput_per_s * (1.0 - 1e-9):
        findings = (*findings, f"the bound {last.bound_per_s:.9g} is below the goodput {last.goodput_per_s:.9g}")
    if last.linear_per_s < last.goodput_per_s * (1.0 - 1e-9):
        findings = (
            *findings,
            f"the linear bound {last.linear_per_s:.9g} is below the goodput {last.goodput_per_s:.9g}",
        )
    return Line(
        case=case,
        code=code,
        queries=space.members,
        plans=space.plans,
        worth_per_s=float(space.worth.sum()),
        points=thinned(found.points),
        elapsed_s=found.elapsed_s,
        cpu_s=cpu,
        building_s=found.building_s,
        findings=findings,
        notes=found.notes,
        placed=int((found.choice != NONE).sum()),
    )


def cpu_s() -> float:
    """CPU time of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _ours(space: SelectionSpace, seconds: float) -> tuple[Found, float]:
    """Workers are warm: they are started once, when the planner is."""
    pool = SolverPool(WORKERS)
    pool.start()
    figures: list[Point] = []

    def hear(now: Attained) -> None:
        figures.append(
            Point(
                elapsed_s=now.elapsed_s,
                goodput_per_s=now.goodput_per_s,
                cost_per_h=now.cost_per_h,
                bound_per_s=now.goodput_bound_per_s,
                cost_bound_per_h=now.cost_bound_per_h,
            )
        )

    before_s, began_s = cpu_s(), time.perf_counter()
    limits = Limits(elapsed_s=lambda: time.perf_counter() - began_s, seconds=seconds)
    outcome = attain(space, pool.programmes(), limits=limits, told=hear)
    elapsed_s = time.perf_counter() - began_s
    hear(outcome.attained)
    # Only when they have ended do workers' CPU seconds count here.
    pool.close()
    linear = outcome.relaxation.bound
    points = tuple(_with_linear(point, linear, float(space.worth.sum())) for point in figures)
    found = Found(choice=outcome.attained.choice, points=points, elapsed_s=elapsed_s, notes=tuple(outcome.warnings))
    return found, cpu_s() - before_s


def _with_linear(point: Point, linear_per_s: float, most_per_s: float) -> Point:
    """The linear bound from when on it was known: until then all that there is bounds both."""
    known = point.bound_per_s <= linear_per_s * (1.0 + 1e-9)
    return replace(point, linear_per_s=linear_per_s if known else most_per_s)


# Lines


def done(path: Path, code: str | None) -> dict[str, Line]:
    """The lines that are there, by their cases' keys; ``code``: only those that this code wrote."""
    found: dict[str, Line] = {}
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            line = parsed(text)
            if code in (None, line.code):
                found[line.case.key] = line
    return found


def text_of(line: Line) -> str:
    """A line as JSON."""
    return json.dumps(asdict(line))


def parsed(text: str) -> Line:
    """A line from its JSON."""
    document = json.loads(text)
    case = document.pop("case")
    size = case.pop("size")
    size["capacity"] = Capacity(size["capacity"])
    points = tuple(Point(**point) for point in document.pop("points"))
    for name in ("findings", "notes"):
        document[name] = tuple(document[name])
    return Line(case=Case(size=Size(**size), **case), points=points, **document)


def code_digest() -> str:
    """Of all code that decides a result, and of the tables; figures and reports aside."""
    names = ("check", "curves", "instances", "kinds", "plan", "rivals", "runs")
    paths = [
        *(ROOT / "benchmarks" / f"selection_{name}.py" for name in names),
        *(ROOT / "cloud_planner" / "core" / "column_generation").glob("*.py"),
        ROOT / "cloud_planner" / "core" / "templates.py",
        *(ROOT / "cloud_planner" / name for name in ("highs.py", "solver_pool.py", "solver_process.py")),
        *(ROOT / "benchmarks" / "tables" / name / "results.jsonl.gz" for name in NAMES),
    ]
    return digest_of(paths)
