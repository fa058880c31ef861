"""The selection as a mixed-integer programme. PURE.

Notation: x_j takes column j (a whole plan of a query); y are processes and s steps that queries share; z, f, n are a
split query's candidate, shares and replicas (flows.py); u_p machines are filled by pattern p; o_m switches a shared
machine m on that is paid whole.

C1  a query takes at most one column or candidate
C2  amounts of a resource stay within what there is (of a machine that must be switched on: times o_m)
C3  replicas of each shape are covered by patterns: what is taken <= sum of pattern x u
C4  machines of a type that are filled or taken whole stay within its count
C5  whatever touches a machine that is paid whole switches it on
C6  of two queries that must stay apart at most one is on a machine
C7  all cost within the budget
C8  columns that put replicas into shared processes of a machine open some: x <= y, and cores <= what y serve; these
    take the memory
C9  columns that share a step with others' run it: x <= s; the step takes what it takes once, and pays

Goodput is weight x rate over C1's left-hand sides; cost is that of columns, replicas, traffic, patterns and machines
that are on. With all patterns of each type listed, C3 says exactly which replicas fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from circinus.model.device import DeviceId
from cloud_planner.core.estimate import paid_share
from cloud_planner.core.network import Network
from cloud_planner.core.packing import maximal_patterns
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import LINKS, Resource, Shape, capacity_of
from cloud_planner.core.select.assignment import Assignment, from_route
from cloud_planner.core.select.merging import Merged, merged_prefixes, rest_of
from cloud_planner.core.select.milp import Builder, Sense
from cloud_planner.core.sharing import Prefix, process_amounts, process_count
from cloud_planner.core.templates import Route

Terms = list[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A whole plan of one query: what it adds to the bill and what it takes."""

    assignment: Assignment
    cost_per_h: float
    amounts: tuple[tuple[Resource, float], ...]


def column_of(query: int, route: Route) -> Column:
    """A route as a column."""
    return Column(assignment=from_route(query, route), cost_per_h=route.cost_per_h, amounts=route.amounts)


@dataclass(slots=True, kw_only=True)
class Model:
    """Columns, terms and rows, as they are put together."""

    network: Network
    problem: Problem
    left: Mapping[Resource, float]
    builder: Builder = field(default_factory=Builder)
    #: x_j by column, in order.
    columns: list[tuple[int, Column]] = field(default_factory=list)
    #: By query: all that serves it (C1).
    serving: dict[int, Terms] = field(default_factory=lambda: defaultdict(list))
    cost: Terms = field(default_factory=list)
    taken: dict[Resource, Terms] = field(default_factory=lambda: defaultdict(list))
    #: Largest count that matters of each shape.
    most: dict[Resource, int] = field(default_factory=lambda: defaultdict(int))
    #: By pair and machine: what puts one of them there (C6).
    apart: dict[Resource, Terms] = field(default_factory=lambda: defaultdict(list))
    #: By shared process or step, and by query (or step): what needs it (C8, C9).
    opening: dict[Resource, dict[int, Terms]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    #: By machine paid whole: rows of terms, each of which is at most factor x o_m (C5).
    touching: dict[DeviceId, list[tuple[Terms, float]]] = field(default_factory=lambda: defaultdict(list))
    #: Rows of the builder that say what there is of a resource.
    row_of: dict[Resource, int] = field(default_factory=dict)
    #: False if some type has more patterns than are listed; then no bound follows from the programme.
    patterns_complete: bool = True

    def add_columns(self, query: int, columns: Sequence[Column]) -> None:
        """Columns of one query."""
        for column in columns:
            variable = self.builder.column(upper=1.0, integer=True)
            self.columns.append((variable, column))
            self.serving[query].append((variable, 1.0))

    def _take(self, query: int, columns: Sequence[tuple[int, Column]], merged: dict[Prefix, Merged]) -> None:
        """What one query's columns cost and take, beside steps that they share."""
        touches: dict[DeviceId, Terms] = defaultdict(list)
        most: dict[Resource, int] = defaultdict(int)
        for variable, column in columns:
            whole = (column.cost_per_h, column.amounts)
            rest = rest_of(self.network, self.problem, column.assignment, whole, merged) if merged else None
            cost, amounts = whole if rest is None else (rest.cost_per_h, rest.amounts)
            for prefix in () if rest is None else rest.prefixes:
                self.opening[prefix][query].append((variable, 1.0))
            if cost:
                self.cost.append((variable, cost))
            for resource, amount in amounts:
                if resource[0] == "on":
                    touches[DeviceId(str(resource[1]))].append((variable, 1.0))
                elif resource in self.left and resource[0] == "apart":
                    self.apart[resource].append((variable, 1.0))
                elif resource in self.left:
                    self.taken[resource].append((variable, amount))
                    if resource[0] == "shape":
                        most[resource] = max(most[resource], ceil(amount))
                    elif resource[0] == "process":
                        self.opening[resource][query].append((variable, 1.0))
        for resource, count in most.items():
            self.most[resource] += count
        for machine, terms in touches.items():
            self.touching[machine].append((terms, 1.0))

    def _share(self) -> None:
        """What columns cost and take; C8 and C9."""
        assignments = [column.assignment for _, column in self.columns]
        merged = merged_prefixes(self.network, self.problem, assignments, self.left) if self.network.readers else {}
        by_query: dict[int, list[tuple[int, Column]]] = defaultdict(list)
        for variable, column in self.columns:
            by_query[column.assignment.query].append((variable, column))
        for query, columns in by_query.items():
            self._take(query, columns, merged)
        for number, (prefix, step) in enumerate(merged.items()):
            once = self.builder.column(upper=1.0, integer=True)
            if step.cost_per_h:
                self.cost.append((once, step.cost_per_h))
            for resource, amount in step.amounts:
                self.taken[resource].append((once, amount))
                if resource[0] == "process":
                    self.opening[resource][-1 - number].append((once, 1.0))
            self._open(prefix, once)
        for resource in [name for name in self.taken if name[0] == "process"]:
            machine = self.network.machines[DeviceId(str(resource[1]))]
            process = self.network.processes[machine.id, str(resource[2])]
            cores = self.taken.pop(resource)
            most = process_count(process, sum(amount for _, amount in cores))
            count = self.builder.column(upper=float(most), integer=True)
            self.builder.row([*cores, (count, -process.cores)], Sense.AT_MOST, 0.0)
            self._open(resource, count)
            for memory, amount in process_amounts(machine, process):
                if memory in self.left:
                    self.taken[memory].append((count, amount))

    def _open(self, shared: Resource, variable: int) -> None:
        for terms in self.opening[shared].values():
            self.builder.row([*terms, (variable, -1.0)], Sense.AT_MOST, 0.0)

    def close(self) -> None:
        """Adds C1 to C9."""
        self._share()
        for terms in self.serving.values():
            self.builder.row(terms, Sense.AT_MOST, 1.0)
        switched = {machine: self._switch(machine) for machine in sorted(self.touching)}
        counted: dict[DeviceId, Terms] = defaultdict(list)
        pools: dict[tuple[DeviceId, str], list[Resource]] = defaultdict(list)
        for resource in sorted(self.taken, key=repr):
            machine = DeviceId(str(resource[1]))
            if resource[0] == "shape":
                pools[machine, str(resource[2])].append(resource)
            elif resource[0] == "machines":
                counted[machine] += self.taken[resource]
            elif machine in switched and resource[0] not in LINKS:
                self.row_of[resource] = len(self.builder.rows)
                self.builder.row([*self.taken[resource], (switched[machine], -1.0)], Sense.AT_MOST, 0.0)
            else:
                self.row_of[resource] = len(self.builder.rows)
                self.builder.row(self.taken[resource], Sense.AT_MOST, self.left[resource])
        for (machine, _), resources in pools.items():
            counted[machine] += [(variable, 1.0) for variable in self._patterns(machine, resources)]
        for machine, terms in counted.items():
            count = self.network.machines[machine].count
            if count is not None:
                self.row_of["machines", machine] = len(self.builder.rows)
                self.builder.row(terms, Sense.AT_MOST, float(count))
        for terms in self.apart.values():
            self.builder.row(terms, Sense.AT_MOST, 1.0)
        if self.problem.budget_per_h is not None:
            scale = self.problem.budget_per_h or 1.0
            spent = [(variable, cost / scale) for variable, cost in self.cost]
            self.builder.row(spent, Sense.AT_MOST, self.problem.budget_per_h / scale)

    def _switch(self, machine: DeviceId) -> int:
        variable = self.builder.column(upper=1.0, integer=True)
        self.cost.append((variable, self.network.machines[machine].price_per_h))
        for terms, factor in self.touching[machine]:
            self.builder.row([*terms, (variable, -factor)], Sense.AT_MOST, 0.0)
        return variable

    def _patterns(self, name: DeviceId, resources: list[Resource]) -> list[int]:
        machine = self.network.machines[name]
        shapes: dict[Shape, int] = {_shape(resource): max(1, self.most[resource]) for resource in resources}
        patterns, complete = maximal_patterns(shapes, capacity_of(machine))
        if not complete:
            self.patterns_complete = False
            for shape in shapes:  # so that each shape is covered by something
                alone, _ = maximal_patterns({shape: shapes[shape]}, capacity_of(machine))
                patterns += [tuple(alone[0][0] if other == shape else 0 for other in shapes)]
        variables = []
        for pattern in patterns:
            used = [(most, count) for most, count in zip(shapes.values(), pattern, strict=True) if count]
            variable = self.builder.column(upper=float(max(ceil(most / count) for most, count in used)), integer=True)
            if not paid_share(machine):
                self.cost.append((variable, machine.price_per_h))
            variables.append(variable)
        for index, resource in enumerate(resources):
            covered = [(v, -float(p[index])) for v, p in zip(variables, patterns, strict=True) if p[index]]
            self.builder.row([*self.taken[resource], *covered], Sense.AT_MOST, 0.0)
        return variables

    def goodput(self) -> Terms:
        """Weight x rate of what is served."""
        queries = self.problem.queries
        return [
            (variable, value * queries[query].weight * queries[query].rate_per_s)
            for query, terms in self.serving.items()
            for variable, value in terms
        ]


def _shape(resource: Resource) -> Shape:
    shape = resource[3]
    if not isinstance(shape, tuple):
        raise TypeError(f"not a shape: {resource}")
    return shape
