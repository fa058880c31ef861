"""What a candidate search is told, and what it says: policy, prospects, asks, answers. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri

from circinus.model.plan import Interval
from cloud_planner.core.precision import Array, Guarantee

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Below it there is no plan with times as they are believed; see Prospects.
PLANNED_RATIO: Final = 0.5
#: How likely times are as short as those of ``Prospects.low_cost_per_h``.
LOW_RATIO: Final = 0.1
_LOW_SIGMAS: Final = -float(ndtri(LOW_RATIO))


class Phase(StrEnum):
    """How far an answer has come.

    UNKNOWN: nothing can be named yet. PROVISIONAL: believed, not proven. CERTIFIED: proven at the query's level.
    REFUSED: no configuration meets the SLO, as far as anybody can tell.
    """

    UNKNOWN = "unknown"
    PROVISIONAL = "provisional"
    CERTIFIED = "certified"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPolicy:
    """How to search.

    ``level``: the probability, over the order of the pool, that a certified answer misses its bound. ``worth_s``:
    profile seconds that the whole cost of a plan is worth; inf: thorough. ``drop_ratio``: a configuration by which a
    smaller part of the cost is likely to be saved isn't looked at any more. ``refuse_ratio``: nor, while nothing is
    certified, one that meets the SLO with less probability. ``provisional_ratio``: the probability from which on an
    unproven one may be named. ``attempts`` False: all of the level goes to the tests over all samples.
    ``margin_ratio``: an accuracy that is lower by so much is as good (0: it is not).
    """

    level: float = 0.05
    guarantee: Guarantee = Guarantee.POOL
    worth_s: float = 10.0
    drop_ratio: float = 0.002
    refuse_ratio: float = 0.002
    provisional_ratio: float = 0.8
    margin_ratio: float = 0.0
    attempts: bool = True
    least_batch: int = 2
    most_batch: int = 24


#: Looks at whatever may save cost, as far as beliefs go.
THOROUGH: Final = SearchPolicy(worth_s=inf, drop_ratio=0.002)
QUICK: Final = SearchPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospects:
    """What is believed of each configuration's plans now; arrays of shape (configurations,).

    ``cost_per_h`` of its cheapest plan that meets the SLO on latency and cost; inf: there is none. ``possible_ratio``:
    the probability that there is one; below ``PLANNED_RATIO`` there is none with the times as they are known so far,
    and it is the hope that further samples show shorter ones. ``sample_s``: profile seconds of one sample.
    ``low_cost_per_h``: the cost if times are as short as they are with a probability of ``LOW_RATIO``; None: costs are
    known for sure.
    """

    cost_per_h: Array
    possible_ratio: Array
    sample_s: Array
    low_cost_per_h: Array | None = None

    @property
    def planned(self) -> NDArray[np.bool_]:
        """(configurations,): which have a plan with times as they are believed."""
        return np.asarray(np.isfinite(self.cost_per_h) & (self.possible_ratio >= PLANNED_RATIO))

    def cheaper_ratio(self, limit_per_h: float) -> Array:
        """The probability that a configuration's cost turns out lower than this, if it has a plan."""
        known = self.cost_per_h < limit_per_h
        if self.low_cost_per_h is None or not isfinite(limit_per_h):
            return known.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Of the logarithm of the cost, by standard error of times.
            slope = np.log(self.cost_per_h / self.low_cost_per_h) / _LOW_SIGMAS
            off = np.log(self.cost_per_h / limit_per_h) / np.maximum(slope, 1e-9)
        return np.where(np.isfinite(off) & (slope > 0.0), ndtr(-off), known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Samples first .. first + count - 1 of the pool's order, through one configuration."""

    configuration: int
    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A configuration that the search settled on when no configuration had seen more than ``start`` samples."""

    configuration: int
    start: int


def starts_of(attempts: Sequence[Attempt], configuration: int) -> list[tuple[int, int]]:
    """The attempts at a configuration: each one's number, from 1, and its start."""
    return [
        (number, attempt.start)
        for number, attempt in enumerate(attempts, start=1)
        if attempt.configuration == configuration
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known: the configuration to use, how sure that is, and its accuracy."""

    phase: Phase
    configuration: int | None
    probability_ratio: float
    accuracy: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """What is known of another content: mean accuracy of each configuration, and its standard deviation."""

    mean: Array
    deviation: Array = field(default_factory=lambda: np.zeros(0))
