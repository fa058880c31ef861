"""Between queries of the goodput benchmark and the selection: candidates from what is known, plans, and their truth.

Whoever made a plan, it is a configuration and, for each operator, a machine, cores and replicas. What that plan then
does is worked out from the held-out times by the latency model of core/estimate.py, which all planners use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import Interval, Plan
from circinus.model.query import QueryId, Slo
from cloud_planner.baselines.knowledge import Wanted
from cloud_planner.baselines.plan_space import CORE_SHARES, Figures
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.problem import Candidate, Delay, Option, Problem, QueryProblem, Step
from cloud_planner.core.steps import Pick
from cloud_planner.core.templates import Enumeration, Prune, template

if TYPE_CHECKING:
    from goodput_fleet import Fleet, Node
    from goodput_queries import Request

#: A bound is met within so much; that on latency within what the rivals' plan space and the selection, which estimate
#: joins and replicas a little differently, mostly differ by.
SLACK_RATIO = 1e-6
LATENCY_SLACK_RATIO = 0.02
_BYTES_PER_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where one operator runs: cores of each replica, and how many there are."""

    machine: str
    cores: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A query that is served: by which configuration, and where; one spot for each operator, in order."""

    number: int
    configuration: int
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a plan truly does. ``pool_accurate``: by all samples of the pool, which is what our test promises.

    ``surely_short``: below the bound by more than the held-out samples' own error allows (5%, one-sided).
    """

    accurate: bool
    in_time: bool
    in_budget: bool
    pool_accurate: bool
    surely_short: bool
    cost_per_h: float

    @property
    def meets(self) -> bool:
        """Whether all three bounds hold."""
        return self.accurate and self.in_time and self.in_budget

    @property
    def meets_within_error(self) -> bool:
        """The same where accuracy counts as missed only beyond the held-out samples' own error."""
        return not self.surely_short and self.in_time and self.in_budget

    @property
    def meets_by_pool(self) -> bool:
        """The same with the accuracy over the whole pool."""
        return self.pool_accurate and self.in_time and self.in_budget


def query_name(number: int) -> QueryId:
    """Of a query by its number; names are in order of numbers."""
    return QueryId(f"q{number:04}")


def query_problem(
    request: Request, fleet: Fleet, known: Mapping[int, Figures], error_ratio: Mapping[int, float] | None = None
) -> QueryProblem:
    """A query with these configurations, taken to be accurate enough, and their times as they are known.

    Each query counts as one, whatever its rate. ``error_ratio``: of times, one relative standard error.
    """
    errors = error_ratio or {}
    return QueryProblem(
        id=query_name(request.number),
        rate_per_s=request.space.rate_per_s,
        weight=1.0 / request.space.rate_per_s,
        slo=Slo(
            latency_ms=request.slo.latency_ms,
            percentile_ratio=request.slo.percentile_ratio,
            cost_per_h=request.slo.cost_per_h,
        ),
        source=DeviceId(request.path[0]),
        candidates=tuple(
            candidate(request, fleet, index, figures, errors.get(index, 0.0)) for index, figures in known.items()
        ),
        impossible="" if known else "no configuration is known to be accurate enough",
    )


def candidate(request: Request, fleet: Fleet, index: int, figures: Figures, error_ratio: float) -> Candidate:
    """A configuration on the machines of a query's path."""
    table = request.content.table
    shape = table.shape
    nodes = [node for node in map(fleet.node, request.path) if node.cores > 0.0]
    steps = tuple(
        Step(
            operator_id=OperatorId(shape.operators[at]),
            inputs=tuple(OperatorId(SOURCE if one < 0 else shape.operators[one]) for one in shape.inputs[at]),
            output_bytes=float(figures.output_bytes[at]),
            options=tuple(
                _option(node, cores, float(figures.mean_ms[at]), float(figures.variance_ms2[at]))
                for node in nodes
                for cores in CORE_SHARES
            ),
            single=shape.stateful[at],
        )
        for at in range(len(shape.operators))
    )
    return Candidate(
        configuration=table.configurations[index],
        accuracy=Interval(value=1.0, low=1.0, high=1.0),
        steps=steps,
        source_bytes=float(figures.source_bytes),
        outputs=tuple(OperatorId(shape.operators[at]) for at in shape.outputs),
        latency_uncertainty_ratio=error_ratio,
    )


def _option(node: Node, cores: float, mean_ms: float, variance_ms2: float) -> Option:
    speed = node.speed_ratio * cores
    service_ms = max(mean_ms / speed, 1e-6)
    return Option(
        machine=DeviceId(node.id),
        cores=cores,
        service=Delay(mean_ms=service_ms, variance_ms2=variance_ms2 / speed**2),
        capacity_per_s=1e3 / service_ms,
    )


def problem(fleet: Fleet, queries: Sequence[QueryProblem]) -> Problem:
    """All of them on a fleet."""
    return Problem(machines=fleet.machines(), wires=fleet.wires, queries=tuple(queries))


# Plans of both kinds


def from_plan(request: Request, plan: Plan) -> Placed:
    """A plan of the selection."""
    table = request.content.table
    by_operator = {operator.operator_id: operator for operator in plan.operators}
    found = [by_operator[OperatorId(name)] for name in table.shape.operators]
    return Placed(
        number=request.number,
        configuration=table.configurations.index(plan.configuration),
        spots=tuple(Spot(machine=str(one.device_id), cores=one.cores, replicas=one.replicas) for one in found),
    )


def from_row(request: Request, wanted: Wanted, row: int) -> Placed:
    """A row of what a planner wanted."""
    plan = int(wanted.plan[row])
    places, shares = wanted.space.place[plan], wanted.space.share[plan]
    return Placed(
        number=request.number,
        configuration=int(wanted.configuration[row]),
        spots=tuple(
            Spot(machine=request.path[int(place)], cores=float(share), replicas=int(replicas))
            for place, share, replicas in zip(places, shares, wanted.takes.replicas[row], strict=True)
        ),
    )


# The truth of a plan


class Judge:
    """Holds plans against what is true of their queries; a plan is worked out once."""

    def __init__(self, fleet: Fleet, requests: Sequence[Request]) -> None:
        self.fleet, self.requests = fleet, requests
        # What cores a machine has is no part of a plan's truth, so one network does for all multiples of a fleet.
        self._empty = problem(fleet, ())
        self._network = Network.of(self._empty)
        self._judged = lru_cache(maxsize=None)(self._judge)

    def __call__(self, placed: Placed) -> Verdict:
        """What a plan truly does."""
        return self._judged(placed)

    def _judge(self, placed: Placed) -> Verdict:
        request = self.requests[placed.number]
        slo, held, index = request.slo, request.held, placed.configuration
        bound = (slo.accuracy_ratio or 0.0) - SLACK_RATIO
        latency_ms = self.latency_ms(placed)
        cost = self.cost_per_h(placed)
        return Verdict(
            accurate=float(held.accuracy[index]) >= bound,
            in_time=slo.latency_ms is None or latency_ms <= slo.latency_ms * (1.0 + LATENCY_SLACK_RATIO),
            in_budget=slo.cost_per_h is None or cost <= slo.cost_per_h * (1.0 + SLACK_RATIO),
            pool_accurate=float(request.pool_accuracy[index]) >= bound,
            surely_short=float(held.accuracy[index]) + 1.645 * float(held.error[index]) < bound,
            cost_per_h=cost,
        )

    def latency_ms(self, placed: Placed) -> float:
        """The percentile of latency, from the held-out times; infinite if it can't hold the rate."""
        request = self.requests[placed.number]
        figures = request.held.figures[placed.configuration]
        query = query_problem(request, self.fleet, {placed.configuration: figures})
        options = query.candidates[0].steps[0].options
        place = {(str(option.machine), option.cores): number for number, option in enumerate(options)}
        picks = tuple(Pick(option=place[spot.machine, spot.cores], replicas=spot.replicas) for spot in placed.spots)
        wanted = Enumeration(
            candidates=(0,), slo=Slo(percentile_ratio=query.slo.percentile_ratio), prune=Prune.NOTHING, fixed=picks
        )
        routes = template(self._network, replace(self._empty, queries=(query,)), query, {}, wanted).routes
        return routes[0].percentile_ms if routes else float("inf")

    def cost_per_h(self, placed: Placed) -> float:
        """Of the cores that it holds and the bytes that it sends."""
        request = self.requests[placed.number]
        figures, space = request.held.figures[placed.configuration], request.space
        total = sum(
            spot.cores * spot.replicas * self.fleet.node(spot.machine).price_per_core_h for spot in placed.spots
        )
        for at, inputs in enumerate(space.shape.inputs):
            for before in inputs:
                source = request.path[0] if before < 0 else placed.spots[before].machine
                target = placed.spots[at].machine
                if source != target:
                    size = float(figures.source_bytes if before < 0 else figures.output_bytes[before])
                    gb_per_h = size * space.rate_per_s * SECONDS_PER_H / _BYTES_PER_GB
                    total += gb_per_h * self.fleet.wire(source, target).price_per_gb
        return total
