"""From tables to latency, cost and probability. PURE.

The latency model, which templates and audit share. tests/core/test_latency_model.py holds it against a simulation.

- A step's stay is service + waiting. With ``Waiting.QUEUE`` the waiting before service is Kingman's
  approximation for G/G/1 at the replica's utilisation rho (J. F. C. Kingman, 1961), and less for arrivals more even
  than at random (W. Kraemer and M. Langenbach-Belz, 1976):
  W = rho / (1 - rho) * (ca2 + cs2) / 2 * service * exp(-2 (1 - rho) (1 - ca2)^e / (3 rho (ca2 + cs2))),
  with ca2 and cs2 the squared coefficients of variation of the time between arrivals and of the service, and
  e = 2 + 1 / (1 + 4 cs2). Its variance follows from the chance to wait at all and from the wait if there is one (W.
  Whitt, 1983, The Queueing Network Analyzer, 43 to 53, with a gamma service), bounded by what it is for arrivals at
  random: from above for more even ones, from below for others. What leaves n replicas has
  cd2 = ca2 + rho^2 (1 - ca2 + (k cs2 - 1) / sqrt(n)) (Whitt, 39), k = min(1, 0.4 + 0.6 ca2): after even arrivals
  what the service varies by evens out again.
- Items are dealt out over n replicas in turn: each gets ca2 / n.
- With BATCH, a batch of b takes (b - 1) / arrival rate of the replica to fill: the first item's wait, with no variance.
  With QUEUE, an item waits for the middle of that on average, with the variance of its place in the batch and of the
  gaps; batches queue with ca2 / b.
- Where a step gets r > 1 items for each of its input, they come in bursts over its replicas: a burst queues as one,
  and its items wait for each other. With r < 1 some are left out at random: r ca2 + 1 - r. One stay counts, of any
  item.
- A transfer is half a round trip and the item's bytes at the link's bandwidth, with no variance and no
  waiting at the link.
- Services of one item are correlated by the candidate's ``stage_correlation_ratio`` c: the variance of a sum of them
  is (1 - c) * sum of variances + c * (sum of deviations)^2; waits are independent. Slow items also hold up those behind
  them at each step again: cs2 grows by c (1 - rho) d D / s^2, with D the deviations so far and d the step's.
- At a join the mean is that of the maximum of two normal variables (C. E. Clark, 1961), independent but for the time
  up to the last step that lies behind both and for what swings together, and the variance is the larger one. So mean
  and variance never fall when an input's mean or variance rises: pruning by dominance stays valid. Without variance it
  is the plain maximum.
- A percentile is the largest that a fitted gamma distribution has for any mean and variance up to these, and no
  smaller than the mean: so it never falls when mean or variance rises. For p95 that is the fitted gamma itself
  unless the deviation is more than three times the mean; for the median it is the mean.

Where it is off by more than a tenth: nearly constant services (cv about 0.1) in a row of like utilisation after
arrivals at random, up to 15% too high (the first spaces items out for the next); a short way that varies much beside a
long one that does not, too high (the larger variance counts); items left out of even arrivals, up to 25% too high;
steps after a fan-out that are slower than the first one there, down to half of what it is (what is left of the burst is
not carried on; the spacing that a slower step gives would make a faster route worse, which pruning cannot have);
batches or steps after them with cv above 1, and correlations near 1, up to 15% either way; ways that part after one
step, whose queues grow together, up to 12% too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil, inf, isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr, ndtri

from circinus.model.pipeline import SOURCE
from cloud_planner.core.moment import START, Moment, Number, later_of
from cloud_planner.core.problem import Billing, Candidate, Machine, Option, QueryProblem, Step, Waiting

Array = NDArray[np.float64]

#: Half-width of a 95% interval of a normal variable, in standard deviations.
Z95 = 1.959963984540054
#: Relative slack within which a figure meets its bound: sums of floats differ by their order.
SLACK_RATIO = 1e-9
#: Above this shape the gamma is taken as its normal expansion: the incomplete gamma loses its digits there.
_LARGE_SHAPE = 1e6
#: Size of a table of percentiles.
_SHAPES = 8193
#: Fitted to tests/core/simulation.py: how much of the service's variability leaves where arrivals are even ...
_EVEN_SERVICE_RATIO = 0.4
#: ... and how much of what slow items hold up behind them is waited for.
_BEHIND_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """What a stay at a step depends on, but for what arrives. Numbers or arrays of one shape.

    ``base_ms``: service, filling a batch, and waiting for others of the same burst. ``variance_ms2``: of the
    service; ``extra_ms2``: of a place in a batch or burst; ``fill_ms2``: of the time that a batch fills, for ca2 = 1.
    ``pressure_ms``: rho / (1 - rho) x the time of a batch or burst, the waiting for ca2 + cs2 = 2. ``service_cv2``: of
    a batch or burst. ``dealt``: so many arrivals make one of these. ``kept_ratio``: the part of the input's items that
    come. ``swing_per_ms``: deviation of a service over the square of its time.
    """

    base_ms: Number
    variance_ms2: Number
    pressure_ms: Number
    service_cv2: Number
    utilization_ratio: Number
    extra_ms2: Number = 0.0
    fill_ms2: Number = 0.0
    dealt: Number = 1.0
    replicas: Number = 1.0
    kept_ratio: Number = 1.0
    swing_per_ms: Number = 0.0

    def through(self, arrival_cv2: Number) -> tuple[Array, Array, Array]:
        """Mean and variance of the stay and the variability of what leaves, where stages are independent."""
        stay, departure = self.moment(arrival_cv2)
        return np.asarray(stay.mean_ms), np.asarray(stay.variance_ms2), departure

    def moment(
        self, arrival_cv2: Number, correlation_ratio: Number = 0.0, before_ms: Number = 0.0
    ) -> tuple[Moment, Array]:
        """The stay and the variability of what leaves, for arrivals of that variability.

        ``before_ms``: the sum of service deviations on the way here.
        """
        came = self.kept_ratio * np.asarray(arrival_cv2, dtype=float) + 1.0 - self.kept_ratio
        rho = np.minimum(self.utilization_ratio, 1.0)
        # What was slow before comes late with the next close behind, and is slow here too.
        behind = 2.0 * _BEHIND_RATIO * correlation_ratio * self.swing_per_ms * before_ms * (1.0 - rho)
        waiting, spread = _waiting(
            came / self.dealt, self.service_cv2 + behind, self.utilization_ratio, self.pressure_ms
        )
        leaves = np.minimum(1.0, _EVEN_SERVICE_RATIO + (1.0 - _EVEN_SERVICE_RATIO) * came) * self.service_cv2
        departure = came + rho**2 * (1.0 - came + (leaves - 1.0) / np.sqrt(self.replicas))
        variance = (1.0 - correlation_ratio) * self.variance_ms2 + self.extra_ms2 + self.fill_ms2 * came + spread
        stay = Moment(
            mean_ms=np.asarray(self.base_ms + waiting),
            variance_ms2=np.asarray(variance),
            deviation_ms=np.sqrt(self.variance_ms2),
        )
        return stay, np.asarray(departure)

    def rows(self, index: NDArray[np.intp]) -> Stay:
        """These rows of arrays."""
        return Stay(**{field.name: np.asarray(getattr(self, field.name))[index] for field in fields(Stay)})

    @classmethod
    def stacked(cls, stays: Sequence[Stay]) -> Stay:
        """Stays as arrays."""
        return cls(**{f.name: np.array([getattr(stay, f.name) for stay in stays], dtype=float) for f in fields(Stay)})

    @classmethod
    def joined(cls, stays: Sequence[Stay]) -> Stay:
        """Arrays of stays, one after the other."""
        return cls(
            **{f.name: np.concatenate([np.asarray(getattr(stay, f.name)) for stay in stays]) for f in fields(Stay)}
        )


def _waiting(ca2: Array, cs2: Number, rho: Number, pressure_ms: Number) -> tuple[Array, Array]:
    """Mean and variance of the wait (W. Whitt, 1983); neither falls when ``ca2`` rises, for ``cs2`` up to 5.

    Whitt's variance does, by up to a quarter around arrivals at random; what these have bounds it from either side.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        both = np.asarray(ca2 + cs2, dtype=float)
        known = both > 0.0
        safe, load = np.where(known, both, 1.0), np.where(np.asarray(rho) > 0.0, rho, 1.0)
        even = (1.0 - np.minimum(ca2, 1.0)) ** (2.0 + 1.0 / (1.0 + 4.0 * cs2))
        milder = np.exp(-2.0 * np.maximum(1.0 - load, 0.0) * even / (3.0 * load * safe))
        waiting = np.where(known & (np.asarray(pressure_ms) > 0.0), pressure_ms * both / 2.0 * milder, 0.0)
        delayed = _delayed_cv2(cs2, load)
        spread = np.square(waiting) * ((delayed + 1.0) / _chance(ca2, cs2, load) - 1.0)
        at_random = np.square(pressure_ms * (1.0 + cs2) / 2.0) * ((delayed + 1.0) / np.clip(load, 1e-3, 1.0) - 1.0)
        bounded = np.where(ca2 < 1.0, np.minimum(spread, at_random), np.maximum(spread, at_random))
    return waiting, np.where(waiting > 0.0, bounded, 0.0)


def _chance(ca2: Array, cs2: Number, rho: Array) -> Array:
    """The chance to wait at all."""
    squared = rho**2
    low = (1.0 + ca2 + rho * cs2) / (1.0 + rho * (cs2 - 1.0) + squared * (4.0 * ca2 + cs2))
    high = 4.0 * rho / np.maximum(ca2 + squared * (4.0 * ca2 + cs2), 1e-12)
    return np.clip(rho + (ca2 - 1.0) * rho * (1.0 - rho) * np.where(ca2 < 1.0, low, high), 1e-3, 1.0)


def _delayed_cv2(cs2: Number, rho: Array) -> Array:
    """Squared coefficient of variation of a wait that there is.

    Of gamma times: third moment over the cube of the mean is (1 + cs2) (1 + 2 cs2).
    """
    return np.asarray(2.0 * rho - 1.0 + 4.0 * (1.0 - rho) * (2.0 * cs2 + 1.0) / (3.0 * (cs2 + 1.0)))


def stay_of(
    option: Option, arrival_per_s: float, waiting: Waiting, *, replicas: int = 1, items_ratio: float = 1.0
) -> Stay:
    """The stay at one replica that gets ``arrival_per_s`` items per second.

    Args:
        option: What the replica is.
        arrival_per_s: Items per second at the replica.
        waiting: How waiting is estimated.
        replicas: Items are dealt out in turn over so many.
        items_ratio: Items for each item of the input that has most: above 1 they come in bursts, below some are left
            out.
    """
    service = option.service
    queue = waiting is Waiting.QUEUE
    gap_ms = 1e3 / arrival_per_s
    burst = max(1.0, items_ratio / replicas) if queue else 1.0
    group = max(float(option.batch), burst)
    base, extra, fill = service.mean_ms, 0.0, 0.0
    if option.batch > 1:
        behind = option.batch - 1
        if queue:
            base += behind / 2.0 * gap_ms
            extra += (behind * gap_ms) ** 2 / 12.0
            fill = behind / 2.0 * gap_ms**2 / replicas
        elif waiting is Waiting.BATCH:
            base += behind * gap_ms
    elif burst > 1.0:
        base += (burst - 1.0) / 2.0 * service.mean_ms
        extra += (burst**2 - 1.0) / 12.0 * service.mean_ms**2 + (burst - 1.0) / 2.0 * service.variance_ms2
    cv2 = service.variance_ms2 / service.mean_ms**2 if service.mean_ms > 0.0 else 0.0
    rho = arrival_per_s / option.capacity_per_s
    pressure = 0.0
    batches = max(1.0, group / option.batch)
    if queue:
        pressure = rho / (1.0 - rho) * service.mean_ms * batches if rho < 1.0 else inf
    return Stay(
        base_ms=base,
        variance_ms2=service.variance_ms2,
        extra_ms2=extra,
        fill_ms2=fill,
        pressure_ms=pressure,
        service_cv2=cv2 / batches,
        utilization_ratio=rho if queue else 0.0,
        dealt=max(1.0, replicas * option.batch / max(1.0, items_ratio)) if queue else 1.0,
        replicas=float(replicas),
        kept_ratio=min(1.0, items_ratio),
        swing_per_ms=cv2**0.5 / (service.mean_ms * batches) if queue and service.mean_ms > 0.0 else 0.0,
    )


def replicas_needed(rate_per_s: float, step: Step, option: Option, cap_ratio: float) -> int:
    """The fewest replicas that hold the load of ``rate_per_s`` source items under the cap; at least 1."""
    load = rate_per_s * step.items_per_item / (cap_ratio * option.capacity_per_s)
    return max(1, ceil(load - SLACK_RATIO * max(1.0, load)))


def items_ratio(candidate: Candidate, step: Step) -> float:
    """Items of a step for each item of that of its inputs that has most."""
    items = [1.0 if name == SOURCE else 0.0 for name in step.inputs]
    items += [other.items_per_item for other in candidate.steps if other.operator_id in step.inputs]
    most = max(items)
    return step.items_per_item / most if most > 0.0 else 1.0


def join(mean_a: Number, variance_a: Number, mean_b: Number, variance_b: Number) -> tuple[Array, Array]:
    """Mean and variance of the later of two times that have nothing in common."""
    a = Moment(mean_ms=mean_a, variance_ms2=variance_a, deviation_ms=0.0)
    b = Moment(mean_ms=mean_b, variance_ms2=variance_b, deviation_ms=0.0)
    later = later_of(a, b, START)
    return np.asarray(later.mean_ms), np.asarray(later.variance_ms2)


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


@lru_cache(maxsize=256)
def percentile_spread(percentile_ratio: float) -> float:
    """The least that ``percentile_ms`` is above the mean, in deviations, while these are at most the mean."""
    shape = np.logspace(0.0, 12.0, 6001)
    above = (percentile_ms(1.0, 1.0 / shape, percentile_ratio) - 1.0) * np.sqrt(shape)
    return max(0.0, float(above.min()) * (1.0 - 1e-3) - 1e-6)


@lru_cache(maxsize=256)
def _percentiles(percentile_ratio: float) -> Array:
    """The percentile over the mean at shapes from 1e-6 to 1e12."""
    return percentile_ms(1.0, 1.0 / np.logspace(-6.0, 12.0, _SHAPES), percentile_ratio)


def percentile_at_most_ms(mean_ms: Array, variance_ms2: Array, percentile_ratio: float) -> Array:
    """``percentile_ms`` or up to 1% more, from a table: for many rows."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shape = np.where(variance_ms2 > 0.0, np.square(mean_ms) / variance_ms2, inf)
        place = np.floor((np.log10(shape) + 6.0) * ((_SHAPES - 1) / 18.0))
        place = np.clip(np.nan_to_num(place, nan=-1.0, neginf=-1.0, posinf=_SHAPES), -1, _SHAPES - 1).astype(np.intp)
        known = mean_ms * _percentiles(percentile_ratio)[np.maximum(place, 0)]
        return np.where((place >= 0) & np.isfinite(mean_ms), known, inf)


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
