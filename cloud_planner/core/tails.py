"""What the rest of a route takes at least: along the longest way on, from each machine. PURE.

For a weight w on time the least of cost + w x time over a way's choices and machines is exact (it is a shortest path);
what it leaves out, the other ways and all variance, can only add. So ``cost + least - w x time left`` is a bound on the
cost of any route that is in time, for each w (Lagrange).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud_planner.core.moment import Array
from cloud_planner.core.network import SECONDS_PER_H
from cloud_planner.core.problem import Candidate
from cloud_planner.core.steps import UNBOUNDED, Choices, Skeleton, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Pairs of a weight on cost and a weight on time in ms."""

    cost: Array
    time: Array

    @classmethod
    def of(cls, times: Sequence[float]) -> Weights:
        """Time alone, and cost with each of these weights on time."""
        return cls(cost=np.array([0.0, *(1.0 for _ in times)]), time=np.array([1.0, *times]))


class Tails:
    """Least weights of what follows; candidates that end alike share them."""

    def __init__(self, space: Space, skeleton: Skeleton, weights: Weights) -> None:
        """For candidates of one skeleton."""
        self.space, self.skeleton, self.weights = space, skeleton, weights
        self.known: dict[tuple[object, ...], Array] = {}
        self.least: dict[int, Array] = {}

    def of(
        self, candidate: Candidate, choices: Sequence[Choices], done: int, ends: Sequence[int]
    ) -> dict[int, tuple[Array, float]]:
        """For each of some steps with all up to ``done`` chosen: (weights, machines), and the cost of other steps.

        The first is the least that follows on the longest way on from the step if it is on that machine; other steps
        are those to come that are not on that way, at their cheapest.
        """
        stay, cost = [each.least_stay_ms for each in choices], [each.least_cost_per_h for each in choices]
        longest = [0.0] * len(stay)
        follows = [-1] * len(stay)
        for place in reversed(range(len(stay))):
            for later in self.skeleton.successors[place]:
                if later > done and (follows[place] < 0 or stay[later] + longest[later] > longest[place]):
                    follows[place], longest[place] = later, stay[later] + longest[later]
        found = {}
        for end in ends:
            way = [end]
            while follows[way[-1]] >= 0:
                way.append(follows[way[-1]])
            rest = sum(cost[place] for place in range(done + 1, len(cost)) if place not in way)
            found[end] = (self._after(candidate, choices, tuple(way)), rest)
        return found

    def _after(self, candidate: Candidate, choices: Sequence[Choices], way: tuple[int, ...]) -> Array:
        steps = [candidate.steps[place] for place in way]
        sent = [(step.output_bytes, step.items_per_item) for step in steps[:-1]]
        key = (way, *sent, *(id(choices[place]) for place in way[1:]))
        if key not in self.known:
            if len(way) == 1:
                self.known[key] = np.zeros((len(self.weights.cost), len(self.space.machines)))
            else:
                rest = self._after(candidate, choices, way[1:])
                self.known[key] = self._hop(choices[way[1]], sent[0], rest)
        return self.known[key]

    def _hop(self, choices: Choices, sent: tuple[float, float], rest: Array) -> Array:
        """One step back along a way: over its choices, then over the machines that it may come to."""
        ways, weights = self.space.ways, self.weights
        machines = len(self.space.machines)
        if id(choices) not in self.least:
            stay, _ = choices.stay.moment(0.0)
            by_choice = np.outer(weights.cost, choices.cost_per_h) + np.outer(weights.time, stay.mean_ms)
            least = np.full((len(weights.cost), machines), UNBOUNDED)
            for number in range(len(choices.picks)):
                column = least[:, choices.machine[number]]
                np.minimum(column, by_choice[:, number], out=column)
            self.least[id(choices)] = least
        there = self.least[id(choices)] + rest
        size, items = sent
        charge = ways.charge_per_byte[:-1] * self.space.query.rate_per_s * items * size * SECONDS_PER_H
        delay = ways.delay_ms[:-1] + size * ways.ms_per_byte[:-1]
        hop = weights.cost[:, None, None] * charge + weights.time[:, None, None] * delay
        hop = np.where(ways.exists[:-1], hop, UNBOUNDED) + there[:, None, :]
        return np.asarray(hop.min(axis=2, initial=UNBOUNDED))
