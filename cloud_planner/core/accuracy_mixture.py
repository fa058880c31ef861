"""What is believed of accuracies: a mixture of models over knobs, weighed by how well each explains the scores. PURE.

One part for each scale at which accuracies may vary while nothing else is known, and one for each prior mean that
others' accuracies suggest. Beliefs say where to look; they never prove anything (precision.py does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from cloud_planner.core.knob_model import KnobModel, KnobScales, beliefs
from cloud_planner.core.precision import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Scales of accuracy over knobs that are weighed against each other: how much it varies at all.
SCALES: Final = (
    KnobScales(constant=0.25, main=0.10, pair=0.05, own=0.02),
    KnobScales(constant=0.25, main=0.25, pair=0.12, own=0.04),
    KnobScales(constant=0.25, main=0.40, pair=0.25, own=0.08),
)
#: With another content's accuracies as the prior mean, what still differs.
NEAR_SCALES: Final = KnobScales(constant=0.05, main=0.05, pair=0.04, own=0.03)
#: Prior odds of "like one of the others" against "like nothing known".
NEAR_ODDS: Final = 1.0
#: The mean accuracy of a configuration of which nothing is known, and how it rises with the logarithm of its time.
PRIOR_MEAN: Final = 0.55
PRIOR_SLOPE: Final = 0.06
#: Variance of single scores where few are known, and how many scores it is worth.
PRIOR_VARIANCE: Final = 0.05
PRIOR_WEIGHT: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Of each configuration's accuracy: ``means`` and ``deviations`` (parts, configurations), each part's ``share``."""

    share: Array
    means: Array
    deviations: Array

    @property
    def mean(self) -> Array:
        """(configurations,)."""
        return np.asarray(self.share @ self.means)

    @property
    def deviation(self) -> Array:
        """(configurations,): the standard deviation of the mixture."""
        return np.sqrt(np.maximum(self.share @ (self.deviations**2 + self.means**2) - self.mean**2, 1e-12))

    def meets_ratio(self, bound_ratio: float) -> Array:
        """(configurations,): the probability that each meets a bound."""
        return np.asarray(self.share @ ndtr((self.means - bound_ratio) / self.deviations))


def mixture(
    model: KnobModel, priors: Sequence[Array], sample_s: Array, measured: NDArray[np.intp], means: Array, noise: Array
) -> Mixture:
    """What is believed after scores.

    Args:
        model: The knobs.
        priors: Each (configurations,): accuracies that others suggest.
        sample_s: (configurations,): seconds of a sample; what takes longer is rather more accurate.
        measured: (m,) the configurations with scores.
        means: (m,) their mean scores.
        noise: (m,) how uncertain those leave the accuracies: variances.
    """
    effort = np.log(np.maximum(sample_s, 1e-9))
    cold = PRIOR_MEAN + PRIOR_SLOPE * (effort - effort.mean())
    parts = [beliefs(model.covariance(scales), cold[:, None], measured, means, noise)[0] for scales in SCALES]
    weights = [-log(len(parts))] * len(parts)
    if priors:
        parts += beliefs(model.covariance(NEAR_SCALES), np.column_stack(priors), measured, means, noise)
        weights += [log(NEAR_ODDS / len(priors))] * len(priors)
    logs = np.array([weight + part.log_likelihood for weight, part in zip(weights, parts, strict=True)])
    share = np.exp(logs - logs.max())
    return Mixture(
        share=share / share.sum(),
        means=np.array([part.mean for part in parts]),
        deviations=np.array([part.deviation for part in parts]),
    )


def score_variance(scores: Array) -> float:
    """The variance of a configuration's single scores, with a little of what is usual."""
    around = float(np.sum((scores - scores.mean()) ** 2)) if len(scores) else 0.0
    return (PRIOR_WEIGHT * PRIOR_VARIANCE + around) / (PRIOR_WEIGHT + max(0, len(scores) - 1))


def samples_to_prove(mean: Array, deviation: Array, variance: Array, bound_ratio: float, needed: float) -> Array:
    """About how many more samples prove that configurations meet a bound, if they do.

    ``mean`` and ``deviation`` are of their accuracies, ``variance`` of single scores; ``needed`` is the log evidence.
    """
    # The mean distance of what lies above the bound.
    z = (mean - bound_ratio) / deviation
    above = deviation * (z + np.exp(-0.5 * z * z) / sqrt(2.0 * pi) / np.maximum(ndtr(z), 1e-9))
    growth = 0.5 * above * above / (variance + above * above)
    return np.asarray(np.maximum(1.0, needed / np.maximum(growth, 1e-9)))


def mean_variance(variance: float, count: int, pool: int | None) -> float:
    """How uncertain the mean of so many scores leaves the accuracy: variance around a pool's mean, or a population's.

    ``pool``: how many samples it has; None: the accuracy is a population's.
    """
    left = 1.0 if pool is None else 1.0 - count / pool
    return variance / count * left + 1e-8
