"""A mergeable sketch of non-negative figures: quantiles with a relative error of at most 1%, in bounded memory.

Buckets grow geometrically, so that any figure of a bucket is within 1% of what stands for it; sketches merge by adding
counts, and the merge is the very sketch that all figures together would have given. Cf. Masson, Rim, Lee, "DDSketch"
(VLDB 2019). When there are too many buckets the lowest are put together: high quantiles, which promises are about,
stay exact to 1%.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Self

from circinus.errors import InvalidInput
from circinus.v1 import types_pb2
from circinus.wire import check

#: A quantile is within so much of the figure at its rank.
RELATIVE_ERROR = 0.01
#: Buckets of one sketch at most; they span nine powers of ten.
MAX_BUCKETS = 1024
#: Figures below are zeros, figures above count as this.
MIN_VALUE = 1e-9
MAX_VALUE = 1e15
_GAMMA = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_MAX_COUNT = 2**62
#: Rounding at the border of a bucket.
_SLACK = 1e-9


class Sketch:
    """Counts by bucket; bucket i holds figures above gamma^(i-1) and up to gamma^i."""

    __slots__ = ("_counts", "count", "max", "min", "sum", "zeros")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.zeros = 0
        self.count = 0
        self.sum = 0.0
        self.min = 0.0
        self.max = 0.0
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """Counts a figure.

        Raises:
            InvalidInput: it is negative or no number.
        """
        if not 0.0 <= value < math.inf:
            raise InvalidInput(f"sketch: {value!r} is no figure from 0 up")
        value = min(value, MAX_VALUE)
        self._span(value, value)
        self.count += 1
        self.sum += value
        if value < MIN_VALUE:
            self.zeros += 1
            return
        index = _index(value)
        self._counts[index] = self._counts.get(index, 0) + 1
        self._collapse()

    def merge(self, other: Sketch) -> None:
        """Counts all that the other one has."""
        if not other.count:
            return
        self._span(other.min, other.max)
        self.count += other.count
        self.sum += other.sum
        self.zeros += other.zeros
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self._collapse()

    def quantile(self, share_ratio: float) -> float:
        """The figure at the nearest rank of this share (0..1); 0 without figures."""
        if not self.count:
            return 0.0
        rank = min(self.count, max(1, math.ceil(share_ratio * self.count)))
        if rank <= self.zeros:
            return self.min
        seen = self.zeros
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return min(max(_value(index), self.min), self.max)
        return self.max

    def share_up_to(self, value: float) -> float:
        """The share of figures that are at most this, by buckets; 0 without figures."""
        if not self.count:
            return 0.0
        below = self.zeros + sum(count for index, count in self._counts.items() if _value(index) <= value)
        return below / self.count

    @property
    def mean(self) -> float:
        """The mean; 0 without figures."""
        return self.sum / self.count if self.count else 0.0

    def message(self) -> types_pb2.Sketch:
        """As it crosses the wire."""
        indices = sorted(self._counts)
        return types_pb2.Sketch(
            indices=indices,
            counts=[self._counts[index] for index in indices],
            zeros=self.zeros,
            sum=self.sum,
            min=self.min,
            max=self.max,
        )

    @classmethod
    def of(cls, message: types_pb2.Sketch, field: str = "sketch") -> Self:
        """What came over the wire, or out of the store.

        Raises:
            InvalidInput: it is no sketch: its lists don't fit together, or its figures can't be.
            TooLarge: it has too many buckets.
        """
        check.size(f"{field}.indices", message.indices, MAX_BUCKETS)
        if len(message.indices) != len(message.counts):
            raise InvalidInput(f"{field}: {len(message.indices)} indices but {len(message.counts)} counts")
        found = cls()
        found._counts = dict(zip(message.indices, message.counts, strict=True))
        found.zeros = message.zeros
        found.count = message.zeros + sum(message.counts)
        found.sum = check.number(f"{field}.sum", message.sum, high=found.count * MAX_VALUE)
        found.min = check.number(f"{field}.min", message.min, high=MAX_VALUE)
        found.max = check.number(f"{field}.max", message.max, high=MAX_VALUE)
        _check_fit(found, message, field)
        return found

    def _span(self, low: float, high: float) -> None:
        self.min = min(self.min, low) if self.count else low
        self.max = max(self.max, high)

    def _collapse(self) -> None:
        if len(self._counts) <= MAX_BUCKETS:
            return
        indices = sorted(self._counts)
        keep = indices[-MAX_BUCKETS]
        for index in indices[:-MAX_BUCKETS]:
            self._counts[keep] += self._counts.pop(index)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sketch)
            and (self._counts, self.zeros, self.min, self.max) == (other._counts, other.zeros, other.min, other.max)
            and math.isclose(self.sum, other.sum, rel_tol=1e-9, abs_tol=1e-12)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Sketch(count={self.count}, p50={self.quantile(0.5):g}, p95={self.quantile(0.95):g}, max={self.max:g})"


def add_message(into: types_pb2.Sketch, more: types_pb2.Sketch) -> None:
    """What ``merge`` does, on messages that were checked already: many small ones are added up this way."""
    if not (more.counts or more.zeros):
        return
    fresh = not (into.counts or into.zeros)
    counts = dict(zip(into.indices, into.counts, strict=True))
    for index, count in zip(more.indices, more.counts, strict=True):
        counts[index] = counts.get(index, 0) + count
    indices = sorted(counts)
    for index in indices[:-MAX_BUCKETS]:
        counts[indices[-MAX_BUCKETS]] += counts.pop(index)
    indices = indices[-MAX_BUCKETS:]
    into.indices[:] = indices
    into.counts[:] = [counts[index] for index in indices]
    into.zeros += more.zeros
    into.sum += more.sum
    into.min = more.min if fresh else min(into.min, more.min)
    into.max = more.max if fresh else max(into.max, more.max)


def _check_fit(found: Sketch, message: types_pb2.Sketch, field: str) -> None:
    if found.count >= _MAX_COUNT or any(count < 1 for count in message.counts):
        raise InvalidInput(f"{field}: counts must be from 1 up and below 2**62 together")
    if any(a >= b for a, b in pairwise(message.indices)):
        raise InvalidInput(f"{field}: indices must ascend")
    low, high = _index(MIN_VALUE), _index(MAX_VALUE)
    if message.indices and not (low <= message.indices[0] and message.indices[-1] <= high):
        raise InvalidInput(f"{field}: indices must be between {low} and {high}")
    if not found.count and (found.min or found.max):
        raise InvalidInput(f"{field}: it has a least or a largest figure, but no figures")
    lowest = 0.0 if message.zeros else _upper(message.indices[0]) if message.indices else 0.0
    least = _upper(message.indices[-1] - 1) if message.indices else 0.0
    most = _upper(message.indices[-1]) if message.indices else MIN_VALUE
    fits = found.min <= found.max and found.min <= max(lowest, MIN_VALUE) * (1.0 + _SLACK)
    if found.count and not (fits and least * (1.0 - _SLACK) <= found.max <= most * (1.0 + _SLACK)):
        raise InvalidInput(f"{field}: from {found.min:g} to {found.max:g} doesn't fit its buckets")
    total = found.count * found.max
    if not found.min * found.count * (1.0 - 1e-6) <= found.sum <= total * (1.0 + 1e-6) + MIN_VALUE:
        raise InvalidInput(f"{field}: the sum {found.sum:g} is not that of {found.count} such figures")


def _index(value: float) -> int:
    return math.ceil(math.log(value) / _LOG_GAMMA)


def _upper(index: int) -> float:
    return math.exp(index * _LOG_GAMMA)


def _value(index: int) -> float:
    """What stands for the bucket: within RELATIVE_ERROR of both its ends."""
    return 2.0 * _upper(index) / (_GAMMA + 1.0)
