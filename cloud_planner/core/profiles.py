"""Raw samples -> statistics: service time by operator, prefix and class; accuracy with its bounds. PURE.

What an operator's time and output depend on is its own knobs and those of its ancestors (its *prefix*), so samples
of all configurations with equal prefixes are measurements of one thing; a sample that was taken from the profiler's
cache repeats another one's figures and counts once. A hard page is slow everywhere: how far the stages of one item go
together is read off the samples that went through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Final

import numpy as np
from scipy.special import stdtrit

from circinus.model.device import DeviceClass
from circinus.model.pipeline import Configuration, OperatorId, Pipeline, configuration_key
from circinus.model.plan import Interval
from circinus.model.profile import ConfigurationProfile, ProfileTable
from cloud_planner.core.precision import Guarantee, accuracy_interval

#: How far stages go together is not said of fewer samples.
LEAST_CORRELATED: Final = 12
#: How often a predicted interval is to hold.
PREDICTED_RATIO: Final = 0.95
#: A class is compared with another one only over so many samples that both measured.
LEAST_SHARED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatistics:
    """One operator behind one prefix on one full core of a class; ``samples`` distinct items were measured.

    ``believed``: it comes from other measurements (believed_times.py); ``error_ratio`` is what that adds to its error.
    """

    mean_ms: float
    variance_ms2: float
    output_bytes: float
    memory_bytes: int
    samples: int
    accelerator_memory_bytes: int = 0
    error_ratio: float = 0.0
    believed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassStatistics:
    """All that is known of a pipeline's times on one class, by (operator, prefix key).

    ``source_bytes`` is the mean size of an item as it comes from the source; 0 if no sample says.
    """

    services: Mapping[tuple[OperatorId, str], ServiceStatistics]
    source_bytes: float

    def service(
        self, pipeline: Pipeline, operator_id: OperatorId, configuration: Configuration
    ) -> ServiceStatistics | None:
        """The statistics of an operator in a configuration; None: never measured."""
        return self.services.get((operator_id, prefix_key(pipeline, operator_id, configuration)))


def prefix_key(pipeline: Pipeline, operator_id: OperatorId, configuration: Configuration) -> str:
    """The key of what an operator's time depends on in a configuration: its own and its ancestors' knobs."""
    return configuration_key({name: configuration[name] for name in pipeline.upstream_knobs(operator_id)})


class _Series:
    """Measurements of one operator behind one prefix, by sample."""

    def __init__(self) -> None:
        self.measured: dict[int, list[tuple[float, int]]] = {}
        self.cached: dict[int, tuple[float, int]] = {}
        self.memory_bytes = 0
        self.accelerator_memory_bytes = 0

    def _by_sample(self) -> dict[int, list[tuple[float, int]]]:
        return {index: [figure] for index, figure in self.cached.items()} | self.measured

    def times_ms(self) -> dict[int, float]:
        """The mean time of each sample."""
        return {index: sum(time for time, _ in figures) / len(figures) for index, figures in self._by_sample().items()}

    def statistics(self, reference: Mapping[int, float]) -> ServiceStatistics:
        """Figures of this series; ``reference``: times by sample of the class that measured the most of them."""
        times_ms = self.times_ms()
        sizes = [size for figures in self._by_sample().values() for _, size in figures]
        mean_ms, variance_ms2 = _moments(list(times_ms.values()))
        samples = len(times_ms)
        shared = times_ms.keys() & reference.keys()
        total_ms = sum(reference[index] for index in shared)
        if len(reference) > samples and len(shared) >= LEAST_SHARED and total_ms > 0.0:
            slower = sum(times_ms[index] for index in shared) / total_ms
            reference_mean_ms, reference_variance_ms2 = _moments(list(reference.values()))
            mean_ms, variance_ms2 = slower * reference_mean_ms, slower**2 * reference_variance_ms2
            samples = len(reference)
        return ServiceStatistics(
            mean_ms=mean_ms,
            variance_ms2=variance_ms2,
            output_bytes=sum(sizes) / len(sizes),
            memory_bytes=self.memory_bytes,
            samples=samples,
            accelerator_memory_bytes=self.accelerator_memory_bytes,
        )


def _series(
    pipeline: Pipeline, profiles: tuple[ConfigurationProfile, ...]
) -> tuple[dict[tuple[OperatorId, str], _Series], float]:
    """The measurements of one class by (operator, prefix), and the mean size of a source's item."""
    series: dict[tuple[OperatorId, str], _Series] = {}
    source_sizes: list[int] = []
    for profile in profiles:
        keys = {
            operator.id: prefix_key(pipeline, operator.id, profile.configuration) for operator in pipeline.operators
        }
        if profile.source_bytes > 0:
            source_sizes.append(profile.source_bytes)
        for sample in profile.samples:
            for measured in sample.operators:
                if measured.operator_id not in keys:
                    continue
                entry = series.setdefault((measured.operator_id, keys[measured.operator_id]), _Series())
                figure = (measured.wall_ms, measured.output_bytes)
                if measured.cached:
                    entry.cached[sample.sample_index] = figure
                else:
                    entry.measured.setdefault(sample.sample_index, []).append(figure)
        for operator_id, memory_bytes in profile.memory_bytes.items():
            found = series.get((operator_id, keys.get(operator_id, "")))
            if found is not None:
                found.memory_bytes = max(found.memory_bytes, memory_bytes)
                held_bytes = profile.accelerator_memory_bytes.get(operator_id, 0)
                found.accelerator_memory_bytes = max(found.accelerator_memory_bytes, held_bytes)
    return series, sum(source_sizes) / len(source_sizes) if source_sizes else 0.0


def times_of(table: ProfileTable, pipeline: Pipeline) -> dict[DeviceClass, ClassStatistics]:
    """Service statistics of every class in a table. O(samples x operators).

    A class that measured few samples is compared, sample by sample, with the one that measured the most: how much
    slower it is is known well from few pairs, while the mean over few pages says more of those pages than of the
    class (ratio estimation; Cochran, Sampling Techniques, chapter 6).
    """
    classes = {device_class: _series(pipeline, profiles) for device_class, profiles in table.times.items()}
    reference: dict[tuple[OperatorId, str], dict[int, float]] = {}
    for _, (series, _bytes) in sorted(classes.items()):
        for key, entry in series.items():
            times_ms = entry.times_ms()
            if len(times_ms) > len(reference.get(key, {})):
                reference[key] = times_ms
    return {
        device_class: ClassStatistics(
            services={key: entry.statistics(reference[key]) for key, entry in series.items()},
            source_bytes=source_bytes,
        )
        for device_class, (series, source_bytes) in classes.items()
    }


def stage_correlation_ratio(profiles: Sequence[ConfigurationProfile], configuration: Configuration) -> float:
    """How far the stages of an item go together, 0..1: the one correlation with which their variances give the sum's.

    From the class that took the most samples of the configuration; 0 where fewer than ``LEAST_CORRELATED`` did.
    """
    key = configuration_key(configuration)
    best: list[list[float]] = []
    for profile in profiles:
        if configuration_key(profile.configuration) != key:
            continue
        count = max((len(sample.operators) for sample in profile.samples), default=0)
        rows = [
            [one.wall_ms for one in sample.operators] for sample in profile.samples if len(sample.operators) == count
        ]
        best = max(best, rows, key=len)
    if len(best) < LEAST_CORRELATED:
        return 0.0
    times = np.array(best)
    variance = times.var(axis=0, ddof=1)
    apart = float(variance.sum())
    together = float(np.sqrt(variance).sum() ** 2)
    if together - apart <= 1e-9:
        return 0.0
    return float(np.clip((times.sum(axis=1).var(ddof=1) - apart) / (together - apart), 0.0, 1.0))


def accuracy_prediction(scores: Mapping[int, float], *, items: int) -> Interval:
    """Where the mean score of so many further items falls with 95%, within [0, 1].

    How far the accuracy may be off by an interval that holds whenever it is looked at (precision.py), since the
    configuration was picked for its scores; and how far the items' mean may be off from it: normal, in the mean of
    squares.

    Raises:
        ValueError: there are no scores, or no items.
    """
    if not scores or items < 1:
        raise ValueError(f"a prediction needs scores and items; there are {len(scores)} scores and {items} items")
    mean, variance = _score_moments(scores)
    if len(scores) == 1:
        return Interval(value=mean, low=0.0, high=1.0)
    values = np.array([scores[index] for index in sorted(scores)])
    known = accuracy_interval(values, len(values), 1.0 - PREDICTED_RATIO, Guarantee.POPULATION)
    noise = _t(0.5 + PREDICTED_RATIO / 2.0, len(scores) - 1) * sqrt(variance / items)
    return Interval(
        value=mean,
        low=max(0.0, mean - hypot(mean - known.low, noise)),
        high=min(1.0, mean + hypot(known.high - mean, noise)),
    )


def _score_moments(scores: Mapping[int, float]) -> tuple[float, float]:
    """Mean and variance of scores, the variance with its floor."""
    mean, variance = _moments(list(scores.values()))
    return mean, max(variance, (0.5 / len(scores)) ** 2)


def _moments(values: list[float]) -> tuple[float, float]:
    """Mean and unbiased variance; a single value has variance 0."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    return mean, sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _t(probability_ratio: float, freedom: int) -> float:
    """Quantile of Student's t."""
    return float(stdtrit(freedom, probability_ratio))
