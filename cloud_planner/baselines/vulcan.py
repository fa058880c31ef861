"""Vulcan-like: Bayesian optimisation of a utility, query by query. PURE.

Y. Zhang et al., Vulcan: Automatic Query Planning for Live ML Analytics, NSDI 2024. A Gaussian process with expected
improvement proposes configurations; one is profiled once, and all of its placements are scored from the times and
sizes that were measured, with no new runs; its utility is that of the best of them. Reinforced: expected improvement of
cost under constraints (J. R. Gardner et al., ICML 2014) for each second of profiling (J. Snoek et al., NIPS 2012), with
our beliefs, test, stopping rule and sharing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import Final

import numpy as np
from scipy.special import ndtr

from cloud_planner.baselines.accuracy_beliefs import (
    believe,
    keep_content,
    other_contents,
)
from cloud_planner.baselines.plan_space import Scored
from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import SLACK, Certifier, bound_of, cheapest, mean_score, sample_count
from cloud_planner.core.accuracy_mixture import Mixture, samples_to_prove, score_variance
from cloud_planner.core.estimate import Array
from cloud_planner.core.knob_model import KnobScales

#: Scales of utility over knobs, in standard deviations of those seen; the likeliest is used.
_SCALES: Final = (
    KnobScales(constant=0.5, main=0.6, pair=0.3, own=0.1),
    KnobScales(constant=0.5, main=1.0, pair=0.6, own=0.2),
    KnobScales(constant=0.5, main=0.6, pair=0.8, own=0.5),
)
_NOISE: Final = 1e-3
_MEMORY: Final = "vulcan reinforced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Utility:
    """How much a plan is worth: performance for each unit of resources, performance against the SLO.

    Performance is 1 where the bounds are just met. It falls by ``penalty`` for each part by which accuracy or latency
    miss them, down to ``worst``, and rises by ``reward`` for each by which they are better; accuracy counts
    ``accuracy_weight_ratio``.
    """

    accuracy_weight_ratio: float = 0.5
    reward: float = 0.05
    penalty: float = 3.0
    worst: float = -1.0

    def performance(self, task: Task, accuracy_ratio: float, scored: Scored) -> Array:
        """(plans,) performance of a configuration's plans; -inf: it can't hold the rate."""
        slo, weight = task.slo, self.accuracy_weight_ratio
        if slo.accuracy_ratio:
            quality = accuracy_ratio / slo.accuracy_ratio - 1.0
            total = weight * quality * (self.reward if quality >= 0.0 else self.penalty)
        else:
            total = 0.0
        holds = np.isfinite(scored.latency_ms)
        result = np.full(len(holds), 1.0 + total)
        if slo.latency_ms is not None:
            quickness = 1.0 - np.where(holds, scored.latency_ms, 0.0) / slo.latency_ms
            result += (1.0 - weight) * quickness * np.where(quickness >= 0.0, self.reward, self.penalty)
        return np.where(holds, np.maximum(result, self.worst), -inf)

    def best(self, performance: Array, cost_per_h: Array, unit_per_h: float) -> float:
        """The utility of the best plan, with resources in units of some cost; they don't excuse a miss."""
        resources = np.maximum(cost_per_h / unit_per_h, 1e-9)
        utility = np.where(performance >= 0.0, performance / resources, performance)
        return float(utility.max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulcan:
    """``starts`` random configurations, then the largest expected improvement of utility, to ``probes`` in all.

    Each on ``samples_ratio`` of the pool. It stops after ``patience`` probes that did not improve. The answer is the
    cheapest profiled configuration that meets the SLO by its mean score, which is what utility stands for here.
    """

    probes: int
    samples_ratio: float
    starts: int = 6
    patience: int = 8
    utility: Utility = Utility()

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "vulcan"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        meter = task.meter
        count = sample_count(meter.pool, self.samples_ratio)
        order = [int(index) for index in task.rng.permutation(meter.count)]
        probed: list[int] = []
        means: list[float] = []
        performances: list[Array] = []
        costs: list[Array] = []
        idle = 0
        while len(probed) < min(self.probes, meter.count) and idle < self.patience:
            if len(probed) < self.starts:
                index = order[len(probed)]
            else:
                index = _most_improving(task, probed, self._utilities(performances, costs))
            means.append(mean_score(task, index, count))
            probed.append(index)
            scored = task.book.space.score([meter.all_figures()[index]])[0]
            performances.append(self.utility.performance(task, means[-1], scored))
            costs.append(scored.cost_per_h)
            improved = int(self._utilities(performances, costs).argmax()) == len(probed) - 1
            idle = 0 if improved or len(probed) <= self.starts else idle + 1
        least = bound_of(task) - SLACK
        return cheapest(task, [index for index, mean in zip(probed, means, strict=True) if mean >= least])

    def _utilities(self, performances: list[Array], costs: list[Array]) -> Array:
        unit = max(min(float(cost.min()) for cost in costs), 1e-12)
        return np.array([self.utility.best(one, cost, unit) for one, cost in zip(performances, costs, strict=True)])


def _most_improving(task: Task, probed: list[int], utilities: Array) -> int:
    """The configuration that is not probed yet with the largest expected improvement; ties by id."""
    finite = np.isfinite(utilities)
    worst = float(utilities[finite].min()) if finite.any() else 0.0
    values = np.where(finite, utilities, worst)
    values = (values - values.mean()) / max(float(values.std()), 1e-9)
    model, measured = task.meter.space.model, np.array(probed, dtype=np.intp)
    prior, noise = np.zeros(model.count), np.full(len(probed), _NOISE)
    fits = [model.belief(prior, scales, measured, values, noise) for scales in _SCALES]
    fit = max(fits, key=lambda one: one.log_likelihood)
    gain = _expected_excess(fit.mean - values.max(), fit.deviation)
    gain[measured] = -1.0
    return int(np.argmax(gain))


def _expected_excess(mean: Array, deviation: Array) -> Array:
    """The expectation of the positive part of a normal variable."""
    z = mean / deviation
    return np.asarray(mean * ndtr(z) + deviation * np.exp(-0.5 * z * z) / sqrt(2.0 * pi))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcedVulcan:
    """Constrained expected improvement in batches of samples, to the end that our test proves a configuration.

    The improvement is what a configuration would save of the cost in hand, times the probabilities that it is accurate
    and quick enough. ``worth_s``: seconds of profiling that the whole cost is worth; it stops when no configuration
    saves more than its proof is likely to take. ``drop_ratio``: below that probability one isn't looked at; while there
    is no answer, below ``last_ratio``.
    """

    worth_s: float = 60.0
    drop_ratio: float = 0.02
    last_ratio: float = 0.0
    level: float = 0.05
    shares: bool = True

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "vulcan reinforced"

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        certifier = Certifier(task, level=self.level, miss_level=self.level / (2.0 * task.meter.count))
        priors = other_contents(task, _MEMORY) if self.shares else []
        while True:
            belief = believe(task, certifier.scores, priors)
            index = self._next(task, certifier, belief)
            if index is None:
                break
            certifier.advance(index, likely=bool(belief.meets_ratio(bound_of(task))[index] >= 0.5))
        if self.shares:
            keep_content(task, _MEMORY, belief.mean)
        return certifier.answer()

    def _next(self, task: Task, certifier: Certifier, belief: Mixture) -> int | None:
        """What to take the next batch of; None: nothing is worth it."""
        cost, possible = task.book.costs()
        finite = np.isfinite(cost)
        chance = belief.meets_ratio(bound_of(task)) * possible
        limit = certifier.limit_per_h(cost, possible)
        least = self.drop_ratio if limit < inf else self.last_ratio
        open_ = np.flatnonzero(finite & certifier.open & (cost < limit * (1.0 - 1e-9)) & (chance >= least))
        if not len(open_):
            return None
        # Without an answer in hand, refusing is taken to cost as much as the dearest and half as much again.
        in_hand = limit if limit < inf else 1.5 * float(cost[finite].max())
        saving = (in_hand - cost[open_]) / in_hand * chance[open_]
        seconds = _samples_to_prove(certifier, belief, open_) * task.meter.sample_s()[open_]
        if limit < inf and not bool(np.any(saving * self.worth_s > seconds)):
            return None
        return int(open_[int(np.argmax(saving / np.maximum(seconds, 1e-9)))])


def _samples_to_prove(certifier: Certifier, belief: Mixture, indices: np.ndarray) -> Array:
    """About how many more samples certify each, if it does meet the bound."""
    variance = np.array([score_variance(certifier.scores[int(index)]) for index in indices])
    wanted = samples_to_prove(
        belief.mean[indices], belief.deviation[indices], variance, bound_of(certifier.task), certifier.needed
    )
    return np.asarray(np.minimum(certifier.task.meter.pool - certifier.counts[indices], wanted))


def settings() -> tuple[Vulcan, ...]:
    """From a few probes of few samples to many of the whole pool."""
    return tuple(
        Vulcan(probes=probes, samples_ratio=ratio, starts=min(6, probes // 2), patience=max(5, probes // 2))
        for probes, ratio in (
            (6, 0.1),
            (10, 0.1),
            (10, 0.25),
            (16, 0.25),
            (16, 0.5),
            (24, 0.5),
            (16, 1.0),
            (24, 1.0),
            (40, 1.0),
        )
    )


def reinforced_settings() -> tuple[ReinforcedVulcan, ...]:
    """From a rough answer to a sure one."""
    return tuple(ReinforcedVulcan(worth_s=worth) for worth in (1.0, 5.0, 20.0, 60.0, 200.0, 1e3, 1e4, 1e6))
