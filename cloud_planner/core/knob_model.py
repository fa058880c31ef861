"""A figure over knobs, from few measurements: a Gaussian process on the grid of configurations. PURE.

The covariance of two configurations is that of a constant, of a main effect for each knob, of the effects of each two
knobs together, and of what is each configuration's own (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for
Machine Learning, 2006, chapters 2 and 5; additive kernels: D. Duvenaud et al., NIPS 2011). Numbers are ordinal: values
next to each other in the order in which they stand are alike. Texts are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from circinus.model.pipeline import Configuration, KnobValue

Array = NDArray[np.float64]

#: Correlation of neighbouring values of a knob with two values, at its ends: exp(-1 / LENGTH).
_LENGTH: Final = 0.8
#: So few samples that two configurations saw contradict nothing; and how much their differences vary at least.
_LEAST_PAIRS: Final = 3
_PAIR_VARIANCE: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobScales:
    """Standard deviations, in units of the figure: constant, main effects, effects of pairs, a configuration's own."""

    constant: float
    main: float
    pair: float
    own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of a figure: mean and standard deviation for each configuration, and the evidence for it.

    ``log_likelihood`` is of what was measured, so that beliefs can be weighed against each other.
    """

    mean: Array
    deviation: Array
    log_likelihood: float


class KnobModel:
    """The model for one list of configurations; what does not depend on measurements is computed once.

    Complexity: O(configurations^2 x knobs^2) to make, O(measured^3 + measured x configurations) to ask.
    """

    def __init__(self, configurations: Sequence[Configuration], monotone: Mapping[str, bool] | None = None) -> None:
        """``monotone``: of knobs by name, whether the accuracy never falls from one value to the next."""
        domains = _domains(configurations)
        self._places = {
            name: np.array([values.index(one[name]) for one in configurations], dtype=np.intp)
            for name, values in domains.items()
        }
        self.monotone = tuple(name for name in self._places if (monotone or {}).get(name, False))
        self.count = len(configurations)
        self._spread = _spread(configurations, domains)
        parts = [_correlation(values, self._places[name]) for name, values in domains.items() if len(values) > 1]
        ones = np.ones((self.count, self.count))
        self._main = sum(parts, np.zeros_like(ones)) / max(1, len(parts))
        # All pairs at once: the square of the sum is each one's square and twice every product.
        total = sum(parts, np.zeros_like(ones))
        squares = sum((part**2 for part in parts), np.zeros_like(ones))
        self._pair = (total**2 - squares) / max(1, len(parts) * (len(parts) - 1))
        self._covariances: dict[KnobScales, Array] = {}

    def spread(self) -> tuple[int, ...]:
        """A few configurations in which every knob takes each of its values: where to look first."""
        return self._spread

    def not_above(self, index: int, contradicted: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
        """Others that are nowhere higher in a monotone knob that nothing contradicts, and equal in all other knobs."""
        found = np.ones(self.count, dtype=bool)
        for name, place in self._places.items():
            falls = name in self.monotone and name not in contradicted
            found &= (place <= place[index]) if falls else (place == place[index])
        found[index] = False
        return found

    def contradicts(self, name: str, index: int, scores: Sequence[Array]) -> bool:
        """Whether a lower value of a knob is surely better, by the samples that a configuration and another both saw.

        ``scores``: of each configuration, from the pool's first sample on.
        """
        lower = [(int(one), index) for one in self.lower_in(name, index)]
        higher = [(index, one) for one in range(self.count) if len(scores[one]) and index in self.lower_in(name, one)]
        for low, high in (*lower, *higher):
            both = min(len(scores[low]), len(scores[high]))
            if both < _LEAST_PAIRS:
                continue
            better = scores[low][:both] - scores[high][:both]
            if float(better.mean()) > 2.0 * sqrt((float(better.var(ddof=1)) + _PAIR_VARIANCE) / both):
                return True
        return False

    def lower_in(self, name: str, index: int) -> NDArray[np.intp]:
        """Configurations that differ from one in this knob alone, and are lower in it."""
        found = self._places[name] < self._places[name][index]
        for other, place in self._places.items():
            if other != name:
                found &= place == place[index]
        return np.flatnonzero(found)

    def covariance(self, scales: KnobScales) -> Array:
        """The prior covariance of all configurations: (configurations, configurations)."""
        found = self._covariances.get(scales)
        if found is None:
            gram = scales.constant**2 + scales.main**2 * self._main + scales.pair**2 * self._pair
            found = self._covariances[scales] = np.asarray(gram + scales.own**2 * np.eye(self.count))
        return found

    def belief(
        self, prior: Array, scales: KnobScales, measured: NDArray[np.intp], values: Array, noise: Array
    ) -> Belief:
        """The posterior after measurements.

        Args:
            prior: (configurations,) the prior mean.
            scales: Of what may differ from it.
            measured: (m,) indices of the configurations that were measured.
            values: (m,) what was measured of each.
            noise: (m,) the variance of each measurement.
        """
        return beliefs(self.covariance(scales), prior[:, None], measured, values, noise)[0]


def beliefs(covariance: Array, priors: Array, measured: NDArray[np.intp], values: Array, noise: Array) -> list[Belief]:
    """The posteriors under one covariance and several prior means: (configurations, priors)."""
    spread = np.diag(covariance)
    if len(measured) == 0:
        return [Belief(mean=prior, deviation=np.sqrt(spread), log_likelihood=0.0) for prior in priors.T]
    across = covariance[:, measured]
    factor = cho_factor(covariance[np.ix_(measured, measured)] + np.diag(noise), lower=True, check_finite=False)
    off = values[:, None] - priors[measured]
    pulled = cho_solve(factor, off, check_finite=False)
    mean = priors + across @ pulled
    solved = cho_solve(factor, across.T, check_finite=False)
    variance = np.maximum(spread - np.einsum("ij,ji->i", across, solved), 1e-12)
    constant = 2.0 * float(np.sum(np.log(np.diag(factor[0])))) + len(measured) * log(2.0 * pi)
    fit = np.einsum("ij,ij->j", off, pulled)
    deviation = np.sqrt(variance)
    return [
        Belief(mean=mean[:, at], deviation=deviation, log_likelihood=-0.5 * (constant + float(fit[at])))
        for at in range(priors.shape[1])
    ]


def _domains(configurations: Sequence[Configuration]) -> dict[str, list[KnobValue]]:
    """The values of each knob, in the order in which they appear."""
    return {name: list(dict.fromkeys(one[name] for one in configurations)) for name in configurations[0]}


def _spread(configurations: Sequence[Configuration], domains: Mapping[str, Sequence[KnobValue]]) -> tuple[int, ...]:
    """The diagonal of the grid: the n-th value of every knob, those of shorter domains in turn."""
    place = {tuple(configuration.values()): index for index, configuration in enumerate(configurations)}
    longest = max((len(values) for values in domains.values()), default=1)
    wanted = [tuple(values[at % len(values)] for values in domains.values()) for at in range(longest)]
    return tuple(dict.fromkeys(place[one] for one in wanted if one in place)) or (0,)


def _correlation(values: Sequence[KnobValue], place: NDArray[np.intp]) -> Array:
    """The correlation of one knob's values between configurations, (n, n), in 0..1."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        far = np.abs(place[:, None] - place[None, :]) / (len(values) - 1)
        return np.asarray(np.exp(-far / _LENGTH))
    return np.asarray(place[:, None] == place[None, :], dtype=float)
