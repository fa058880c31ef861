"""Results -> figures with intervals, the Pareto front, spreads. PURE.

Accuracy has a 95% interval by Student's t over the samples of a content; for the few that are looked at on their own it
is that of one figure, not of the best of many. Times are CPU milliseconds of one core, means over samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev

from circinus.model.pipeline import Configuration
from circinus.model.plan import Interval
from edge_agent.local.results import OperatorFigure, Results, SampleLine

CONFIDENCE_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSummary:
    """An operator in one configuration on one content: means over samples."""

    operator_id: str
    cpu_ms: float
    deviation_ms: float
    output_bytes: float
    parts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration on one content. ``cpu_ms`` is the sum over operators; ``corpus`` the metrics of the field."""

    configuration: Configuration
    accuracy: Interval
    samples: int
    failures: int
    cpu_ms: float
    operators: tuple[OperatorSummary, ...]
    source_bytes: float
    corpus: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSummary:
    """All configurations on one content, in the pipeline's order; ``front`` are the positions that nothing beats."""

    content: str
    samples: int
    rows: tuple[Row, ...]
    front: tuple[int, ...]

    @property
    def best(self) -> int:
        """The position of the most accurate row; of equals the cheapest."""
        return max(range(len(self.rows)), key=lambda at: (self.rows[at].accuracy.value, -self.rows[at].cpu_ms))

    @property
    def accuracy_spread_ratio(self) -> float:
        """From the worst to the best configuration's accuracy."""
        values = [row.accuracy.value for row in self.rows]
        return max(values) - min(values)

    @property
    def time_spread(self) -> float:
        """The dearest configuration's CPU time over the cheapest's."""
        times = [row.cpu_ms for row in self.rows]
        return max(times) / min(times)

    def cheapest_within(self, loss_ratio: float) -> int:
        """The position of the cheapest row whose accuracy is at most so far below the best's."""
        least = self.rows[self.best].accuracy.value - loss_ratio
        good = [at for at, row in enumerate(self.rows) if row.accuracy.value >= least]
        return min(good, key=lambda at: self.rows[at].cpu_ms)


def summarise(
    results: Results, corpus: Mapping[str, Sequence[Mapping[str, float]]] | None = None
) -> tuple[ContentSummary, ...]:
    """The contents of which there are samples. ``corpus``: by content, the field's metrics by configuration."""
    return tuple(
        _content(results, content, lines, (corpus or {}).get(content, ()))
        for content in results.header.contents
        if (lines := results.of(content))
    )


def _content(
    results: Results, content: str, lines: Sequence[SampleLine], corpus: Sequence[Mapping[str, float]]
) -> ContentSummary:
    source_bytes = fmean(line.source_bytes for line in lines)
    by_prefix: dict[tuple[str, int], OperatorSummary] = {}
    rows = []
    for at, configuration in enumerate(results.header.configurations):
        operators = []
        for name in results.header.operators:
            place = results.header.prefixes[name][at]
            if (name, place) not in by_prefix:
                by_prefix[name, place] = _operator(name, [line.figures[name][place] for line in lines])
            operators.append(by_prefix[name, place])
        scores = [line.scores[at] for line in lines]
        rows.append(
            Row(
                configuration=configuration,
                accuracy=mean_interval(scores),
                samples=len(scores),
                failures=sum(1 for line in lines if at in line.errors),
                cpu_ms=sum(operator.cpu_ms for operator in operators),
                operators=tuple(operators),
                source_bytes=source_bytes,
                corpus=corpus[at] if corpus else {},
            )
        )
    points = [(row.cpu_ms, row.accuracy.value) for row in rows]
    return ContentSummary(content=content, samples=len(lines), rows=tuple(rows), front=pareto_front(points))


def _operator(name: str, figures: Iterable[OperatorFigure | None]) -> OperatorSummary:
    there = [figure for figure in figures if figure is not None]
    times = [figure.cpu_ms for figure in there]
    parts = [figure.parts for figure in there if figure.parts is not None]
    return OperatorSummary(
        operator_id=name,
        cpu_ms=fmean(times) if times else 0.0,
        deviation_ms=stdev(times) if len(times) > 1 else 0.0,
        output_bytes=fmean(figure.output_bytes for figure in there) if there else 0.0,
        parts=fmean(parts) if parts else None,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Positions of the (cost, worth) that no other has at no more cost and more worth, by cost.

    Of equal points the first stays. O(n log n).
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1], at))
    front: list[int] = []
    for at in order:
        if not front or points[at][1] > points[front[-1]][1]:
            front.append(at)
    return tuple(front)


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of values in 0..1 with its 95% interval, which one value alone leaves at [0, 1].

    The deviation is never taken below 1 / (2n): equal scores say that others are rare, not that there are none.
    """
    mean = fmean(values)
    count = len(values)
    if count < 2:
        return Interval(value=mean, low=0.0, high=1.0)
    half = t_quantile(0.5 + CONFIDENCE_RATIO / 2, count - 1) * max(stdev(values), 0.5 / count) / sqrt(count)
    return Interval(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def t_quantile(probability_ratio: float, freedom: int) -> float:
    """Student's t by its expansion around the normal (Abramowitz and Stegun 26.7.5).

    Off by 11% at 1 degree of freedom, 1% at 2, nothing that counts from 3 on. An author's machine need not have scipy.
    """
    z: float = NormalDist().inv_cdf(probability_ratio)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** (power + 1) for power, term in enumerate(terms))
