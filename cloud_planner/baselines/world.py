"""One content's measured table behind a meter: what a search runs is charged, what it has not run it can't see. PURE.

The table has every configuration on every sample: scores, and for each operator behind each prefix its time, the size
of its output and what it works on. Work with equal inputs and knobs is charged once (the input-digest cache that every
search has); so what is shared between configurations, or found to be equal, is free for all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from circinus.model.pipeline import Configuration
from circinus.model.query import Slo
from cloud_planner.baselines.plan_space import Figures, PlanSpace, Scored, Shape
from cloud_planner.core.estimate import Array
from cloud_planner.core.knob_model import KnobModel, KnobScales

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How logarithms of times vary over knobs.
_TIME_SCALES = KnobScales(constant=2.0, main=1.6, pair=0.4, own=0.25)
#: Times that are measured little may be too high: a configuration without a plan is tried with times that are shorter
#: by so many standard errors, then by these factors, and given up only when the first that helps is less probable
#: than ``_LEAST_CHANCE``.
_HOPE_SIGMAS: Final[Array] = np.array([0.5, 1.2816, 2.2])
#: The place of what happens in a tenth of all cases (search.LOW_RATIO), after times as they are.
_SHORT_AT: Final = 2
_FAR_RATIOS: Final = (0.35, 0.1)
_LEAST_CHANCE = 0.002
_DOUBT_CHANCE = 0.05
_VARIANCE_POWER = 3.0
#: A measured time is not known better than so much, relative: conditions change between two measurements.
_LEAST_ERROR_RATIO = 0.01
#: An operator that was never run.
_UNKNOWN_MS = 10.0
_UNKNOWN_CV2 = 0.15
_UNKNOWN_ERROR_RATIO = 1.0
#: How many samples what is believed of times' variation is worth beside what was measured.
_CV2_WEIGHT = 4.0
#: What the percentile that plans are held against may be off, against the mean time.
_ERROR_FACTOR = 1.3
#: Plans are computed again when a time changed by more than this part.
_NEWS_RATIO = 0.01
_NEWS_ERROR_RATIO = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTable:
    """All configurations of one pipeline on a list of samples.

    Arrays: ``scores`` (samples, configurations); by operator ``prefixes`` (configurations,), ``time_ms``,
    ``output_bytes`` and ``work`` (samples, prefixes), where equal numbers of one sample are equal work;
    ``source_bytes`` (samples,). ``items``: how many items one sample runs through an operator.
    """

    name: str
    shape: Shape
    configurations: tuple[Configuration, ...]
    scores: Array
    prefixes: tuple[NDArray[np.intp], ...]
    time_ms: tuple[Array, ...]
    output_bytes: tuple[Array, ...]
    work: tuple[NDArray[np.intp], ...]
    source_bytes: Array
    items: int

    def rows(self, rows: NDArray[np.intp]) -> MeasuredTable:
        """The same for some of the samples, in this order."""
        return MeasuredTable(
            name=self.name,
            shape=self.shape,
            configurations=self.configurations,
            scores=self.scores[rows],
            prefixes=self.prefixes,
            time_ms=tuple(one[rows] for one in self.time_ms),
            output_bytes=tuple(one[rows] for one in self.output_bytes),
            work=tuple(one[rows] for one in self.work),
            source_bytes=self.source_bytes[rows],
            items=self.items,
        )


class KnobSpace:
    """What follows from the knobs alone: models over configurations and over each operator's prefixes."""

    def __init__(self, table: MeasuredTable) -> None:
        self.model = KnobModel(table.configurations)
        self.times: list[KnobModel] = []
        #: By operator, (prefixes,): equal numbers for equal knobs of the operator itself.
        self.own: list[NDArray[np.intp]] = []
        for operator, prefixes in zip(table.shape.operators, table.prefixes, strict=True):
            # A prefix's knobs are those on which all of its configurations agree.
            first = [
                table.configurations[int(np.argmax(prefixes == place))] for place in range(int(prefixes.max()) + 1)
            ]
            names = [name for name in first[0] if _settled(table.configurations, prefixes, name)]
            self.times.append(KnobModel([{name: one[name] for name in names} for one in first]))
            settings = [tuple(one[name] for name in names if name.startswith(f"{operator}.")) for one in first]
            self.own.append(np.array([settings.index(setting) for setting in settings], dtype=np.intp))


def _settled(configurations: Sequence[Configuration], prefixes: NDArray[np.intp], name: str) -> bool:
    seen: dict[int, object] = {}
    return all(
        seen.setdefault(int(place), one[name]) == one[name] for place, one in zip(prefixes, configurations, strict=True)
    )


@dataclass(slots=True)
class Bill:
    """What was charged: samples through configurations, runs of operators, and seconds with and without the cache."""

    executions: int = 0
    operator_runs: int = 0
    seconds: float = 0.0
    uncached_seconds: float = 0.0
    decision_s: float = 0.0


@dataclass(slots=True)
class Memory:
    """What was measured of a content, for whoever comes later: samples seen of each configuration, work done."""

    seen: NDArray[np.bool_]
    done: list[NDArray[np.bool_]]
    known: list[NDArray[np.bool_]]


class Meter:
    """Runs samples of one content for one search. ``memory`` of an earlier one makes what it ran free."""

    def __init__(self, table: MeasuredTable, space: KnobSpace, memory: Memory | None = None) -> None:
        self.table, self.space, self.bill = table, space, Bill()
        self.pool, self.count = table.scores.shape
        self.memory = memory if memory is not None else new_memory(table)
        #: By operator, (samples, prefixes): whose times are known, since they were run or are equal to what was run.
        self.known = self.memory.known
        self._versions = [0] * len(table.prefixes)
        self._predicted: list[tuple[int, Array, Array, Array] | None] = [None] * len(table.prefixes)
        # Sizes are taken as known from the start: they decide little, and a first sample tells them.
        self.sizes = np.column_stack(
            [sizes.mean(axis=0)[prefixes] for sizes, prefixes in zip(table.output_bytes, table.prefixes, strict=True)]
        )
        self.source_bytes = float(table.source_bytes.mean())

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(samples, configurations): which scores are known."""
        return self.memory.seen

    def run(self, configuration: int, positions: Sequence[int] | NDArray[np.intp]) -> Array:
        """Scores of samples through a configuration; charges what is not known yet."""
        table, places = self.table, np.asarray(positions, dtype=np.intp)
        new = places[~self.memory.seen[places, configuration]]
        if len(new):
            self.bill.executions += len(new)
            for at, prefixes in enumerate(table.prefixes):
                prefix = int(prefixes[configuration])
                work = table.work[at][new, prefix]
                seconds = table.time_ms[at][new, prefix] * table.items / 1e3
                fresh = ~self.memory.done[at][new, work]
                self.bill.operator_runs += int(fresh.sum())
                self.bill.seconds += float(seconds[fresh].sum())
                self.bill.uncached_seconds += float(seconds.sum())
                self.memory.done[at][new, work] = True
                self.known[at][new, prefix] = True
                self._versions[at] += 1
            self.memory.seen[new, configuration] = True
        return np.asarray(table.scores[places, configuration])

    def known_scores(self, configuration: int) -> Array:
        """The scores of the first samples, up to the first that is not known."""
        seen = self.memory.seen[:, configuration]
        length = int(np.argmin(seen)) if not seen.all() else len(seen)
        return np.asarray(self.table.scores[:length, configuration])

    # Times: what was measured, and what follows from it for the rest

    def _times(self, at: int) -> tuple[Array, Array, Array]:
        """An operator's mean time behind each prefix, its squared coefficient of variation, and its relative error.

        What was not measured is predicted. Times of few samples may be off by more than those samples differ: how much
        a prefix's times vary is taken from all prefixes, and the more from its own the more samples it has.
        """
        version = self._versions[at]
        there_already = self._predicted[at]
        if there_already is not None and there_already[0] == version:
            return there_already[1:]
        known, times = self.known[at], self.table.time_ms[at]
        counts = known.sum(axis=0)
        mean = np.full(known.shape[1], _UNKNOWN_MS)
        error = np.full(known.shape[1], _UNKNOWN_ERROR_RATIO)
        cv2 = np.full(known.shape[1], _UNKNOWN_CV2)
        there = np.flatnonzero(counts)
        if len(there):
            many, seen = counts[there], np.where(known[:, there], times[:, there], 0.0)
            mean[there] = seen.sum(axis=0) / many
            off = np.maximum((seen**2).sum(axis=0) - many * mean[there] ** 2, 0.0)
            spread = off / np.maximum(mean[there], 1e-9) ** 2
            shared = (_CV2_WEIGHT * _UNKNOWN_CV2 + spread.sum()) / (_CV2_WEIGHT + (many - 1.0).sum())
            cv2[:] = shared
            cv2[there] = (_CV2_WEIGHT * shared + spread) / (_CV2_WEIGHT + many - 1.0)
            left = 1.0 - many / self.pool
            # The percentile moves with the mean and with the variation, of which few samples tell little as well.
            error[there] = _ERROR_FACTOR * np.sqrt(cv2[there] / many * left) + _LEAST_ERROR_RATIO * (left > 0.0)
        if 0 < len(there) < len(mean):
            logs = np.log(np.maximum(mean[there], 1e-4))
            prior = np.full(len(mean), float(logs.mean()))
            guess = self.space.times[at].belief(prior, _TIME_SCALES, there, logs, 0.02 + cv2[there] / counts[there])
            lacking = counts == 0
            mean[lacking], error[lacking] = np.exp(guess.mean[lacking]), guess.deviation[lacking]
        self._predicted[at] = (version, mean, cv2, error)
        return mean, cv2, error

    def all_times(self) -> tuple[Array, Array]:
        """(configurations, operators): mean and variance of times as they are known, or believed."""
        parts = [self._times(at) for at in range(len(self.table.prefixes))]
        mean, cv2 = self._by_configuration(parts, 0), self._by_configuration(parts, 1)
        return mean, cv2 * mean**2

    def all_figures(self) -> list[Figures]:
        """What is known, or believed, of each configuration's times and sizes."""
        return [
            Figures(mean_ms=row, variance_ms2=spread, output_bytes=size, source_bytes=self.source_bytes)
            for row, spread, size in zip(*self.all_times(), self.sizes, strict=True)
        ]

    def _by_configuration(self, parts: Sequence[tuple[Array, Array, Array]], which: int) -> Array:
        """(configurations, operators) of what stands by prefix."""
        return np.column_stack(
            [part[which][prefixes] for part, prefixes in zip(parts, self.table.prefixes, strict=True)]
        )

    def error_ratio(self) -> Array:
        """(configurations,): one standard error of the summed mean time, relative."""
        parts = [self._times(at) for at in range(len(self.table.prefixes))]
        mean, off = self._by_configuration(parts, 0), self._by_configuration(parts, 2)
        apart, together = np.sum((mean * off) ** 2, axis=1), np.sum(mean * off, axis=1) ** 2
        # A sample that takes one operator long does so with others: half of the errors swing together.
        return np.asarray(np.sqrt((apart + together) / 2.0) / np.maximum(mean.sum(axis=1), 1e-9))

    def timed(self) -> NDArray[np.intp]:
        """(configurations,): by how many samples each operator of it was timed at least, behind its prefix."""
        counts = [known.sum(axis=0)[prefixes] for known, prefixes in zip(self.known, self.table.prefixes, strict=True)]
        return np.asarray(np.min(counts, axis=0))

    @property
    def version(self) -> int:
        """Another number whenever something was measured since."""
        return sum(self._versions)

    def sample_s(self) -> Array:
        """(configurations,): about what a sample takes, caches aside, in seconds."""
        parts = [self._times(at)[0][prefixes] for at, prefixes in enumerate(self.table.prefixes)]
        return np.asarray(np.sum(parts, axis=0)) * self.table.items / 1e3


def new_memory(table: MeasuredTable) -> Memory:
    """Of nothing."""
    pool, count = table.scores.shape
    return Memory(
        seen=np.zeros((pool, count), dtype=bool),
        done=[np.zeros((pool, int(work.max()) + 1), dtype=bool) for work in table.work],
        known=[np.zeros(work.shape, dtype=bool) for work in table.work],
    )


def true_figures(table: MeasuredTable, configuration: int) -> Figures:
    """Times and sizes over the whole table."""
    prefix = [int(prefixes[configuration]) for prefixes in table.prefixes]
    times = [one[:, place] for one, place in zip(table.time_ms, prefix, strict=True)]
    return Figures(
        mean_ms=np.array([one.mean() for one in times]),
        variance_ms2=np.array([one.var() for one in times]),
        output_bytes=np.array([one[:, place].mean() for one, place in zip(table.output_bytes, prefix, strict=True)]),
        source_bytes=float(table.source_bytes.mean()),
    )


class PlanBook:
    """Plans of each configuration under a query's SLO, from what a meter knows.

    A configuration's plans are computed again when a time of its changed by more than ``_NEWS_RATIO``, and by more
    than a part of what it may be off.
    """

    def __init__(self, space: PlanSpace, slo: Slo, meter: Meter) -> None:
        self.space, self.slo, self.meter = space, slo, meter
        self._version = -1
        self._figures: list[Figures | None] = [None] * meter.count
        self._scored: list[Scored | None] = [None] * meter.count
        self._plan: list[int | None] = [None] * meter.count
        self._mean = np.zeros((meter.count, len(meter.table.prefixes)))
        self._deviation = np.zeros(meter.count)
        self._cost, self._low = np.full((2, meter.count), inf)
        self._ratio = np.ones(meter.count)

    def refresh(self) -> None:
        """Takes in what was measured since."""
        if self._version == self.meter.version:
            return
        self._version = self.meter.version
        mean, variance = self.meter.all_times()
        deviation = np.sqrt(variance.sum(axis=1))
        error = self.meter.error_ratio()
        moved = np.abs(mean - self._mean).sum(axis=1) + np.abs(deviation - self._deviation)
        # What was never computed has a mean of 0, and all is news.
        least = self._mean.sum(axis=1) * np.maximum(_NEWS_RATIO, _NEWS_ERROR_RATIO * error)
        news = np.flatnonzero(moved > least)
        if not len(news):
            return
        self._mean[news], self._deviation[news] = mean[news], deviation[news]
        known = self.meter.all_figures()
        for index in news.tolist():
            self._figures[index], self._scored[index] = known[index], None
        ratios = [[1.0, *np.exp(-error[index] * _HOPE_SIGMAS).tolist()] for index in news.tolist()]
        hopeless = []
        for index, row, found in zip(news.tolist(), ratios, self._tried(news.tolist(), ratios), strict=True):
            self._plan[index] = found[0][0] if found[0] is not None else None
            self._hope(index, row, found)
            if not self._ratio[index]:
                hopeless.append(index)
        far = [list(_FAR_RATIOS)] * len(hopeless)
        for index, row, found in zip(hopeless, far, self._tried(hopeless, far), strict=True):
            self._hope(index, row, found)

    def _tried(self, indices: Sequence[int], ratios: Sequence[Sequence[float]]) -> list[list[tuple[int, float] | None]]:
        """The cheapest plan of each configuration with times shorter by each of its ratios, and its cost."""
        tried = [self._shorter(index, ratio) for index, row in zip(indices, ratios, strict=True) for ratio in row]
        found = iter(self.space.cheapest(tried, self.slo))
        return [[next(found) for _ in row] for row in ratios]

    def _hope(self, index: int, ratios: Sequence[float], found: Sequence[tuple[int, float] | None]) -> None:
        """Keeps the least shortening of all times that gives a plan, its cost, and that of times that are short."""
        hopes = [(ratio, one[1]) for ratio, one in zip(ratios, found, strict=True) if one is not None]
        self._ratio[index], self._cost[index] = hopes[0] if hopes else (0.0, inf)
        short = [cost for ratio, cost in hopes if ratio >= ratios[min(_SHORT_AT, len(ratios) - 1)]]
        self._low[index] = short[-1] if short else self._cost[index]

    def _shorter(self, index: int, ratio: float) -> Figures:
        """Figures of a configuration with times shorter by a factor."""
        figures = self._figures[index]
        assert figures is not None
        # Where times are shorter than believed, they vary less than believed, too.
        return replace(
            figures, mean_ms=figures.mean_ms * ratio, variance_ms2=figures.variance_ms2 * ratio**_VARIANCE_POWER
        )

    def plan(self, configuration: int) -> int | None:
        """The cheapest plan of a configuration that meets the bounds on latency and cost."""
        self.refresh()
        return self._plan[configuration]

    def scored(self, configuration: int) -> Scored:
        """Every plan of a configuration."""
        self.refresh()
        scored, figures = self._scored[configuration], self._figures[configuration]
        if scored is None:
            assert figures is not None
            (scored,) = self.space.score([figures])
            self._scored[configuration] = scored
        return scored

    def low_costs(self) -> Array:
        """The cost of each configuration's cheapest plan if times are as short as in a tenth of all cases."""
        self.refresh()
        return np.asarray(np.minimum(self._low, self._cost))

    def costs(self, *, hopeful: bool = False) -> tuple[Array, Array]:
        """The cost of each configuration's cheapest plan (inf: none), and how likely there is one.

        Where there is none with the times as they are believed, but with shorter ones, how likely those are.
        ``hopeful``: nor is that given up where times were measured little, whatever is believed of them.
        """
        self.refresh()
        with np.errstate(divide="ignore"):
            off = -np.log(self._ratio) / np.maximum(self.meter.error_ratio(), 1e-9)
        chance = np.where(self._ratio < 1.0, ndtr(-off), 1.0)
        # A model of times over knobs may be wrong where nothing was measured.
        samples = self.meter.timed()
        least = _DOUBT_CHANCE / (1.0 + samples) ** 2 if hopeful else np.where(samples > 0, 0.0, _DOUBT_CHANCE)
        chance = np.where(self._ratio > 0.0, np.maximum(chance, np.where(samples < self.meter.pool, least, 0.0)), 0.0)
        return np.where(chance >= _LEAST_CHANCE, self._cost, inf), chance
