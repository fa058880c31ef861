"""Order and cycles of a DAG given as names with the names that each reads. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def topological(inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in an order in which each comes after its inputs; among those that could come, the first written.

    Inputs that are no name of the mapping don't count. Names on a cycle, or behind one, are left out.
    """
    ordered: list[str] = []
    placed: set[str] = set()
    waiting = list(inputs)
    while waiting:
        ready = next((name for name in waiting if all(i in placed or i not in inputs for i in inputs[name])), None)
        if ready is None:
            break
        ordered.append(ready)
        placed.add(ready)
        waiting.remove(ready)
    return ordered


def cycles(inputs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Cycles in the direction of the data, each from its first-written name; disjoint, at least one if there is any."""
    order = {name: index for index, name in enumerate(inputs)}
    found: list[tuple[str, ...]] = []
    left = {name: [i for i in reads if i in inputs] for name, reads in inputs.items()}
    while stuck := set(left) - set(topological(left)):
        # Whoever can't be placed has an input that can't be placed either: walking up must come round.
        name = min(stuck, key=order.__getitem__)
        walk: list[str] = []
        while name not in walk:
            walk.append(name)
            name = next(i for i in left[name] if i in stuck)
        cycle = list(reversed(walk[walk.index(name) :]))
        first = cycle.index(min(cycle, key=order.__getitem__))
        found.append(tuple(cycle[first:] + cycle[:first]))
        left = {n: [i for i in reads if i not in cycle] for n, reads in left.items() if n not in cycle}
    return found


def ancestors(inputs: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> set[str]:
    """The wanted names and all that they read, directly or not."""
    reached: set[str] = set()
    waiting = [name for name in wanted if name in inputs]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(i for i in inputs[name] if i in inputs)
    return reached
