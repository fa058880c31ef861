"""What rivals share: answers from measured means, and our test that may be looked at after every batch. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, inf, log
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.query import Slo
from cloud_planner.baselines.operator_profile import Variants
from cloud_planner.baselines.plan_space import Scored
from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.core.estimate import Array
from cloud_planner.core.precision import Certification
from cloud_planner.core.search_terms import Attempt, starts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Means of floats differ by their order; a bound is met within so much.
SLACK = 1e-9


def sample_count(pool: int, samples_ratio: float) -> int:
    """How many samples a part of the pool is; at least one."""
    return min(pool, max(1, ceil(samples_ratio * pool - SLACK)))


def bound_of(task: Task) -> float:
    """The accuracy that is asked for, 0..1; 0: any will do."""
    return task.slo.accuracy_ratio or 0.0


def mean_score(task: Task, configuration: int, count: int) -> float:
    """The mean score of the first samples of the pool's order through a configuration."""
    return float(task.meter.run(configuration, np.arange(count)).mean())


def accurate(task: Task, configurations: Iterable[int], samples_ratio: float) -> list[int]:
    """Those of the configurations whose mean score over a part of the pool meets the bound."""
    count, least = sample_count(task.meter.pool, samples_ratio), bound_of(task) - SLACK
    return [index for index in configurations if mean_score(task, index, count) >= least]


def cheapest_plan(scored: Iterable[tuple[int, Scored]], slo: Slo) -> Found:
    """Of configurations with all of their plans, the cheapest plan that meets the bounds; of equals the first."""
    best, best_cost = REFUSED, inf
    for index, one in scored:
        plan = one.best(slo)
        if plan is not None and one.cost_per_h[plan] < best_cost:
            best, best_cost = Found(configuration=index, plan=plan), float(one.cost_per_h[plan])
    return best


def cheapest(task: Task, configurations: Iterable[int]) -> Found:
    """The cheapest of these configurations with its cheapest plan that meets the bounds on latency and cost."""
    chosen = np.array(sorted(set(configurations)), dtype=np.intp)
    if not len(chosen):
        return REFUSED
    cost, _ = task.book.costs()
    # Where times are only predicted, a cost may stand for a mere hope.
    for at in np.argsort(cost[chosen], kind="stable"):
        index = int(chosen[at])
        if not np.isfinite(cost[index]):
            break
        plan = task.book.plan(index)
        if plan is not None:
            return Found(configuration=index, plan=plan)
    return REFUSED


class Certifier:
    """The test of core/search.py for rivals: batches until the bound on accuracy is proven met, or doubtful.

    Half of ``level`` goes to tests over all samples of each configuration, half to attempts (see core/search.py).
    A configuration is given up once the evidence against it reaches ``miss_level``: that may cost money, but never
    breaks a promise. What is known of the content before is taken as it is. To begin with, one sample shows the times
    of each operator's variants, since all else goes by what configurations are believed to cost.
    """

    def __init__(
        self,
        task: Task,
        *,
        level: float,
        miss_level: float,
        least_batch: int = 2,
        most_batch: int = 24,
    ) -> None:
        self.task, self.miss_level = task, miss_level
        self._test = Certification(
            bound_ratio=bound_of(task), pool=task.meter.pool, count=task.meter.count, level=level
        )
        self.least_batch, self.most_batch = least_batch, most_batch
        self.attempts: list[Attempt] = []
        self.scores: list[Array] = [task.meter.known_scores(index) for index in range(task.meter.count)]
        everything = task.slo.accuracy_ratio is None
        self.met: NDArray[np.bool_] = np.full(task.meter.count, everything)
        self.missed: NDArray[np.bool_] = np.zeros(task.meter.count, dtype=bool)
        for index, known in enumerate(self.scores):
            if len(known):
                self._judge(index)
        table = task.meter.table
        for index in Variants(table.shape.operators, table.configurations).diagonal():
            self.measure(index, 1)

    @property
    def counts(self) -> NDArray[np.intp]:
        """(configurations,): how many samples of each are known."""
        return np.array([len(known) for known in self.scores], dtype=np.intp)

    @property
    def open(self) -> NDArray[np.bool_]:
        """(configurations,): whose accuracy is not decided."""
        return ~(self.met | self.missed)

    @property
    def needed(self) -> float:
        """The log evidence that would prove the bound in the next attempt."""
        return self._test.next_threshold(len(self.attempts))

    def measure(self, configuration: int, count: int) -> None:
        """Sees to it that so many samples of a configuration are known."""
        if count > len(self.scores[configuration]):
            self.task.meter.run(configuration, np.arange(count))
            self.scores[configuration] = self.task.meter.known_scores(configuration)
            self._judge(configuration)

    def advance(self, configuration: int, *, likely: bool) -> None:
        """One more batch; ``likely``: a configuration that would be chosen as things stand is attempted."""
        count = len(self.scores[configuration])
        attempted = any(attempt.configuration == configuration for attempt in self.attempts)
        if likely and count >= self.least_batch and not attempted:
            self.attempts.append(Attempt(configuration=configuration, start=count))
        batch = max(self.least_batch, min(self.most_batch, count // 2))
        self.measure(configuration, min(count + batch, self.task.meter.pool))

    def decide(self, configuration: int) -> bool:
        """Batches until it is decided; whether the bound is proven met."""
        while bool(self.open[configuration]):
            known = self.scores[configuration]
            self.advance(configuration, likely=len(known) > 0 and float(known.mean()) >= bound_of(self.task))
        return bool(self.met[configuration])

    def decide_all(self, order: Sequence[int] | NDArray[np.intp], most: int | None = None) -> Found:
        """Decides these, the first that is promising first, at most so many, until none is promising; the answer.

        Costs change with what is measured: what looked too dear may come again.
        """
        todo = [int(index) for index in order]
        count = len(todo) if most is None else most
        while count:
            left = set(self.left().tolist())
            index = next((index for index in todo if index in left), None)
            if index is None:
                break
            self.decide(index)
            count -= 1
        return self.answer()

    def limit_per_h(self, cost: Array, possible: Array) -> float:
        """The cost of the cheapest proven configuration that has a plan, of what ``PlanBook.costs`` says; or inf."""
        # Less than certain: there is no plan, but with shorter times there would be.
        return float(cost[self.met & (possible >= 1.0)].min(initial=inf))

    def left(self) -> NDArray[np.intp]:
        """Undecided configurations that, as far as costs are known, would be better answers; the cheapest first."""
        cost, possible = self.task.book.costs()
        there = np.flatnonzero(self.open & (cost < self.limit_per_h(cost, possible)))
        return there[np.argsort(cost[there], kind="stable")]

    def promising(self, configuration: int) -> bool:
        """Whether a configuration, as far as its cost is known, would be a better answer than what is proven."""
        return bool(self.open[configuration]) and configuration in self.left()

    def answer(self) -> Found:
        """The cheapest configuration that is proven."""
        return cheapest(self.task, (int(index) for index in np.flatnonzero(self.met)))

    def _judge(self, index: int) -> None:
        scores, pool = self.scores[index], self.task.meter.pool
        if self.task.slo.accuracy_ratio is None:
            return
        met = self._test.proves(scores, starts_of(self.attempts, index))
        self.met[index] = met
        against = self._test.counter_evidence(scores)
        self.missed[index] = not met and (against >= -log(self.miss_level) or len(scores) >= pool)
