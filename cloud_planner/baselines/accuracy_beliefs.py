"""Beliefs on accuracies for reinforced rivals: our mixture, with what they know as prior means. PURE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cloud_planner.baselines.task import Task
from cloud_planner.baselines.world import Memory
from cloud_planner.core.accuracy_mixture import Mixture, mean_variance, mixture, score_variance
from cloud_planner.core.precision import Array


def believe(task: Task, scores: Sequence[Array], priors: Sequence[Array]) -> Mixture:
    """What is believed after these scores of each configuration, from the pool's first sample on."""
    meter = task.meter
    measured = np.flatnonzero([len(one) for one in scores])
    means = np.array([scores[int(index)].mean() for index in measured])
    noise = np.array([mean_variance(score_variance(one), len(one), meter.pool) for one in scores if len(one)])
    return mixture(meter.space.model, priors, meter.sample_s(), measured, means, noise)


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
