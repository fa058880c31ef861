"""An independent check of selections: sums from the raw tables, and bounds against what was found. PURE."""

from __future__ import annotations

from collections.abc import Mapping

from cloud_planner.core.column_generation.space import Indices, SelectionSpace

#: A sum within so much of a limit, relative, is within it.
_TOLERANCE_RATIO = 1e-6


def check(space: SelectionSpace, choice: Indices, goodput_per_s: float, cost_per_h: float) -> tuple[str, ...]:
    """What is wrong with a selection: plans that don't exist, rows that are exceeded, figures that don't add up."""
    found: list[str] = []
    if len(choice) != len(space.worth):
        return (f"there are {len(choice)} choices for {len(space.worth)} queries",)
    used = [0.0] * len(space.capacity)
    goodput = cost = 0.0
    for member, plan in enumerate(choice.tolist()):
        kind = space.kinds[space.kind[member]]
        if plan < 0:
            continue
        if plan >= len(kind.cost_per_h):
            found.append(f"query {member} takes plan {plan} of {len(kind.cost_per_h)}")
            continue
        goodput += float(space.worth[member])
        cost += float(kind.cost_per_h[plan])
        for row, amount in zip(space.slots[member].tolist(), kind.use[plan].tolist(), strict=False):
            if amount and row < len(used):
                used[row] += amount
    for row, (there, load) in enumerate(zip(space.capacity.tolist(), used, strict=True)):
        if load > there * (1.0 + _TOLERANCE_RATIO):
            found.append(f"row {row} has {there:.6g}, {load:.6g} is taken")
    for name, said, right in (("goodput", goodput_per_s, goodput), ("cost", cost_per_h, cost)):
        if abs(said - right) > _TOLERANCE_RATIO * max(1.0, abs(right)):
            found.append(f"{name} is said to be {said:.9g}, plans add up to {right:.9g}")
    return tuple(found)


def contradictions(bounds: Mapping[str, float], goodputs: Mapping[str, float]) -> tuple[str, ...]:
    """Bounds of one instance that are below what some method found."""
    return tuple(
        f"the bound of {name} is {bound:.9g}, {other} found {goodput:.9g}"
        for name, bound in bounds.items()
        for other, goodput in goodputs.items()
        if bound < goodput * (1.0 - _TOLERANCE_RATIO)
    )
