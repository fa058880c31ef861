"""Random times by mean and variance: one after the other, and the later of two. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
Number = float | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A random time. Numbers or arrays of one shape.

    ``variance_ms2`` is the part that other stages have no share in, ``deviation_ms`` the sum of service deviations
    that swing together with the candidate's stage correlation; ``total`` puts them together.
    """

    mean_ms: Number
    variance_ms2: Number
    deviation_ms: Number

    def total_ms2(self, correlation_ratio: Number) -> Number:
        """The whole variance."""
        return self.variance_ms2 + correlation_ratio * np.square(self.deviation_ms)

    def later(self, mean_ms: Number) -> Moment:
        """The same, so much later."""
        return Moment(mean_ms=self.mean_ms + mean_ms, variance_ms2=self.variance_ms2, deviation_ms=self.deviation_ms)

    def then(self, other: Moment) -> Moment:
        """One after the other."""
        return Moment(
            mean_ms=self.mean_ms + other.mean_ms,
            variance_ms2=self.variance_ms2 + other.variance_ms2,
            deviation_ms=self.deviation_ms + other.deviation_ms,
        )


START = Moment(mean_ms=0.0, variance_ms2=0.0, deviation_ms=0.0)


def later_of(a: Moment, b: Moment, common: Moment) -> Moment:
    """The later of two times that have ``common`` behind both of them (see estimate.py)."""
    first, second = np.asarray(a.mean_ms, dtype=float), np.asarray(b.mean_ms, dtype=float)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        apart = np.maximum(a.variance_ms2 - common.variance_ms2, 0.0) + np.maximum(
            b.variance_ms2 - common.variance_ms2, 0.0
        )
        theta = np.sqrt(apart)
        theta = np.where(np.isnan(theta), inf, theta)
        safe = np.where((theta > 0.0) & np.isfinite(theta), theta, 1.0)
        alpha = (first - second) / safe
        density = np.exp(-(alpha**2) / 2.0) / np.sqrt(2.0 * np.pi)
        mixed = first * ndtr(alpha) + second * ndtr(-alpha) + theta * density
    largest = np.maximum(first, second)
    mean = np.where((theta > 0.0) & np.isfinite(largest) & np.isfinite(theta), np.maximum(mixed, largest), largest)
    return Moment(
        mean_ms=mean,
        variance_ms2=np.maximum(a.variance_ms2, b.variance_ms2),
        deviation_ms=np.maximum(a.deviation_ms, b.deviation_ms),
    )
