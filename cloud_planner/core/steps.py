"""The choices of one query's steps as arrays, and the ways between the machines they are on. PURE.

A choice is an option with a number of replicas. Which amounts matter (tight resources) is the caller's to say: what
can never run out need not be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE
from circinus.model.query import Slo
from cloud_planner.core.estimate import (
    Stay,
    dominant_share_ratio,
    paid_share,
    replicas_needed,
    stay_of,
)
from cloud_planner.core.moment import Array
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Step, Waiting
from cloud_planner.core.resources import Resource, bits_amounts, fit_count, shape_of, usable
from cloud_planner.core.sharing import at_cap, step_amounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNBOUNDED = inf
#: How many replicas beyond the fewest are tried where more of them shorten waiting ...
EXTRA_REPLICAS = 2
#: ... while a replica would be busy for more than this part of the time with one fewer.
BUSY_RATIO = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One choice for a step: the index of its option, and how many replicas."""

    option: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices of a step. ``use``: (choices, resources); ``machine``: local indices; ``stay`` holds arrays.

    ``least_...``: over the choices, each figure by itself; infinite where there are none.
    """

    picks: tuple[Pick, ...]
    machine: NDArray[np.int64]
    stay: Stay
    cost_per_h: Array
    own_cost_per_h: Array
    use: Array
    least_stay_ms: float
    least_cost_per_h: float
    least_own_cost_per_h: float
    least_use: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Hops between local machines; the last row is the source. Shapes (machines + 1, machines)."""

    exists: NDArray[np.bool_]
    delay_ms: Array
    ms_per_byte: Array
    back_ms: Array
    price_per_byte: Array
    #: The same with the price of the link as a resource.
    charge_per_byte: Array
    #: Whether both ends are at one site.
    same_site: NDArray[np.bool_]
    #: Indices of the resources of the link and its uplinks, -1 for none that is tight: (machines + 1, machines, most).
    wires: NDArray[np.int64]
    #: Share of each of these for a byte per second.
    share_per_byte: Array


class Space:
    """One query's machines, tight resources and ways, numbered from 0. Built once for each enumeration."""

    def __init__(
        self,
        network: Network,
        problem: Problem,
        query: QueryProblem,
        left: Mapping[Resource, float],
        price: Mapping[Resource, float] | None = None,
    ) -> None:
        """``left``: what there is of each tight resource; others are plenty. ``price``: of a unit, added to costs."""
        self.network, self.problem, self.query = network, problem, query
        self.price = dict(price or {})
        used = {option.machine for candidate in query.candidates for step in candidate.steps for option in step.options}
        self.machines = sorted(used)
        self.number = {machine: index for index, machine in enumerate(self.machines)}
        self.source_index = len(self.machines)
        self.uplinks = {
            uplink.id
            for source in (*self.machines, query.source)
            for target in self.machines
            if source is not None
            for uplink in network.uplinks.get((source, target), ())
        }
        self.resources = sorted((resource for resource in left if self._concerns(resource)), key=repr)
        self.resource_number = {resource: index for index, resource in enumerate(self.resources)}
        self.left = np.array([left[resource] for resource in self.resources], dtype=float)
        self.apart: dict[DeviceId, list[int]] = defaultdict(list)
        for resource, index in self.resource_number.items():
            if resource[0] == "apart":
                self.apart[DeviceId(str(resource[1]))].append(index)
        self.ways = self._ways()

    def _concerns(self, resource: Resource) -> bool:
        if resource[0] == "bits":
            return resource[2] in self.number and (resource[1] in self.number or resource[1] == self.query.source)
        if resource[0] == "uplink":
            return resource[1] in self.uplinks
        if resource[0] == "apart" and self.query.id not in resource[2:]:
            return False
        return resource[1] in self.number

    def _ways(self) -> Ways:
        rows, columns = len(self.machines) + 1, len(self.machines)
        exists = np.zeros((rows, columns), dtype=bool)
        delay, per_byte, back, price, charge = (np.zeros((rows, columns)) for _ in range(5))
        near = np.zeros((rows, columns), dtype=bool)
        taken: dict[tuple[int, int], list[tuple[int, float]]] = {}
        ends: list[DeviceId | None] = [*self.machines, self.query.source]
        answered = self.query.answer_to_source and self.query.source is not None
        for a, source in enumerate(ends):
            for b, target in enumerate(self.machines):
                hop = self.network.hop(source, target)
                if hop is None:
                    continue
                exists[a, b] = True
                delay[a, b], per_byte[a, b], price[a, b] = hop.delay_ms, hop.ms_per_byte, hop.price_per_byte
                back[a, b] = hop.back_ms if answered else 0.0
                near[a, b] = self.network.same_site(source, target)
                charge[a, b] = price[a, b]
                for resource, amount in bits_amounts(hop, 1.0, self.problem.link_utilization_cap):
                    charge[a, b] += self.price.get(resource, 0.0) * amount / SECONDS_PER_H
                    if resource in self.resource_number:
                        taken.setdefault((a, b), []).append((self.resource_number[resource], amount))
        most = max((len(each) for each in taken.values()), default=0)
        wires, share = np.full((rows, columns, most), -1, dtype=np.int64), np.zeros((rows, columns, most))
        for (a, b), each in taken.items():
            wires[a, b, : len(each)], share[a, b, : len(each)] = zip(*each, strict=True)
        return Ways(
            exists=exists,
            delay_ms=delay,
            ms_per_byte=per_byte,
            back_ms=back,
            price_per_byte=price,
            charge_per_byte=charge,
            same_site=near,
            wires=wires,
            share_per_byte=share,
        )

    def choices(
        self, step: Step, slo: Slo, *, items_ratio: float, fractional: bool, fixed: Pick | None = None
    ) -> Choices:
        """The choices of a step, in order of options.

        Args:
            step: The step.
            items_ratio: Items for each item of the input that has most.
            slo: The bounds held: without one on latency, waiting does not matter and the fewest replicas do.
            fractional: For a split query's routes: one replica stands for the load that it would have, in parts, and
                no amounts are taken.
            fixed: This choice only.
        """
        kept: list[tuple[Pick, Option]] = []
        for index, option in enumerate(step.options):
            if fixed is not None and index != fixed.option:
                continue
            if not usable(self.network.machines.get(option.machine), option):
                continue
            counts = (fixed.replicas,) if fixed else self._replica_counts(step, option, slo, fractional=fractional)
            kept += [(Pick(option=index, replicas=count), option) for count in counts]
        stays = [self._stay(step, option, pick.replicas, items_ratio) for pick, option in kept]
        use = np.zeros((len(kept), len(self.resources)))
        cost, own = np.zeros(len(kept)), np.zeros(len(kept))
        for row, (pick, option) in enumerate(kept):
            machine = self.network.machines[option.machine]
            count = self._load(step, option) if fractional else float(pick.replicas)
            own[row] = machine.price_per_h * dominant_share_ratio(machine, option) * count
            cost[row] = own[row] if paid_share(machine) else _whole_cost_per_h(machine, option, count)
            if not fractional:
                for resource, amount in step_amounts(
                    self.network, self.problem, self.query, step, option, pick.replicas, self.resource_number
                ):
                    cost[row] += self.price.get(resource, 0.0) * amount
                    if resource in self.resource_number:
                        use[row, self.resource_number[resource]] += amount
                use[row, self.apart.get(machine.id, [])] = 1.0
        return Choices(
            picks=tuple(pick for pick, _ in kept),
            machine=np.array([self.number[option.machine] for _, option in kept], dtype=np.int64),
            stay=Stay.stacked(stays),
            cost_per_h=cost,
            own_cost_per_h=own,
            use=use,
            least_stay_ms=min((float(stay.base_ms) for stay in stays), default=UNBOUNDED),
            least_cost_per_h=float(cost.min(initial=UNBOUNDED)),
            least_own_cost_per_h=float(own.min(initial=UNBOUNDED)),
            least_use=use.min(axis=0) if len(use) else np.zeros(len(self.resources)),
        )

    def _load(self, step: Step, option: Option) -> float:
        cap = self.problem.replica_utilization_cap
        return self.query.rate_per_s * step.items_per_item / (cap * option.capacity_per_s)

    def _replica_counts(self, step: Step, option: Option, slo: Slo, *, fractional: bool) -> range:
        if fractional:
            return range(1, 2)
        least = replicas_needed(self.query.rate_per_s, step, option, self.problem.replica_utilization_cap)
        if step.single:
            return range(least, 2)
        most = least
        steady = at_cap(self.problem, self.network.machines[option.machine], self.query, step)
        if self.problem.waiting is Waiting.QUEUE and slo.latency_ms is not None and not steady:
            busy = self.query.rate_per_s * step.items_per_item / option.capacity_per_s
            while most < least + EXTRA_REPLICAS and busy / most > BUSY_RATIO:
                most += 1
        return range(least, (most if option.replicas_most is None else min(most, option.replicas_most)) + 1)

    def _stay(self, step: Step, option: Option, replicas: int, items_ratio: float) -> Stay:
        steady = at_cap(self.problem, self.network.machines[option.machine], self.query, step)
        if steady:
            arrival_per_s, dealt = self.problem.replica_utilization_cap * option.capacity_per_s, 1
        else:
            arrival_per_s, dealt = self.query.rate_per_s * step.items_per_item / replicas, replicas
        return stay_of(option, arrival_per_s, self.problem.waiting, replicas=dealt, items_ratio=items_ratio)


def _whole_cost_per_h(machine: Machine, option: Option, count: float) -> float:
    """What whole machines cost that one operator alone takes; shared ones are paid where they are switched on."""
    if not machine.exclusive:
        return 0.0
    return machine.price_per_h * ceil(count / fit_count(machine, shape_of(option)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """The DAG of a candidate by positions: inputs of each step (-1: the source), outputs, successors."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    successors: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, candidate: Candidate) -> Skeleton:
        """The skeleton of a candidate; its steps stand in an order in which each comes after its inputs."""
        place = {step.operator_id: index for index, step in enumerate(candidate.steps)}
        place[SOURCE] = -1
        inputs = tuple(tuple(place[name] for name in step.inputs) for step in candidate.steps)
        return cls(
            inputs=inputs,
            outputs=tuple(place[name] for name in candidate.outputs),
            successors=tuple(
                tuple(later for later, reads in enumerate(inputs) if index in reads) for index in range(len(inputs))
            ),
        )

    @property
    def joins(self) -> bool:
        """Whether some step, or the answer, waits for more than one input."""
        return len(self.outputs) > 1 or any(len(reads) > 1 for reads in self.inputs)

    @property
    def passed(self) -> tuple[frozenset[int], ...]:
        """For each step, those that every way to it passes, itself among them."""
        found: list[frozenset[int]] = []
        for index, reads in enumerate(self.inputs):
            ways = [found[place] if place >= 0 else frozenset() for place in reads]
            found.append(frozenset({index}).union(frozenset.intersection(*ways) if ways else ()))
        return tuple(found)

    @property
    def cycles(self) -> tuple[tuple[int, ...], ...]:
        """Sets of steps that undirected cycles hold together, without the source (a diamond is one)."""
        neighbours: list[list[int]] = [[] for _ in self.inputs]
        for target, reads in enumerate(self.inputs):
            for source in reads:
                if source >= 0:
                    neighbours[source].append(target)
                    neighbours[target].append(source)
        found: list[tuple[int, ...]] = []
        entered: dict[int, int] = {}
        edges: list[tuple[int, int]] = []

        def visit(node: int, parent: int) -> int:
            """Tarjan's biconnected components; the lowest entry that is reachable past the node."""
            entered[node] = lowest = len(entered)
            for other in neighbours[node]:
                if other == parent:
                    continue
                if other in entered:
                    if entered[other] < entered[node]:
                        edges.append((node, other))
                    lowest = min(lowest, entered[other])
                    continue
                start = len(edges)
                edges.append((node, other))
                reached = visit(other, node)
                lowest = min(lowest, reached)
                if reached >= entered[node]:
                    members = {end for edge in edges[start:] for end in edge}
                    if len(members) > 2:
                        found.append(tuple(sorted(members)))
                    del edges[start:]
            return lowest

        for node in range(len(self.inputs)):
            if node not in entered:
                visit(node, -1)
        return tuple(sorted(found))
