"""What the rest of a route takes at most: who is in time whatever follows need not be fast. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloud_planner.core.moment import START, Array, Moment, later_of
from cloud_planner.core.problem import Candidate
from cloud_planner.core.steps import Choices, Skeleton, Space
from cloud_planner.core.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The longest stay at each step and the longest transfer to each of its inputs; numbers, or arrays by prefix."""

    mean_ms: tuple[Array, ...]
    variance_ms2: tuple[Array, ...]
    deviation_ms: tuple[Array, ...]
    delay_ms: tuple[tuple[Array, ...], ...]

    @classmethod
    def over(cls, each: Sequence[Sequence[Worst]]) -> Worst:
        """By prefix, the worst of its candidates."""
        first = each[0][0]
        places = range(len(first.mean_ms))

        def by_prefix(of: Sequence[Sequence[Array]]) -> Array:
            return np.array([np.max(figures) for figures in of])

        return cls(
            mean_ms=tuple(by_prefix([[w.mean_ms[p] for w in group] for group in each]) for p in places),
            variance_ms2=tuple(by_prefix([[w.variance_ms2[p] for w in group] for group in each]) for p in places),
            deviation_ms=tuple(by_prefix([[w.deviation_ms[p] for w in group] for group in each]) for p in places),
            delay_ms=tuple(
                tuple(
                    by_prefix([[w.delay_ms[p][n] for w in group] for group in each])
                    for n in range(len(first.delay_ms[p]))
                )
                for p in places
            ),
        )


class Worsts:
    """The worst of candidates of one skeleton."""

    def __init__(self, space: Space, skeleton: Skeleton) -> None:
        """Of a query's machines."""
        self.skeleton, self.query = skeleton, space.query
        ways = space.ways
        there = ways.exists

        def longest(figures: Array) -> tuple[float, float]:
            """Between machines, and from the source."""
            return (
                float(figures[:-1].max(where=there[:-1], initial=0.0)),
                float(figures[-1].max(where=there[-1], initial=0.0)),
            )

        self.delay_ms, self.ms_per_byte, self.back_ms = (
            longest(figures) for figures in (ways.delay_ms, ways.ms_per_byte, ways.back_ms)
        )
        self.known: dict[tuple[int, float, float, float], tuple[Array, Array, Array, float]] = {}

    def of(self, candidate: Candidate, choices: Sequence[Choices]) -> Worst:
        """The worst of one candidate; no choices at all are taken as no time, since no route has them."""
        leaves: list[float] = []
        swings: list[float] = []
        stays, delays = [], []
        for place, reads in enumerate(self.skeleton.inputs):
            came = max(self.query.arrival_cv2 if before < 0 else leaves[before] for before in reads)
            swing = max(0.0 if before < 0 else swings[before] for before in reads)
            key = (id(choices[place]), came, candidate.stage_correlation_ratio, swing)
            if key not in self.known:
                stay, leaving = choices[place].stay.moment(came, candidate.stage_correlation_ratio, swing)
                figures = (stay.mean_ms, stay.variance_ms2, stay.deviation_ms, leaving)
                mean, variance, deviation, most = (np.asarray(np.max(figure, initial=0.0)) for figure in figures)
                self.known[key] = (mean, variance, deviation, float(most))
            stays.append(self.known[key])
            leaves.append(self.known[key][3])
            swings.append(swing + float(self.known[key][2]))
            sent = [
                (1, candidate.source_bytes) if before < 0 else (0, candidate.steps[before].output_bytes)
                for before in reads
            ]
            delays.append(tuple(np.asarray(self.delay_ms[n] + size * self.ms_per_byte[n]) for n, size in sent))
        return Worst(
            mean_ms=tuple(stay[0] for stay in stays),
            variance_ms2=tuple(stay[1] for stay in stays),
            deviation_ms=tuple(stay[2] for stay in stays),
            delay_ms=tuple(delays),
        )

    def answer(
        self, table: Table, done: int, worst: Worst, node: NDArray[np.int64], correlation: Array | float
    ) -> tuple[Array, Array]:
        """Mean and variance of the answer of each row if all after ``done`` takes as long as it can."""
        skeleton = self.skeleton
        at: dict[int, Moment] = {place: end.at for place, end in table.ends.items()}
        back: dict[int, Array] = {place: end.back_ms for place, end in table.ends.items()}
        for place in range(done + 1, len(skeleton.inputs)):
            came: Moment | None = None
            passed, way = frozenset[int](), np.zeros(len(node))
            for number, before in enumerate(skeleton.inputs[place]):
                start = START if before < 0 else at[before]
                this = start.later(worst.delay_ms[place][number][node])
                ways_to = skeleton.passed[before] if before >= 0 else frozenset[int]()
                home = self.back_ms[1] if before < 0 else back[before] + self.back_ms[0]
                way = np.maximum(way, home)
                if came is None:
                    came, passed = this, ways_to
                else:
                    passed = passed & ways_to
                    came = later_of(came, this, _common(at, passed))
            stay = Moment(
                mean_ms=worst.mean_ms[place][node],
                variance_ms2=worst.variance_ms2[place][node],
                deviation_ms=worst.deviation_ms[place][node],
            )
            at[place], back[place] = (came or START).then(stay), way
        first, *others = skeleton.outputs
        answer, passed = at[first].later(back[first]), skeleton.passed[first]
        for place in others:
            passed = passed & skeleton.passed[place]
            answer = later_of(answer, at[place].later(back[place]), _common(at, passed))
        mean, variance = np.asarray(answer.mean_ms), np.asarray(answer.total_ms2(correlation))
        return np.broadcast_to(mean, node.shape), np.broadcast_to(variance, node.shape)


def _common(at: Mapping[int, Moment], passed: frozenset[int]) -> Moment:
    last = max(passed, default=-1)
    return at[last] if last >= 0 else START
