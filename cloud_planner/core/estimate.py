"""From tables to latency, cost and probability. PURE.

The latency model, which templates and audit share:

- A step's stay is service + waiting. With ``Waiting.QUEUE`` the waiting before service is Kingman's
  approximation for G/G/1 at the replica's utilisation rho (J. F. C. Kingman, 1961):
  W = rho / (1 - rho) * (ca2 + cs2) / 2 * service, with ca2 and cs2 the squared coefficients of variation of the
  time between arrivals and of the service. Its variance is W^2 (2 - rho) / rho: an item waits with probability
  rho, and then for an exponential time. What leaves has cd2 = (1 - rho^2) ca2 + rho^2 cs2 (W. Whitt, 1983).
- With QUEUE and BATCH a batch of b takes (b - 1) / arrival rate of the replica to fill: the first item's wait, with
  no variance.
- Dealing items out over replicas leaves ca2 as it is (too high for dealing in turn, so on the safe side).
- Items of a fan-out are handled at the same time: one stay counts, that of any of them.
- A transfer is half a round trip and the item's bytes at the link's bandwidth, with no variance and no
  waiting at the link.
- At a join the mean is that of the maximum of two normal variables (C. E. Clark, 1961, independent) and the variance is
  the larger one. So mean and variance never fall when an input's mean or variance rises: pruning by
  dominance stays valid. Without variance it is the plain maximum.
- A percentile is the largest that a fitted gamma distribution has for any mean and variance up to these, and no
  smaller than the mean: so it never falls when mean or variance rises. For p95 that is the fitted gamma itself
  unless the deviation is more than three times the mean; for the median it is the mean.
- Stages are taken as independent: a page that is slow everywhere is not modelled yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr, ndtri

from cloud_planner.core.problem import Billing, Candidate, Machine, Option, QueryProblem, Step, Waiting

Array = NDArray[np.float64]
Number = float | Array

#: Half-width of a 95% interval of a normal variable, in standard deviations.
Z95 = 1.959963984540054
#: Relative slack within which a figure meets its bound: sums of floats differ by their order.
SLACK_RATIO = 1e-9
#: Above this shape the gamma is taken as its normal expansion: the incomplete gamma loses its digits there.
_LARGE_SHAPE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """What a stay at a step depends on, but for the variability of arrivals. Numbers or arrays of one shape.

    ``pressure_ms`` is rho / (1 - rho) * service: the waiting for ca2 + cs2 = 2.
    """

    base_ms: Number
    variance_ms2: Number
    pressure_ms: Number
    service_cv2: Number
    utilization_ratio: Number

    def through(self, arrival_cv2: Number) -> tuple[Array, Array, Array]:
        """Mean and variance of the stay and the variability of what leaves, for arrivals of that variability."""
        variability = (np.asarray(arrival_cv2, dtype=float) + self.service_cv2) / 2.0
        with np.errstate(invalid="ignore", divide="ignore"):
            waiting = np.where(variability > 0.0, np.multiply(self.pressure_ms, variability), 0.0)
            rho = np.asarray(self.utilization_ratio, dtype=float)
            spread = np.where(waiting > 0.0, waiting**2 * (2.0 - rho) / np.where(rho > 0.0, rho, 1.0), 0.0)
        squared = np.minimum(rho, 1.0) ** 2
        departure = (1.0 - squared) * arrival_cv2 + squared * self.service_cv2
        return np.asarray(self.base_ms + waiting), np.asarray(self.variance_ms2 + spread), np.asarray(departure)


def stay_of(option: Option, arrival_per_s: float, waiting: Waiting) -> Stay:
    """The stay at one replica that gets ``arrival_per_s`` items per second."""
    service = option.service
    base = service.mean_ms
    if waiting is not Waiting.NONE and option.batch > 1:
        base += (option.batch - 1) / arrival_per_s * 1e3
    cv2 = service.variance_ms2 / service.mean_ms**2 if service.mean_ms > 0.0 else 0.0
    rho = arrival_per_s / option.capacity_per_s
    pressure = 0.0
    if waiting is Waiting.QUEUE:
        pressure = rho / (1.0 - rho) * service.mean_ms if rho < 1.0 else inf
    return Stay(
        base_ms=base,
        variance_ms2=service.variance_ms2,
        pressure_ms=pressure,
        service_cv2=cv2,
        utilization_ratio=rho if waiting is Waiting.QUEUE else 0.0,
    )


def replicas_needed(rate_per_s: float, step: Step, option: Option, cap_ratio: float) -> int:
    """The fewest replicas that hold the load of ``rate_per_s`` source items under the cap; at least 1."""
    load = rate_per_s * step.items_per_item / (cap_ratio * option.capacity_per_s)
    return max(1, ceil(load - SLACK_RATIO * max(1.0, load)))


def replica_arrival_per_s(query: QueryProblem, step: Step, option: Option, replicas: int, cap_ratio: float) -> float:
    """Items per second at one replica: the planned load over the replicas, or for a split query the cap."""
    if query.splittable:
        return cap_ratio * option.capacity_per_s
    return query.rate_per_s * step.items_per_item / replicas


def join(mean_a: Number, variance_a: Number, mean_b: Number, variance_b: Number) -> tuple[Array, Array]:
    """Mean and variance of the later of two times (see the module's text)."""
    first, second = np.asarray(mean_a, dtype=float), np.asarray(mean_b, dtype=float)
    theta = np.sqrt(np.asarray(variance_a, dtype=float) + variance_b)
    safe = np.where(theta > 0.0, theta, 1.0)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        alpha = (first - second) / safe
        density = np.exp(-(alpha**2) / 2.0) / np.sqrt(2.0 * np.pi)
        mixed = first * ndtr(alpha) + second * ndtr(-alpha) + theta * density
    largest = np.maximum(first, second)
    mean = np.where((theta > 0.0) & np.isfinite(largest) & np.isfinite(theta), np.maximum(mixed, largest), largest)
    return mean, np.maximum(variance_a, variance_b)


def _shape_ratio(shape: Array, percentile_ratio: float) -> Array:
    """Percentile over mean of a gamma distribution."""
    z = float(ndtri(percentile_ratio))
    small = np.minimum(shape, _LARGE_SHAPE)
    exact = gammaincinv(small, percentile_ratio) / small
    return np.asarray(np.where(shape > _LARGE_SHAPE, 1.0 + z / np.sqrt(shape) + (z * z - 1.0) / (3.0 * shape), exact))


@lru_cache(maxsize=256)
def _worst_shapes(percentile_ratio: float) -> tuple[float, float]:
    """The shapes at which percentile / mean, and percentile / deviation, peak first; the latter may be endless.

    Past the first the ratio to the mean only falls; before the second that to the deviation only rises.
    """
    grid = np.logspace(-4.0, 6.0, 4001)
    ratio = _shape_ratio(grid, percentile_ratio)
    to_mean = _refined(grid, int(np.argmax(ratio)), percentile_ratio, 0.0)
    falls = np.flatnonzero(np.diff(ratio * np.sqrt(grid)) < 0.0)
    return to_mean, _refined(grid, int(falls[0]), percentile_ratio, 0.5) if len(falls) else inf


def _refined(grid: Array, index: int, percentile_ratio: float, power: float) -> float:
    """The peak near a point of the grid, of percentile / mean x shape^power."""
    fine = np.linspace(grid[max(0, index - 1)], grid[min(len(grid) - 1, index + 2)], 4001)
    return float(fine[int(np.argmax(_shape_ratio(fine, percentile_ratio) * fine**power))])


def percentile_ms(mean_ms: Number, variance_ms2: Number, percentile_ratio: float) -> Array:
    """The percentile that SLOs are held against, never falling in mean and variance (see the module's text)."""
    mean = np.asarray(mean_ms, dtype=float)
    variance = np.asarray(variance_ms2, dtype=float)
    known = (mean > 0.0) & (variance > 0.0) & np.isfinite(mean) & np.isfinite(variance)
    safe_mean, safe_variance = np.where(known, mean, 1.0), np.where(known, variance, 1.0)
    with np.errstate(over="ignore", under="ignore"):
        shape = np.clip(safe_mean / safe_variance * safe_mean, 1e-12, 1e18)
    to_mean, to_deviation = _worst_shapes(percentile_ratio)
    # The largest percentile of any (mean', variance') that is nowhere larger: either with all of the mean and a shape
    # that is no smaller, or with all of the variance and a shape that is no larger.
    latency = safe_mean * np.maximum(1.0, _shape_ratio(np.maximum(shape, to_mean), percentile_ratio))
    if isfinite(to_deviation):
        peak = float(_shape_ratio(np.asarray(to_deviation), percentile_ratio)) * to_deviation**0.5
        latency = np.where(shape >= to_deviation, np.maximum(latency, np.sqrt(safe_variance) * peak), latency)
    return np.where(known, latency, np.where(np.isfinite(variance), mean, inf))


def median_ms(mean_ms: float, variance_ms2: float) -> float:
    """The median of the fitted gamma distribution."""
    if not (isfinite(mean_ms) and isfinite(variance_ms2)):
        return inf
    if mean_ms <= 0.0 or variance_ms2 <= 0.0:
        return mean_ms
    shape = mean_ms**2 / variance_ms2
    return float(mean_ms * _shape_ratio(np.asarray(shape), 0.5))


def in_time_ratio(mean_ms: float, variance_ms2: float, bound_ms: float | None) -> float:
    """The probability that an item takes no longer than the bound, by the fitted gamma distribution."""
    if bound_ms is None:
        return 1.0
    if not (isfinite(mean_ms) and isfinite(variance_ms2)):
        return 0.0
    if mean_ms <= 0.0 or variance_ms2 <= 0.0 or mean_ms**2 / variance_ms2 > _LARGE_SHAPE:
        return 1.0 if mean_ms <= bound_ms * (1.0 + SLACK_RATIO) else 0.0
    return float(gammainc(mean_ms**2 / variance_ms2, bound_ms * mean_ms / variance_ms2))


def accuracy_probability_ratio(query: QueryProblem, candidate: Candidate) -> float:
    """The probability that the candidate's accuracy is at its bound or better.

    Normal around the value; the half-width below it, value - low, is that of a 95% interval.
    """
    bound = query.slo.accuracy_ratio
    if bound is None:
        return 1.0
    accuracy = candidate.accuracy
    deviation = (accuracy.value - accuracy.low) / Z95
    if deviation <= 0.0:
        return 1.0 if accuracy.value >= bound else 0.0
    return float(ndtr((accuracy.value - bound) / deviation))


def meets_accuracy(query: QueryProblem, candidate: Candidate, slo_probability_ratio: float) -> bool:
    """Whether the lower bound of accuracy meets the SLO, with the probability asked for."""
    bound = query.slo.accuracy_ratio
    if bound is None:
        return True
    return candidate.accuracy.low >= bound and accuracy_probability_ratio(query, candidate) >= slo_probability_ratio


def latency_limit_ms(query: QueryProblem, candidate: Candidate, slo_probability_ratio: float) -> float | None:
    """The largest estimated percentile with which accuracy and latency hold jointly with the probability asked for.

    The true percentile is taken as normal around the estimate with the candidate's relative standard error. None: no
    bound.
    """
    bound = query.slo.latency_ms
    if bound is None:
        return None
    error = candidate.latency_uncertainty_ratio
    if error <= 0.0:
        return bound
    needed = slo_probability_ratio / max(accuracy_probability_ratio(query, candidate), 1e-12)
    if needed >= 1.0:
        return bound if needed <= 1.0 else 0.0
    return float(min(bound, bound / max(1e-9, 1.0 + float(ndtri(needed)) * error)))


def slo_probability(query: QueryProblem, candidate: Candidate, latency_ms: float) -> float:
    """The joint probability that the bounds on accuracy and latency hold, taken as independent."""
    accuracy = accuracy_probability_ratio(query, candidate)
    bound = query.slo.latency_ms
    if bound is None:
        return accuracy
    error = candidate.latency_uncertainty_ratio * latency_ms
    if error <= 0.0:
        return accuracy if latency_ms <= bound * (1.0 + SLACK_RATIO) else 0.0
    return accuracy * float(ndtr((bound - latency_ms) / error))


def dominant_share_ratio(machine: Machine, option: Option) -> float:
    """The largest part of any of a machine's resources that one replica takes; above 1 it does not fit.

    Resources that the option does not use are left out, whatever the machine has of them.
    """
    parts = (
        (option.cores, machine.cores),
        (option.memory_bytes, machine.memory_bytes),
        (option.accelerator_slots, machine.accelerator_slots),
        (option.accelerator_memory_bytes, machine.accelerator_memory_bytes),
    )
    return max((used / there if there > 0 else inf for used, there in parts if used > 0), default=0.0)


def paid_share(machine: Machine) -> bool:
    """Whether the machine is paid by the share that is used."""
    return machine.billing is Billing.SHARE
