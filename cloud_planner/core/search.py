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
from math import inf, isfinite, log, pi, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from cloud_planner.core.knob_model import KnobModel, KnobScales, beliefs
from cloud_planner.core.precision import (
    Array,
    Guarantee,
    accuracy_interval,
    attempt_level,
    log_counter_evidence,
    log_evidence,
)
from cloud_planner.core.search_terms import (
    PLANNED_RATIO,
    QUICK,
    Answer,
    Ask,
    Attempt,
    Neighbour,
    Phase,
    Prospects,
    SearchPolicy,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Scales of accuracy over knobs that are weighed against each other: how much it varies at all.
SCALES: Final = (
    KnobScales(constant=0.25, main=0.10, pair=0.05, own=0.02),
    KnobScales(constant=0.25, main=0.25, pair=0.12, own=0.04),
    KnobScales(constant=0.25, main=0.40, pair=0.25, own=0.08),
)
#: With a neighbour's accuracies as the prior mean, what still differs.
NEAR_SCALES: Final = KnobScales(constant=0.05, main=0.05, pair=0.04, own=0.03)
#: Prior odds of "like one of the neighbours" against "like nothing known".
NEAR_ODDS: Final = 1.0
#: The mean accuracy of a configuration of which nothing is known, and how it rises with the logarithm of its time.
PRIOR_MEAN: Final = 0.55
PRIOR_SLOPE: Final = 0.06
#: How far the model is mistrusted where there are no scores.
DOUBT_RATIO: Final = 0.05
#: Variance of single scores where few are known, and how many scores it is worth.
PRIOR_VARIANCE: Final = 0.05
PRIOR_WEIGHT: Final = 4.0


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
        tests = (2.0 if policy.attempts else 1.0) * model.count
        #: Evidence from which on a test over all samples proves something.
        self._threshold = log(tests / policy.level)
        self._evidence = np.zeros(model.count)
        self._counter = np.zeros(model.count)
        self._certified = np.zeros(model.count, dtype=bool)
        self._contradicted: set[str] = set()
        self._ruled_out = np.zeros(model.count, dtype=bool)
        self._means = np.zeros(model.count)
        self._variances = np.full(model.count, PRIOR_VARIANCE)
        self._counts = np.array([len(one) for one in self.scores])
        self._covariances = [model.covariance(scales) for scales in SCALES]
        self._near = model.covariance(NEAR_SCALES)
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
        for index in np.flatnonzero(self._counter >= self._threshold):
            self._ruled_out |= self.model.not_above(int(index), contradicted)

    def _judge(self, index: int) -> None:
        """Holds a configuration's scores against the bound."""
        self._means[index], self._variances[index] = np.mean(self.scores[index]), self._variance(index)
        if self.bound_ratio is None:
            self._certified[index] = True
            return
        scores, policy = self.scores[index], self.policy
        evidence = log_evidence(scores, self.bound_ratio, self.pool, policy.guarantee)
        self._evidence[index] = evidence
        self._counter[index] = log_counter_evidence(scores, self.bound_ratio, self.pool, policy.guarantee)
        certified = evidence >= self._threshold
        for number, attempt in enumerate(self.attempts, start=1):
            if attempt.configuration == index and not certified:
                fresh = log_evidence(scores, self.bound_ratio, self.pool, policy.guarantee, start=attempt.start)
                certified = fresh >= -log(attempt_level(policy.level / 2.0, number))
        self._certified[index] = certified

    # What is believed

    def _beliefs(self, prospects: Prospects) -> _Beliefs:
        key = prospects.sample_s.tobytes()
        if self._believed is None or self._believed[0] != key:
            self._believed = (key, self._believe(prospects))
        return self._believed[1]

    def _believe(self, prospects: Prospects) -> _Beliefs:
        """A mixture, weighed by how well each explains the scores: nothing known at several scales, each neighbour."""
        measured = np.flatnonzero(self._counts)
        means = self._means[measured]
        noise = np.array([self._noise(int(index)) for index in measured])
        effort = np.log(np.maximum(prospects.sample_s, 1e-9))
        effort -= effort.mean()
        cold = PRIOR_MEAN + PRIOR_SLOPE * effort
        parts = [beliefs(covariance, cold[:, None], measured, means, noise)[0] for covariance in self._covariances]
        weights = [-log(len(parts))] * len(parts)
        if self.neighbours:
            priors = np.column_stack([neighbour.mean for neighbour in self.neighbours])
            parts += beliefs(self._near, priors, measured, means, noise)
            weights += [log(NEAR_ODDS / len(self.neighbours))] * len(self.neighbours)
        logs = np.array([weight + part.log_likelihood for weight, part in zip(weights, parts, strict=True)])
        share = np.exp(logs - logs.max())
        share /= share.sum()
        mean = np.array([part.mean for part in parts])
        deviation = np.array([part.deviation for part in parts])
        if self.bound_ratio is None:
            meets = np.ones(self.model.count)
        else:
            meets = share @ ndtr((mean - self.bound_ratio) / deviation)
            # The model may be wrong of what it has seen little of.
            doubt = DOUBT_RATIO / (1.0 + self._counts)
            meets = (1.0 - doubt) * meets + doubt * 0.5
            threshold = self._threshold
            meets[(self._counter >= threshold) | self._ruled_out] = 0.0
            meets[self._certified] = 1.0
        centre = share @ mean
        return _Beliefs(
            meets=meets,
            mean=centre,
            deviation=np.sqrt(np.maximum(share @ (deviation**2 + mean**2) - centre**2, 1e-12)),
        )

    def believed_mean(self) -> Array:
        """(configurations,): the accuracy that is believed of each, whatever they cost."""
        nothing = np.ones(self.model.count)
        return self._beliefs(Prospects(cost_per_h=nothing, possible_ratio=nothing, sample_s=nothing)).mean

    def _noise(self, index: int) -> float:
        """How uncertain a configuration's mean score leaves its accuracy: variance."""
        count = len(self.scores[index])
        if count >= self.pool and self.policy.guarantee is Guarantee.POOL:
            return 1e-8
        left = 1.0 - count / self.pool if self.policy.guarantee is Guarantee.POOL else 1.0
        return float(self._variances[index]) / count * left + 1e-8

    def _variance(self, index: int) -> float:
        """The variance of a configuration's single scores."""
        scores = self.scores[index]
        spread = float(np.sum((scores - scores.mean()) ** 2)) if len(scores) else 0.0
        return (PRIOR_WEIGHT * PRIOR_VARIANCE + spread) / (PRIOR_WEIGHT + max(0, len(scores) - 1))

    # What to do

    def best(self, prospects: Prospects) -> int | None:
        """The cheapest certified configuration; None: there is none yet."""
        planned = np.isfinite(prospects.cost_per_h) & (prospects.possible_ratio >= PLANNED_RATIO)
        allowed = np.flatnonzero(planned if self.bound_ratio is None else planned & self._certified)
        return int(allowed[np.argmin(prospects.cost_per_h[allowed])]) if len(allowed) else None

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
        wanted = prospects.possible_ratio[chosen] >= PLANNED_RATIO and prospects.cost_per_h[chosen] < self._limit(
            prospects
        )
        if (
            self.policy.attempts
            and not settled
            and wanted
            and count >= self.policy.least_batch
            and belief.meets[chosen] >= 0.5
        ):
            # Others' scores made the choice, too, and they may know of samples that this one hasn't seen.
            self.attempts.append(Attempt(configuration=chosen, start=int(self._counts.max())))
        return Ask(configuration=chosen, first=count, count=self._batch(chosen, count, belief))

    def _limit(self, prospects: Prospects) -> float:
        """What a configuration has to cost less than, to be a better answer."""
        best = self.best(prospects)
        return inf if best is None else float(prospects.cost_per_h[best]) * (1.0 - 1e-9)

    def _next(self, prospects: Prospects) -> int | None:
        belief, policy, limit = self._beliefs(prospects), self.policy, self._limit(prospects)
        possible = prospects.possible_ratio * prospects.cheaper_ratio(limit)
        done = self._certified & (prospects.possible_ratio >= PLANNED_RATIO) & (prospects.cost_per_h < limit)
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
        deviation = belief.deviation[open_]
        # The mean distance of what lies above the bound.
        z = (belief.mean[open_] - (self.bound_ratio or 0.0)) / deviation
        above = deviation * (z + np.exp(-0.5 * z * z) / sqrt(2.0 * pi) / np.maximum(ndtr(z), 1e-9))
        growth = 0.5 * above * above / (self._variances[open_] + above * above)
        needed = -log(attempt_level(self.policy.level / 2.0, len(self.attempts) + 1))
        wanted = np.maximum(1.0, needed / np.maximum(growth, 1e-9))
        return np.asarray(np.minimum(self.pool - self._counts[open_], wanted))

    def _batch(self, index: int, count: int, belief: _Beliefs) -> int:
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
        scores = np.zeros(0) if index is None else self.scores[index]
        level = self.policy.level / self.model.count
        return Answer(
            phase=phase,
            configuration=index,
            probability_ratio=probability_ratio,
            accuracy=accuracy_interval(scores, self.pool, level, self.policy.guarantee),
        )
