"""Runs the cells of the goodput benchmark and keeps a line for each method of a cell that is done.

A run that is broken off goes on where it stopped; only lines that the same code wrote count. A cell is one layout, draw
and seed: its stream, searched once by each method, then served at every load and on the fleets of the bisection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path

from goodput_fleet import Fleet, Layout, fleet
from goodput_methods import OURS, POPULATION, Kind, Method, methods
from goodput_problem import Judge
from goodput_queries import Request, count_at, requests
from goodput_search import Answer, search_all
from goodput_serving import Worth, least_multiple, serve, worth
from run_lines import digest_of
from search_queries import DRAWS
from search_tables import NAMES, ROOT

#: The name of the line on equal goodput, beside those of methods.
EQUAL = "equal goodput"
#: The ways of judging accuracy: on held-out samples, within their error, by the pool.
JUDGED = ("goodput", "error_goodput", "pool_goodput")
#: A stream is no longer than this, whatever load it comes to.
_MOST_QUERIES = 90


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """What methods are compared on: a fleet and a stream of queries."""

    layout: str
    draw: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is run. ``seeds`` by layout; load 1 must be among ``loads``; ``population``: in these layouts."""

    name: str
    seeds: dict[Layout, tuple[int, ...]]
    loads: tuple[float, ...]
    population: tuple[Layout, ...] = ()

    def cells(self) -> list[Cell]:
        """Seed by seed, the fleet with both tiers first."""
        most = max(len(seeds) for seeds in self.seeds.values())
        return [
            Cell(layout=layout, draw=draw, seed=seeds[place])
            for place in range(most)
            for layout, seeds in self.seeds.items()
            if place < len(seeds)
            for draw in DRAWS
        ]

    def methods(self, layout: str) -> list[Method]:
        """Those that are run on a layout."""
        return [one for one in methods() if one.name != POPULATION or Layout(layout) in self.population]


_TEN = tuple(range(1, 11))
QUICK = Plan(
    name="quick",
    seeds={Layout.EDGE_CLOUD: (1, 2), Layout.EDGE: (1,), Layout.CLOUD: (1,)},
    loads=(0.5, 1.0, 2.0, 3.0),
)
FULL = Plan(
    name="full",
    seeds=dict.fromkeys(Layout, _TEN),
    loads=(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
    population=(Layout.EDGE_CLOUD,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A method on a cell. ``at``: by load as text, the figures of ``Worth``.

    ``equal``: by figure of goodput and method, the least ``multiple`` of the fleet that reaches ``target``, what that
    fleet costs and what is used of it (-1: none does); only on the line of that name.
    """

    cell: Cell
    method: str
    kind: str
    code: str
    process_s: float
    at: dict[str, dict[str, float]] = field(default_factory=dict)
    equal: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def key(self) -> tuple[Cell, str]:
        """What it is of."""
        return self.cell, self.method


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Of all code that decides a result, and of the tables; figures and reports aside."""
    paths = [
        *(ROOT / "benchmarks" / f"goodput_{name}.py" for name in ("fleet", "methods", "problem", "queries", "runs")),
        *(ROOT / "benchmarks" / f"goodput_{name}.py" for name in ("search", "serving")),
        ROOT / "benchmarks" / "search_queries.py",
        ROOT / "benchmarks" / "search_tables.py",
        *(ROOT / "cloud_planner" / "baselines").glob("*.py"),
        *(ROOT / "cloud_planner" / "core").rglob("*.py"),
        ROOT / "cloud_planner" / "solver.py",
        *(ROOT / "benchmarks" / "tables" / name / "results.jsonl.gz" for name in NAMES),
    ]
    return digest_of(paths)


# A cell


@dataclass(slots=True, kw_only=True)
class _Bench:
    """A cell at work: its stream, how many queries make each load, and what methods know of them."""

    cell: Cell
    fleet: Fleet
    stream: list[Request]
    counts: dict[float, int]
    judge: Judge
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def answers_of(self, method: Method) -> list[Answer]:
        if method.name not in self.answers:
            self.answers[method.name] = search_all(method, self.stream, self.cell.seed, self.fleet)
        return self.answers[method.name]

    def served(self, method: Method, count: int, multiple: float = 1.0) -> Worth:
        known = self.answers_of(method)
        on = self.fleet if multiple == 1.0 else self.fleet.multiple(multiple)
        return worth(serve(method, self.stream[:count], known, on), known, self.judge)


def _bench(cell: Cell, loads: Sequence[float]) -> _Bench:
    there = fleet(Layout(cell.layout))
    stream = stream_for(cell.seed, cell.draw, there, max(loads))
    works = [request.work for request in stream]
    counts = {load: count_at(works, there.capacity, load) for load in loads}
    return _Bench(cell=cell, fleet=there, stream=stream, counts=counts, judge=Judge(there, stream))


def stream_for(seed: int, draw: str, there: Fleet, load: float) -> list[Request]:
    """As many queries as come to a load."""
    count = 8
    while True:
        made = requests(seed, draw, there, count)
        asked = sum(request.work for request in made) / there.capacity
        if asked >= load or count >= _MOST_QUERIES:
            return made[: count_at([request.work for request in made], there.capacity, load)]
        count = min(_MOST_QUERIES, count + 8)


def work(cell: Cell, plan: Plan, have: dict[str, Line], code: str) -> Iterator[Line]:
    """Runs what a cell lacks, line by line; the line on equal goodput last."""
    every = plan.methods(cell.layout)
    lacking = [method for method in every if method.name not in have]
    if not lacking and EQUAL in have:
        return
    bench = _bench(cell, plan.loads)
    lines = dict(have)
    for method in lacking:
        began_s = time.process_time()
        at = {f"{load:g}": asdict(bench.served(method, count)) for load, count in bench.counts.items()}
        line = Line(
            cell=cell,
            method=method.name,
            kind=method.kind,
            code=code,
            process_s=round(time.process_time() - began_s, 2),
            at=_rounded(at),
        )
        lines[method.name] = line
        yield line
    began_s = time.process_time()
    equal = _equal(bench, every, lines)
    yield Line(
        cell=cell,
        method=EQUAL,
        kind="",
        code=code,
        process_s=round(time.process_time() - began_s, 2),
        equal={figure: _rounded(of) for figure, of in equal.items()},
    )


def best_of(kind: Kind, lines: dict[str, Line], figure: str = "goodput") -> str | None:
    """The method of a kind with the most goodput at load 1, of equals the cheaper; None: none has any."""
    ranked = sorted(
        (-line.at["1"][figure], line.at["1"]["cost_per_h"], name)
        for name, line in lines.items()
        if line.kind == kind and "1" in line.at
    )
    return ranked[0][2] if ranked and ranked[0][0] < 0.0 else None


def _equal(bench: _Bench, every: Sequence[Method], lines: dict[str, Line]) -> dict[str, dict[str, dict[str, float]]]:
    """The least fleets that reach what the best faithful method reaches at load 1, in each way of judging."""
    found: dict[str, dict[str, dict[str, float]]] = {figure: {} for figure in JUDGED}
    served: dict[tuple[str, float], Worth] = {}
    for figure in JUDGED:
        best, reinforced = best_of(Kind.FAITHFUL, lines, figure), best_of(Kind.REINFORCED, lines, figure)
        if best is None:
            continue
        target = lines[best].at["1"][figure]
        for method in every:
            if method.name in (best, reinforced, OURS, POPULATION):
                found[figure][method.name] = _reaching(bench, method, figure, target, served)
    return found


def _reaching(
    bench: _Bench, method: Method, figure: str, target: float, served: dict[tuple[str, float], Worth]
) -> dict[str, float]:
    """The least multiple with which a method reaches a goodput, and what it takes there."""

    def reaches(multiple: float) -> bool:
        key = (method.name, multiple)
        if key not in served:
            served[key] = bench.served(method, bench.counts[1.0], multiple)
        return float(getattr(served[key], figure)) >= target - 1e-9

    multiple = least_multiple(reaches)
    there = isfinite(multiple)
    return {
        "target": target,
        "multiple": multiple if there else -1.0,
        "price_per_h": bench.fleet.price_per_h * multiple if there else -1.0,
        "used_per_h": served[method.name, multiple].cost_per_h if there else -1.0,
        "faithful": float(method.kind is Kind.FAITHFUL),
        "reinforced": float(method.kind is Kind.REINFORCED),
    }


def _rounded(of: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: value if value == int(value) else float(f"{value:.6g}") for key, value in one.items()}
        for name, one in of.items()
    }


# Lines


def done(path: Path, code: str | None) -> dict[tuple[Cell, str], Line]:
    """The lines of a file that this code wrote (None: that any wrote); what is not whole is no line."""
    found: dict[tuple[Cell, str], Line] = {}
    if not path.exists():
        return found
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            document = json.loads(text)
        except ValueError:
            continue
        line = Line(**{**document, "cell": Cell(**document["cell"])})
        if code is None or line.code == code:
            found[line.key()] = line
    return found
