"""Whether replicas really fit machine by machine: totals do not say so. PURE.

Vector bin packing. First-fit decreasing gives an answer; a bounded depth-first search over maximal patterns (what one
machine can hold at most) betters it where the lower bound leaves room.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from cloud_planner.core.estimate import SLACK_RATIO
from cloud_planner.core.resources import Shape

Pattern = tuple[int, ...]

_SEARCH_NODES = 20_000
_MOST_PATTERNS = 2_000


def _room(shape: Shape, left: tuple[float, ...], most: int) -> int:
    """How many replicas of a shape still fit into what is left, at most so many."""
    count = most
    for used, there in zip(shape, left, strict=True):
        if used > 0:
            count = min(count, int(there / used + SLACK_RATIO * 10.0))
    return count


def _order(shapes: Mapping[Shape, int], machine: Shape) -> list[Shape]:
    """Largest first, by dominant share of the machine."""

    def share(shape: Shape) -> float:
        return max(
            (used / there for used, there in zip(shape, machine, strict=True) if used > 0 and there > 0), default=0.0
        )

    return sorted(shapes, key=lambda shape: (-share(shape), shape))


def maximal_patterns(
    shapes: Mapping[Shape, int], machine: Shape, most: int = _MOST_PATTERNS
) -> tuple[list[Pattern], bool]:
    """What one machine can hold at most: counts by shape, in order of the mapping.

    Args:
        shapes: The largest count that matters of each shape.
        machine: Cores, memory, slots and accelerator memory of one machine.
        most: Patterns listed at most.

    Returns:
        The patterns, and whether these are all.
    """
    names = list(shapes)
    found: list[Pattern] = []

    def extend(index: int, left: tuple[float, ...], counts: list[int]) -> bool:
        if index == len(names):
            pattern = tuple(counts)
            grows = any(counts[i] < shapes[name] and _room(name, left, 1) >= 1 for i, name in enumerate(names))
            if any(pattern) and not grows:
                found.append(pattern)
            return len(found) < most
        shape = names[index]
        for count in range(_room(shape, left, shapes[shape]), -1, -1):
            rest = tuple(there - count * used for used, there in zip(shape, left, strict=True))
            if not extend(index + 1, rest, [*counts, count]):
                return False
            if index == len(names) - 1:
                break  # a lower count of the last shape is not maximal
        return True

    complete = extend(0, machine, [])
    return found, complete


def machines_needed(shapes: Mapping[Shape, int], machine: Shape) -> int:
    """How many machines hold the replicas: exact for small cases, else what first-fit decreasing finds.

    Every shape must fit a machine.
    """
    wanted = {shape: count for shape, count in shapes.items() if count > 0}
    if not wanted:
        return 0
    heuristic = _first_fit(wanted, machine)
    bound = _least(wanted, machine)
    if heuristic <= bound:
        return heuristic
    patterns, complete = maximal_patterns(wanted, machine, most=200)
    if not complete:
        return heuristic
    return _search(tuple(wanted.values()), patterns, bound, heuristic)


def _least(shapes: Mapping[Shape, int], machine: Shape) -> int:
    """A lower bound: the totals, rounded up; at least 1."""
    least = 1
    for dimension, there in enumerate(machine):
        total = sum(shape[dimension] * count for shape, count in shapes.items())
        if there > 0:
            least = max(least, ceil(total / there - SLACK_RATIO * 10.0))
    return least


def _first_fit(shapes: Mapping[Shape, int], machine: Shape) -> int:
    """First-fit decreasing, machine by machine."""
    left = {shape: shapes[shape] for shape in _order(shapes, machine)}
    machines = 0
    while any(left.values()):
        machines += 1
        room: tuple[float, ...] = machine
        taken: dict[Shape, int] = {}
        for shape, count in left.items():
            taken[shape] = _room(shape, room, count)
            room = tuple(there - taken[shape] * used for used, there in zip(shape, room, strict=True))
        if not any(taken.values()):
            raise ValueError(f"a replica of shape {next(iter(left))} does not fit a machine of {machine}")
        repeats = min((left[shape] // count for shape, count in taken.items() if count), default=1)
        machines += repeats - 1
        for shape, count in taken.items():
            left[shape] -= count * repeats
    return machines


def _search(wanted: Pattern, patterns: list[Pattern], bound: int, heuristic: int) -> int:
    """Depth-first: cover the counts with fewer patterns than the heuristic, within a number of nodes."""
    nodes = 0

    def cover(left: Pattern, budget: int, start: int) -> bool:
        nonlocal nodes
        nodes += 1
        if not any(left):
            return True
        if budget == 0 or nodes > _SEARCH_NODES:
            return False
        for index in range(start, len(patterns)):
            pattern = patterns[index]
            if any(count and need for count, need in zip(pattern, left, strict=True)):
                rest = tuple(max(0, need - count) for need, count in zip(left, pattern, strict=True))
                if cover(rest, budget - 1, index):
                    return True
        return False

    for budget in range(bound, heuristic):
        if budget > 200:  # deeper than a search gets anywhere
            break
        if cover(wanted, budget, 0):
            return budget
    return heuristic
