"""What every way of selecting begins with: a problem's columns, what runs, and the closed model of both. PURE."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from circinus.model.query import QueryId
from cloud_planner.core.cordon import cordoned
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.columns import QueryColumns
from cloud_planner.core.select.flows import Flow, add_flows
from cloud_planner.core.select.kind_columns import columns_by_kind
from cloud_planner.core.select.kinds import Forms
from cloud_planner.core.select.model import Column, Model
from cloud_planner.core.select.running import running_column
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.templates import TemplateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A problem with its queries in order, and what is selected from.

    ``left``: how much there is of each resource that could run out, of those that are looked at; ``tight``: of all.
    ``running``: by number of the query, the column of the plan in force. ``held``: queries of which only that is there.
    """

    problem: Problem
    network: Network
    left: dict[Resource, float]
    tight: dict[Resource, float]
    columns: tuple[QueryColumns, ...]
    running: dict[int, Column]
    model: Model
    flows: tuple[Flow, ...]

    @property
    def complete(self) -> bool:
        """Whether every plan there is is among the columns, flows and patterns."""
        return (
            all(entry.complete for entry in self.columns)
            and all(flow.complete for flow in self.flows)
            and self.model.patterns_complete
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What does not depend on which limits are looked at: the problem with its queries in order, and its ``tight``."""

    problem: Problem
    network: Network
    forms: Forms
    tight: dict[Resource, float]

    @classmethod
    def of(cls, problem: Problem) -> Ground:
        """The ground of a problem with its queries in any order."""
        problem = cordoned(replace(problem, queries=tuple(sorted(problem.queries, key=lambda query: query.id))))
        network = Network.of(problem)
        forms = Forms(network, problem)
        return cls(problem=problem, network=network, forms=forms, tight=tight_resources(network, problem, forms))


def prepare(
    ground: Ground,
    limits: TemplateLimits,
    held: frozenset[QueryId] = frozenset(),
    looked_at: Set[Resource] | None = None,
) -> Prepared:
    """A problem's columns and model.

    Args:
        ground: The problem.
        limits: On the size of templates.
        held: Queries that keep their running plan or have none; no other plans of theirs are looked for.
        looked_at: The resources that may run out; None: all that could.
    """
    problem, network, forms = ground.problem, ground.network, ground.forms
    left = {resource: there for resource, there in ground.tight.items() if looked_at is None or resource in looked_at}
    plans = {plan.query_id: plan for plan in reversed(problem.running)}
    kept = {
        number: column
        for number, query in enumerate(problem.queries)
        if query.id in held
        and query.id in plans
        and (column := running_column(network, problem, number, left, plans[query.id])) is not None
    }
    columns = columns_by_kind(network, problem, left, limits, forms, without=frozenset(kept))
    for number, column in kept.items():
        columns[number] = QueryColumns(query=number, columns=(column,), candidates=(), complete=False, possible=True)
    running = dict(kept)
    for entry in columns:
        plan = plans.get(problem.queries[entry.query].id)
        if entry.query in kept or plan is None or not entry.possible:
            continue
        column = running_column(network, problem, entry.query, left, plan)
        if column is not None:
            running[entry.query] = column
    model, flows = _model(network, problem, columns, running, left, limits)
    return Prepared(
        problem=problem,
        network=network,
        left=left,
        tight=ground.tight,
        columns=tuple(columns),
        running=running,
        model=model,
        flows=tuple(flows),
    )


def _model(
    network: Network,
    problem: Problem,
    columns: Sequence[QueryColumns],
    running: dict[int, Column],
    left: dict[Resource, float],
    limits: TemplateLimits,
) -> tuple[Model, list[Flow]]:
    model = Model(network=network, problem=problem, left=left)
    flows: list[Flow] = []
    for entry in columns:
        split = problem.queries[entry.query].splittable
        here = () if split else entry.columns
        kept = running.get(entry.query)
        if kept is not None:
            here = (kept, *(column for column in here if column.assignment != kept.assignment))
        model.add_columns(entry.query, here)
        if split and entry.candidates:
            flows += add_flows(model, entry.query, entry.candidates, limits)
    model.close()
    return model, flows
