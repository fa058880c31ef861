"""The room that others leave a query, and which of its plans fit into it. PURE.

A plan fits if the bill of it and the others breaks nothing that the others alone do not break. What does not matter
for that is taken out before plans are listed: prices where no bound is held against cost, and resources that the
query could not use up. So few of its plans are left that none beats, and listing them is seldom thinned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

from circinus.model.device import DeviceId
from cloud_planner.core.cordon import cordoned
from cloud_planner.core.estimate import SLACK_RATIO, replicas_needed
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Billing, Problem, QueryProblem, Step
from cloud_planner.core.resources import Resource, capacity, capacity_of, machine_amounts, usable
from cloud_planner.core.select.assignment import (
    Assignment,
    amounts_of,
    bill,
    from_route,
    keeps_apart,
    own_cost_per_h,
    prefixes_of,
    traffic,
)
from cloud_planner.core.select.dominance import undominated
from cloud_planner.core.select.estimates import path_estimate
from cloud_planner.core.select.flows import add_flows
from cloud_planner.core.select.milp import Solver, Work
from cloud_planner.core.select.model import Column, Model
from cloud_planner.core.select.paths import read_flow
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.select.taken import amounts_taken
from cloud_planner.core.sharing import Prefix, merges, step_amounts
from cloud_planner.core.steps import EXTRA_REPLICAS
from cloud_planner.core.templates import Enumeration, Prune, Template, TemplateLimits, admissible, template

_LIMITS = TemplateLimits(partial_rows=30_000, routes=20_000)
#: Plans that are held against the bill of the others, those that are wanted most first.
_TRIES = 2_000
#: Resources of a machine, in the order of a shape's figures.
KINDS = ("cores", "memory", "slots", "accelerator_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A plan that fits; ``percentile_ms`` of the slowest way."""

    assignment: Assignment
    percentile_ms: float
    own_cost_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search for a plan found; without ``complete``, that there is none (or none better) is not proven."""

    fit: Fit | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A query, by number, and the plans of the others that it must fit beside.

    ``solver``: for queries whose items may be divided; without one, nothing is found for them. ``fits_in``: the problem
    whose machine sizes say what fits, where these are not those that say what a part of a machine costs.
    """

    problem: Problem
    number: int
    others: tuple[Assignment, ...]
    solver: Solver | None = None
    fits_in: Problem | None = None

    @property
    def query(self) -> QueryProblem:
        """The query."""
        return self.problem.queries[self.number]

    def within(self, problem: Problem) -> Room:
        """The same in a problem with other bounds or more of something."""
        return replace(self, problem=problem)

    def holds(self, assignment: Assignment) -> bool:
        """Whether it fits beside the others."""
        every = (*self.others, assignment)
        problem, budget_per_h = self.problem, self.problem.budget_per_h
        if self.fits_in is not None:
            if budget_per_h is not None:
                cost_per_h = bill(Network.of(problem), problem, every).cost_per_h
                if cost_per_h > budget_per_h * (1.0 + SLACK_RATIO) + SLACK_RATIO:
                    return False
            problem = replace(self.fits_in, budget_per_h=None)
        network = Network.of(problem)
        broken = set(bill(network, problem, every).violations)
        return not broken or (bool(self.others) and broken <= set(bill(network, problem, self.others).violations))

    def least(self, need: Callable[[Fit], float]) -> Search:
        """A plan that meets the SLO and fits: of those that no other beats, one that needs least."""
        query = self.query
        if query.impossible or not query.candidates:
            return Search(fit=None, complete=True)
        if query.splittable:
            return self._divided()
        listed = self.listed()
        fits = [
            Fit(
                assignment=from_route(self.number, route),
                percentile_ms=route.percentile_ms,
                own_cost_per_h=route.own_cost_per_h,
            )
            for route in listed.routes
        ]
        for fit in sorted(fits, key=need)[:_TRIES]:
            if self.holds(fit.assignment):
                return Search(fit=fit, complete=listed.complete)
        return Search(fit=None, complete=listed.complete and len(fits) <= _TRIES)

    def any(self) -> Search:
        """A plan that meets the SLO and fits."""
        return self.least(lambda fit: fit.own_cost_per_h)

    def listed(self) -> Template:
        """The plans of an undivided query that meet the SLO and may fit; any that fits is no better than one here."""
        problem = cordoned(self._bare())
        query = problem.queries[self.number]
        network = Network.of(problem)
        meeting = undominated(problem, query, admissible(problem, query))
        # Where plans may share what others run, one that takes more may fit where one that takes less does not.
        prune = Prune.NOTHING if merges(network, query) else Prune.ROUTES
        wanted = Enumeration(candidates=meeting, slo=query.slo, prune=prune, limits=_LIMITS)
        return template(network, problem, query, self.left(network, problem), wanted)

    def _bare(self) -> Problem:
        """The problem without prices that nothing is held against, and with none but shares of machines paid."""
        if self.problem.budget_per_h is not None:
            return self.problem
        free = self.query.slo.cost_per_h is None
        machines = tuple(
            replace(machine, billing=Billing.SHARE, price_per_h=0.0 if free else machine.price_per_h)
            for machine in self.problem.machines
        )
        wires = tuple(replace(wire, price_per_gb=0.0) for wire in self.problem.wires) if free else self.problem.wires
        return replace(self.problem, machines=machines, wires=wires)

    def taken(self, network: Network, problem: Problem) -> dict[Resource, float]:
        """What the others take of each resource, but for the memory of processes that may be shared."""
        shared = {("process", *name) for name in network.processes}
        total: dict[Resource, float] = defaultdict(float)
        running: set[Prefix] = set()
        for assignment in self.others:
            query = problem.queries[assignment.query]
            if query.splittable:
                for resource, amount in amounts_of(network, problem, assignment)[1].items():
                    total[resource] += amount
                continue
            candidate = query.candidates[assignment.candidate]
            own = prefixes_of(network, problem, assignment)
            merged = {place for place, prefix in own if prefix in running}
            running |= {prefix for _, prefix in own}
            for load in assignment.loads:
                if load.step not in merged:
                    step = candidate.steps[load.step]
                    option = step.options[load.option]
                    for resource, amount in step_amounts(network, problem, query, step, option, load.replicas, shared):
                        total[resource] += amount
            for path in assignment.paths:
                sent = traffic(network, problem, query, candidate, path.options, merged)
                for resource, amount in sent[1].items() if sent is not None else ():
                    total[resource] += amount
        return dict(total)

    def left(self, network: Network, problem: Problem) -> dict[Resource, float]:
        """What the others leave of each resource that the query could use up; infinite where packing decides."""
        taken, size = self.taken(network, problem), self._sizes()
        machines = dict(network.machines)
        left: dict[Resource, float] = {}
        for resource, most in most_taken(network, problem, self.query).items():
            there = capacity(resource, machines)
            if there is None:
                if resource[0] in {"shape", "on"}:
                    left[resource] = inf
            elif most > (free := max(0.0, there * size.get(resource, 1.0) - taken.get(resource, 0.0))) * (1.0 - 1e-9):
                left[resource] = free
        if merges(network, self.query):
            # What runs already for others who read the same takes nothing: only the bill knows.
            left = dict.fromkeys(left, inf)
        processes: dict[Resource, float] = {("process", *name): inf for name in network.processes}
        return left | processes | self._shut(network)

    def _sizes(self) -> dict[Resource, float]:
        """Of machines that are another size where it is asked what fits, how much larger they are there."""
        found: dict[Resource, float] = {}
        if self.fits_in is None:
            return found
        for machine, other in zip(self.problem.machines, self.fits_in.machines, strict=True):
            for name, here, there in zip(KINDS, capacity_of(machine), capacity_of(other), strict=True):
                if here != there and here > 0:
                    found[name, machine.id] = there / here
        return found

    def _shut(self, network: Network) -> dict[Resource, float]:
        """Where those are that it must stay apart from."""
        found: dict[Resource, float] = {}
        for assignment in self.others:
            other = self.problem.queries[assignment.query]
            for one, two in ((self.query, other), (other, self.query)):
                if two.id in one.apart_from:
                    steps = other.candidates[assignment.candidate].steps
                    for load in assignment.loads:
                        name = steps[load.step].options[load.option].machine
                        if keeps_apart(network.machines[name], one):
                            found["apart", name, one.id, two.id] = 0.0
        return found

    def _divided(self) -> Search:
        """By the selection's own programme, with the others' columns taken."""
        if self.solver is None:
            return Search(fit=None, complete=False)
        problem = cordoned(self.problem)
        network, query = Network.of(problem), problem.queries[self.number]
        size = self._sizes()
        left = {name: there * size.get(name, 1.0) for name, there in tight_resources(network, problem).items()}
        model = Model(network=network, problem=problem, left=left)
        for assignment in self.others:
            amounts = tuple(sorted(amounts_taken(network, problem, assignment).items(), key=repr))
            model.add_columns(assignment.query, (Column(assignment=assignment, cost_per_h=0.0, amounts=amounts),))
        for variable, _ in model.columns:
            model.builder.lower[variable] = 1.0
        meeting = undominated(problem, query, admissible(problem, query))
        flows = add_flows(model, self.number, meeting, TemplateLimits()) if meeting else []
        model.close()
        # Here others are counted with nothing shared.
        complete = all(flow.complete for flow in flows) and model.patterns_complete and not network.processes
        if not meeting:
            return Search(fit=None, complete=True)
        serving = [(variable, 1.0) for flow in flows for variable in flow.candidates.values()]
        solved = self.solver.solve(model.builder.freeze(serving, maximize=True), Work())
        if not solved.solved or solved.objective < 0.5:
            return Search(fit=None, complete=complete and (solved.solved or solved.bound < 0.5))
        found = next((each for flow in flows if (each := read_flow(problem, flow, solved.values)) is not None), None)
        if found is None or not self.holds(found):
            return Search(fit=None, complete=False)
        return Search(fit=fit_of(network, problem, found), complete=complete)


def fit_of(network: Network, problem: Problem, assignment: Assignment) -> Fit:
    """An assignment with its estimate."""
    estimates = [path_estimate(network, problem, assignment, path.options) for path in assignment.paths]
    slowest = max((route.percentile_ms for route in estimates if route is not None), default=inf)
    query = problem.queries[assignment.query]
    return Fit(
        assignment=assignment,
        percentile_ms=slowest,
        own_cost_per_h=own_cost_per_h(network, problem, query, assignment),
    )


def most_taken(network: Network, problem: Problem, query: QueryProblem) -> dict[Resource, float]:
    """More than any of the query's plans takes of each resource."""
    most: dict[Resource, float] = {}
    steps: dict[int, dict[Resource, float]] = {}
    for candidate in query.candidates:
        total: dict[Resource, float] = defaultdict(float)
        for step in candidate.steps:
            # Candidates share steps, as the very same values.
            if id(step) not in steps:
                steps[id(step)] = _most_of_step(network, problem, query, step)
            for resource, amount in steps[id(step)].items():
                total[resource] += amount
        for resource, amount in total.items():
            most[resource] = max(most.get(resource, 0.0), amount)
    most.update(_most_bits(network, problem, query))
    return most


def _most_of_step(network: Network, problem: Problem, query: QueryProblem, step: Step) -> dict[Resource, float]:
    largest: dict[Resource, float] = {}
    for option in step.options:
        machine = network.machines.get(option.machine)
        if not usable(machine, option):
            continue
        count = replicas_needed(query.rate_per_s, step, option, problem.replica_utilization_cap)
        for resource, amount in machine_amounts(machine, option, count + EXTRA_REPLICAS):
            largest[resource] = max(largest.get(resource, 0.0), amount)
    return largest


def machines_of(query: QueryProblem) -> tuple[DeviceId, ...]:
    """The machines that a query could use, its source among them."""
    used = {option.machine for candidate in query.candidates for step in candidate.steps for option in step.options}
    return tuple(sorted(used | ({query.source} if query.source is not None else set())))


def _most_bits(network: Network, problem: Problem, query: QueryProblem) -> Mapping[Resource, float]:
    bytes_per_s = 0.0
    for candidate in query.candidates:
        sizes = {step.operator_id: step.items_per_item * step.output_bytes for step in candidate.steps}
        sent = sum(sizes.get(name, candidate.source_bytes) for step in candidate.steps for name in step.inputs)
        bytes_per_s = max(bytes_per_s, sent * query.rate_per_s)
    most: dict[Resource, float] = {}
    machines = machines_of(query)
    for source in machines:
        for target in machines:
            wire = network.wires.get((source, target))
            if wire is None:
                continue
            planned_per_s = 8.0 * bytes_per_s / problem.link_utilization_cap
            if wire.bandwidth_bit_per_s:
                most["bits", source, target] = planned_per_s / wire.bandwidth_bit_per_s
            for uplink in network.uplinks.get((source, target), ()):
                most["uplink", uplink.id] = planned_per_s / uplink.bandwidth_bit_per_s
    return most
