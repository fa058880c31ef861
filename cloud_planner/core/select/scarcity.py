"""Which resources could run out if every query took the most that it could. PURE."""

from __future__ import annotations

from collections import defaultdict
from math import inf

from cloud_planner.core.estimate import replicas_needed
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import Resource, capacity, fit_count, machine_amounts, shape_of
from cloud_planner.core.select.assignment import split_amounts
from cloud_planner.core.steps import EXTRA_REPLICAS


def _most_of_machines(network: Network, problem: Problem, query: QueryProblem) -> dict[Resource, float]:
    """The most that any candidate takes of each machine's resources."""
    most: dict[Resource, float] = {}
    steps: dict[int, dict[Resource, float]] = {}
    for candidate in query.candidates:
        total: dict[Resource, float] = defaultdict(float)
        for step in candidate.steps:
            if id(step) not in steps:
                largest: dict[Resource, float] = defaultdict(float)
                for option in step.options:
                    machine = network.machines.get(option.machine)
                    if machine is None or option.capacity_per_s <= 0.0 or fit_count(machine, shape_of(option)) < 1:
                        continue
                    count = replicas_needed(query.rate_per_s, step, option, problem.replica_utilization_cap)
                    if query.splittable:
                        owner = f"{query.id}/{step.operator_id}"
                        for resource, amount in split_amounts(machine, owner, shape_of(option)):
                            largest[resource] += amount * (1 if resource[0] == "on" else count)
                    else:
                        for resource, amount in machine_amounts(machine, option, count + EXTRA_REPLICAS):
                            largest[resource] = max(largest[resource], amount)
                steps[id(step)] = largest
            for resource, amount in steps[id(step)].items():
                total[resource] += amount
        for resource, amount in total.items():
            most[resource] = max(most.get(resource, 0.0), amount)
    return most


def _most_bytes_per_s(query: QueryProblem) -> float:
    """More bytes per second than the query can put on any one link."""
    most = 0.0
    for candidate in query.candidates:
        total = 0.0
        sizes = {step.operator_id: step.items_per_item * step.output_bytes for step in candidate.steps}
        for step in candidate.steps:
            total += sum(sizes.get(name, candidate.source_bytes) for name in step.inputs)
        most = max(most, total)
    return most * query.rate_per_s


def tight_resources(network: Network, problem: Problem) -> dict[Resource, float]:
    """How much there is of each resource that could run out; infinite where packing or switching on decides."""
    total: dict[Resource, float] = defaultdict(float)
    loads: list[tuple[set[str], float]] = []
    for query in problem.queries:
        for resource, amount in _most_of_machines(network, problem, query).items():
            total[resource] += amount
        used = {str(o.machine) for c in query.candidates for s in c.steps for o in s.options}
        used |= {str(query.source)} if query.source is not None else set()
        loads.append((used, _most_bytes_per_s(query)))
    machines = dict(network.machines)
    tight: dict[Resource, float] = {}
    for resource, amount in total.items():
        there = capacity(resource, machines)
        if resource[0] in {"on", "shape"} or (
            # A shared machine that is paid whole is switched on by what it holds.
            there is not None and amount > there * (1.0 - 1e-9)
        ):
            tight[resource] = inf if there is None else there
    for (source, target), wire in network.wires.items():
        if wire.bandwidth_bit_per_s is None or not wire.bandwidth_bit_per_s:
            continue
        bits = 8.0 * sum(load for used, load in loads if str(source) in used and str(target) in used)
        if bits > problem.link_utilization_cap * wire.bandwidth_bit_per_s * (1.0 - 1e-9):
            tight[("bits", source, target)] = 1.0
    return tight
