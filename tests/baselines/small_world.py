"""A small pipeline whose accuracies are products of its operators', so that everybody can find the best plan."""

from __future__ import annotations

from itertools import product

import numpy as np

from circinus.model.query import Slo
from cloud_planner.baselines.plan_space import PlanSpace, Shape, TierClass
from cloud_planner.baselines.task import Task
from cloud_planner.baselines.world import KnobSpace, MeasuredTable, Meter, PlanBook

SIZES, MODELS, MODES = (1, 2, 3), ("small", "medium", "large"), (1, 2)
#: By operator, for each of its values: how good it is, and how long it takes.
QUALITY = ((0.80, 0.92, 1.0), (0.75, 0.90, 0.99), (0.93, 1.0))
TIME_MS = ((1.0, 2.0, 4.0), (8.0, 20.0, 50.0), (2.0, 5.0))
SHAPE = Shape(
    operators=("resize", "detect", "track"),
    inputs=((-1,), (0,), (1,)),
    stateful=(False, False, False),
    outputs=(2,),
)
# The first tier is cheap and near: the best plans stay there.
TIERS = (
    TierClass(name="device", speed_ratio=1.0, price_per_core_h=0.05, cores=8.0),
    TierClass(
        name="cloud",
        speed_ratio=2.0,
        price_per_core_h=0.40,
        cores=32.0,
        rtt_ms=30.0,
        bandwidth_bit_per_s=1e8,
        price_per_gb=0.1,
    ),
)
CHOICES = tuple(product(range(3), range(3), range(2)))
CONFIGURATIONS = tuple(
    {"resize.size": SIZES[a], "detect.model": MODELS[b], "track.mode": MODES[c]} for a, b, c in CHOICES
)


def table(seed=0, pool=60, noise=0.02, shuffled=False):
    """Scores vary about the product of qualities and have it as their mean; ``shuffled``: accuracies at random."""
    rng = np.random.default_rng(seed)
    accuracy = np.array([QUALITY[0][a] * QUALITY[1][b] * QUALITY[2][c] for a, b, c in CHOICES])
    if shuffled:
        accuracy = rng.uniform(0.3, 0.9, len(CHOICES))
    off = rng.uniform(-noise, noise, (pool, len(CHOICES)))
    scores = np.clip(accuracy + off - off.mean(axis=0), 0.0, 1.0)
    prefixes = (
        np.array([a for a, _, _ in CHOICES]),
        np.array([3 * a + b for a, b, _ in CHOICES]),
        np.arange(len(CHOICES)),
    )
    times, works = [], []
    for at, own in enumerate(prefixes):
        first = [int(np.argmax(own == place)) for place in range(int(own.max()) + 1)]
        base = np.array([TIME_MS[at][CHOICES[one][at]] for one in first])
        times.append(base * rng.uniform(0.97, 1.03, (pool, len(first))))
        works.append(np.tile(np.arange(len(first)), (pool, 1)))
    return MeasuredTable(
        name="small",
        shape=SHAPE,
        configurations=CONFIGURATIONS,
        scores=scores,
        prefixes=prefixes,
        time_ms=tuple(times),
        output_bytes=tuple(np.full(one.shape, 2e4) for one in times),
        work=tuple(works),
        source_bytes=np.full(pool, 1e5),
        items=1,
    )


def task(
    measured=None, *, accuracy=0.8, latency_ms=500.0, cost_per_h=None, seed=0, memory=None, kept=None, tiers=TIERS
):
    """A query on a content; ``memory`` is of what was measured, ``kept`` is what planners keep."""
    measured = measured if measured is not None else table()
    slo = Slo(accuracy_ratio=accuracy, latency_ms=latency_ms, cost_per_h=cost_per_h)
    meter = Meter(measured, KnobSpace(measured), memory)
    space = PlanSpace(measured.shape, tiers, 10.0, slo.percentile_ratio)
    return Task(
        meter=meter,
        book=PlanBook(space, slo, meter),
        rng=np.random.default_rng(seed),
        memory={} if kept is None else kept,
    )
