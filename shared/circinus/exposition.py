"""PURE. Figures as a page that Prometheus reads: its text format, version 0.0.4, with the names of OpenMetrics.

Written by hand: prometheus_client costs an agent 5 MB and a tenth of a second (ADR 39), and what it is for, counting in
the process, the windows of telemetry do already. A page is made lazily, line by line, so that whoever serves it can let
others take their turns, and stop at a size.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from circinus.sketch import RELATIVE_ERROR
from circinus.v1 import types_pb2

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper ends of the buckets of all histograms of times, in seconds: two or three for each power of ten.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MAX_LABEL_CHARS = 200
_MS_PER_S = 1000.0
_LOG_GAMMA = math.log((1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR))
#: By the index of a sketch's bucket: the last that lies below the end of each of ours, to within its 1%.
_BORDERS = tuple(round(math.log(bound_s * _MS_PER_S) / _LOG_GAMMA) for bound_s in BUCKETS_S)


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: its name, which ends in its unit (a counter's in ``_total``), what it says, and its labels in order."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Times by bucket, since the start. Times come as sketches of milliseconds, and are told in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, sketch: types_pb2.Sketch) -> None:
        """Counts the figures of a sketch; one that lies within 1% of a bucket's end may count on either side."""
        counts = self.counts
        for index, count in zip(sketch.indices, sketch.counts, strict=True):
            counts[bisect_left(_BORDERS, index)] += count
        counts[0] += sketch.zeros
        self.sum_s += sketch.sum / _MS_PER_S

    def add_s(self, value_s: float) -> None:
        """Counts one figure, in seconds."""
        self.counts[bisect_left(BUCKETS_S, value_s)] += 1
        self.sum_s += value_s

    @property
    def count(self) -> int:
        """How many figures there are."""
        return sum(self.counts)


Value = float | Histogram
#: One line, or a histogram's lines, of a metric: the values of its labels, and what it says.
Sample = tuple[Sequence[str], Value]
Family = tuple[Metric, Iterable[Sample]]


def one(metric: Metric, value: float | None) -> Family:
    """A metric without labels; None: it is not known now."""
    return metric, () if value is None else (((), value),)


def by(metric: Metric, values: Mapping[str, Value]) -> Family:
    """A metric with one label."""
    return metric, (((name,), value) for name, value in values.items())


def lines(families: Iterable[Family]) -> Iterator[str]:
    """The lines of a page; a metric without samples has none."""
    for metric, samples in families:
        begun = False
        for labels, value in samples:
            if not begun:
                begun = True
                yield f"# HELP {metric.name} {_help(metric.text)}\n# TYPE {metric.name} {metric.kind}\n"
            told = _told(metric.labels, labels)
            if isinstance(value, Histogram):
                yield _histogram_lines(metric.name, told, value)
            else:
                yield f"{metric.name}{{{told}}} {_number(value)}\n" if told else f"{metric.name} {_number(value)}\n"


def page(families: Iterable[Family]) -> str:
    """A whole page at once."""
    return "".join(lines(families))


def _histogram_lines(name: str, told: str, histogram: Histogram) -> str:
    comma = f"{told}," if told else ""
    found, seen = [], 0
    for bound_s, count in zip((*BUCKETS_S, math.inf), histogram.counts, strict=True):
        seen += count
        found.append(f'{name}_bucket{{{comma}le="{_number(bound_s)}"}} {seen}\n')
    braces = f"{{{told}}}" if told else ""
    found.append(f"{name}_sum{braces} {_number(histogram.sum_s)}\n{name}_count{braces} {seen}\n")
    return "".join(found)


def _told(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_label(value)}"' for name, value in zip(names, values, strict=True))


def _label(value: str) -> str:
    if value.isalnum() and len(value) <= _MAX_LABEL_CHARS:
        return value
    text = value[:_MAX_LABEL_CHARS].replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    # Half a pair of surrogates, from a file's name say, is no UTF-8.
    return text.encode("utf-8", "replace").decode()


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


__all__ = ["BUCKETS_S", "CONTENT_TYPE", "Family", "Histogram", "Kind", "Metric", "Sample", "by", "lines", "one", "page"]
