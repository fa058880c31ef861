"""PURE. How long a batch takes: learnt from those that were served.

T(n) = overhead + n x time per item, by least squares over recent batches, older ones forgotten by and by. Whoever has
only seen batches of one size can't tell the two apart, and then counts no overhead: batching is expected to gain
nothing until it has shown that it does.
"""

from __future__ import annotations

from math import sqrt

#: What a batch weighs when one more has been served; the memory is of about ten.
_KEEP_RATIO = 0.9
#: Weight of what is known from which on single outliers are cut off, and warm-up is over.
_SETTLED = 4.0
_OUTLIER_RATIO = 4.0
_WARM_UP_RATIO = 3.0
#: Variance of batch sizes that tells overhead from time per item.
_TELLING_VARIANCE = 0.05
_MAX_OVERHEAD_ITEMS = 100.0
#: Standard deviation over mean, before anything is known of it.
_UNKNOWN_SPREAD_RATIO = 0.25
_MIN_SPREAD_RATIO = 0.02


class ServiceTime:
    """What is known of the time that an operator takes for one use. Seconds."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._items = self._items2 = self._wall_s = self._items_wall_s = 0.0
        self._spread2 = _UNKNOWN_SPREAD_RATIO**2
        #: The overhead of a batch, in items; None: not known yet.
        self._overhead_items: float | None = None

    @property
    def settled(self) -> bool:
        """Whether enough batches were seen to let go of items for it: the first ones of a process are often slow."""
        return self._weight >= _SETTLED

    @property
    def batching_gains(self) -> bool:
        """Whether larger batches take less time per item, as far as is known (unknown: they may)."""
        return self._overhead_items is None or self._overhead_items > 0.05

    @property
    def spread_ratio(self) -> float:
        """Standard deviation over mean of a batch's time."""
        return max(_MIN_SPREAD_RATIO, sqrt(self._spread2))

    def batch_s(self, items: int) -> float:
        """Mean time of a batch of so many; 0: nothing is known."""
        if not self._weight:
            return 0.0
        overhead_items = self._overhead_items or 0.0
        mean_items = self._items / self._weight
        return self._wall_s / self._weight * (overhead_items + items) / (overhead_items + mean_items)

    def expected_s(self, items: int) -> float:
        """As batch_s, and 0 until it is settled."""
        return self.batch_s(items) if self.settled else 0.0

    def learn(self, items: int, wall_s: float) -> None:
        """A batch of so many took so long."""
        expected_s = self.batch_s(items)
        if self.settled:
            # One stall must not make everything that follows look hopeless.
            wall_s = min(wall_s, _OUTLIER_RATIO * expected_s)
        elif wall_s * _WARM_UP_RATIO < expected_s:
            # The first calls of a process load caches and models: they say nothing of the next ones.
            self._weight = self._items = self._items2 = self._wall_s = self._items_wall_s = 0.0
            self._spread2 = _UNKNOWN_SPREAD_RATIO**2
            expected_s = 0.0
        if expected_s > 0:
            self._spread2 = _KEEP_RATIO * self._spread2 + (1 - _KEEP_RATIO) * (wall_s / expected_s - 1) ** 2
        self._weight = _KEEP_RATIO * self._weight + 1.0
        self._items = _KEEP_RATIO * self._items + items
        self._items2 = _KEEP_RATIO * self._items2 + items * items
        self._wall_s = _KEEP_RATIO * self._wall_s + wall_s
        self._items_wall_s = _KEEP_RATIO * self._items_wall_s + items * wall_s
        self._part()

    def _part(self) -> None:
        """Tells overhead and time per item apart, where sizes differ enough."""
        mean_items, mean_s = self._items / self._weight, self._wall_s / self._weight
        variance = self._items2 / self._weight - mean_items**2
        if variance < _TELLING_VARIANCE:
            return
        per_item_s = (self._items_wall_s / self._weight - mean_items * mean_s) / variance
        overhead_s = max(0.0, mean_s - per_item_s * mean_items)
        per_item_s = max(per_item_s, overhead_s / _MAX_OVERHEAD_ITEMS, 1e-9)
        self._overhead_items = min(_MAX_OVERHEAD_ITEMS, overhead_s / per_item_s)
