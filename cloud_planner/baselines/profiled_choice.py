"""Profiles for JellyBean and IPA: measured for a query or kept for all, and the choice that our test proves. PURE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_planner.baselines.accuracy_beliefs import believe, keep_content, other_contents
from cloud_planner.baselines.operator_profile import Variants, plan_profile
from cloud_planner.baselines.plan_space import Figures
from cloud_planner.baselines.task import Found, Task
from cloud_planner.baselines.verdict import Certifier, bound_of, mean_score, sample_count
from cloud_planner.core.estimate import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Of each configuration: the accuracy, estimated or measured, and times and sizes on the measured class."""

    accuracies: Array
    figures: tuple[Figures, ...]


def variants_of(task: Task) -> Variants:
    """The variants of the task's pipeline."""
    table = task.meter.table
    return Variants(table.shape.operators, table.configurations)


def profile(task: Task, depth: int, samples_ratio: float, kept_as: str | None) -> Profile:
    """Accuracies and times of all configurations; where one was measured, as measured.

    ``kept_as``: the name under which the task's memory keeps the profile for all later queries of the pipeline,
    whatever their content; None: it is measured for each query.
    """
    kept = task.memory.get(kept_as) if kept_as is not None else None
    if isinstance(kept, Profile):
        return kept
    plan = plan_profile(variants_of(task), depth)
    count = sample_count(task.meter.pool, samples_ratio)
    accuracies = np.zeros(task.meter.count)
    for index in plan.needed:
        accuracies[index] = mean_score(task, index, count)
    estimated = plan.estimate(accuracies)
    estimated[plan.needed] = accuracies[plan.needed]
    made = Profile(accuracies=estimated, figures=tuple(task.meter.all_figures()))
    if kept_as is not None:
        task.memory[kept_as] = made
    return made


def proven_choice(
    task: Task,
    *,
    depth: int,
    samples_ratio: float,
    level: float,
    miss_level: float,
    least_ratio: float,
    key: str,
    beam: int | None,
) -> Found:
    """A profile as prior of our beliefs; then the cheapest that is believed to be accurate enough, until one is proven.

    Args:
        task: The query.
        depth: Of the profile; see operator_profile.py.
        samples_ratio: Of the profile; where other contents are known, there is none.
        level: The probability that the answer misses its bound.
        miss_level: The evidence at which a configuration is given up.
        least_ratio: The least probability to be accurate enough of what is tried once nothing likelier is left.
        key: The name under which contents are kept.
        beam: How many of the cheapest are looked at, of which the likeliest is tried; None: only the cheapest.
    """
    certifier = Certifier(task, level=level, miss_level=miss_level)
    priors = other_contents(task, key)
    # Where accuracies are known of other contents, single operators on the least samples tell this one's times.
    plan = plan_profile(variants_of(task), 0 if priors else depth)
    count = certifier.least_batch if priors else sample_count(task.meter.pool, samples_ratio)
    for index in plan.needed:
        certifier.measure(index, count)
    if not priors:
        priors = [plan.estimate(np.array([one.mean() if len(one) else 0.0 for one in certifier.scores]))]
    while True:
        belief = believe(task, certifier.scores, priors)
        cost, possible = task.book.costs()
        limit = certifier.limit_per_h(cost, possible)
        chance = belief.meets_ratio(bound_of(task)) * possible
        left = np.flatnonzero(certifier.open & (cost < limit) & (chance >= least_ratio))
        likely = left[chance[left] >= 0.5]
        if not len(left) or (not len(likely) and np.isfinite(limit)):
            break
        if len(likely):
            near = likely[np.argsort(cost[likely], kind="stable")][: beam or 1]
            # Of a beam whose costs are alike, the likeliest: to fail costs a proof.
            near = near[cost[near] <= cost[near[0]] * 1.02]
            certifier.decide(int(near[np.argmax(chance[near])]))
        else:
            certifier.decide(int(left[np.argmax(chance[left])]))
    keep_content(task, key, belief.mean)
    return certifier.answer()
