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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenChoice:
    """A profile as prior of our beliefs; then the cheapest that is believed to be accurate enough, until one is proven.

    ``depth`` and ``samples_ratio``: of the profile (see operator_profile.py); where other contents are known, there is
    none. ``level``: the probability that the answer misses its bound. ``miss_level``: the evidence at which a
    configuration is given up. ``least_ratio``: the least probability to be accurate enough of what is tried once
    nothing likelier is left. ``beam``: how many of the cheapest are looked at, of which the likeliest is tried; None:
    only the cheapest. ``name``: what it is called in tables, and keeps contents under.
    """

    name: str
    samples_ratio: float = 0.05
    depth: int = 0
    beam: int | None = None
    level: float = 0.05
    miss_level: float = 0.02
    least_ratio: float = 0.02

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        certifier = Certifier(task, level=self.level, miss_level=self.miss_level)
        priors = other_contents(task, self.name)
        # Where accuracies are known of other contents, single operators on the least samples tell this one's times.
        plan = plan_profile(variants_of(task), 0 if priors else self.depth)
        count = certifier.least_batch if priors else sample_count(task.meter.pool, self.samples_ratio)
        for index in plan.needed:
            certifier.measure(index, count)
        if not priors:
            priors = [plan.estimate(np.array([one.mean() if len(one) else 0.0 for one in certifier.scores]))]
        while True:
            belief = believe(task, certifier.scores, priors)
            cost, possible = task.book.costs()
            limit = certifier.limit_per_h(cost, possible)
            chance = belief.meets_ratio(bound_of(task)) * possible
            left = np.flatnonzero(certifier.open & (cost < limit) & (chance >= self.least_ratio))
            likely = left[chance[left] >= 0.5]
            if not len(left) or (not len(likely) and np.isfinite(limit)):
                break
            if len(likely):
                near = likely[np.argsort(cost[likely], kind="stable")][: self.beam or 1]
                # Of a beam whose costs are alike, the likeliest: to fail costs a proof.
                near = near[cost[near] <= cost[near[0]] * 1.02]
                certifier.decide(int(near[np.argmax(chance[near])]))
            else:
                certifier.decide(int(left[np.argmax(chance[left])]))
        keep_content(task, self.name, belief.mean)
        return certifier.answer()
