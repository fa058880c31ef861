"""A split query's part of the programme: shares of its items instead of whole plans. PURE.

Candidates with the same DAG share what they have in common: a step variant is a step that is equal in several
candidates.

Notation: z_c takes candidate c; w_v = sum of z over the candidates with variant v; f_vo is the share of items that
variant v handles by option o; n_vo its replicas; a_vmk the share that goes from variant v on machine m to machine k;
r the share on a whole route, where latency is bounded.

F1  sum over o of f_vo = w_v
F2  f_vo <= (cap x capacity / load) x n_vo, and n_vo <= most x w_v
F3  arcs out of (v, m) sum to f of v on m; arcs of an edge into machine k sum to f of the next step on k; no arc
    without a link
F4  with routes: sum of r = z_c, and f is the sum of the routes through it
F5  where the DAG has an undirected cycle (a diamond), arcs alone do not say that some routes explain them: the
    shares on each joint choice of machines for the cycle's steps add up to the arcs along its edges
F6  the query's own cost within its bound
F8  what follows from F1 and F2 for whole numbers of replicas (it only makes solving faster)
F7  with a query that must stay apart: replicas on a machine <= most x t, where t says that it is there
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE
from cloud_planner.core.estimate import dominant_share_ratio, paid_share, replicas_needed
from cloud_planner.core.network import SECONDS_PER_H, Network
from cloud_planner.core.problem import Problem, QueryProblem, Step
from cloud_planner.core.resources import Resource, bits_amounts, shape_of, usable
from cloud_planner.core.select.assignment import split_amounts, traffic
from cloud_planner.core.select.milp import Sense
from cloud_planner.core.select.model import Model, Terms
from cloud_planner.core.steps import Skeleton
from cloud_planner.core.templates import Enumeration, Prune, TemplateLimits, template

#: Shares below this are the solver's noise.
NOISE_RATIO = 1e-6
#: Of a rounded row: below this it might cut off what rounding errors allow.
_LEAST_REST = 1e-3
#: Joint choices of machines for a cycle's steps; beyond, whole routes are listed in their place.
_MOST_JOINT = 20_000


@dataclass(slots=True, kw_only=True)
class Flow:
    """The variables of a split query's candidates with one DAG.

    ``shares`` and ``arcs`` are by position; a source with several sizes of items has position -1.
    """

    query: int
    skeleton: Skeleton
    candidates: dict[int, int] = field(default_factory=dict)
    #: (position, step, option) -> f
    shares: dict[tuple[int, Step, int], int] = field(default_factory=dict)
    #: (candidate, options) -> r
    routes: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)
    #: (from position, to position, from machine, to machine) -> arcs, one for each variant
    arcs: dict[tuple[int, int, DeviceId | None, DeviceId], list[int]] = field(default_factory=lambda: defaultdict(list))
    own_cost: Terms = field(default_factory=list)
    complete: bool = True


def add_flows(model: Model, query: int, candidates: tuple[int, ...], limits: TemplateLimits) -> list[Flow]:
    """Adds a split query's candidates to the model; one flow for each DAG among them."""
    by_skeleton: dict[Skeleton, list[int]] = defaultdict(list)
    for index in candidates:
        by_skeleton[Skeleton.of(model.problem.queries[query].candidates[index])].append(index)
    flows = []
    for skeleton, members in by_skeleton.items():
        flow = Flow(query=query, skeleton=skeleton)
        _Adder(model, flow, members, limits).add()
        flows.append(flow)
    return flows


class _Adder:
    def __init__(self, model: Model, flow: Flow, members: list[int], limits: TemplateLimits) -> None:
        self.model, self.flow, self.members, self.limits = model, flow, members, limits
        self.network: Network = model.network
        self.problem: Problem = model.problem
        self.query: QueryProblem = model.problem.queries[flow.query]
        self.builder = model.builder
        #: By position: each variant and the candidates that have it.
        self.variants: list[dict[Step, list[int]]] = []
        self.touches: dict[DeviceId, list[tuple[Terms, float]]] = defaultdict(list)
        #: By machine: counts of replicas there, and the most of each.
        self.present: dict[DeviceId, list[tuple[int, float]]] = defaultdict(list)

    def add(self) -> None:
        """Adds variables and rows F1 to F6."""
        for index in self.members:
            variable = self.builder.column(upper=1.0, integer=True)
            self.flow.candidates[index] = variable
            self.model.serving[self.flow.query].append((variable, 1.0))
        for position in range(len(self.flow.skeleton.inputs)):
            variants: dict[Step, list[int]] = defaultdict(list)
            for index in self.members:
                variants[self.query.candidates[index].steps[position]].append(index)
            self.variants.append(variants)
            for step, owners in variants.items():
                self._variant(position, step, owners)
        joint = [(cycle, self._joint(cycle)) for cycle in self.flow.skeleton.cycles]
        few = all(len(choices) <= _MOST_JOINT for _, choices in joint)
        if self.query.slo.latency_ms is None and few and self._alike():
            for position, reads in enumerate(self.flow.skeleton.inputs):
                for source in reads:
                    self._edge(source, position)
            for cycle, choices in joint:
                self._tie(cycle, choices)
        else:
            self._routes()
        if self.query.slo.cost_per_h is not None:
            bound = self.query.slo.cost_per_h
            rest = [(variable, -bound) for variable in self.flow.candidates.values()]
            self.builder.row([*self.flow.own_cost, *rest], Sense.AT_MOST, 0.0)
        for machine, rows in self.touches.items():
            self.model.touching[machine] += rows
        self._stay_apart()

    def _stay_apart(self) -> None:
        """F7."""
        for resource in self.model.left:
            machine = DeviceId(str(resource[1]))
            if resource[0] != "apart" or self.query.id not in resource[2:] or machine not in self.present:
                continue
            there = self.builder.column(upper=1.0, integer=True)
            for count, most in self.present[machine]:
                self.builder.row([(count, 1.0), (there, -most)], Sense.AT_MOST, 0.0)
            self.model.apart[resource].append((there, 1.0))

    def _variant(self, position: int, step: Step, owners: list[int]) -> None:
        chosen = [(self.flow.candidates[index], -1.0) for index in owners]
        shares: Terms = []
        carried: Terms = []
        cap = self.problem.replica_utilization_cap
        for index, option in enumerate(step.options):
            machine = self.network.machines.get(option.machine)
            if not usable(machine, option):
                continue
            most = replicas_needed(self.query.rate_per_s, step, option, cap)
            most = most if option.replicas_most is None else min(most, option.replicas_most)
            share = self.builder.column(upper=1.0)
            count = self.builder.column(upper=float(most), integer=True)
            self.flow.shares[position, step, index] = share
            shares.append((share, 1.0))
            load = self.query.rate_per_s * step.items_per_item
            factor = min(1.0, cap * option.capacity_per_s / load) if load > 0.0 else 1.0
            carried.append((count, factor))
            self.builder.row([(share, 1.0), (count, -factor)], Sense.AT_MOST, 0.0)  # F2
            self.builder.row([(count, 1.0), *((z, -float(most)) for z, _ in chosen)], Sense.AT_MOST, 0.0)  # F2
            price = machine.price_per_h * dominant_share_ratio(machine, option)
            if price:
                self.flow.own_cost.append((count, price))
                if paid_share(machine):
                    self.model.cost.append((count, price))
            for resource, amount in split_amounts(machine, f"{self.query.id}/{step.operator_id}", shape_of(option)):
                self._take(resource, count, amount, most)
            self.present[machine.id].append((count, float(most)))
        self.builder.row([*shares, *chosen], Sense.EQUAL, 0.0)  # F1
        for terms, least in _rounded(carried):
            self.builder.row([*terms, *((z, -least) for z, _ in chosen)], Sense.AT_LEAST, 0.0)  # F8

    def _take(self, resource: Resource, count: int, amount: float, most: int) -> None:
        if resource[0] == "on":
            self.touches[DeviceId(str(resource[1]))].append(([(count, 1.0)], float(most)))
        elif resource in self.model.left:
            self.model.taken[resource].append((count, amount))
            if resource[0] == "shape":
                self.model.most[resource] += most

    def _send(self, variable: int, source: DeviceId | None, target: DeviceId, bytes_per_s: float) -> None:
        """What a variable's share puts on a link, and costs there."""
        hop = self.network.hop(source, target)
        if hop is None:
            return
        cost = hop.price_per_byte * bytes_per_s * SECONDS_PER_H
        if cost:
            self.model.cost.append((variable, cost))
            self.flow.own_cost.append((variable, cost))
        for resource, amount in bits_amounts(hop, bytes_per_s, self.problem.link_utilization_cap):
            if resource in self.model.left:
                self.model.taken[resource].append((variable, amount))

    def _senders(self, source: int) -> list[tuple[float, dict[DeviceId | None, Terms]]]:
        """By variant of the sending side: bytes per second of all items, and terms of its share on each machine."""
        senders: list[tuple[float, dict[DeviceId | None, Terms]]] = []
        if source < 0:
            sizes: dict[float, Terms] = defaultdict(list)
            for index in self.members:
                sizes[self.query.candidates[index].source_bytes].append((self.flow.candidates[index], 1.0))
            return [(size * self.query.rate_per_s, {self.query.source: terms}) for size, terms in sizes.items()]
        for step in self.variants[source]:
            here: dict[DeviceId | None, Terms] = defaultdict(list)
            for (position, other, index), share in self.flow.shares.items():
                if position == source and other == step:
                    here[step.options[index].machine].append((share, 1.0))
            senders.append((self.query.rate_per_s * step.items_per_item * step.output_bytes, here))
        return senders

    def _leads(self, source: int, target: int, machine: DeviceId | None, receiver: DeviceId) -> bool:
        """Whether items may be sent along an edge of the DAG between these machines."""
        if self.network.hop(machine, receiver) is None:
            return False
        return self.network.same_site(machine, receiver) or not any(map(self._kept(source), self.variants[target]))

    def _kept(self, source: int) -> Callable[[Step], bool]:
        """Whether a step must have its input from the step at a position at its site."""
        place = [step.operator_id for step in self.query.candidates[self.members[0]].steps]
        name = place[source] if source >= 0 else SOURCE
        return lambda step: name in step.site_inputs

    def _alike(self) -> bool:
        """Whether the variants of each step agree on what may not leave its site: else whole routes must say."""
        return all(len({step.site_inputs for step in variants}) < 2 for variants in self.variants)

    def _edge(self, source: int, target: int) -> None:
        """F3 for one edge of the DAG."""
        receivers: dict[DeviceId, Terms] = defaultdict(list)
        for (position, step, index), share in self.flow.shares.items():
            if position == target:
                receivers[step.options[index].machine].append((share, 1.0))
        arriving: dict[DeviceId, Terms] = defaultdict(list)
        for bytes_per_s, here in self._senders(source):
            for machine, terms in here.items():
                leaving: Terms = []
                for receiver in receivers:
                    if not self._leads(source, target, machine, receiver):
                        continue
                    arc = self.builder.column(upper=1.0)
                    self.flow.arcs[source, target, machine, receiver].append(arc)
                    leaving.append((arc, 1.0))
                    arriving[receiver].append((arc, 1.0))
                    self._send(arc, machine, receiver, bytes_per_s)
                self.builder.row([*leaving, *((v, -value) for v, value in terms)], Sense.EQUAL, 0.0)
        for receiver, terms in receivers.items():
            self.builder.row([*arriving[receiver], *((v, -value) for v, value in terms)], Sense.EQUAL, 0.0)

    def _joint(self, cycle: tuple[int, ...]) -> list[dict[int, DeviceId]]:
        """Machines for the steps of a cycle, with links along its edges; at most one more than are allowed."""
        partial: list[dict[int, DeviceId]] = [{}]
        for position in cycle:
            machines = sorted(
                {step.options[index].machine for place, step, index in self.flow.shares if place == position}
            )
            reads = [source for source in self.flow.skeleton.inputs[position] if source in cycle]
            partial = [
                {**chosen, position: machine}
                for chosen in partial[: _MOST_JOINT + 1]
                for machine in machines
                if all(self._leads(source, position, chosen[source], machine) for source in reads)
            ]
        return partial

    def _tie(self, cycle: tuple[int, ...], choices: list[dict[int, DeviceId]]) -> None:
        """F5 for one cycle."""
        variables = [self.builder.column(upper=1.0) for _ in choices]
        for (source, target, machine, receiver), arcs in list(self.flow.arcs.items()):
            if source in cycle and target in cycle:
                through = [
                    (variable, -1.0)
                    for variable, chosen in zip(variables, choices, strict=True)
                    if chosen[source] == machine and chosen[target] == receiver
                ]
                self.builder.row([*((arc, 1.0) for arc in arcs), *through], Sense.EQUAL, 0.0)

    def _routes(self) -> None:
        """F4: all routes that meet the SLO, each by itself."""
        through: dict[int, Terms] = defaultdict(list)
        each = max(20, self.limits.routes // len(self.members))
        for index in self.members:
            candidate = self.query.candidates[index]
            listed = template(
                self.network,
                self.problem,
                self.query,
                {},
                Enumeration(
                    candidates=(index,),
                    slo=self.query.slo,
                    prune=Prune.NOTHING,
                    limits=TemplateLimits(partial_rows=self.limits.partial_rows, routes=each),
                    fractional=True,
                ),
            )
            self.flow.complete &= listed.complete
            taken: Terms = []
            for route in listed.routes:
                options = tuple(pick.option for pick in route.picks)
                sent = traffic(self.network, self.problem, self.query, candidate, options)
                if sent is None:
                    continue
                variable = self.builder.column(upper=1.0)
                self.flow.routes[index, options] = variable
                taken.append((variable, 1.0))
                for position, option in enumerate(options):
                    through[self.flow.shares[position, candidate.steps[position], option]].append((variable, 1.0))
                cost, bits = sent
                if cost:
                    self.model.cost.append((variable, cost))
                    self.flow.own_cost.append((variable, cost))
                for resource, amount in bits.items():
                    if resource in self.model.left:
                        self.model.taken[resource].append((variable, amount))
            self.builder.row([*taken, (self.flow.candidates[index], -1.0)], Sense.EQUAL, 0.0)
        for share in self.flow.shares.values():
            self.builder.row([*through[share], (share, -1.0)], Sense.EQUAL, 0.0)


def _rounded(carried: Terms) -> list[tuple[Terms, float]]:
    """Rows that follow from whole replicas carrying all items: terms, and the least that they add up to.

    Mixed-integer rounding (G. L. Nemhauser and L. A. Wolsey, 1990) of sum of factor x n >= 1 over each factor.
    """
    found: list[tuple[Terms, float]] = []
    for divisor in sorted({factor for _, factor in carried if factor < 1.0}):
        whole, rest = divmod(1.0 / divisor, 1.0)
        if not _LEAST_REST <= rest <= 1.0 - _LEAST_REST:
            continue
        terms: Terms = []
        for count, factor in carried:
            full, part = divmod(factor / divisor, 1.0)
            terms.append((count, full + min(1.0, part / rest)))
        # Replicas may miss their load by a little (whole_replicas).
        found.append((terms, whole + 1.0 - 1e-6 / (divisor * rest)))
    return found


def chosen_candidate(flow: Flow, values: Mapping[int, float] | tuple[float, ...]) -> int | None:
    """The candidate that the values take, if any."""
    for index, variable in flow.candidates.items():
        if values[variable] > 0.5:
            return index
    return None
