"""What a selection gives a query, in terms of its problem, and what a set of them takes and costs. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE
from cloud_planner.core.estimate import SLACK_RATIO, dominant_share_ratio, paid_share
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Candidate, Machine, Problem, QueryProblem
from cloud_planner.core.resources import (
    Resource,
    Shape,
    bits_amount,
    capacity_of,
    fit_count,
    is_limited,
    is_single,
    shape_of,
)
from cloud_planner.core.templates import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One operator's replicas by one option, and their share of the query's items."""

    step: int
    option: int
    replicas: int
    share_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One option for each step, and the share of the items that go this way."""

    options: tuple[int, ...]
    share_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One query's plan: indices of query and candidate, its loads in order of steps and options, its paths."""

    query: int
    candidate: int
    loads: tuple[Load, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What assignments take of each machine and wire, and cost. ``machines`` are switched on."""

    machines: Mapping[DeviceId, int]
    cores: Mapping[DeviceId, float]
    machine_cost_per_h: Mapping[DeviceId, float]
    traffic_cost_per_h: float
    violations: tuple[str, ...]

    @property
    def cost_per_h(self) -> float:
        """Machines and traffic."""
        return sum(self.machine_cost_per_h.values()) + self.traffic_cost_per_h


def from_route(query: int, route: Route) -> Assignment:
    """An unsplit query's assignment."""
    return Assignment(
        query=query,
        candidate=route.candidate,
        loads=tuple(
            Load(step=step, option=pick.option, replicas=pick.replicas, share_ratio=1.0)
            for step, pick in enumerate(route.picks)
        ),
        paths=(Path(options=tuple(pick.option for pick in route.picks), share_ratio=1.0),),
    )


def traffic(
    network: Network, problem: Problem, query: QueryProblem, candidate: Candidate, options: tuple[int, ...]
) -> tuple[float, dict[Resource, float]] | None:
    """Cost per hour, and what it takes of links, if all items went this way; None if there is no such way."""
    place = {step.operator_id: index for index, step in enumerate(candidate.steps)}
    cost = 0.0
    bits: dict[Resource, float] = defaultdict(float)
    for index, step in enumerate(candidate.steps):
        target = step.options[options[index]].machine
        for name in step.inputs:
            if name == SOURCE:
                source, bytes_per_s = query.source, query.rate_per_s * candidate.source_bytes
            else:
                before = candidate.steps[place[name]]
                source = before.options[options[place[name]]].machine
                bytes_per_s = query.rate_per_s * before.items_per_item * before.output_bytes
            hop = network.hop(source, target)
            if hop is None:
                return None
            cost += hop.price_per_byte * bytes_per_s * SECONDS_PER_H
            amount = bits_amount(hop, bytes_per_s, problem.link_utilization_cap)
            if amount is not None:
                bits[amount[0]] += amount[1]
    return cost, dict(bits)


def own_cost_per_h(network: Network, problem: Problem, query: QueryProblem, assignment: Assignment) -> float:
    """What the query costs by the shares that it uses, whole machines or not, and its traffic."""
    candidate = query.candidates[assignment.candidate]
    total = 0.0
    for load in assignment.loads:
        option = candidate.steps[load.step].options[load.option]
        machine = network.machines[option.machine]
        total += machine.price_per_h * dominant_share_ratio(machine, option) * load.replicas
    for path in assignment.paths:
        sent = traffic(network, problem, query, candidate, path.options)
        total += sent[0] * path.share_ratio if sent is not None else 0.0
    return total


def bill(network: Network, problem: Problem, assignments: Iterable[Assignment]) -> Bill:
    """What assignments take and cost together, with each limit that they break."""
    held: dict[DeviceId, dict[str, dict[Shape, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    cores: dict[DeviceId, float] = defaultdict(float)
    shares: dict[DeviceId, float] = defaultdict(float)
    bits: dict[Resource, float] = defaultdict(float)
    traffic_cost = 0.0
    violations: list[str] = []
    for assignment in assignments:
        query = problem.queries[assignment.query]
        candidate = query.candidates[assignment.candidate]
        for load in assignment.loads:
            step = candidate.steps[load.step]
            option = step.options[load.option]
            machine = network.machines[option.machine]
            owner = f"{query.id}/{step.operator_id}" if machine.exclusive else ""
            held[machine.id][owner][shape_of(option)] += load.replicas
            cores[machine.id] += option.cores * load.replicas
            shares[machine.id] += dominant_share_ratio(machine, option) * load.replicas
        for path in assignment.paths:
            sent = traffic(network, problem, query, candidate, path.options)
            if sent is None:
                violations.append(f"query {query.id} takes a way with no link")
                continue
            traffic_cost += sent[0] * path.share_ratio
            for resource, amount in sent[1].items():
                bits[resource] += amount * path.share_ratio
    machines: dict[DeviceId, int] = {}
    cost: dict[DeviceId, float] = {}
    for name in sorted(held):
        machine = network.machines[name]
        count, broken = _machines(machine, held[name])
        violations += broken
        machines[name] = count
        cost[name] = machine.price_per_h * (shares[name] if paid_share(machine) else count)
    violations += [
        f"link {name} carries {amount:.6g} of its planned rate" for name, amount in bits.items() if amount > 1.0 + 1e-6
    ]
    return Bill(
        machines=machines,
        cores=dict(cores),
        machine_cost_per_h=cost,
        traffic_cost_per_h=traffic_cost,
        violations=tuple(violations),
    )


def _machines(machine: Machine, held: Mapping[str, Mapping[Shape, int]]) -> tuple[int, list[str]]:
    """How many machines of a type are on, and what does not fit."""
    unfit = [shape for shapes in held.values() for shape in shapes if fit_count(machine, shape) < 1]
    if unfit:
        return 0, [f"a replica of {unfit[0]} does not fit {machine.id}"]
    if is_single(machine):
        broken = []
        for dimension, (name, there) in enumerate(
            zip(("cores", "memory", "slots", "accelerator memory"), capacity_of(machine), strict=True)
        ):
            used = sum(shape[dimension] * count for shape, count in held[""].items())
            if used > there * (1.0 + SLACK_RATIO) + SLACK_RATIO:
                broken.append(f"{machine.id} has {there:.6g} {name}, {used:.6g} are used")
        return 1, broken
    count = sum(machines_needed(shapes, capacity_of(machine)) for shapes in held.values())
    if machine.count is not None and count > machine.count:
        return count, [f"{machine.id} has {machine.count} machines, {count} are needed"]
    return count, []


def amounts_of(network: Network, problem: Problem, assignment: Assignment) -> tuple[float, dict[Resource, float]]:
    """Cost per hour without shared whole machines, and amounts of resources, of a split query's assignment.

    Its exclusive machines are counted by their replicas' shapes, so they are not in the cost either.
    """
    query = problem.queries[assignment.query]
    candidate = query.candidates[assignment.candidate]
    amounts: dict[Resource, float] = defaultdict(float)
    cost = 0.0
    for load in assignment.loads:
        step = candidate.steps[load.step]
        option = step.options[load.option]
        machine = network.machines[option.machine]
        for resource, amount in split_amounts(machine, f"{query.id}/{step.operator_id}", shape_of(option)):
            amounts[resource] += amount * (1 if resource[0] == "on" else load.replicas)
        if paid_share(machine):
            cost += machine.price_per_h * dominant_share_ratio(machine, option) * load.replicas
    for path in assignment.paths:
        sent = traffic(network, problem, query, candidate, path.options)
        if sent is not None:
            cost += sent[0] * path.share_ratio
            for resource, amount in sent[1].items():
                amounts[resource] += amount * path.share_ratio
    return cost, dict(amounts)


def split_amounts(machine: Machine, owner: str, shape: Shape) -> list[tuple[Resource, float]]:
    """What one replica of a split query takes ("on" once for any number)."""
    if is_single(machine):
        names = ("cores", "memory", "slots", "accelerator_memory")
        taken: list[tuple[Resource, float]] = [
            ((name, machine.id), used / there)
            for name, used, there in zip(names, shape, capacity_of(machine), strict=True)
            if used > 0
        ]
        return taken if paid_share(machine) else [*taken, (("on", machine.id), 1.0)]
    if not is_limited(machine):
        return []
    return [(("shape", machine.id, owner if machine.exclusive else "", shape), 1.0)]


def whole_replicas(flow_per_s: float, capacity_per_s: float, cap_ratio: float) -> int:
    """The fewest replicas that carry a flow under the cap; at least 1."""
    load = flow_per_s / (cap_ratio * capacity_per_s)
    return max(1, ceil(load - 1e-7 * max(1.0, load)))
