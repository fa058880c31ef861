"""Which resources could run out if every query took the most that it could. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import inf

from circinus.model.device import DeviceId
from cloud_planner.core.estimate import replicas_needed
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import MEMORIES, Resource, capacity, shape_of, usable
from cloud_planner.core.select.assignment import keeps_apart, split_amounts
from cloud_planner.core.select.kinds import Form, Forms, Renaming, reduced
from cloud_planner.core.sharing import step_amounts
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
                    if not usable(machine, option):
                        continue
                    count = replicas_needed(query.rate_per_s, step, option, problem.replica_utilization_cap)
                    if query.splittable:
                        owner = f"{query.id}/{step.operator_id}"
                        for resource, amount in split_amounts(machine, owner, shape_of(option)):
                            largest[resource] += amount * (1 if resource[0] == "on" else count)
                    else:
                        more = count + EXTRA_REPLICAS
                        for resource, amount in step_amounts(network, problem, query, step, option, more):
                            largest[resource] = max(largest[resource], amount)
                steps[id(step)] = largest
            for resource, amount in steps[id(step)].items():
                total[resource] += amount
        for resource, amount in total.items():
            most[resource] = max(most.get(resource, 0.0), amount)
    return most


def _most_bytes(query: QueryProblem) -> float:
    """More bytes for an item of its source than the query can put on any one link."""
    most = 0.0
    for candidate in query.candidates:
        total = 0.0
        sizes = {step.operator_id: step.items_per_item * step.output_bytes for step in candidate.steps}
        for step in candidate.steps:
            total += sum(sizes.get(name, candidate.source_bytes) for name in step.inputs)
        most = max(most, total)
    return most


class _Needs:
    """The most that queries take of machines; made once for all of one form and rate."""

    def __init__(self, network: Network, problem: Problem, forms: Forms) -> None:
        self._network, self._problem, self._forms = network, problem, forms
        self._known: dict[tuple[int, float], tuple[Form, dict[Resource, float]]] = {}
        self._bytes: dict[int, float] = {}

    def of_machines(self, query: QueryProblem) -> Iterable[tuple[Resource, float]]:
        """The most that any candidate takes of each machine's resources, where its items can come to."""
        if not self._forms.shares(query):
            return _most_of_machines(self._network, self._problem, query).items()
        form = self._forms.form(query)
        key = (form.key, query.rate_per_s)
        if key not in self._known:
            small, there = reduced(query, form)
            self._known[key] = (there, _most_of_machines(self._network, self._problem, small))
        there, most = self._known[key]
        names = Renaming(there, form)
        return [(names.resource(resource), amount) for resource, amount in most.items()]

    def bits_per_s(self, query: QueryProblem) -> float:
        """More than the query can put on any one link."""
        key = id(query.candidates)
        if key not in self._bytes:
            self._bytes[key] = _most_bytes(query)
        return 8.0 * self._bytes[key] * query.rate_per_s


def tight_resources(network: Network, problem: Problem, forms: Forms | None = None) -> dict[Resource, float]:
    """How much there is of each resource that could run out; infinite where packing or switching on decides."""
    forms = forms or Forms(network, problem)
    needs = _Needs(network, problem, forms)
    total: dict[Resource, float] = defaultdict(float)
    leaving: dict[DeviceId, list[DeviceId]] = defaultdict(list)
    for source, target in network.wires:
        leaving[source].append(target)
    bits_per_s: dict[tuple[DeviceId, DeviceId], float] = defaultdict(float)
    uplinks_per_s: dict[str, float] = defaultdict(float)
    for query in problem.queries:
        for resource, amount in needs.of_machines(query):
            total[resource] += amount
        ends: Sequence[tuple[DeviceId, DeviceId]]
        if forms.shares(query):
            ends = forms.form(query).links
        else:
            used = machines_of(query)
            sources = used if query.source is None else used | {query.source}
            ends = [(source, target) for source in sources for target in leaving[source] if target in used]
        most = needs.bits_per_s(query)
        for each in ends:
            bits_per_s[each] += most
        for name in {uplink.id for each in ends for uplink in network.uplinks.get(each, ())}:
            uplinks_per_s[name] += most
    machines = dict(network.machines)
    tight: dict[Resource, float] = {}
    for resource, amount in total.items():
        there = capacity(resource, machines)
        if resource[0] in {"on", "shape"} or (
            # A shared machine that is paid whole is switched on by what it holds.
            there is not None and amount > there * (1.0 - 1e-9)
        ):
            tight[resource] = inf if there is None else there
    planned = problem.link_utilization_cap * (1.0 - 1e-9)
    for pair, wire in network.wires.items():
        if wire.bandwidth_bit_per_s and bits_per_s.get(pair, 0.0) > planned * wire.bandwidth_bit_per_s:
            tight["bits", *pair] = 1.0
    for uplink in problem.uplinks:
        if uplinks_per_s.get(uplink.id, 0.0) > planned * uplink.bandwidth_bit_per_s:
            tight["uplink", uplink.id] = 1.0
    for (name, key), process in network.processes.items():
        if process.shared and any((kind, name) in tight for kind in MEMORIES):
            tight["process", name, key] = inf
    return tight | _apart(network, problem)


def machines_of(query: QueryProblem) -> set[DeviceId]:
    """Machines that some option of a query is on."""
    return {o.machine for c in query.candidates for s in c.steps for o in s.options if o.replicas_most != 0}


def _apart(network: Network, problem: Problem) -> dict[Resource, float]:
    """Each pair of queries that must stay apart, on each machine where they could meet."""
    found: dict[Resource, float] = {}
    queries = {query.id: query for query in problem.queries}
    for query in problem.queries:
        for other in sorted(query.apart_from & (queries.keys() - {query.id})):
            for name in sorted(machines_of(query) & machines_of(queries[other])):
                machine = network.machines.get(name)
                if machine is not None and keeps_apart(machine, query):
                    found["apart", name, query.id, other] = inf
    return found
