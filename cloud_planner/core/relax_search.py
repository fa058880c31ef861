"""How far a limit must move for a query to fit: by bisection, each trial over all of the query's plans. PURE.

A trial that succeeds says how much less its plan needs, so most searches end after a few.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, inf, isfinite

from scipy.special import ndtri

from circinus.model.device import DeviceId
from cloud_planner.core.estimate import SLACK_RATIO, Z95, latency_limit_ms
from cloud_planner.core.meant import widest
from cloud_planner.core.network import Network
from cloud_planner.core.placeable_room import Fit, Room, most_taken
from cloud_planner.core.problem import Problem, QueryProblem, Sharing
from cloud_planner.core.relax_limits import (
    RULES,
    SIZES,
    WHOLE_KINDS,
    Limit,
    LimitKind,
    Relaxation,
    far,
    limits_of,
    moved,
    outward,
    sized_as,
    without,
)
from cloud_planner.core.resources import Resource, capacity_of, is_single, shape_of, usable
from cloud_planner.core.select.assignment import bill
from cloud_planner.core.select.taken import amounts_taken

#: A search ends when at most this part of the way could be saved.
_CLOSE_RATIO = 0.004
_TRIALS = 80
_RESOURCES = {
    LimitKind.CORES: "cores",
    LimitKind.MEMORY: "memory",
    LimitKind.SLOTS: "slots",
    LimitKind.ACCELERATOR_MEMORY: "accelerator_memory",
    LimitKind.LINK: "bits",
    LimitKind.UPLINK: "uplink",
}
#: Stands for "no bound" on latency where a bound must be a figure.
_ENDLESS_MS = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The least that a limit must move to (None: away), the plan that then fits; whether less is proven not to do."""

    bound: float | None
    fit: Fit
    exact: bool


@dataclass(slots=True, kw_only=True)
class Seeker:
    """Trials for one query; ``exact`` is False once a trial that failed had left plans out.

    ``same_prices``: on a larger machine the same replica does not become cheaper, though it is a smaller part of it.
    """

    room: Room
    limits: tuple[Limit, ...]
    same_prices: bool = False
    exact: bool = True
    known: dict[frozenset[Limit], bool] = field(default_factory=dict)

    def fit(self, problem: Problem, need: Callable[[Fit], float] | None = None) -> Fit | None:
        """A plan that fits in a problem, of those that no other beats the one that needs least."""
        room = self.room.within(problem)
        if self.same_prices:
            room = replace(room, problem=sized_as(problem, self.room.problem), fits_in=problem)
        found = room.least(need or (lambda fit: fit.own_cost_per_h))
        if found.fit is None and not found.complete:
            self.exact = False
        return found.fit

    def opens(self, dropped: Collection[Limit]) -> bool:
        """Whether the query fits once these limits are gone."""
        key = frozenset(dropped)
        if key not in self.known:
            problem = without(self.room.problem, self.room.number, sorted(key, key=repr))
            self.known[key] = self.fit(problem) is not None
        return self.known[key]

    def conflict(self, kept: Collection[Limit]) -> bool:
        """Whether these limits alone hold the query back."""
        return not self.opens([limit for limit in self.limits if limit not in kept])


def limits_near(room: Room) -> tuple[Limit, ...]:
    """The limits of a room's query but for capacity that it could not use up, whatever else gave way."""
    problem, query = room.problem, widest(room.query)
    limits = limits_of(problem, room.number)
    paid = query.slo.cost_per_h is not None or problem.budget_per_h is not None
    if paid or problem.sharing is not Sharing.NONE:
        # A larger machine makes a part of it cheaper; of what is shared only the bill knows.
        return limits
    network = Network.of(problem)
    most, taken = most_taken(network, problem, query), room.taken(network, problem)
    steps = [step for candidate in query.candidates for step in candidate.steps]
    large = {
        option.machine
        for step in dict.fromkeys(steps)
        for option in step.options
        if not usable(network.machines.get(option.machine), option)
    }

    def plenty(limit: Limit) -> bool:
        if limit.kind in SIZES and limit.subject[0] in large:
            return False
        if limit.kind not in _RESOURCES or (limit.kind not in SIZES and query.slo.latency_ms is not None):
            return False
        resource: Resource = (_RESOURCES[limit.kind], *limit.subject)
        return resource in most and most[resource] + taken.get(resource, 0.0) <= 1.0 - SLACK_RATIO

    return tuple(limit for limit in limits if not plenty(limit))


def smallest_conflict(limits: Sequence[Limit], conflict: Callable[[Collection[Limit]], bool]) -> tuple[Limit, ...]:
    """A set of limits that conflict, none of which could be left out (U. Junker, QuickXplain, 2004).

    All of them must conflict, and none of them must not. Complexity: k log(n / k) trials for k of n.
    """

    def explain(kept: list[Limit], added: bool, left: list[Limit]) -> list[Limit]:
        if added and conflict(kept):
            return []
        if len(left) == 1:
            return left
        half = len(left) // 2
        first, second = left[:half], left[half:]
        late = explain([*kept, *first], True, second)
        early = explain([*kept, *late], bool(late), first)
        return [*early, *late]

    return tuple(explain([], False, list(limits))) if limits else ()


def least_move(seeker: Seeker, problem: Problem, limit: Limit) -> Found | None:
    """The least that a limit must move for the query to fit in a problem; None: it can't do so alone.

    The query must not fit as it stands.
    """
    number = seeker.room.number
    gone = moved(problem, number, limit, far(limit))
    fit = seeker.fit(gone, lambda each: need_of(seeker.room.within(gone), limit, each))
    if fit is None:
        return None
    if limit.kind in RULES:
        return Found(bound=None, fit=fit, exact=True)
    hint = need_of(seeker.room.within(gone), limit, fit)
    before, seeker.exact = seeker.exact, True
    found = _bisected(seeker, problem, limit, hint, fit)
    exact, seeker.exact = seeker.exact, before and seeker.exact
    return Found(bound=found[0], fit=found[1], exact=exact)


def _bisected(seeker: Seeker, problem: Problem, limit: Limit, hint: float, fit: Fit) -> tuple[float | None, Fit]:
    """By trial, between where the limit stands, which is not enough, and far out, going by what successes say."""
    way = _Way(limit=limit)
    low, high, best, trial = limit.bound, None, fit, way.whole(hint)
    shaved = False
    for _ in range(_TRIALS):
        if not way.further(trial, low) or (high is not None and not way.further(high, trial)):
            trial = way.between(low, high)
        if not isfinite(trial) or abs(trial) >= _ENDLESS_MS or (high is not None and way.close(low, high)):
            break
        inside = moved(problem, seeker.room.number, limit, trial)
        room = seeker.room.within(inside)
        found = seeker.fit(inside, partial(need_of, room, limit))
        if found is None:
            low, trial = trial, way.between(trial, high)
            continue
        high, best = trial, found
        need = way.whole(need_of(room, limit, found))
        # A need is a hint: once less has done than it says, halving goes on.
        if not way.further(high, need) and not shaved:
            trial, shaved = way.short_of(high), True
        else:
            trial = need if way.further(high, need) and way.further(need, low) else way.between(low, high)
    return high, best


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The way of a limit outward: up, but for accuracy."""

    limit: Limit

    def _length(self, bound: float) -> float:
        return (self.limit.bound - bound) if self.limit.kind is LimitKind.ACCURACY else bound - self.limit.bound

    def _at(self, length: float) -> float:
        return self.limit.bound - length if self.limit.kind is LimitKind.ACCURACY else self.limit.bound + length

    def further(self, bound: float, than: float) -> bool:
        """Whether a bound is further out than another."""
        return self._length(bound) > self._length(than)

    def whole(self, bound: float) -> float:
        """The next bound that there can be."""
        return float(ceil(bound - 1e-9)) if self.limit.kind in WHOLE_KINDS and isfinite(bound) else bound

    def close(self, low: float, high: float) -> bool:
        """Whether too little is between them to go on."""
        if self.limit.kind in WHOLE_KINDS and high - low <= 1.0:
            return True
        return self._length(high) - self._length(low) <= _CLOSE_RATIO * self._length(high) * (1.0 + 1e-6)

    def short_of(self, high: float) -> float:
        """A bound so little nearer that nothing between the two is looked for."""
        length = self._length(high)
        nearer = self._at(length * (1.0 - _CLOSE_RATIO))
        return min(float(round(nearer)), high - 1.0) if self.limit.kind in WHOLE_KINDS else nearer

    def between(self, low: float, high: float | None) -> float:
        """Halfway, by ratio where the way is long; with nothing known to be enough, further out."""
        near = self._length(low)
        if high is None:
            return self.whole(self._at(max(near * 4.0, abs(self.limit.bound) * 0.05, 1e-6)))
        longest = self._length(high)
        length = (near * longest) ** 0.5 if 0.0 < 4.0 * near < longest else (near + longest) / 2.0
        return float(round(self._at(length))) if self.limit.kind in WHOLE_KINDS else self._at(length)


def need_of(room: Room, limit: Limit, fit: Fit) -> float:
    """The bound at which a plan would hold if nothing else changed (a hint: sizes change costs, links change times)."""
    problem, query = room.problem, room.query
    candidate = query.candidates[fit.assignment.candidate]
    if limit.kind is LimitKind.LATENCY:
        unit = _with_latency(query, 1.0)
        allowed = latency_limit_ms(unit, candidate, problem.asked_of(query)) or 0.0
        return fit.percentile_ms / allowed if allowed > 0.0 else inf
    if limit.kind is LimitKind.ACCURACY:
        return accuracy_promised(candidate.accuracy.value, candidate.accuracy.low, problem.asked_of(query))
    if limit.kind is LimitKind.COST:
        return fit.own_cost_per_h
    if limit.kind in RULES:
        return 0.0
    network = Network.of(problem)
    if limit.kind is LimitKind.BUDGET:
        return bill(network, problem, [*room.others, fit.assignment]).cost_per_h
    machine = network.machines.get(DeviceId(limit.subject[0]))
    if limit.kind is LimitKind.MACHINES:
        return float(bill(network, problem, [*room.others, fit.assignment]).machines.get(DeviceId(limit.subject[0]), 0))
    if machine is not None and limit.kind in SIZES and not is_single(machine):
        place = SIZES.index(limit.kind)
        shapes = [
            shape_of(option)[place]
            for load in fit.assignment.loads
            if (option := candidate.steps[load.step].options[load.option]).machine == machine.id
        ]
        return float(max(shapes, default=0.0))
    resource: Resource = (_RESOURCES[limit.kind], *limit.subject)
    share = sum(amounts_taken(network, problem, each).get(resource, 0.0) for each in (*room.others, fit.assignment))
    return share * bound_in(problem, limit)


def bound_in(problem: Problem, limit: Limit) -> float:
    """Where the capacity that a limit is of stands in a problem."""
    if limit.kind is LimitKind.LINK:
        wire = next(wire for wire in problem.wires if (wire.source, wire.target) == limit.subject)
        return wire.bandwidth_bit_per_s or inf
    if limit.kind is LimitKind.UPLINK:
        return next(uplink.bandwidth_bit_per_s for uplink in problem.uplinks if uplink.id == limit.subject[0])
    machine = next(machine for machine in problem.machines if machine.id == limit.subject[0])
    return float(capacity_of(machine)[SIZES.index(limit.kind)])


def accuracy_promised(value: float, low: float, slo_probability_ratio: float) -> float:
    """The highest bound that an accuracy meets with the probability asked for (as ``estimate.meets_accuracy``)."""
    deviation = (value - low) / Z95
    if deviation <= 0.0 or slo_probability_ratio <= 0.0:
        return low
    likely = value - deviation * float(ndtri(min(slo_probability_ratio, 1.0 - 1e-12)))
    return min(low, likely - 1e-12 * max(1.0, abs(likely)))


def _with_latency(query: QueryProblem, latency_ms: float) -> QueryProblem:
    return replace(query, slo=replace(query.slo, latency_ms=latency_ms))


def relaxation_of(limit: Limit, found: Found) -> Relaxation:
    """What a search found, rounded outward."""
    bound = found.bound if found.bound is None else outward(limit, found.bound)
    return Relaxation(limit=limit, bound=bound, exact=found.exact)


__all__ = [
    "Found",
    "Seeker",
    "accuracy_promised",
    "bound_in",
    "least_move",
    "limits_near",
    "need_of",
    "relaxation_of",
    "smallest_conflict",
]
