"""All placements and core shares of a pipeline over a few tiers, priced and timed at once. PURE.

A small world of its own for comparing searches: what a configuration costs is the least cost of its plans that meet
the SLO, by the latency model of core/estimate.py. Items move up from tier to tier, never down again; all operators
that stand on one tier have the same core share; replicas are as many as the rate needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from circinus.model.query import Slo
from cloud_planner.core.estimate import SLACK_RATIO, Array, Stay, join, percentile_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORE_SHARES: Final = (0.25, 0.5, 1.0)
#: How many of the cheapest plans are timed at first, and next.
_ROUNDS: Final = (4,)
#: The largest planned part of a replica's capacity, and of a link's bandwidth.
CAP_RATIO: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class TierClass:
    """Machines of a tier, and the way there from the tier before.

    ``speed_ratio`` is against the class that was measured; ``cores`` is what one query may have of them.
    """

    name: str
    speed_ratio: float
    price_per_core_h: float
    cores: float = 8.0
    rtt_ms: float = 0.0
    bandwidth_bit_per_s: float = inf
    price_per_gb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A pipeline's DAG: for each operator its inputs (-1: the source), whether it has state, and who answers."""

    operators: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    stateful: tuple[bool, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times on the measured class and sizes of one configuration's operators; arrays of shape (operators,)."""

    mean_ms: Array
    variance_ms2: Array
    output_bytes: Array
    source_bytes: float | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Every plan of one configuration; arrays of shape (plans,). ``latency_ms`` inf: it can't hold the rate."""

    cost_per_h: Array
    latency_ms: Array

    def best(self, slo: Slo) -> int | None:
        """The cheapest plan that meets the bounds on latency and cost."""
        meets = np.isfinite(self.latency_ms)
        if slo.latency_ms is not None:
            meets &= self.latency_ms <= slo.latency_ms * (1.0 + SLACK_RATIO)
        if slo.cost_per_h is not None:
            meets &= self.cost_per_h <= slo.cost_per_h * (1.0 + SLACK_RATIO)
        there = np.flatnonzero(meets)
        return int(there[np.argmin(self.cost_per_h[there])]) if len(there) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What needs no latency: arrays of shape (configurations, plans), the first two (..., operators)."""

    service: Array
    replicas: Array
    cost: Array
    possible: NDArray[np.bool_]


class PlanSpace:
    """The plans of one pipeline over tiers, for one rate.

    ``place``: (plans, operators) tier of each operator; ``share``: (plans, operators) cores of each replica.
    """

    def __init__(self, shape: Shape, tiers: Sequence[TierClass], rate_per_s: float, percentile_ratio: float) -> None:
        self.shape, self.tiers, self.rate_per_s = shape, tuple(tiers), rate_per_s
        self.percentile_ratio = percentile_ratio
        self.place, self.share = _plans(shape, len(self.tiers))
        self._speed = np.array([tier.speed_ratio for tier in self.tiers])[self.place] * self.share
        self._price = np.array([tier.price_per_core_h for tier in self.tiers])[self.place]
        # From tier to tier, up: round trip, time and money for each byte; links of several hops add up.
        count = len(self.tiers)
        self._rtt, self._per_byte = np.zeros((count, count)), np.zeros((count, count))
        self._money, self._bandwidth = np.zeros((count, count)), np.full((count, count), inf)
        for low, high in product(range(count), repeat=2):
            for tier in self.tiers[low + 1 : high + 1]:
                self._rtt[low, high] += tier.rtt_ms
                self._per_byte[low, high] += 8e3 / tier.bandwidth_bit_per_s
                self._money[low, high] += tier.price_per_gb * 1e-9
                self._bandwidth[low, high] = min(self._bandwidth[low, high], tier.bandwidth_bit_per_s)

    def score(self, figures: Sequence[Figures]) -> list[Scored]:
        """Cost and latency of every plan of configurations with these figures."""
        if not figures:
            return []
        stacked = _stacked(figures)
        held = self._held(stacked)
        latency = np.full(held.cost.shape, inf)
        rows, plans = np.nonzero(held.possible)
        latency[rows, plans] = self._latency_ms(stacked, held, rows, plans)
        return [Scored(cost_per_h=held.cost[row], latency_ms=latency[row]) for row in range(len(figures))]

    def cheapest(self, figures: Sequence[Figures], slo: Slo) -> list[tuple[int, float] | None]:
        """For each the cheapest plan that meets the bounds on latency and cost, and its cost: ``Scored.best``.

        Latencies are computed for the cheapest few first, and only of what could be in time without any waiting.
        """
        if not figures:
            return []
        stacked = _stacked(figures)
        held = self._held(stacked)
        open_ = held.possible
        if slo.cost_per_h is not None:
            open_ = open_ & (held.cost <= slo.cost_per_h * (1.0 + SLACK_RATIO))
        limit = inf if slo.latency_ms is None else slo.latency_ms * (1.0 + SLACK_RATIO)
        open_ = open_ & (held.service.max(axis=2) <= limit)
        order = np.argsort(np.where(open_, held.cost, inf), axis=1, kind="stable")
        counts = open_.sum(axis=1)
        found: list[tuple[int, float] | None] = [None] * len(figures)
        wanted = np.flatnonzero(counts)
        first = 0
        for size in (*_ROUNDS, order.shape[1]):
            if not len(wanted):
                break
            rows = np.repeat(wanted, np.minimum(counts[wanted] - first, size))
            ranks = np.concatenate([np.arange(first, min(counts[row], first + size)) for row in wanted])
            plans = order[rows, ranks]
            good = self._latency_ms(stacked, held, rows, plans) <= limit
            # The first good one of each row, since ranks rise within a row.
            hit, at = np.unique(rows[good], return_index=True)
            for row, plan in zip(hit.tolist(), plans[good][at].tolist(), strict=True):
                found[row] = (plan, float(held.cost[row, plan]))
            first += size
            wanted = np.setdiff1d(wanted[counts[wanted] > first], hit)
        return found

    def _held(self, figures: Figures) -> _Held:
        """Replicas and cost of every plan, and whether machines and links hold it."""
        rate, source = self.rate_per_s, np.asarray(figures.source_bytes)
        service = figures.mean_ms[:, None, :] / self._speed
        replicas = np.maximum(1.0, np.ceil(rate * service / 1e3 / CAP_RATIO - SLACK_RATIO))
        possible = np.ones(service.shape[:2], dtype=bool)
        for at, stateful in enumerate(self.shape.stateful):
            if stateful:
                possible &= replicas[..., at] <= 1.0
        cores = replicas * self.share
        cost = np.sum(cores * self._price, axis=2)
        for number, tier in enumerate(self.tiers):
            possible &= np.sum(np.where(self.place == number, cores, 0.0), axis=2) <= tier.cores + SLACK_RATIO
        traffic = np.zeros((len(self.tiers), *service.shape[:2]))
        for at, inputs in enumerate(self.shape.inputs):
            high = self.place[:, at]
            for before in inputs:
                low = np.zeros(len(high), dtype=np.intp) if before < 0 else self.place[:, before]
                size = (source if before < 0 else figures.output_bytes[:, before])[:, None]
                cost = cost + size * (rate * 3600.0 * self._money[low, high])
                for hop in range(1, len(self.tiers)):
                    traffic[hop] += size * (8.0 * rate * ((low < hop) & (high >= hop)))
        for hop in range(1, len(self.tiers)):
            possible &= traffic[hop] <= CAP_RATIO * self.tiers[hop].bandwidth_bit_per_s
        return _Held(service=service, replicas=replicas, cost=cost, possible=possible)

    def _latency_ms(self, figures: Figures, held: _Held, rows: NDArray[np.intp], plans: NDArray[np.intp]) -> Array:
        """The percentile of latency of some rows' plans; rows and plans of shape (pairs,)."""
        rate, count = self.rate_per_s, len(rows)
        service, replicas = held.service[rows, plans], held.replicas[rows, plans]
        place = self.place[plans]
        own = figures.variance_ms2[rows] / self._speed[plans] ** 2
        sizes, source = figures.output_bytes[rows], np.asarray(figures.source_bytes)[rows]
        mean, variance, cv2 = np.zeros((3, count, len(self.shape.operators)))
        for at, inputs in enumerate(self.shape.inputs):
            came, spread, varied = np.zeros((3, count))
            high = place[:, at]
            for number, before in enumerate(inputs):
                low = np.zeros(count, dtype=np.intp) if before < 0 else place[:, before]
                size = source if before < 0 else sizes[:, before]
                way = self._rtt[low, high] / 2.0 + size * self._per_byte[low, high]
                if before < 0:
                    one, two, three = way, np.zeros(count), np.zeros(count)
                else:
                    one, two, three = mean[:, before] + way, variance[:, before], cv2[:, before]
                if number == 0:
                    came, spread, varied = one, two, three
                else:
                    came, spread = join(came, spread, one, two)
                    varied = np.maximum(varied, three)
            rho = rate * service[:, at] / 1e3 / replicas[:, at]
            stay = Stay(
                base_ms=service[:, at],
                variance_ms2=own[:, at],
                pressure_ms=rho / np.maximum(1.0 - rho, 1e-3) * service[:, at],
                service_cv2=own[:, at] / np.maximum(service[:, at] ** 2, 1e-12),
                utilization_ratio=rho,
            )
            stay_mean, stay_variance, departure = stay.through(varied)
            mean[:, at], variance[:, at], cv2[:, at] = came + stay_mean, spread + stay_variance, departure
        end, wide = np.zeros((2, count))
        for number, at in enumerate(self.shape.outputs):
            back = mean[:, at] + self._rtt[0, place[:, at]] / 2.0
            end, wide = (back, variance[:, at]) if number == 0 else join(end, wide, back, variance[:, at])
        return percentile_ms(end, wide, self.percentile_ratio)


def _stacked(figures: Sequence[Figures]) -> Figures:
    """Of several configurations: arrays of shape (configurations, operators), ``source_bytes`` (configurations,)."""
    return Figures(
        mean_ms=np.array([one.mean_ms for one in figures]),
        variance_ms2=np.array([one.variance_ms2 for one in figures]),
        output_bytes=np.array([one.output_bytes for one in figures]),
        source_bytes=np.array([one.source_bytes for one in figures]),
    )


def _plans(shape: Shape, tiers: int) -> tuple[np.ndarray, Array]:
    """Placements that never come down again, with a share for each tier that is used."""
    places, shares = [], []
    for place in product(range(tiers), repeat=len(shape.operators)):
        up = all(
            place[at] >= (place[source] if source >= 0 else 0)
            for at, inputs in enumerate(shape.inputs)
            for source in inputs
        )
        if not up:
            continue
        used = sorted(set(place))
        for share in product(CORE_SHARES, repeat=len(used)):
            of = dict(zip(used, share, strict=True))
            places.append(place)
            shares.append([of[tier] for tier in place])
    return np.array(places, dtype=np.intp), np.array(shares)
