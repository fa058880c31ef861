"""A selection and its bound, better and better as long as there is time. PURE.

Stages: most goodput; then least cost at no less goodput; then as many running plans kept as can be, at no less goodput
and no more cost. Each begins with what the one before reached and ends with its own bound. In each: prices and a bound
by column generation, a dive (for goodput), then site after site as an integer programme: at the prices of what sites
share, which tightens the bound, then with what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import csc_array

from cloud_planner.core.column_generation.areas import apart, generate_apart
from cloud_planner.core.column_generation.filling import Filling
from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.hoods import (
    MOST_MEMBERS,
    Effort,
    Hood,
    Task,
    adopt,
    adopt_all,
    bound_of,
    cut,
    hoods,
    most_at,
    refined,
    task,
    value_at,
)
from cloud_planner.core.column_generation.pricing import Aim, Prices, best_at
from cloud_planner.core.column_generation.programmes import IntegerResult, IntegerTask, Programmes
from cloud_planner.core.column_generation.rounding import dive, fill
from cloud_planner.core.column_generation.space import Array, Indices, SelectionSpace

#: Neighbourhoods are solved this hard, turn after turn.
_GAPS = (5e-3, 1e-3, 1e-4)
_SECONDS = (1.0, 2.0, 5.0)
_NODES = (300, 1_000, 5_000)
#: So many times the answers of a pass are taken over together.
_ADOPTIONS = 5
#: One of them gets at least so long.
_LEAST_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop. ``elapsed_s`` says how long it has been; ``seconds`` None: what is done alone limits.

    A stage ends when its gap is at most ``gap_ratio``, or after ``turns`` over all sites. ``goodput_share`` of the
    seconds are for the first stage, if there are others.
    """

    elapsed_s: Callable[[], float] = lambda: 0.0
    seconds: float | None = None
    gap_ratio: float = 1e-3
    turns: int = 3
    goodput_share: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Attained:
    """How far it got: a selection with its bounds. A bound that is not known yet is infinite (0 for cost)."""

    stage: str
    elapsed_s: float
    choice: Indices
    opened: Array
    goodput_per_s: float
    goodput_bound_per_s: float
    cost_per_h: float
    cost_bound_per_h: float
    kept: int
    kept_bound: float

    @property
    def gap_ratio(self) -> float:
        """Of goodput."""
        bound = self.goodput_bound_per_s
        return (bound - self.goodput_per_s) / bound if bound > 0.0 else 0.0

    @property
    def cost_gap_ratio(self) -> float:
        """Of cost."""
        return (self.cost_per_h - self.cost_bound_per_h) / self.cost_per_h if self.cost_per_h > 0.0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. ``enough_per_s``: goodput beyond which no more is sought (least cost at that much).

    ``running``: (members,) the plans in force, NONE where there is none.
    """

    enough_per_s: float = np.inf
    running: Indices | None = None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it: the selection, its bounds, the prices of the goodput stage, and what went wrong on the way."""

    attained: Attained
    prices: Prices
    relaxation: Relaxation
    warnings: list[str] = field(default_factory=list)


def attain(
    space: SelectionSpace,
    programmes: Programmes,
    question: Question | None = None,
    limits: Limits | None = None,
    told: Callable[[Attained], None] = lambda attained: None,
) -> Outcome:
    """The best selection that is found within the limits.

    Args:
        space: The plan space.
        programmes: How linear and integer programmes are solved; they may fail.
        question: What is asked.
        limits: When to stop.
        told: Hears of each better selection or bound.
    """
    return _Work(space, programmes, question or Question(), limits or Limits(), told).run()


class _Work:
    def __init__(
        self,
        space: SelectionSpace,
        programmes: Programmes,
        question: Question,
        limits: Limits,
        told: Callable[[Attained], None],
    ) -> None:
        space = refined(space)
        self.space, self.programmes, self.question, self.limits, self.told = space, programmes, question, limits, told
        self.hoods = hoods(space)
        finer = refined(space, over=0)
        self.parts = hoods(finer) if (finer.area != space.area).any() else ()
        self.apart = apart(space, self.hoods)
        self.most_per_s = float(space.worth.sum())
        self.goodput_bound, self.cost_bound, self.kept_bound = self.most_per_s, 0.0, np.inf
        self.linear_bound = self.most_per_s
        nothing = np.zeros(0, dtype=np.intp)
        self.known = (nothing, nothing)
        self.filling = Filling(space)
        #: What still fits of what runs.
        self.ran: Filling | None = None
        self.stage = "goodput"
        self.until: float | None = limits.seconds
        self.warnings: list[str] = []

    def run(self) -> Outcome:
        question = self.question
        self._first()
        relaxation = self._goodput()
        prices = relaxation.prices
        least = min(self.filling.goodput_per_s, question.enough_per_s)
        self.until = self.limits.seconds
        if self._any_cost():
            self._cheapest(least)
        if question.running is not None:
            self._fewest_changes(least)
        return Outcome(
            attained=self._attained(), prices=prices, relaxation=relaxation, warnings=list(dict.fromkeys(self.warnings))
        )

    def _any_cost(self) -> bool:
        space = self.space
        return bool(space.sides.cost_per_h.any()) or any(kind.cost_per_h.any() for kind in space.kinds)

    def _over(self) -> bool:
        return self.until is not None and self.limits.elapsed_s() >= self.until

    def _say(self) -> None:
        self.told(self._attained())

    def _attained(self) -> Attained:
        filling, running = self.filling, self.question.running
        goodput = filling.goodput_per_s
        kept = 0 if running is None else int(((filling.choice == running) & (running >= 0)).sum())
        return Attained(
            stage=self.stage,
            elapsed_s=self.limits.elapsed_s(),
            choice=filling.choice.copy(),
            opened=filling.opened.copy(),
            goodput_per_s=goodput,
            goodput_bound_per_s=max(goodput, self.goodput_bound),
            cost_per_h=filling.cost_per_h,
            cost_bound_per_h=min(self.cost_bound, filling.cost_per_h),
            kept=kept,
            kept_bound=max(float(kept), self.kept_bound),
        )

    # Stages

    def _first(self) -> None:
        """Something that is feasible: what runs, or a greedy selection; the better of the two."""
        space, question = self.space, self.question
        fill(self.filling, _even(space))
        if question.running is not None:
            kept = Filling(space)
            for member in np.flatnonzero(question.running >= 0).tolist():
                kept.place(member, int(question.running[member]))
            self.ran = kept.copy()
            fill(kept, _even(space))
            if kept.goodput_per_s >= self.filling.goodput_per_s * (1.0 - 1e-9):
                self.filling.take_back(kept)
        self._say()

    def _goodput(self) -> Relaxation:
        limits = self.limits
        if limits.seconds is not None and (self._any_cost() or self.question.running is not None):
            self.until = limits.seconds * limits.goodput_share
        aim = Aim()
        relaxation = self._relax(aim, None)
        taken = relaxation.values > 0.0
        self.known = (relaxation.members[taken], relaxation.plans[taken])
        self.goodput_bound = self.linear_bound = min(self.goodput_bound, relaxation.bound)
        self._say()
        if self._near() or self._over():
            return relaxation
        found = dive(self.space, relaxation, self.programmes.masters, enough=self._over)
        if found.goodput_per_s > self.filling.goodput_per_s:
            self.filling.take_back(found)
            self._say()
        self._improve(aim, relaxation)
        return relaxation

    def _cheapest(self, least: float) -> None:
        self.stage = "cost"
        ran = self.ran
        if ran is not None and ran.goodput_per_s >= least * (1.0 - 1e-9) and ran.cost_per_h < self.filling.cost_per_h:
            self.filling.take_back(ran)
        aim = Aim(worth=0.0, cost=1.0, least_goodput_per_s=least)
        # Where only whole plans count, goodput costs more at the margin than the linear programme thinks: as much as
        # near its own most.
        ahead = self.linear_bound / self.goodput_bound if self.goodput_bound > 0.0 else 1.0
        relaxation = self._relax(replace(aim, least_goodput_per_s=least * ahead), self.filling)
        if relaxation.detail and ahead > 1.0:
            # More than can be had of what is known.
            self.warnings.pop()
            relaxation = self._relax(aim, self.filling)
        best = best_at(self.space, aim, relaxation.prices)
        relaxation = replace(relaxation, best=best, bound=best.bound)
        self.cost_bound = max(self.cost_bound, -relaxation.bound)
        self._say()
        self._improve(aim, relaxation)

    def _fewest_changes(self, least: float) -> None:
        self.stage = "changes"
        most = self.filling.cost_per_h * (1.0 + 1e-6)
        aim = Aim(worth=0.0, kept=1.0, least_goodput_per_s=least, most_cost_per_h=most, running=self.question.running)
        relaxation = self._relax(aim, self.filling)
        self.kept_bound = min(self.kept_bound, relaxation.bound)
        self._say()
        self._improve(aim, relaxation)

    def _relax(self, aim: Aim, present: Filling | None) -> Relaxation:
        masters = self.programmes.masters
        start = None
        if present is not None:
            # What reached the most goodput reaches any that is asked for.
            chosen = self.space.chosen(present.choice)
            start = (np.append(self.known[0], chosen[0]), np.append(self.known[1], chosen[1]))
        if self.apart:
            found = generate_apart(
                self.space, aim, masters, self.hoods, present=present, start=start, enough=self._over
            )
        else:
            found = generate(self.space, aim, masters, start=start, enough=self._over)
        if found.detail:
            self.warnings.append(f"linear programme: {found.detail}")
        return found

    # Neighbourhoods

    def _near(self) -> bool:
        """Whether the stage's gap is small enough."""
        at = self._attained()
        if self.stage == "goodput":
            enough = self.question.enough_per_s
            return at.gap_ratio <= self.limits.gap_ratio or at.goodput_per_s >= enough * (1.0 - 1e-9)
        if self.stage == "cost":
            return at.cost_gap_ratio <= self.limits.gap_ratio
        return at.kept >= self.kept_bound - 1.0 + 1e-6

    def _improve(self, aim: Aim, relaxation: Relaxation) -> None:
        """Turns over all neighbourhoods until the gap is small enough, nothing gets better, or time is over."""
        space = self.space
        bounds = [most_at(space, aim, relaxation.prices, hood, relaxation.best) for hood in self.hoods]
        for turn in range(self.limits.turns):
            if self._near() or self._over():
                return
            effort = self._effort(turn)
            before = aim.value(space, self.filling.choice, self.filling.opened)
            if turn == 0:
                # Parts of sites are solved in no time; whole sites take longer and prove more.
                self._priced(aim, relaxation, self.parts, effort)
                bounds = self._priced(aim, relaxation, self.hoods, effort)
            self._limited(aim, relaxation, bounds, turn, effort)
            value = aim.value(space, self.filling.choice, self.filling.opened)
            if turn and value <= before + 1e-9 * max(1.0, abs(before)) and effort.gap_ratio <= _GAPS[-1]:
                return

    def _effort(self, turn: int) -> Effort:
        level = min(turn, len(_GAPS) - 1)
        seconds = None if self.limits.seconds is None else _SECONDS[level]
        return Effort(gap_ratio=_GAPS[level], nodes=_NODES[level], seconds=seconds)

    def _left_of(self, effort: Effort) -> Effort:
        """An effort within the time that is left."""
        if self.until is None or effort.seconds is None:
            return effort
        left_s = max(_LEAST_SECONDS, self.until - self.limits.elapsed_s())
        return replace(effort, seconds=min(effort.seconds, left_s))

    def _priced(self, aim: Aim, relaxation: Relaxation, every: Sequence[Hood], effort: Effort) -> list[float]:
        """Each neighbourhood at the prices of what is shared: a tighter bound, and what it would do; their bounds."""
        space, prices = self.space, relaxation.prices
        linear = [most_at(space, aim, prices, hood, relaxation.best) for hood in every]
        bounds = list(linear)
        parts = [
            (place, every[place], None)
            for place in self._by_room(aim, relaxation, every, bounds)
            if every[place].whole and len(every[place].members) <= MOST_MEMBERS
        ]
        together = max(2, -(-len(parts) // _ADOPTIONS))
        waiting: list[tuple[Task, IntegerResult]] = []
        for place, (made, answer) in self._solved(aim, relaxation, parts, effort, priced=True):
            bounds[place] = min(bounds[place], bound_of(made, answer, linear[place]))
            waiting.append((made, answer))
            self._bound(relaxation.bound - sum(linear) + sum(bounds))
            if len(waiting) >= together and adopt_all(self.filling, waiting, aim, prices):
                waiting = []
            self._say()
            if self._near():
                break
        if waiting and adopt_all(self.filling, waiting, aim, prices):
            self._say()
        return bounds

    def _limited(self, aim: Aim, relaxation: Relaxation, bounds: list[float], turn: int, effort: Effort) -> None:
        """Each neighbourhood with what is left of everything: better selections only."""
        prices = relaxation.prices
        shares = self._shares(relaxation) if turn == 0 and self.stage == "goodput" else {}
        parts = [
            (place, part, shares.get(place))
            for place in self._by_room(aim, relaxation, self.hoods, bounds)
            for part in cut(self.space, self.hoods[place], prices, turn)
        ]
        for _, (made, answer) in self._solved(aim, relaxation, parts, effort, priced=False):
            if adopt(self.filling, made, answer, aim):
                self._say()
            if self._near():
                return

    def _by_room(self, aim: Aim, relaxation: Relaxation, every: Sequence[Hood], bounds: Sequence[float]) -> list[int]:
        """Neighbourhoods with something to gain, most first."""
        rooms = [
            bound - value_at(self.space, aim, relaxation.prices, hood, self.filling)
            for hood, bound in zip(every, bounds, strict=True)
        ]
        least = 1e-9 * max(1.0, max(rooms, default=0.0))
        return [
            place for place in sorted(range(len(rooms)), key=lambda one: (-rooms[one], one)) if rooms[place] > least
        ]

    def _shares(self, relaxation: Relaxation) -> dict[int, Array]:
        """What each site takes of everything in the relaxation."""
        space = self.space
        place = np.full(space.members, -1, dtype=np.intp)
        for number, hood in enumerate(self.hoods):
            place[hood.members] = number
        used = csc_array(space.columns(relaxation.members, relaxation.plans) * relaxation.values[None, :])
        by_site = csc_array(
            (np.ones(len(relaxation.members)), (np.arange(len(relaxation.members)), place[relaxation.members])),
            shape=(len(relaxation.members), len(self.hoods)),
        )
        shares = csc_array(used @ by_site)
        return {number: shares[:, [number]].toarray().ravel() for number in range(len(self.hoods))}

    def _solved(
        self,
        aim: Aim,
        relaxation: Relaxation,
        parts: Iterable[tuple[int, Hood, Array | None]],
        effort: Effort,
        *,
        priced: bool,
    ) -> Iterator[tuple[int, tuple[Task, IntegerResult]]]:
        """The neighbourhoods' programmes, made when they are wanted, with what came of them."""
        made: list[tuple[int, Task]] = []

        def programmes() -> Iterator[IntegerTask]:
            for place, hood, share in parts:
                if self._over():
                    return
                one = task(
                    self.space,
                    aim,
                    relaxation.prices,
                    hood,
                    self.filling,
                    relaxation.best,
                    priced=priced,
                    effort=self._left_of(effort),
                    share=share,
                )
                made.append((place, one))
                yield one.programme

        for number, answer in enumerate(self.programmes.integers(programmes())):
            place, one = made[number]
            if answer.detail:
                self.warnings.append(f"integer programme: {answer.detail}")
            yield place, (one, answer)

    def _bound(self, value: float) -> None:
        if self.stage == "goodput":
            self.goodput_bound = min(self.goodput_bound, value)
        elif self.stage == "cost":
            self.cost_bound = max(self.cost_bound, -value)
        else:
            self.kept_bound = min(self.kept_bound, value)


def _even(space: SelectionSpace) -> Prices:
    """Prices by scarcity alone: all of a row costs the same as all of another."""
    return Prices(row=1.0 / np.maximum(space.capacity, 1e-9) * (space.capacity > 0.0))
