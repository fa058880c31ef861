"""The measured tables of the examples as arrays, split into samples for tuning, for profiling and for testing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.pipeline import SOURCE, State
from circinus.spec.pipeline import parse_pipeline
from cloud_planner.baselines.plan_space import Shape
from cloud_planner.baselines.world import MeasuredTable
from edge_agent.local.results import Results, read_results

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("documents", "meeting", "traffic")
#: Samples of each content go by their index to one of the three, in turn: a fifth, three fifths, a fifth.
VALIDATION, PROFILING, TEST = "validation", "profiling", "test"
_TURN = (VALIDATION, PROFILING, PROFILING, PROFILING, TEST)


def split(contents: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """The rows of each part, by the number of each row's content; every content has some in every part."""
    parts: dict[str, list[int]] = {VALIDATION: [], PROFILING: [], TEST: []}
    for content in np.unique(contents):
        for place, row in enumerate(np.flatnonzero(contents == content)):
            parts[_TURN[place % len(_TURN)]].append(int(row))
    return {part: np.array(sorted(rows), dtype=np.intp) for part, rows in parts.items()}


@cache
def load(name: str) -> tuple[MeasuredTable, NDArray[np.intp]]:
    """A pipeline's table over all samples, and the number of each sample's content."""
    results = read_results(ROOT / "benchmarks" / "tables" / name / "results.jsonl.gz")
    shape, steps = _shape(name)
    header = results.header
    lines = results.lines
    contents = {content: number for number, content in enumerate(header.contents)}
    figures = {operator: [list(line.figures[operator]) for line in lines] for operator in header.operators}
    clip = next(iter(header.contents.values()))
    prefixes = tuple(np.array(header.prefixes[operator], dtype=np.intp) for operator in header.operators)
    table = MeasuredTable(
        name=name,
        shape=shape,
        configurations=header.configurations,
        scores=np.array([line.scores for line in lines]),
        prefixes=prefixes,
        time_ms=tuple(_array(figures[operator], "wall_ms") for operator in header.operators),
        output_bytes=tuple(_array(figures[operator], "output_bytes") for operator in header.operators),
        work=tuple(_work(results, at, steps) for at in range(len(header.operators))),
        source_bytes=np.array([line.source_bytes for line in lines], dtype=float),
        items=clip.clip + clip.warmup,
    )
    return table, np.array([contents[line.content] for line in lines], dtype=np.intp)


def _shape(name: str) -> tuple[Shape, tuple[tuple[int, ...], ...]]:
    pipeline = parse_pipeline((ROOT / "examples" / name / "pipeline.yaml").read_text(encoding="utf-8"))
    place = {operator.id: at for at, operator in enumerate(pipeline.operators)}
    inputs = tuple(
        tuple(-1 if source == SOURCE else place[source] for source in operator.inputs)
        for operator in pipeline.operators
    )
    stateful = tuple(operator.state is State.PER_SOURCE for operator in pipeline.operators)
    shape = Shape(
        operators=tuple(operator.id for operator in pipeline.operators),
        inputs=inputs,
        stateful=stateful,
        outputs=tuple(place[output] for output in pipeline.outputs),
    )
    return shape, inputs


def _array(figures: Sequence[Sequence[object]], field: str) -> NDArray[np.float64]:
    """(samples, prefixes); where an operator was never reached, its time is 0."""
    return np.array([[0.0 if one is None else float(getattr(one, field)) for one in row] for row in figures])


def _work(results: Results, at: int, inputs: tuple[tuple[int, ...], ...]) -> NDArray[np.intp]:
    """(samples, prefixes): equal numbers of one sample are one piece of work: equal knobs of its own, equal inputs."""
    header = results.header
    operator = header.operators[at]
    prefixes = header.prefixes[operator]
    first = [prefixes.index(place) for place in range(max(prefixes) + 1)]
    own = [
        tuple(value for name, value in header.configurations[one].items() if name.startswith(f"{operator}."))
        for one in first
    ]
    numbers = np.zeros((len(results.lines), len(first)), dtype=np.intp)
    for row, line in enumerate(results.lines):
        seen: dict[object, int] = {}
        for place, one in enumerate(first):
            given = []
            for source in inputs[at]:
                if source < 0:
                    given.append(0)
                    continue
                before = header.operators[source]
                figure = line.figures[before][header.prefixes[before][one]]
                given.append(-1 if figure is None else figure.fingerprint)
            key = (own[place], tuple(given))
            numbers[row, place] = seen.setdefault(key, len(seen))
    return numbers
