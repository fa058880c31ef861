"""What a little more of something would bring: by its price, and by solving again. PURE.

A dual value is the slope at what there is now; one more core is a step. The linear optimum is concave in capacity, so
the slope before the step is the most that it can bring and the slope after it the least. Where they are far apart, the
price says little of the step, and the value is called degenerate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.pricing import Aim
from cloud_planner.core.column_generation.programmes import Masters
from cloud_planner.core.column_generation.space import Array, SelectionSpace

#: Slopes before and after a step that differ by more than this, relatively, are different.
DEGENERATE_RATIO = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What more of some rows brings to what is maximised: by their prices, by the prices after it, and truly."""

    by_price: float
    by_later_price: float
    resolved: float

    @property
    def degenerate(self) -> bool:
        """Whether the slope changes on the way."""
        most = max(abs(self.by_price), abs(self.by_later_price))
        return abs(self.by_price - self.by_later_price) > DEGENERATE_RATIO * most + 1e-12


def sensitivity(
    space: SelectionSpace, aim: Aim, masters: Masters, relaxation: Relaxation, more: Array
) -> Sensitivity | None:
    """What ``more`` (rows,) brings in the whole-space relaxation; None: it could not be solved again."""
    larger = replace(space, capacity=space.capacity + more)
    start = (relaxation.members, relaxation.plans)
    again = generate(larger, aim, masters, start=start, prices=relaxation.prices)
    if not again.solved:
        return None
    return Sensitivity(
        by_price=float(relaxation.prices.row @ more),
        by_later_price=float(again.prices.row @ more),
        resolved=again.bound - relaxation.bound,
    )
