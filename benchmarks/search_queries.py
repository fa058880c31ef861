"""Queries for comparing searches: contents drawn from the measured tables, devices, rates, SLOs, and the truth of each.

A content is a pool of one pipeline's samples, mixed at random from the contents that were measured. The rest of what a
search could know is drawn anew for each query: device class and uplink, rate, SLO. All is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, floor, inf, log
from typing import TYPE_CHECKING

import numpy as np
from search_tables import NAMES, PROFILING, TEST, load, split

from circinus.model.query import Slo
from cloud_planner.baselines.plan_space import CAP_RATIO, Figures, PlanSpace, Scored, Shape, TierClass
from cloud_planner.baselines.world import KnobSpace, MeasuredTable, true_figures

if TYPE_CHECKING:
    from numpy.typing import NDArray

MULTIPLE, WITNESS, INDEPENDENT = "multiple", "witness", "independent"
DRAWS = (MULTIPLE, WITNESS, INDEPENDENT)
#: Apart from the three draws: pairs of queries of which the second only has other prices, and rows that mislead.
PRICES, MISLEADING = "prices", "misleading"
_DRAW_NUMBERS = {draw: number for number, draw in enumerate((*DRAWS, PRICES, MISLEADING))}

#: How unequal a content's mixture of measured contents is, and how much of all samples is in its pool.
MIXTURE = 0.6
POOL_RATIOS = (0.35, 0.70)
LARGEST_POOL = 200
SPEEDS = (1.0, 0.5, 0.25, 0.125)
RTT_MS = (20.0, 40.0, 60.0)
BANDWIDTH_BIT_PER_S = (5e6, 20e6, 100e6)
PRICE_PER_GB = 0.10
CLOUD_PER_CORE_H = 0.25
#: Cores that the median configuration keeps busy on the class that was measured.
LOAD_CORES = (0.3, 4.0)
#: A bound is met within so much of a sum.
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A pipeline's whole table, the number of each row's content, the rows of each part, and its knobs."""

    table: MeasuredTable
    contents: NDArray[np.intp]
    parts: dict[str, NDArray[np.intp]]
    space: KnobSpace


@cache
def world(pipeline: str) -> World:
    """What was measured of a pipeline."""
    table, contents = load(pipeline)
    return World(table=table, contents=contents, parts=split(contents), space=KnobSpace(table))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A pool to profile on, and what configurations score on what comes after.

    ``rows``: (pool,) rows of the pipeline's table, in the pool's order. ``test``: (configurations,) mean scores on
    test samples of the same mixture, which no search sees. ``figures``: each one's true times and sizes.
    """

    number: int
    pipeline: str
    rows: NDArray[np.intp]
    table: MeasuredTable
    test: NDArray[np.float64]
    figures: tuple[Figures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A class of source devices with its uplink, and the cloud behind it; ``tiers`` from the source on."""

    tiers: tuple[TierClass, ...]

    def priced(self, ratios: Sequence[float]) -> Device:
        """The same at other prices: a ratio for each tier's cores, and the last for what the uplink takes."""
        tiers = [
            replace(tier, price_per_core_h=tier.price_per_core_h * ratio, price_per_gb=tier.price_per_gb * ratios[-1])
            for tier, ratio in zip(self.tiers, ratios, strict=False)
        ]
        return Device(tiers=tuple(tiers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Each configuration's accuracy over the pool and its plans by true times, and the least cost that meets all.

    ``cost_per_h`` inf: no plan of any configuration meets the SLO.
    """

    accuracy: NDArray[np.float64]
    scored: tuple[Scored, ...]
    cost_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query. ``repeats``: its pipeline, content and class were those of an earlier one."""

    number: int
    content: Content
    device: Device
    repeats: bool
    space: PlanSpace
    slo: Slo
    truth: Truth


def queries(seed: int, draw: str, similarity: float, count: int, part: str = PROFILING) -> Iterator[Asked]:
    """Queries of one run, each with the number of its place in it."""
    known: list[tuple[Content, Device]] = []
    before: Asked | None = None
    for number in range(count):
        key = [seed, _DRAW_NUMBERS[draw], round(1000 * similarity), number, int(part != PROFILING)]
        rng = np.random.default_rng(key)
        if draw == PRICES and before is not None and number % 2:
            before = repriced(rng, before)
            yield before
            continue
        repeats = bool(known) and rng.random() < similarity
        if repeats:
            content, device = known[int(rng.integers(len(known)))]
        else:
            pipeline = NAMES[int(rng.integers(len(NAMES)))]
            content = draw_content(rng, pipeline, number, part, misleading=draw == MISLEADING)
            device = draw_device(rng)
            known.append((content, device))
        before = draw_query(rng, draw, number, content, device, repeats=repeats)
        yield before


# Contents


def draw_content(
    rng: np.random.Generator, pipeline: str, number: int, part: str = PROFILING, *, misleading: bool = False
) -> Content:
    """A pool of one part of a pipeline's samples, without replacement, with a random mixture of measured contents.

    Samples are drawn one by one with their content's weight, so that a content that runs out gives way to the others;
    the test content has the mixture that came out. ``misleading``: each content has its configurations' scores in an
    order of its own, so that what is known of one says nothing, or the wrong thing, of the next.
    """
    there = world(pipeline)
    rows = there.parts[part]
    kinds = int(there.contents.max()) + 1
    weights = rng.dirichlet(np.full(kinds, MIXTURE)) + 1e-3
    # The smallest of exponentials with these rates are a weighted draw without replacement (Efraimidis and Spirakis).
    keys = rng.exponential(size=len(rows)) / weights[there.contents[rows]]
    size = min(LARGEST_POOL, floor(len(rows) * rng.uniform(*POOL_RATIOS)))
    pool = rng.permutation(rows[np.argsort(keys, kind="stable")[:size]])
    share = np.bincount(there.contents[pool], minlength=kinds) / size
    table = there.table.rows(pool)
    test = np.zeros(table.scores.shape[1])
    for kind in np.flatnonzero(share):
        held_back = there.parts[TEST][there.contents[there.parts[TEST]] == kind]
        test += share[kind] * there.table.scores[held_back].mean(axis=0)
    if misleading:
        order = rng.permutation(table.scores.shape[1])
        table, test = replace(table, scores=table.scores[:, order]), test[order]
    figures = tuple(true_figures(table, index) for index in range(len(table.configurations)))
    return Content(number=number, pipeline=pipeline, rows=pool, table=table, test=test, figures=figures)


# Devices and rates


def draw_device(rng: np.random.Generator) -> Device:
    """A box of one of four speeds, the dearer the quicker, an uplink, and a cloud."""
    speed = float(rng.choice(SPEEDS))
    box = TierClass(name="box", speed_ratio=speed, price_per_core_h=0.10 * speed**0.7, cores=4.0)
    cloud = TierClass(
        name="cloud",
        speed_ratio=1.0,
        price_per_core_h=CLOUD_PER_CORE_H,
        cores=32.0,
        rtt_ms=float(rng.choice(RTT_MS)),
        bandwidth_bit_per_s=float(rng.choice(BANDWIDTH_BIT_PER_S)),
        price_per_gb=PRICE_PER_GB,
    )
    return Device(tiers=(box, cloud))


def draw_rate(rng: np.random.Generator, shape: Shape, figures: Sequence[Figures]) -> float:
    """Items a second that keep ``LOAD_CORES`` of the median configuration busy; with state, what one replica holds."""
    means = np.array([one.mean_ms for one in figures])
    low, high = (cores / (float(np.median(means.sum(axis=1))) / 1e3) for cores in LOAD_CORES)
    stateful = np.flatnonzero(shape.stateful)
    if len(stateful):
        held = CAP_RATIO / (float(np.median(means[:, stateful].max(axis=1))) / 1e3)
        low, high = min(low, held * low / high), min(high, held)
    return exp(rng.uniform(log(low), log(high)))


def draw_query(
    rng: np.random.Generator, draw: str, number: int, content: Content, device: Device, *, repeats: bool
) -> Asked:
    """A query on a content from a device: a rate, and an SLO of one draw."""
    table = content.table
    figures = content.figures
    rate = draw_rate(rng, table.shape, figures)
    while True:
        space = PlanSpace(table.shape, device.tiers, rate, 0.95)
        scored = tuple(space.score(figures))
        if any(np.isfinite(one.latency_ms).any() for one in scored):
            break
        rate /= 2.0
    accuracy = table.scores.mean(axis=0)
    slo = _SLOS[draw](rng, accuracy, scored)
    truth = Truth(accuracy=accuracy, scored=scored, cost_per_h=least_cost(accuracy, scored, slo))
    return Asked(number=number, content=content, device=device, repeats=repeats, space=space, slo=slo, truth=truth)


def repriced(rng: np.random.Generator, before: Asked) -> Asked:
    """The same query after prices changed; its bound on cost leaves as much room as any."""
    ratios = np.exp(rng.uniform(-log(2.0), log(2.0), len(before.device.tiers) + 1))
    device = before.device.priced(ratios.tolist())
    space = PlanSpace(before.content.table.shape, device.tiers, before.space.rate_per_s, 0.95)
    scored = tuple(space.score(before.content.figures))
    accuracy = before.truth.accuracy
    slo = _with_cost(rng, replace(before.slo, cost_per_h=None), accuracy, scored)
    truth = Truth(accuracy=accuracy, scored=scored, cost_per_h=least_cost(accuracy, scored, slo))
    return Asked(
        number=before.number + 1,
        content=before.content,
        device=device,
        repeats=True,
        space=space,
        slo=slo,
        truth=truth,
    )


# SLOs


def least_cost(accuracy: NDArray[np.float64], scored: Sequence[Scored], slo: Slo) -> float:
    """The cost of the cheapest plan that truly meets the SLO; inf: there is none."""
    costs = [inf]
    for index in np.flatnonzero(accuracy >= (slo.accuracy_ratio or 0.0) - SLACK).tolist():
        plan = scored[index].best(slo)
        if plan is not None:
            costs.append(float(scored[index].cost_per_h[plan]))
    return min(costs)


def _with_cost(rng: np.random.Generator, slo: Slo, accuracy: NDArray[np.float64], scored: Sequence[Scored]) -> Slo:
    """A bound on cost as well, 1.1 to 4 times the least; where nothing meets the others there is none."""
    least = least_cost(accuracy, scored, slo)
    ratio = float(rng.choice((1.1, 1.5, 2.0, 4.0)))
    return replace(slo, cost_per_h=least * ratio) if least < inf else slo


def multiple_slo(rng: np.random.Generator, accuracy: NDArray[np.float64], scored: Sequence[Scored]) -> Slo:
    """Multiples of the mean base latency and of the least cost; a quantile of accuracy."""
    bases = [one.latency_ms.min() for one in scored if np.isfinite(one.latency_ms).any()]
    slo = Slo(
        accuracy_ratio=float(np.quantile(accuracy, rng.choice((0.25, 0.5, 0.75, 0.9)))),
        latency_ms=float(np.mean(bases)) * float(rng.choice((2.0, 3.0, 5.0, 8.0))),
    )
    return _with_cost(rng, slo, accuracy, scored)


def witness_slo(rng: np.random.Generator, accuracy: NDArray[np.float64], scored: Sequence[Scored]) -> Slo:
    """A plan that no other is better than in cost, latency and accuracy, relaxed."""
    rows = [
        (float(one.cost_per_h[plan]), float(one.latency_ms[plan]), float(accuracy[index]))
        for index, one in enumerate(scored)
        for plan in _front(one)
    ]
    points = np.array(rows)
    better = (
        (points[:, None, 0] <= points[None, :, 0])
        & (points[:, None, 1] <= points[None, :, 1])
        & (points[:, None, 2] >= points[None, :, 2])
    )
    beaten = (better & ~better.T).any(axis=0)
    cost, latency, accurate = points[int(rng.choice(np.flatnonzero(~beaten)))]
    room = 1.0 + exp(rng.uniform(log(0.05), 0.0))
    return Slo(
        accuracy_ratio=max(0.0, float(accurate) - float(rng.uniform(0.0, 0.05))),
        latency_ms=float(latency) * room,
        cost_per_h=float(cost) * room,
    )


def independent_slo(rng: np.random.Generator, accuracy: NDArray[np.float64], scored: Sequence[Scored]) -> Slo:
    """Each bound for itself, uniform between the tenth and the ninetieth percentile of all plans."""
    cost = np.concatenate([one.cost_per_h[np.isfinite(one.latency_ms)] for one in scored])
    latency = np.concatenate([one.latency_ms[np.isfinite(one.latency_ms)] for one in scored])
    plans = np.array([int(np.isfinite(one.latency_ms).sum()) for one in scored])
    of_all = (np.repeat(accuracy, plans), latency, cost)
    bounds = [float(rng.uniform(*np.quantile(values, (0.1, 0.9)))) for values in of_all]
    return Slo(accuracy_ratio=bounds[0], latency_ms=bounds[1], cost_per_h=bounds[2])


def _front(scored: Scored) -> list[int]:
    """Plans of one configuration that none is both cheaper and quicker than."""
    found, quickest = [], inf
    for plan in np.lexsort((scored.latency_ms, scored.cost_per_h)):
        if scored.latency_ms[plan] < quickest:
            quickest = float(scored.latency_ms[plan])
            found.append(int(plan))
    return found


_SLOS = {
    MULTIPLE: multiple_slo,
    WITNESS: witness_slo,
    INDEPENDENT: independent_slo,
    PRICES: multiple_slo,
    MISLEADING: multiple_slo,
}
