"""The stream of queries of the goodput benchmark: content, source, rate and SLO of each, and the truth it is judged by.

A content is a pool of one pipeline's profiling samples, as in the search benchmark. What is true of it is what its
configurations score and take on samples of the same mixture that no search ever runs: the validation and test parts,
two fifths of all. SLOs are drawn from that truth, so a query can be feasible, and the bound on goodput is one for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING

import numpy as np
from search_queries import (
    DRAWS,
    INDEPENDENT,
    MULTIPLE,
    SLACK,
    WITNESS,
    Content,
    draw_content,
    draw_rate,
    independent_slo,
    multiple_slo,
    witness_slo,
    world,
)
from search_tables import NAMES, TEST, VALIDATION

from circinus.model.query import Slo
from cloud_planner.baselines.knowledge import takes
from cloud_planner.baselines.plan_space import Figures, PlanSpace, Scored

if TYPE_CHECKING:
    from goodput_fleet import Fleet
    from numpy.typing import NDArray

PERCENTILE_RATIO = 0.95
_SLOS = {MULTIPLE: multiple_slo, WITNESS: witness_slo, INDEPENDENT: independent_slo}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is true of a content: on samples that no search runs, with the pool's mixture.

    ``accuracy`` and ``error`` (configurations,): the mean score, and its standard error for so few samples.
    """

    accuracy: NDArray[np.float64]
    error: NDArray[np.float64]
    figures: tuple[Figures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One query. ``path``: the machines of its tiers, its source first. ``work``: of its cheapest plan.

    Work is cores counted by their speed, as capacity is; 0 where no plan meets the SLO even alone.
    """

    number: int
    content: Content
    path: tuple[str, ...]
    space: PlanSpace
    slo: Slo
    held: Held
    scored: tuple[Scored, ...]
    work: float

    @property
    def pool_accuracy(self) -> NDArray[np.float64]:
        """(configurations,) the mean over the pool: what our test promises of."""
        return np.asarray(self.content.table.scores.mean(axis=0))


def requests(seed: int, draw: str, fleet: Fleet, count: int) -> list[Request]:
    """So many queries in order of arrival; the first few are the same however many there are."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, DRAWS.index(draw), number, 77])
        pipeline = NAMES[int(rng.integers(len(NAMES)))]
        content = draw_content(rng, pipeline, number)
        path = fleet.paths[int(rng.integers(len(fleet.paths)))]
        made.append(_request(rng, draw, number, content, fleet, path))
    return made


def _request(
    rng: np.random.Generator, draw: str, number: int, content: Content, fleet: Fleet, path: tuple[str, ...]
) -> Request:
    held = held_out(content)
    shape, tiers = content.table.shape, fleet.tiers(path)
    rate = draw_rate(rng, shape, held.figures)
    while True:
        space = PlanSpace(shape, tiers, rate, PERCENTILE_RATIO)
        scored = tuple(space.score(held.figures))
        if any(np.isfinite(one.latency_ms).any() for one in scored):
            break
        rate /= 2.0
    slo = _SLOS[draw](rng, held.accuracy, scored)
    return Request(
        number=number,
        content=content,
        path=path,
        space=space,
        slo=slo,
        held=held,
        scored=scored,
        work=least_work(space, held, scored, slo),
    )


def held_out(content: Content) -> Held:
    """Scores, times and sizes on the samples of the other parts, each measured content weighted as in the pool."""
    there = world(content.pipeline)
    table = there.table
    kinds = int(there.contents.max()) + 1
    share = np.bincount(there.contents[content.rows], minlength=kinds) / len(content.rows)
    rows = np.sort(np.concatenate([there.parts[VALIDATION], there.parts[TEST]]))
    of = there.contents[rows]
    weight = share[of] / np.bincount(of, minlength=kinds)[of]
    scores = table.scores[rows]
    accuracy = weight @ scores
    spread = np.maximum(weight @ scores**2 - accuracy**2, 0.0)
    mean, variance, size = [], [], []
    for times, sizes, prefixes in zip(table.time_ms, table.output_bytes, table.prefixes, strict=True):
        one = weight @ times[rows]
        mean.append(one[prefixes])
        variance.append(np.maximum(weight @ times[rows] ** 2 - one**2, 0.0)[prefixes])
        size.append((weight @ sizes[rows])[prefixes])
    figures = tuple(
        Figures(
            mean_ms=np.array([one[index] for one in mean]),
            variance_ms2=np.array([one[index] for one in variance]),
            output_bytes=np.array([one[index] for one in size]),
            source_bytes=float(weight @ table.source_bytes[rows]),
        )
        for index in range(len(table.configurations))
    )
    return Held(accuracy=accuracy, error=np.sqrt(spread * float(weight @ weight)), figures=figures)


def least_work(space: PlanSpace, held: Held, scored: Sequence[Scored], slo: Slo) -> float:
    """The work of the cheapest plan that truly meets the SLO on an empty fleet; 0: there is none."""
    best, work = inf, 0.0
    speed = np.array([tier.speed_ratio for tier in space.tiers])
    for index in np.flatnonzero(held.accuracy >= (slo.accuracy_ratio or 0.0) - SLACK).tolist():
        plan = scored[index].best(slo)
        if plan is not None and scored[index].cost_per_h[plan] < best:
            best = float(scored[index].cost_per_h[plan])
            work = float(takes(space, held.figures[index]).cores[plan] @ speed)
    return work if isfinite(best) else 0.0


def count_at(works: Sequence[float], capacity: float, load: float) -> int:
    """How many queries, in order of arrival, ask for so many times the capacity; all, if they ask for less.

    The one with which the load is passed counts where that is nearer to it than without.
    """
    asked = np.cumsum(np.array([0.0, *works])) / capacity
    return max(1, int(np.argmin(np.abs(asked - load))))
