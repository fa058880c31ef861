"""What a selection gives a query, in terms of its problem, and what a set of them takes and costs. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE
from cloud_planner.core.estimate import SLACK_RATIO, dominant_share_ratio, paid_share
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Candidate, Machine, Problem, QueryProblem
from cloud_planner.core.processes import Process
from cloud_planner.core.resources import (
    ONCE,
    Resource,
    Shape,
    bits_amounts,
    capacity_of,
    fit_count,
    is_limited,
    is_single,
    shape_of,
)
from cloud_planner.core.sharing import Prefix, lives_in_process, merges, prefixes, process_count
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
    network: Network,
    problem: Problem,
    query: QueryProblem,
    candidate: Candidate,
    options: tuple[int, ...],
    without: Container[int] = (),
) -> tuple[float, dict[Resource, float]] | None:
    """Cost per hour, and what it takes of links, if all items went this way; None if there is no such way.

    ``without``: steps to which nothing needs to be sent.
    """
    arriving = step_traffic(network, problem, query, candidate, options)
    if arriving is None:
        return None
    bits: dict[Resource, float] = defaultdict(float)
    sent = [each for place, each in enumerate(arriving) if place not in without]
    for _, taken in sent:
        for resource, amount in taken:
            bits[resource] += amount
    return sum(cost for cost, _ in sent), dict(bits)


def prefixes_of(network: Network, problem: Problem, assignment: Assignment) -> list[tuple[int, Prefix]]:
    """The steps of an unsplit query's plan that others who read the same could run with it."""
    query = problem.queries[assignment.query]
    if not merges(network, query):
        return []
    candidate = query.candidates[assignment.candidate]
    picks = [(load.option, load.replicas) for load in assignment.loads]
    found = prefixes(network, problem, query, candidate, picks)
    return [(place, prefix) for place, prefix in enumerate(found) if prefix is not None]


def step_traffic(
    network: Network, problem: Problem, query: QueryProblem, candidate: Candidate, options: tuple[int, ...]
) -> list[tuple[float, list[tuple[Resource, float]]]] | None:
    """Of what reaches each step: cost per hour, and what it takes of links; None if there is no such way."""
    place = {step.operator_id: index for index, step in enumerate(candidate.steps)}
    found = []
    for index, step in enumerate(candidate.steps):
        target = step.options[options[index]].machine
        cost = 0.0
        taken: list[tuple[Resource, float]] = []
        for name in step.inputs:
            if name == SOURCE:
                source, bytes_per_s = query.source, query.rate_per_s * candidate.source_bytes
            else:
                before = candidate.steps[place[name]]
                source = before.options[options[place[name]]].machine
                bytes_per_s = query.rate_per_s * before.items_per_item * before.output_bytes
            hop = network.hop(source, target)
            if hop is None or (name in step.site_inputs and not network.same_site(source, target)):
                return None
            cost += hop.price_per_byte * bytes_per_s * SECONDS_PER_H
            taken += bits_amounts(hop, bytes_per_s, problem.link_utilization_cap)
        found.append((cost, taken))
    return found


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
    processes: dict[DeviceId, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    running: set[Prefix] = set()
    cores: dict[DeviceId, float] = defaultdict(float)
    shares: dict[DeviceId, float] = defaultdict(float)
    bits: dict[Resource, float] = defaultdict(float)
    traffic_cost = 0.0
    violations: list[str] = []
    chosen = tuple(assignments)
    for assignment in chosen:
        query = problem.queries[assignment.query]
        candidate = query.candidates[assignment.candidate]
        own = prefixes_of(network, problem, assignment)
        merged = {place for place, prefix in own if prefix in running}
        running |= {prefix for _, prefix in own}
        for load in assignment.loads:
            step = candidate.steps[load.step]
            option = step.options[load.option]
            machine = network.machines[option.machine]
            if load.step in merged:
                continue
            owner = f"{query.id}/{step.operator_id}" if machine.exclusive else ""
            shape = shape_of(option)
            if lives_in_process(problem, machine, query, step):
                processes[machine.id][step.share_key] += option.cores * load.replicas
                shape = (option.cores, 0, option.accelerator_slots, 0)
            held[machine.id][owner][shape] += load.replicas
            cores[machine.id] += option.cores * load.replicas
            shares[machine.id] += dominant_share_ratio(machine, option) * load.replicas
        for path in assignment.paths:
            sent = traffic(network, problem, query, candidate, path.options, merged)
            if sent is None:
                violations.append(f"query {query.id} takes a way that there is not")
                continue
            traffic_cost += sent[0] * path.share_ratio
            for resource, amount in sent[1].items():
                bits[resource] += amount * path.share_ratio
    machines: dict[DeviceId, int] = {}
    cost: dict[DeviceId, float] = {}
    for name in sorted(held):
        machine = network.machines[name]
        living = [(network.processes[name, key], cores) for key, cores in processes[name].items()]
        count, broken = _machines(machine, held[name], living)
        violations += broken
        machines[name] = count
        cost[name] = machine.price_per_h * (shares[name] if paid_share(machine) else count)
    violations += [
        f"{' '.join(map(str, name))} carry {amount:.6g} of the planned rate"
        for name, amount in bits.items()
        if amount > 1.0 + 1e-6
    ]
    violations += together(network, problem, chosen)
    total = sum(cost.values()) + traffic_cost
    if problem.budget_per_h is not None and total > problem.budget_per_h * (1.0 + 1e-6) + SLACK_RATIO:
        violations.append(f"costs {total:.6g} per hour, the budget is {problem.budget_per_h:.6g}")
    return Bill(
        machines=machines,
        cores=dict(cores),
        machine_cost_per_h=cost,
        traffic_cost_per_h=traffic_cost,
        violations=tuple(violations),
    )


def keeps_apart(machine: Machine, query: QueryProblem) -> bool:
    """Whether two plans can't both be on a machine (type) if one of them, this query's, must stay apart.

    Its own source may be shared; an exclusive machine never is, and of an unlimited type that is paid by share there is
    always another. Of other types nobody says which of its machines a replica is on: they count as one.
    """
    return machine.id != query.source and not machine.exclusive and is_limited(machine)


def together(network: Network, problem: Problem, assignments: Iterable[Assignment]) -> list[str]:
    """Queries that must stay apart and do not."""
    by_query = {problem.queries[assignment.query].id: assignment for assignment in assignments}
    found = []
    for name, assignment in by_query.items():
        query = problem.queries[assignment.query]
        for other in sorted((query.apart_from - {name}) & by_query.keys()):
            both = _stands_on(problem, assignment) & _stands_on(problem, by_query[other])
            found += [
                f"query {name} and query {other} are both on {machine}"
                for machine in sorted(both)
                if keeps_apart(network.machines[machine], query)
            ]
    return found


def _stands_on(problem: Problem, assignment: Assignment) -> set[DeviceId]:
    steps = problem.queries[assignment.query].candidates[assignment.candidate].steps
    return {steps[load.step].options[load.option].machine for load in assignment.loads}


def _machines(
    machine: Machine, held: Mapping[str, Mapping[Shape, int]], living: Sequence[tuple[Process, float]]
) -> tuple[int, list[str]]:
    """How many machines of a type are on, and what does not fit; ``living``: shared processes, and cores in them."""
    unfit = [shape for shapes in held.values() for shape in shapes if fit_count(machine, shape) < 1]
    if unfit:
        return 0, [f"a replica of {unfit[0]} does not fit {machine.id}"]
    if is_single(machine):
        broken = []
        for dimension, (name, there) in enumerate(
            zip(("cores", "memory", "slots", "accelerator memory"), capacity_of(machine), strict=True)
        ):
            used = sum(shape[dimension] * count for shape, count in held[""].items())
            used += sum(
                (0, process.memory_bytes, 0, process.accelerator_memory_bytes)[dimension]
                * process_count(process, cores)
                for process, cores in living
            )
            if used > there * (1.0 + SLACK_RATIO) + SLACK_RATIO:
                broken.append(f"{machine.id} has {there:.6g} {name}, {used:.6g} are used")
        return 1, broken
    count = sum(machines_needed(shapes, capacity_of(machine)) for shapes in held.values())
    if machine.count is not None and count > machine.count:
        return count, [f"{machine.id} has {machine.count} machines, {count} are needed"]
    return count, []


def amounts_of(network: Network, problem: Problem, assignment: Assignment) -> tuple[float, dict[Resource, float]]:
    """Cost per hour without shared whole machines, and amounts of resources, of a split query's assignment.

    Whom it must stay apart from is not in them. Its exclusive machines are counted by their replicas' shapes, so they
    are not in the cost either.
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
            amounts[resource] += amount * (1 if resource[0] in ONCE else load.replicas)
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
