"""How often a certified answer misses its bound, over simulated searches whose truth is known."""

from __future__ import annotations

import json
import multiprocessing
from functools import lru_cache, partial
from itertools import product
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from cloud_planner.core.knob_model import KnobModel
from cloud_planner.core.search import CandidateSearch
from cloud_planner.core.search_terms import (
    QUICK,
    THOROUGH,
    Phase,
    Prospects,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Values of the knobs of pipelines with 27 to 240 configurations.
GRIDS = ((3, 3, 3), (4, 4, 3), (6, 3, 2, 2), (5, 4, 3, 2), (6, 5, 4), (6, 5, 4, 2))
POOLS = (150, 500)
LEVEL = 0.05
#: How far accuracies lie from the bound: as far as knobs take them, or all within a few points of it.
WIDE, NEAR = "wide", "near"


@lru_cache(maxsize=8)
def _model(grid: tuple[int, ...]) -> KnobModel:
    values = product(*(range(size) for size in grid))
    return KnobModel([{f"knob{at}": value for at, value in enumerate(one)} for one in values])


def _accuracies(rng: np.random.Generator, grid: tuple[int, ...], spread: str) -> NDArray[np.float64]:
    """Accuracies that rise with most knobs, with effects of pairs and of each configuration."""
    places = np.array(list(product(*(np.linspace(0.0, 1.0, size) for size in grid))))
    effects = rng.uniform(-0.1, 0.5, len(grid))
    logit = (places ** rng.uniform(0.3, 2.0, len(grid))) @ effects * 3.0
    logit += 2.0 * rng.normal(0.0, 0.3) * places[:, 0] * places[:, -1] + rng.normal(0.0, 0.15, len(places))
    accuracy = 1.0 / (1.0 + np.exp(-(logit - logit.mean() + rng.uniform(-0.5, 2.0))))
    if spread == NEAR:
        accuracy = np.clip(accuracy.mean(), 0.2, 0.9) + 0.06 * (accuracy - accuracy.mean())
    return np.asarray(accuracy)


def _scores(rng: np.random.Generator, accuracy: NDArray[np.float64], pool: int, *, binary: bool) -> NDArray[np.float64]:
    """(pool, configurations): harder and easier samples, the same for all, and each one's own luck."""
    hard = rng.normal(0.0, 0.8, (pool, 1))
    logit = np.log(accuracy / (1.0 - accuracy)) + hard
    chance = 1.0 / (1.0 + np.exp(-logit))
    if binary:
        return np.asarray((rng.random(chance.shape) < chance).astype(float))
    return np.clip(chance + rng.normal(0.0, 0.12, chance.shape), 0.0, 1.0)


def simulate(seed: int, spread: str, mode: str) -> tuple[bool, bool, int]:
    """One search: whether it answered, whether the answer misses the bound, and how many scores it took."""
    rng = np.random.default_rng([seed, (WIDE, NEAR).index(spread)])
    grid = GRIDS[int(rng.integers(len(GRIDS)))]
    pool = int(rng.integers(POOLS[0], POOLS[1] + 1))
    accuracy = _accuracies(rng, grid, spread)
    scores = _scores(rng, accuracy, pool, binary=bool(rng.random() < 0.5))
    truth = scores.mean(axis=0)
    # Between two accuracies, or just above one: where it is hardest to tell.
    bound = float(np.quantile(truth, rng.uniform(0.2, 0.9)))
    if rng.random() < 0.5:
        bound += 0.5 / pool
    seconds = np.exp(rng.normal(0.0, 0.5, len(truth)) + 2.0 * (accuracy - accuracy.mean()))
    prospects = Prospects(
        cost_per_h=seconds * rng.uniform(0.8, 1.25, len(truth)), possible_ratio=np.ones(len(truth)), sample_s=seconds
    )
    policy = THOROUGH if mode == "thorough" else QUICK
    search = CandidateSearch(_model(grid), pool=pool, bound_ratio=bound, policy=policy)
    taken = 0
    while (asked := search.ask(prospects)) is not None:
        search.tell(asked.configuration, scores[asked.first : asked.first + asked.count, asked.configuration])
        taken += asked.count
    answer = search.answer(prospects)
    certified = answer.phase is Phase.CERTIFIED and answer.configuration is not None
    missed = certified and bool(truth[answer.configuration] < bound - 1e-9)
    return certified, missed, taken


def interval(violations: int, searches: int) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval."""
    low = float(beta.ppf(0.025, violations, searches - violations + 1)) if violations else 0.0
    high = float(beta.ppf(0.975, violations + 1, searches - violations)) if violations < searches else 1.0
    return low, high


def validity(searches: int, workers: int, into: Path) -> int:
    """Simulates, prints and keeps the share of violations; 1 if an interval lies above the level."""
    found, worst = {}, 0.0
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for mode, spread in (("quick", WIDE), ("quick", NEAR), ("thorough", WIDE), ("thorough", NEAR)):
            count = searches // 4
            results = pool.map(partial(simulate, spread=spread, mode=mode), range(count), chunksize=10)
            answered = sum(certified for certified, _, _ in results)
            violations = sum(missed for _, missed, _ in results)
            low, high = interval(violations, count)
            worst = max(worst, low)
            found[f"{mode}, {spread}"] = {
                "searches": count,
                "answered": answered,
                "violations": violations,
                "violations_ratio": violations / count,
                "low": round(low, 5),
                "high": round(high, 5),
                "mean_scores": round(sum(taken for _, _, taken in results) / count, 1),
            }
            print(
                f"{mode:9s} {spread:5s} {violations:4d} of {count} searches violate: {violations / count:.2%} "
                f"(95% interval {low:.2%} to {high:.2%}), {answered} answered, against {LEVEL:.0%}",
                flush=True,
            )
    total = sum(int(one["violations"]) for one in found.values())
    of = sum(int(one["searches"]) for one in found.values())
    low, high = interval(total, of)
    kept = high <= LEVEL
    print(f"all {of}: {total / of:.2%} ({low:.2%} to {high:.2%}): {'kept' if kept else 'MISSED'}")
    document = {"level": LEVEL, "all": {"searches": of, "violations": total, "low": low, "high": high}, "cells": found}
    (into / "validity.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if worst <= LEVEL < inf else 1
