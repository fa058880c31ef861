"""Beliefs on accuracies for reinforced rivals: our Gaussian process over knobs, with what they know as prior. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from scipy.special import ndtr

from cloud_planner.baselines.task import Task
from cloud_planner.baselines.world import Memory
from cloud_planner.core.estimate import Array
from cloud_planner.core.knob_model import beliefs
from cloud_planner.core.search import (
    NEAR_ODDS,
    NEAR_SCALES,
    PRIOR_MEAN,
    PRIOR_SLOPE,
    PRIOR_VARIANCE,
    PRIOR_WEIGHT,
    SCALES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracies:
    """For each configuration: mean and deviation of its accuracy, and the probability that it meets the bound."""

    mean: Array
    deviation: Array
    meets_ratio: Array


def believe(task: Task, scores: Sequence[Array], priors: Sequence[Array], bound_ratio: float) -> Accuracies:
    """The mixture of core/search.py: nothing known at several scales, and each prior mean with what may differ."""
    measured = np.flatnonzero([len(one) for one in scores])
    means = np.array([scores[int(index)].mean() for index in measured])
    noise = np.array([score_variance(scores[int(index)], task.meter.pool) for index in measured])
    effort = np.log(np.maximum(task.meter.sample_s(), 1e-9))
    cold = PRIOR_MEAN + PRIOR_SLOPE * (effort - effort.mean())
    model = task.meter.space.model
    parts = [beliefs(model.covariance(scales), cold[:, None], measured, means, noise)[0] for scales in SCALES]
    weights = [-log(len(parts))] * len(parts)
    if priors:
        parts += beliefs(model.covariance(NEAR_SCALES), np.column_stack(priors), measured, means, noise)
        weights += [log(NEAR_ODDS / len(priors))] * len(priors)
    logs = np.array([weight + part.log_likelihood for weight, part in zip(weights, parts, strict=True)])
    share = np.exp(logs - logs.max())
    share /= share.sum()
    mean = np.array([part.mean for part in parts])
    deviation = np.array([part.deviation for part in parts])
    centre = share @ mean
    return Accuracies(
        mean=centre,
        deviation=np.sqrt(np.maximum(share @ (deviation**2 + mean**2) - centre**2, 1e-12)),
        meets_ratio=np.asarray(share @ ndtr((mean - bound_ratio) / deviation)),
    )


def spread_of(scores: Array) -> float:
    """The variance of single scores, with a little of what is usual."""
    around = float(np.sum((scores - scores.mean()) ** 2)) if len(scores) else 0.0
    return (PRIOR_WEIGHT * PRIOR_VARIANCE + around) / (PRIOR_WEIGHT + max(0, len(scores) - 1))


def score_variance(scores: Array, pool: int) -> float:
    """The variance of a mean of the first samples of a pool, around the whole pool's."""
    return spread_of(scores) / len(scores) * (1.0 - len(scores) / pool) + 1e-8


def contents_of(task: Task, key: str) -> list[tuple[Memory, Array]]:
    """What this planner keeps of contents of the pipeline: each one's memory, and what it last believed of it."""
    kept = task.memory.setdefault(key, [])
    assert isinstance(kept, list)
    return kept


def other_contents(task: Task, key: str) -> list[Array]:
    """Accuracies that this planner believed of other contents."""
    return [mean for memory, mean in contents_of(task, key) if memory is not task.meter.memory]


def keep_content(task: Task, key: str, mean: Array) -> None:
    """Keeps what is believed of this content, in place of what was."""
    kept = contents_of(task, key)
    kept[:] = [one for one in kept if one[0] is not task.meter.memory]
    kept.append((task.meter.memory, mean))
