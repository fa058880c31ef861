"""Which configuration a query gets: the cheapest that is sure to be accurate enough, for few samples. PURE.

Ask and tell: ``ask`` names the next batch of samples through one configuration, ``tell`` takes their scores, and
``answer`` says at any time what is known. Accuracy belongs to configuration and content alone; what a configuration
costs comes from outside, anew with each call, since it follows from prices, placements and measured times.

*Explore cheaply.* Scores so far, the covariance of configurations with like knobs (knob_model.py), and what other
contents showed (similarity.py) give for each configuration the probability that it meets the bound. What to look at
next is a question of Pandora's boxes (M. L. Weitzman, Econometrica 1979): opening box c takes so many seconds of
profiling, succeeds with so much probability, and then saves so much; the box with the best index is opened, and the
search ends when no index is better than what is in hand. ``worth_s`` says how many seconds the whole cost is worth: a
small one gives the quick mode; with an endless one, the thorough mode, it ends when nothing that is left is likely to
save anything.

*Certify only the choice.* Beliefs never prove anything. A configuration is certified by a test that may be looked at
after every batch (precision.py), at a level that all tests of the query share. Half of it goes to tests over all
samples, one for each configuration; half to *attempts*: the k-th configuration that the search settles on is tested
once more on the samples that nothing had seen by then, at 6 / (pi^2 k^2) of that half. The first choice is mostly
right, and is then certified as if it had been the only one ever looked at.

Same inputs, same asks: there is no chance in it but the order of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

import numpy as np

from circinus.model.plan import Interval
from cloud_planner.core.accuracy_mixture import (
    PRIOR_VARIANCE,
    mean_variance,
    mixture,
    samples_to_prove,
    score_variance,
)
from cloud_planner.core.knob_model import KnobModel
from cloud_planner.core.precision import (
    Array,
    Certification,
    Guarantee,
    accuracy_interval,
)
from cloud_planner.core.search_terms import (
    QUICK,
    Answer,
    Ask,
    Attempt,
    Neighbour,
    Phase,
    Prospects,
    SearchPolicy,
    starts_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How far the model is mistrusted where there are no scores.
DOUBT_RATIO: Final = 0.05
#: Where nothing else says in what order: seconds that the whole cost is worth.
_ORDER_WORTH_S: Final = 60.0
#: About how many samples show that a configuration that misses the bound does.
_SAMPLES_TO_DROP: Final = 8.0


@dataclass(slots=True)
class _Beliefs:
    """Probabilities that each configuration meets the bound, and the mean and deviation of its accuracy."""

    meets: Array
    mean: Array
    deviation: Array


class CandidateSearch:
    """The search for one query; ``scores`` and ``attempts`` from an earlier run let it go on.

    Args:
        model: The knobs of the configurations.
        pool: How many samples the content has.
        bound_ratio: The accuracy that is asked for; None: any will do.
        policy: How to search.
        neighbours: Other contents of the pipeline.
        scores: Of each configuration, its scores so far in the order of the pool, from the first sample on.
        attempts: What was settled on so far, in order.
    """

    def __init__(
        self,
        model: KnobModel,
        *,
        pool: int,
        bound_ratio: float | None,
        policy: SearchPolicy = QUICK,
        neighbours: Sequence[Neighbour] = (),
        scores: Sequence[Array] | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        self.model, self.pool, self.policy = model, pool, policy
        self.bound_ratio = None if bound_ratio is None else max(0.0, bound_ratio - policy.margin_ratio)
        self.neighbours = tuple(neighbours)
        self.scores: list[Array] = [np.zeros(0)] * model.count if scores is None else [*scores]
        self.attempts: list[Attempt] = [*attempts]
        self._test = Certification(
            bound_ratio=self.bound_ratio or 0.0,
            pool=pool,
            count=model.count,
            level=policy.level,
            guarantee=policy.guarantee,
            attempts=policy.attempts,
        )
        self._counter = np.zeros(model.count)
        self._certified = np.full(model.count, self.bound_ratio is None)
        self._contradicted: set[str] = set()
        self._ruled_out = np.zeros(model.count, dtype=bool)
        self._means = np.zeros(model.count)
        self._variances = np.full(model.count, PRIOR_VARIANCE)
        self._counts = np.array([len(one) for one in self.scores])
        self._believed: tuple[bytes, _Beliefs] | None = None
        for index in np.flatnonzero(self._counts):
            self._judge(int(index))
        self._prune()

    # What was measured

    def tell(self, configuration: int, scores: Sequence[float] | Array) -> None:
        """Scores of the next samples of the pool's order through a configuration."""
        self.scores[configuration] = np.concatenate([self.scores[configuration], np.asarray(scores, dtype=float)])
        self._counts[configuration] = len(self.scores[configuration])
        self._believed = None
        self._judge(configuration)
        self._prune(configuration)

    def _prune(self, told: int | None = None) -> None:
        """What surely misses the bound rules out all that is nowhere higher in its monotone knobs."""
        if self.bound_ratio is None or not self.model.monotone:
            return
        measured = np.flatnonzero(self._counts) if told is None else [told]
        for name in self.model.monotone:
            for index in measured:
                if self.model.contradicts(name, int(index), self.scores):
                    self._contradicted.add(name)
        self._ruled_out[:] = False
        contradicted = frozenset(self._contradicted)
        for index in np.flatnonzero(self._counter >= self._test.threshold):
            self._ruled_out |= self.model.not_above(int(index), contradicted)

    def _judge(self, index: int) -> None:
        """Holds a configuration's scores against the bound."""
        self._means[index], self._variances[index] = np.mean(self.scores[index]), score_variance(self.scores[index])
        if self.bound_ratio is None:
            return
        self._certified[index] = self._test.proves(self.scores[index], starts_of(self.attempts, index))
        self._counter[index] = self._test.counter_evidence(self.scores[index])

    # What is believed

    def _beliefs(self, prospects: Prospects) -> _Beliefs:
        key = prospects.sample_s.tobytes()
        if self._believed is None or self._believed[0] != key:
            self._believed = (key, self._believe(prospects))
        return self._believed[1]

    def _believe(self, prospects: Prospects) -> _Beliefs:
        measured = np.flatnonzero(self._counts)
        noise = np.array([self._noise(int(index)) for index in measured])
        priors = [neighbour.mean for neighbour in self.neighbours]
        believed = mixture(self.model, priors, prospects.sample_s, measured, self._means[measured], noise)
        if self.bound_ratio is None:
            meets = np.ones(self.model.count)
        else:
            # The model may be wrong of what it has seen little of.
            doubt = DOUBT_RATIO / (1.0 + self._counts)
            meets = (1.0 - doubt) * believed.meets_ratio(self.bound_ratio) + doubt * 0.5
            meets[(self._counter >= self._test.threshold) | self._ruled_out] = 0.0
            meets[self._certified] = 1.0
        return _Beliefs(meets=meets, mean=believed.mean, deviation=believed.deviation)

    def believed_mean(self) -> Array:
        """(configurations,): the accuracy that is believed of each, whatever they cost."""
        nothing = np.ones(self.model.count)
        return self._beliefs(Prospects(cost_per_h=nothing, possible_ratio=nothing, sample_s=nothing)).mean

    def _noise(self, index: int) -> float:
        """How uncertain a configuration's mean score leaves its accuracy: variance."""
        pool = self.pool if self.policy.guarantee is Guarantee.POOL else None
        return mean_variance(float(self._variances[index]), len(self.scores[index]), pool)

    # What to do

    def certified(self, prospects: Prospects) -> list[int]:
        """The certified configurations that have a plan, cheapest first."""
        there = np.flatnonzero(prospects.planned & self._certified)
        return [int(at) for at in there[np.argsort(prospects.cost_per_h[there], kind="stable")]]

    def best(self, prospects: Prospects) -> int | None:
        """The cheapest certified configuration; None: there is none yet."""
        return next(iter(self.certified(prospects)), None)

    def ask(self, prospects: Prospects) -> Ask | None:
        """The next samples to take; None: the answer is as good as it gets under the policy."""
        if self.bound_ratio is None:
            return None
        chosen = self._next(prospects)
        if chosen is None:
            return None
        belief = self._beliefs(prospects)
        count = int(self._counts[chosen])
        settled = any(attempt.configuration == chosen for attempt in self.attempts)
        wanted = prospects.planned[chosen] and prospects.cost_per_h[chosen] < self._limit(prospects)
        likely = count >= self.policy.least_batch and belief.meets[chosen] >= 0.5
        if self.policy.attempts and not settled and wanted and likely:
            # Others' scores made the choice, too, and they may know of samples that this one hasn't seen.
            self.attempts.append(Attempt(configuration=chosen, start=int(self._counts.max())))
        return Ask(configuration=chosen, first=count, count=self._batch(count))

    def _limit(self, prospects: Prospects) -> float:
        """What a configuration has to cost less than, to be a better answer."""
        best = self.best(prospects)
        return inf if best is None else float(prospects.cost_per_h[best]) * (1.0 - 1e-9)

    def _next(self, prospects: Prospects) -> int | None:
        belief, policy, limit = self._beliefs(prospects), self.policy, self._limit(prospects)
        possible = prospects.possible_ratio * prospects.cheaper_ratio(limit)
        done = self._certified & prospects.planned & (prospects.cost_per_h < limit)
        chance = np.where(np.isfinite(prospects.cost_per_h) & ~done & (self._counts < self.pool), possible, 0.0)
        chance *= belief.meets
        cost = prospects.cost_per_h
        if isfinite(limit) and prospects.low_cost_per_h is not None:
            # Those that may turn out cheaper would be so by about half of what they can.
            low = np.minimum(prospects.low_cost_per_h, limit)
            cost = np.where(cost < limit, cost, np.sqrt(low * limit))
        if isfinite(limit):
            saved = 1.0 - np.where(chance > 0.0, cost, limit) / limit
            open_ = np.flatnonzero((chance > 0.0) & (chance * saved >= policy.drop_ratio))
        else:
            open_ = np.flatnonzero(chance >= policy.refuse_ratio)
        if not len(open_):
            return None
        likely = open_[chance[open_] >= 0.5]
        unit = limit if isfinite(limit) else float(cost[likely].min() if len(likely) else cost[open_].min())
        worth_s = policy.worth_s if isfinite(policy.worth_s) else _ORDER_WORTH_S
        seconds = self._seconds(open_, belief.meets[open_], possible[open_], belief) * prospects.sample_s[open_]
        index = worth_s * cost[open_] / max(unit, 1e-12) + seconds
        if isfinite(limit) and isfinite(policy.worth_s) and index.min() >= worth_s:
            return None
        return int(open_[int(np.argmin(index))])

    def _seconds(self, open_: NDArray[np.intp], meets: Array, possible: Array, belief: _Beliefs) -> Array:
        """About how many samples are spent on a configuration for each time that it gets certified.

        A few show that it has no plan, or that it misses the bound; more are needed to prove that it meets it.
        """
        prove = self._samples_to_prove(open_, belief)
        drop = np.minimum(prove, _SAMPLES_TO_DROP)
        look = np.minimum(prove, self.policy.least_batch)
        return np.asarray(prove + drop * (1.0 - meets) / meets + look * (1.0 - possible) / (possible * meets))

    def _samples_to_prove(self, open_: NDArray[np.intp], belief: _Beliefs) -> Array:
        """About how many more samples certify configurations, if they do meet the bound."""
        needed = self._test.next_threshold(len(self.attempts))
        mean, deviation, variance = belief.mean[open_], belief.deviation[open_], self._variances[open_]
        wanted = samples_to_prove(mean, deviation, variance, self.bound_ratio or 0.0, needed)
        return np.asarray(np.minimum(self.pool - self._counts[open_], wanted))

    def _batch(self, count: int) -> int:
        """A few samples at first, then about half of what there is: looking often costs little, asking does."""
        wanted = max(self.policy.least_batch, min(self.policy.most_batch, count // 2))
        return int(min(wanted, self.pool - count))

    def answer(self, prospects: Prospects) -> Answer:
        """What can be said now."""
        best = self.best(prospects)
        belief = self._beliefs(prospects)
        if best is not None:
            return self._answer(Phase.CERTIFIED, best, 1.0 - self.policy.level)
        there = np.flatnonzero(np.isfinite(prospects.cost_per_h))
        chance = belief.meets[there]
        likely = there[chance >= self.policy.provisional_ratio]
        if len(likely):
            index = int(likely[np.argmin(prospects.cost_per_h[likely])])
            return self._answer(Phase.PROVISIONAL, index, float(belief.meets[index]))
        if self._next(prospects) is None:
            return self._answer(Phase.REFUSED, None, 0.0)
        if len(there):
            index = int(there[np.argmax(belief.mean[there])])
            return self._answer(Phase.UNKNOWN, index, float(belief.meets[index]))
        return self._answer(Phase.UNKNOWN, None, 0.0)

    def _answer(self, phase: Phase, index: int | None, probability_ratio: float) -> Answer:
        return Answer(
            phase=phase, configuration=index, probability_ratio=probability_ratio, accuracy=self.interval(index)
        )

    # What people want to know

    def interval(self, index: int | None) -> Interval:
        """A configuration's accuracy with its interval, whatever was looked at before; None: of none."""
        scores = np.zeros(0) if index is None else self.scores[index]
        return accuracy_interval(scores, self.pool, self.policy.level / self.model.count, self.policy.guarantee)

    def certified_interval(self, index: int) -> Interval:
        """A certified configuration's accuracy: what was proven is part of it."""
        interval = self.interval(index)
        if self.bound_ratio is None:
            return interval
        low = max(interval.low, min(self.bound_ratio, interval.high))
        return Interval(value=max(interval.value, low), low=low, high=max(interval.high, low))

    def meets_ratio(self, index: int, prospects: Prospects) -> float:
        """The probability that a configuration meets the bound on accuracy."""
        return float(np.clip(self._beliefs(prospects).meets[index], 0.0, 1.0))

    def nearest(self, prospects: Prospects, most: int) -> list[tuple[int, Interval]]:
        """The configurations that are likeliest to be accurate enough, those that rather are as if it were proven."""
        belief = self._beliefs(prospects)
        bound = self.bound_ratio or 0.0
        found = []
        for at in np.lexsort((-belief.mean, -np.round(belief.meets, 2)))[:most]:
            interval = self.interval(int(at))
            value = float(np.clip(belief.mean[at], 0.0, 1.0))
            low = bound if belief.meets[at] >= 0.5 else min(interval.low, value)
            value = max(value, low)
            found.append((int(at), Interval(value=value, low=low, high=max(interval.high, value))))
        return found

    def candidates_left(self, prospects: Prospects) -> int:
        """How many configurations may still turn out best."""
        best = self.best(prospects)
        limit = inf if best is None else prospects.cost_per_h[best]
        chance = self._beliefs(prospects).meets * prospects.possible_ratio
        floor = self.policy.refuse_ratio if best is None else self.policy.drop_ratio
        return int(np.sum(np.isfinite(prospects.cost_per_h) & (prospects.cost_per_h < limit) & (chance >= floor)))

    def eta_s(self, prospects: Prospects) -> float | None:
        """About how many profile seconds are left until the configuration that is looked at is decided."""
        chosen = self._next(prospects)
        if chosen is None:
            return None
        samples = self._samples_to_prove(np.array([chosen]), self._beliefs(prospects))
        return float(samples[0] * prospects.sample_s[chosen])
