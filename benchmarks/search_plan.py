"""What is run: the cells of a quick look, of the full benchmark and of tuning, and which methods on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from search_methods import (
    EXHAUSTIVE,
    FAITHFUL,
    OURS,
    QUICK_NAME,
    REINFORCED,
    THOROUGH_NAME,
    Method,
    ablations,
    methods,
    offline,
)
from search_queries import DRAWS, MISLEADING, PRICES
from search_runs import Cell, Job
from search_tables import PROFILING, VALIDATION

from cloud_planner.baselines.ours import Ours

#: Those of whom a claim is made: they are run where others are not.
HEADS = (*OURS, FAITHFUL, REINFORCED)
#: About so many runs are one worker's at a time.
CHUNK = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is run.

    Attributes:
        name: Of the plan and its lines.
        seeds: One run each of everything.
        queries: Of each seed, draw and similarity, with the chosen settings.
        curve_queries: Of each seed and draw, with every setting; those of the chosen ones are among them.
        similarities: Apart from 0, warm.
        thin: At most so many settings of a head on a curve; 0: all of every method.
        part: Of the samples.
    """

    name: str
    seeds: tuple[int, ...]
    queries: int
    curve_queries: int
    similarities: tuple[float, ...] = ()
    thin: int = 0
    part: str = PROFILING


QUICK = Plan(name="quick", seeds=(1, 2, 3), queries=60, curve_queries=15, similarities=(0.9,), thin=3)
FULL = Plan(name="full", seeds=tuple(range(1, 11)), queries=300, curve_queries=30, similarities=(0.5, 0.9))
TUNE = Plan(name="tune", seeds=(1, 2), queries=0, curve_queries=30, part=VALIDATION)


def jobs(plan: Plan, tuned: Path | None, words: Sequence[str] = ()) -> list[Job]:
    """All of a plan, the curves first, then seed by seed; ``words``: only methods whose names have one of them."""
    every = methods(tuned)
    named = {method.name: method for method in every}
    without = ablations(_chosen(named[QUICK_NAME]), _chosen(named[THOROUGH_NAME]))
    heads = [named[name] for name in HEADS]
    curves: list[Job] = []
    found: list[Job] = []
    for seed in plan.seeds:
        for draw in DRAWS:
            curve = Cell(seed=seed, draw=draw, similarity=0.0, warm=False, queries=plan.curve_queries, part=plan.part)
            curves += _split(curve, [(one, place) for one in every for place in places(one, plan)], words)
            if not plan.queries:
                continue
            found += _split(curve, _only(without if plan.thin == 0 else without[:-1]), words)
            of = _cells(seed, draw, plan.queries)
            if plan.queries != plan.curve_queries:
                found += _split(of(0.0, False), _only(heads), words)
            pair = [named[name] for name in (QUICK_NAME, REINFORCED)]
            found += _split(of(0.0, True), _only(pair if plan.thin == 0 else heads[:1]), words)
            for similarity in plan.similarities:
                # All are warm where similarity is largest.
                all_of = plan.thin == 0 and similarity == max(plan.similarities)
                found += _split(
                    of(similarity, True), _only([offline(one) for one in (every if all_of else heads)]), words
                )
            if plan.similarities:
                found += _split(of(max(plan.similarities), False), _only(pair if plan.thin == 0 else heads[:1]), words)
        if plan.queries:
            ours = [named[name] for name in OURS]
            # Contents that mislead: cold and warm; prices that change: only what is kept counts.
            for draw, warm in ((MISLEADING, False), (MISLEADING, True), (PRICES, True)):
                cell = Cell(seed=seed, draw=draw, similarity=0.0, warm=warm, queries=plan.queries)
                found += _split(cell, _only(ours[:1] if draw == MISLEADING else ours), words)
    return [*curves, *found]


def _cells(seed: int, draw: str, count: int) -> Callable[[float, bool], Cell]:
    return lambda similarity, warm: Cell(seed=seed, draw=draw, similarity=similarity, warm=warm, queries=count)


def places(method: Method, plan: Plan) -> list[int]:
    """Settings of a curve: all, or of a head some from end to end, and of others the chosen one."""
    count = len(method.settings)
    if plan.thin == 0 or method.name == FAITHFUL:
        return list(range(count))
    if method.name not in HEADS:
        # The whole pool of every configuration is what all are measured by.
        return sorted({method.chosen, count - 1} if method.name == EXHAUSTIVE else {method.chosen})
    if method.name == THOROUGH_NAME:
        return [method.chosen]
    steps = max(1, plan.thin - 1)
    return sorted({method.chosen, *(round(step * (count - 1) / steps) for step in range(steps + 1))})


def _chosen(method: Method) -> Ours:
    chosen = method.settings[method.chosen]
    assert isinstance(chosen, Ours)
    return chosen


def _only(of: Iterable[Method]) -> list[tuple[Method, int]]:
    return [(method, method.chosen) for method in of]


def _split(cell: Cell, runs: Sequence[tuple[Method, int]], words: Sequence[str]) -> Iterator[Job]:
    """Jobs of a cell, so few that its queries are seldom made twice."""
    wanted = [one for one in runs if not words or any(word in one[0].name for word in words)]
    parts = max(1, round(len(wanted) / CHUNK))
    for part in range(parts):
        # Every so-manyth: neighbouring settings take about as long as each other.
        mine = tuple(wanted[part::parts])
        if mine:
            yield Job(cell=cell, runs=mine)
