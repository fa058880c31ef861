"""Many queries on one fleet, for planners that think of one at a time: who gets what is left. PURE.

In an order of the planner's, each query takes the cheapest plan that it would accept (knowledge.py) and that fits what
those before it left. What nothing fits is turned away, so that no planner is let to overload a machine and lose all.
Most go in order of arrival. VideoStorm's scheduler gives increments of resources to the best marginal utility; where
every query has the same goal, that is to finish first those that need least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.baselines.jellybean import greedy_tiers
from cloud_planner.baselines.knowledge import Wanted
from cloud_planner.core.estimate import SLACK_RATIO

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True, kw_only=True)
class Room:
    """What is left: ``cores`` by machine, ``bit_per_s`` that may be planned by pair of machines, from and to."""

    cores: dict[str, float]
    bit_per_s: dict[tuple[str, str], float]

    def copy(self) -> Room:
        """Another that is filled apart from this one."""
        return Room(cores=dict(self.cores), bit_per_s=dict(self.bit_per_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeker:
    """A query that looks for room: its number, the machine of each of its tiers, and what would do."""

    number: int
    machines: tuple[str, ...]
    wanted: Wanted


def in_order_of_need(seekers: Iterable[Seeker]) -> list[Seeker]:
    """Those first that take the least part of a machine; of equals in order of arrival."""
    return sorted(seekers, key=lambda one: (one.wanted.least_share_ratio, one.number))


def first_fit(seekers: Sequence[Seeker], room: Room) -> dict[int, int]:
    """For each query that finds room, in this order, the row of what it wanted; fills the room."""
    found: dict[int, int] = {}
    for seeker in seekers:
        rows = np.flatnonzero(_fits(seeker, room))
        if len(rows):
            row = int(rows[0])
            found[seeker.number] = row
            _fill(seeker, row, room)
    return found


def _fits(seeker: Seeker, room: Room) -> NDArray[np.bool_]:
    wanted, machines = seeker.wanted, seeker.machines
    there = np.array([room.cores[name] for name in machines])
    fits: NDArray[np.bool_] = np.all(wanted.takes.cores <= there + SLACK_RATIO, axis=1)
    for low, high in _pairs(seeker):
        left = room.bit_per_s.get((machines[low], machines[high]), 0.0)
        fits &= wanted.takes.bit_per_s[:, low, high] <= left * (1.0 + SLACK_RATIO)
    if wanted.greedy:
        fits &= _greedily_placed(wanted, there)
    return fits


def _greedily_placed(wanted: Wanted, there: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows whose placement is the one that a greedy assignment makes of these cores."""
    space = copy(wanted.space)
    space.tiers = tuple(replace(tier, cores=float(cores)) for tier, cores in zip(space.tiers, there, strict=True))
    chosen = np.zeros(len(wanted.plan), dtype=bool)
    for index, figures in wanted.greedy.items():
        place = greedy_tiers(space, figures)
        if place is not None:
            rows = np.flatnonzero(wanted.configuration == index)
            chosen[rows] = np.all(space.place[wanted.plan[rows]] == np.array(place), axis=1)
    return chosen


def _fill(seeker: Seeker, row: int, room: Room) -> None:
    takes = seeker.wanted.takes
    for tier, name in enumerate(seeker.machines):
        room.cores[name] -= float(takes.cores[row, tier])
    for low, high in _pairs(seeker):
        bits = float(takes.bit_per_s[row, low, high])
        if bits:
            room.bit_per_s[seeker.machines[low], seeker.machines[high]] -= bits


def _pairs(seeker: Seeker) -> list[tuple[int, int]]:
    tiers = len(seeker.machines)
    return [(low, high) for low in range(tiers) for high in range(low + 1, tiers)]
