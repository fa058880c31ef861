"""How sure is it that a configuration's accuracy meets a bound? Tests that may be looked at after every sample. PURE.

The samples of a content are drawn in one fixed random order. A bettor starts with a capital of 1 and, before each
score, bets on its being above what it would be if the accuracy were just at the bound. If the accuracy is at the
bound or below, the capital is a supermartingale: that it ever reaches 1 / level has a probability of at most ``level``
(Ville). So one may look whenever one likes, and stop whenever it has. The capital is the mean of several bettors', who
bet constant parts of what they may lose (I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables
by betting, JRSS B 2023, without replacement: section 5).

``Guarantee.POOL``: the accuracy is the mean over the labelled pool. What it would have to be on the samples not yet
seen follows from those seen, so the test gets sharper towards the end of the pool, and is exact there.
``Guarantee.POPULATION``: the accuracy is the mean over whatever the samples were drawn from; the end of the pool is
not the end of doubt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from circinus.model.plan import Interval
from circinus.model.query import Guarantee as Guarantee

Array = NDArray[np.float64]

#: What parts of their capital's limit the bettors bet: small for a small distance, nearly all for a clear one.
BETS: Final[Array] = np.array([0.03, 0.08, 0.16, 0.3, 0.45, 0.62, 0.8, 0.97])
#: Bounds that are tried when an interval is looked for: first on a grid, then between two of its points.
_GRID: Final = 33
_ROUNDS: Final = 3
#: Sums of floats differ by their order; a bound is met within so much of a sum.
_SLACK: Final = 1e-9


def log_evidence(scores: Array, bound_ratio: float, pool: int, guarantee: Guarantee, *, start: int = 0) -> float:
    """The largest log capital so far of a bettor against "the accuracy is below the bound".

    Values of at least log(1 / level) prove, at that level, that the bound is met. ``inf``: it is certain.

    Args:
        scores: (samples,) in 0..1, in the order of the pool, from its first sample on.
        bound_ratio: The bound, 0..1.
        pool: How many samples the pool has; at least ``len(scores)``.
        guarantee: Of what accuracy is spoken.
        start: The bettor begins after so many samples: what was decided by looking at those is no matter then.
    """
    return float(_log_evidence(scores, np.array([bound_ratio]), pool, guarantee, start)[0])


def log_counter_evidence(scores: Array, bound_ratio: float, pool: int, guarantee: Guarantee) -> float:
    """The same against "the accuracy is at the bound or above": proof that it is missed."""
    return float(_log_evidence(1.0 - scores, np.array([1.0 - bound_ratio]), pool, guarantee, 0)[0])


def _log_evidence(scores: Array, bounds: Array, pool: int, guarantee: Guarantee, start: int) -> Array:
    """Log evidence for each bound; shapes (samples,), (bounds,) -> (bounds,)."""
    count = len(scores)
    if count == 0:
        return np.zeros(len(bounds))
    if guarantee is Guarantee.POOL:
        seen = np.concatenate([[0.0], np.cumsum(scores)])
        left = pool - np.arange(count + 1)
        # What the mean of the rest would be if the accuracy were just at the bound; after the last sample: nothing.
        rest = pool * bounds[:, None] - seen[None, :]
        expected = rest[:, :-1] / left[None, :-1]
        certain = rest.min(axis=1) <= _SLACK * pool
        expected = expected[:, start:]
    else:
        certain = np.zeros(len(bounds), dtype=bool)
        expected = np.repeat(bounds[:, None], count - start, axis=1) if count > start else np.zeros((len(bounds), 0))
    if expected.shape[1] == 0:
        return np.where(certain, inf, 0.0)
    # Where more than all is needed of the rest, no bet is made: it can't be reached any more.
    possible = (expected > 0.0) & (expected <= 1.0)
    ratio = np.where(possible, scores[None, start:] / np.where(possible, expected, 1.0) - 1.0, 0.0)
    capital = np.cumsum(np.log1p(BETS[:, None, None] * ratio[None, :, :]), axis=2)
    highest = np.max(_log_mean_exp(capital), axis=1)
    return np.where(certain, inf, np.maximum(highest, 0.0))


def _log_mean_exp(values: Array) -> Array:
    """Log of the mean of exp over the first axis."""
    top = values.max(axis=0)
    return np.asarray(top + np.log(np.mean(np.exp(values - top), axis=0)))


def accuracy_interval(scores: Array, pool: int, level: float, guarantee: Guarantee = Guarantee.POOL) -> Interval:
    """The mean score and the interval that holds the accuracy with probability 1 - level, whenever it is looked at.

    Of no samples: [0, 1] around a half. Of a whole pool, promised of the pool: the mean alone.
    """
    count = len(scores)
    if count == 0:
        return Interval(value=0.5, low=0.0, high=1.0)
    mean = float(np.clip(np.mean(scores), 0.0, 1.0))
    if count >= pool and guarantee is Guarantee.POOL:
        return Interval(value=mean, low=mean, high=mean)
    threshold = log(2.0 / level)
    low = _lowest(scores, mean, pool, guarantee, threshold)
    high = 1.0 - _lowest(1.0 - scores, 1.0 - mean, pool, guarantee, threshold)
    return Interval(value=mean, low=min(low, mean), high=max(high, mean))


def _lowest(scores: Array, mean: float, pool: int, guarantee: Guarantee, threshold: float) -> float:
    """The highest bound below the mean that is proven to be exceeded, to within a few thousandths, from below."""
    low, high = 0.0, mean
    for _ in range(_ROUNDS):
        bounds = np.linspace(low, high, _GRID)
        # A bound of 0 is always met. Evidence falls as the bound rises, up to rounding.
        proven = _log_evidence(scores, bounds, pool, guarantee, 0) >= threshold
        proven[0] = True
        last = int(np.flatnonzero(np.logical_and.accumulate(proven))[-1])
        if last == _GRID - 1:
            return float(bounds[-1])
        low, high = float(bounds[last]), float(bounds[last + 1])
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """How configurations of one query are certified: at ``level`` in all, whichever of ``count`` is picked.

    Half of the level goes to a test over all samples of each configuration, half to attempts: tests on the samples
    after a start, the k-th at ``attempt_level``. Without ``attempts`` all of it goes to the first.
    """

    bound_ratio: float
    pool: int
    count: int
    level: float
    guarantee: Guarantee = Guarantee.POOL
    attempts: bool = True

    @property
    def threshold(self) -> float:
        """Log evidence from which on a test over all samples of one configuration proves something."""
        return log((2.0 if self.attempts else 1.0) * self.count / self.level)

    def next_threshold(self, attempts: int) -> float:
        """Log evidence that proves the bound in the attempt after so many."""
        return -log(attempt_level(self.level / 2.0, attempts + 1))

    def proves(self, scores: Array, starts: Iterable[tuple[int, int]]) -> bool:
        """Whether a configuration's scores prove that it meets the bound; ``starts``: its attempts, (number, start)."""
        if log_evidence(scores, self.bound_ratio, self.pool, self.guarantee) >= self.threshold:
            return True
        return any(
            log_evidence(scores, self.bound_ratio, self.pool, self.guarantee, start=start)
            >= self.next_threshold(number - 1)
            for number, start in starts
        )

    def counter_evidence(self, scores: Array) -> float:
        """Log evidence that the bound is missed."""
        return log_counter_evidence(scores, self.bound_ratio, self.pool, self.guarantee)


def attempt_level(level: float, attempt: int) -> float:
    """The level of the attempt-th try (from 1) at certifying a choice, so that all tries together have ``level``.

    Levels fall with the square of the number: sum of 6 / (pi^2 k^2) = 1.
    """
    return level * 6.0 / (np.pi**2 * attempt**2)
