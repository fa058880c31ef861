"""The limits that a query is held against, by name, and problems in which one of them has moved. PURE.

A limit is a bound of the query's SLO, how much there is of a machine, link or uplink, the budget, or a rule (a cordon,
queries that must stay apart). Moved outward far enough it holds nothing back any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from math import ceil, floor, isfinite, log10

from circinus.model.query import QueryId, Slo
from cloud_planner.core.meant import widest
from cloud_planner.core.network import Network
from cloud_planner.core.placeable import number_of
from cloud_planner.core.placeable_room import machines_of, most_taken
from cloud_planner.core.problem import Candidate, Machine, Problem, QueryProblem
from cloud_planner.core.resources import capacity_of, fit_count, is_single, shape_of

#: A limit moved by this factor holds nothing back.
_FAR = 1e6
#: The part of a move that rounding may add.
_ROUNDING_RATIO = 0.004


class LimitKind(StrEnum):
    """What a limit is of. Units of bounds: ms, ratio, per hour, cores, bytes, slots, machines, bit/s; rules: none."""

    LATENCY = "latency"
    ACCURACY = "accuracy"
    COST = "cost"
    CORES = "cores"
    MEMORY = "memory"
    SLOTS = "slots"
    ACCELERATOR_MEMORY = "accelerator_memory"
    MACHINES = "machines"
    LINK = "link"
    UPLINK = "uplink"
    BUDGET = "budget"
    CORDON = "cordon"
    APART = "apart"
    RESIDENCY = "residency"
    SELECTOR = "selector"


SLO_KINDS = frozenset({LimitKind.LATENCY, LimitKind.ACCURACY, LimitKind.COST})
RULES = frozenset({LimitKind.CORDON, LimitKind.APART, LimitKind.RESIDENCY, LimitKind.SELECTOR})
#: In the order of a shape's figures.
SIZES = (LimitKind.CORES, LimitKind.MEMORY, LimitKind.SLOTS, LimitKind.ACCELERATOR_MEMORY)
_SLO_FIELDS = {
    LimitKind.LATENCY: "latency_ms",
    LimitKind.ACCURACY: "accuracy_ratio",
    LimitKind.COST: "cost_per_h",
}
#: Counted in whole units.
WHOLE_KINDS = frozenset({LimitKind.MEMORY, LimitKind.SLOTS, LimitKind.ACCELERATOR_MEMORY, LimitKind.MACHINES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit as it stands. ``subject``: the machine, the link's ends, the uplink or the other query; else empty."""

    kind: LimitKind
    subject: tuple[str, ...]
    bound: float
    percentile_ratio: float = 0.0

    @property
    def text(self) -> str:
        """What it is called."""
        on = self.subject[0] if self.subject else ""
        match self.kind:
            case LimitKind.LATENCY:
                return f"latency <= {self.bound:.6g} ms at p{self.percentile_ratio * 100:.4g}"
            case LimitKind.ACCURACY:
                return f"accuracy >= {self.bound:.6g}"
            case LimitKind.COST:
                return f"cost <= {self.bound:.6g} per hour"
            case LimitKind.CORES:
                return f"cores on {on}"
            case LimitKind.MEMORY:
                return f"memory on {on}"
            case LimitKind.SLOTS:
                return f"accelerator slots on {on}"
            case LimitKind.ACCELERATOR_MEMORY:
                return f"accelerator memory on {on}"
            case LimitKind.MACHINES:
                return f"machines of {on}"
            case LimitKind.LINK:
                return f"link {on} -> {self.subject[1]}"
            case LimitKind.UPLINK:
                return f"uplink {on}"
            case LimitKind.BUDGET:
                return f"budget <= {self.bound:.6g} per hour"
            case LimitKind.CORDON:
                return f"{on} is cordoned"
            case LimitKind.APART:
                return f"apart from {on}"
            case LimitKind.RESIDENCY:
                return "data stays at its site"
            case LimitKind.SELECTOR:
                return f"selector {on!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A limit moved to ``bound`` (None: away altogether). ``amount``: by how much, in the bound's unit.

    ``exact``: it is proven that less does not do.
    """

    limit: Limit
    bound: float | None
    exact: bool = True

    @property
    def amount(self) -> float | None:
        """How far it moves."""
        return None if self.bound is None else abs(self.bound - self.limit.bound)

    @property
    def move_ratio(self) -> float:
        """How far it moves against where it stands: says which of several moves least."""
        amount = self.amount
        return 1.0 if amount is None else amount / max(abs(self.limit.bound), 1e-9)

    @property
    def text(self) -> str:
        """What to change."""
        kind, on = self.limit.kind, self.limit.subject[0] if self.limit.subject else ""
        if kind is LimitKind.CORDON:
            return f"uncordon {on}"
        if kind is LimitKind.APART:
            return f"let it share a machine with {on}"
        if kind is LimitKind.RESIDENCY:
            return "let its data leave its site"
        if kind is LimitKind.SELECTOR:
            return f"drop its selector {on!r}"
        if self.bound is None:
            return f"no bound on {kind.value}"
        more = self.bound - self.limit.bound
        match kind:
            case LimitKind.LATENCY:
                return f"latency {_plain(self.bound)} ms"
            case LimitKind.ACCURACY:
                return f"accuracy {_plain(self.bound)}"
            case LimitKind.COST | LimitKind.BUDGET:
                return f"{kind.value} {_plain(self.bound)} per hour"
            case LimitKind.CORES:
                return f"+{_count(more, 'core')} on {on}"
            case LimitKind.MEMORY:
                return f"+{_plain(more / 1e6)} MB of memory on {on}"
            case LimitKind.SLOTS:
                return f"+{_count(more, 'accelerator slot')} on {on}"
            case LimitKind.ACCELERATOR_MEMORY:
                return f"+{_plain(more / 1e6)} MB of accelerator memory on {on}"
            case LimitKind.MACHINES:
                return f"+{_count(more, 'machine')} of {on}"
            case _:
                return f"+{_plain(more / 1e6)} Mbit/s on {self.limit.text}"


def _plain(value: float) -> str:
    """A figure with all of its digits but for what is left of sums."""
    return f"{value:.10g}"


def _count(more: float, what: str) -> str:
    said = _plain(more)
    return f"{said} {what}" if said == "1" else f"{said} {what}s"


def limits_of(problem: Problem, number: int) -> tuple[Limit, ...]:
    """All limits that could hold a query back, those of its SLO first."""
    query = problem.queries[number]
    wide = widest(query)
    found = [
        Limit(kind=kind, subject=(), bound=bound, percentile_ratio=query.slo.percentile_ratio)
        for kind, name in _SLO_FIELDS.items()
        if (bound := getattr(query.slo, name)) is not None
    ]
    if problem.budget_per_h is not None:
        found.append(Limit(kind=LimitKind.BUDGET, subject=(), bound=problem.budget_per_h))
    near = set(machines_of(wide))
    for machine in problem.machines:
        if machine.id in near:
            found += _machine_limits(machine, wide)
    found += _link_limits(problem, wide)
    apart = {
        other.id
        for other in problem.queries
        if other.id != query.id and (other.id in query.apart_from or query.id in other.apart_from)
    }
    found += [Limit(kind=LimitKind.APART, subject=(other,), bound=0.0) for other in sorted(apart)]
    if any(step.site_inputs for candidate in wide.candidates for step in candidate.steps):
        found.append(Limit(kind=LimitKind.RESIDENCY, subject=(), bound=0.0))
    if query.freely:
        found.append(Limit(kind=LimitKind.SELECTOR, subject=(query.selector,), bound=0.0))
    return tuple(found)


def _machine_limits(machine: Machine, query: QueryProblem) -> Iterable[Limit]:
    options = {
        option
        for candidate in query.candidates
        for step in candidate.steps
        for option in step.options
        if option.machine == machine.id
    }
    if not options:
        return
    if machine.cordoned:
        yield Limit(kind=LimitKind.CORDON, subject=(machine.id,), bound=0.0)
    size = capacity_of(machine)
    for place, kind in enumerate(SIZES):
        # Of a machine type the size only matters where a replica is larger than that; its count does otherwise.
        large = [option for option in options if fit_count(machine, shape_of(option)) < 1]
        if any(shape_of(option)[place] > 0 for option in (options if is_single(machine) else large)):
            yield Limit(kind=kind, subject=(machine.id,), bound=float(size[place]))
    if machine.count is not None and not is_single(machine):
        yield Limit(kind=LimitKind.MACHINES, subject=(machine.id,), bound=float(machine.count))


def _link_limits(problem: Problem, query: QueryProblem) -> Iterable[Limit]:
    network = Network.of(problem)
    uplinks: dict[str, float] = {}
    for resource in most_taken(network, problem, query):
        if resource[0] == "bits":
            wire = network.wires[resource[1], resource[2]]  # type: ignore[index]
            yield Limit(
                kind=LimitKind.LINK, subject=(wire.source, wire.target), bound=float(wire.bandwidth_bit_per_s or 0.0)
            )
        elif resource[0] == "uplink":
            uplinks[str(resource[1])] = 0.0
    for uplink in problem.uplinks:
        if uplink.id in uplinks:
            yield Limit(kind=LimitKind.UPLINK, subject=(uplink.id,), bound=uplink.bandwidth_bit_per_s)


def far(limit: Limit) -> float | None:
    """Where a limit holds nothing back; None: there is no such figure, it is left out."""
    if limit.kind in SLO_KINDS or limit.kind in RULES or limit.kind is LimitKind.BUDGET:
        return None
    return float(ceil(max(limit.bound, 1.0) * _FAR))


def moved(problem: Problem, number: int, limit: Limit, bound: float | None) -> Problem:
    """The problem with one limit of a query at another bound; None: without it."""
    query = problem.queries[number]
    if limit.kind in _SLO_FIELDS:
        return _with_query(problem, number, replace(query, slo=_slo_with(query.slo, limit.kind, bound)))
    if limit.kind is LimitKind.BUDGET:
        return replace(problem, budget_per_h=bound)
    if limit.kind is LimitKind.RESIDENCY:
        return _with_query(problem, number, _anywhere(query))
    if limit.kind is LimitKind.SELECTOR:
        return _with_query(problem, number, widest(query))
    if limit.kind is LimitKind.APART:
        return _beside(problem, query.id, limit.subject[0])
    if limit.kind is LimitKind.LINK:
        wires = tuple(
            replace(wire, bandwidth_bit_per_s=bound) if (wire.source, wire.target) == limit.subject else wire
            for wire in problem.wires
        )
        return replace(problem, wires=wires)
    if limit.kind is LimitKind.UPLINK:
        uplinks = tuple(
            replace(uplink, bandwidth_bit_per_s=bound) if uplink.id == limit.subject[0] and bound else uplink
            for uplink in problem.uplinks
        )
        return replace(problem, uplinks=uplinks)
    machines = tuple(
        _changed(machine, limit, bound) if machine.id == limit.subject[0] else machine for machine in problem.machines
    )
    return replace(problem, machines=machines)


def _changed(machine: Machine, limit: Limit, bound: float | None) -> Machine:
    if limit.kind is LimitKind.CORDON:
        return replace(machine, cordoned=False)
    if bound is None:
        return machine
    match limit.kind:
        case LimitKind.MACHINES:
            return replace(machine, count=round(bound))
        case LimitKind.CORES:
            return replace(machine, cores=bound)
        case LimitKind.MEMORY:
            return replace(machine, memory_bytes=round(bound))
        case LimitKind.SLOTS:
            return replace(machine, accelerator_slots=round(bound))
        case _:
            return replace(machine, accelerator_memory_bytes=round(bound))


def _slo_with(slo: Slo, kind: LimitKind, bound: float | None) -> Slo:
    match kind:
        case LimitKind.LATENCY:
            return replace(slo, latency_ms=bound)
        case LimitKind.ACCURACY:
            return replace(slo, accuracy_ratio=bound)
        case _:
            return replace(slo, cost_per_h=bound)


def sized_as(problem: Problem, other: Problem) -> Problem:
    """The problem with machines of the sizes that they have in another."""
    machines = tuple(
        replace(
            machine,
            cores=like.cores,
            memory_bytes=like.memory_bytes,
            accelerator_slots=like.accelerator_slots,
            accelerator_memory_bytes=like.accelerator_memory_bytes,
        )
        for machine, like in zip(problem.machines, other.machines, strict=True)
    )
    return replace(problem, machines=machines)


def _with_query(problem: Problem, number: int, query: QueryProblem) -> Problem:
    return replace(problem, queries=(*problem.queries[:number], query, *problem.queries[number + 1 :]))


def _anywhere(query: QueryProblem) -> QueryProblem:
    def free(ones: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        return tuple(
            replace(candidate, steps=tuple(replace(step, site_inputs=frozenset()) for step in candidate.steps))
            for candidate in ones
        )

    return replace(query, candidates=free(query.candidates), freely=free(query.freely))


def _beside(problem: Problem, first: str, second: str) -> Problem:
    queries = tuple(
        replace(query, apart_from=query.apart_from - {QueryId(first), QueryId(second)})
        if query.id in {first, second}
        else query
        for query in problem.queries
    )
    return replace(problem, queries=queries)


def without(problem: Problem, number: int, limits: Iterable[Limit]) -> Problem:
    """The problem with these limits so far out that they hold nothing back."""
    for limit in limits:
        problem = moved(problem, number, limit, far(limit))
    return problem


def relaxed(problem: Problem, query_id: QueryId, relaxation: Relaxation) -> Problem:
    """The problem after a relaxation, with all else as it was."""
    return moved(problem, number_of(problem, query_id), relaxation.limit, relaxation.bound)


def outward(limit: Limit, bound: float) -> float:
    """A bound rounded so that few digits say it, away from where the limit stands, by little of the way."""
    bound = float(bound)
    distance = abs(bound - limit.bound)
    if not isfinite(bound) or distance <= 0.0:
        return bound
    step = Decimal(1).scaleb(floor(log10(distance * _ROUNDING_RATIO)))
    if limit.kind in WHOLE_KINDS:
        step = max(step, Decimal(1))
    # What grows is told as what is added, so that is what must be short.
    from_zero = limit.kind in SLO_KINDS or limit.kind is LimitKind.BUDGET
    figure = Decimal(repr(bound if from_zero else distance))
    nearest = figure.quantize(step)
    down = limit.kind is LimitKind.ACCURACY
    good = nearest <= figure if down else nearest >= figure * (1 - Decimal("1e-12"))
    rounded = nearest if good else figure.quantize(step, rounding=ROUND_FLOOR if down else ROUND_CEILING)
    return float(rounded) if from_zero else limit.bound + float(rounded)
