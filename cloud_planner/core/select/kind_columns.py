"""The columns of all queries, made once for each kind of query (kinds.py). PURE."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.assignment import Assignment, Load, Path
from cloud_planner.core.select.columns import QueryColumns, query_columns
from cloud_planner.core.select.kinds import Form, Forms, Renaming, Tight, reduced
from cloud_planner.core.select.model import Column
from cloud_planner.core.templates import TemplateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The columns of the first query of a kind, and that query, where its items can come to."""

    query: QueryProblem
    form: Form
    columns: QueryColumns


def columns_by_kind(
    network: Network,
    problem: Problem,
    left: dict[Resource, float],
    limits: TemplateLimits,
    forms: Forms | None = None,
    without: frozenset[int] = frozenset(),
) -> list[QueryColumns]:
    """The columns of each query, in order of queries; ``without``: numbers of those whose are not looked for."""
    forms = forms or Forms(network, problem)
    tight = Tight(left)
    known: dict[Hashable, _Kind] = {}
    found = []
    for number, query in enumerate(problem.queries):
        if number in without:
            found.append(QueryColumns(query=number, columns=(), candidates=(), complete=False, possible=True))
            continue
        if not tight.known or not forms.shares(query):
            found.append(query_columns(network, problem, number, left, limits))
            continue
        form = forms.form(query)
        own = (query.rate_per_s, query.slo, query.slo_probability_ratio, query.arrival_cv2, query.answer_to_source)
        key = (form.key, tight.key(form), own)
        if key not in known:
            small, there = reduced(query, form)
            columns = query_columns(network, problem, number, tight.of(form), limits, small)
            known[key] = _Kind(query=small, form=there, columns=columns)
        found.append(_renamed(known[key], number, form))
    return found


def _renamed(kind: _Kind, number: int, form: Form) -> QueryColumns:
    """A kind's columns as another query's."""
    made = kind.columns
    if made.query == number and kind.form is form:
        return made
    names = Renaming(kind.form, form)
    return replace(made, query=number, columns=_columns(kind, names, number, made.columns))


def _columns(kind: _Kind, names: Renaming, number: int, columns: Sequence[Column]) -> tuple[Column, ...]:
    loads: dict[tuple[int, int, int, int], Load] = {}
    found = []
    for column in columns:
        assignment = replace(column.assignment, query=number)
        if names.options is not None:
            assignment = _moved(kind, names, assignment, loads)
        amounts = tuple((names.resource(resource), amount) for resource, amount in column.amounts)
        found.append(Column(assignment=assignment, cost_per_h=column.cost_per_h, amounts=amounts))
    return tuple(found)


def _moved(
    kind: _Kind, names: Renaming, assignment: Assignment, loads: dict[tuple[int, int, int, int], Load]
) -> Assignment:
    """An unsplit query's assignment with the options' places there; equal loads are one."""
    options = names.options or {}
    steps = kind.query.candidates[assignment.candidate].steps
    made, taken = [], []
    for load in assignment.loads:
        step = steps[load.step]
        key = (id(step), load.step, load.option, load.replicas)
        if key not in loads:
            loads[key] = replace(load, option=options[id(step)][load.option])
        made.append(loads[key])
        taken.append(loads[key].option)
    return replace(assignment, loads=tuple(made), paths=(Path(options=tuple(taken), share_ratio=1.0),))


__all__ = ["columns_by_kind"]
