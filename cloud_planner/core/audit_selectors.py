"""A checker of selectors that does not trust who planned by them. PURE.

From the problem's labels and the plans or directives alone: what serves a query runs on machines that its selector
means, or is pinned to the source and runs there. Requirements are looked at here once more, apart from planning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from circinus.errors import InvalidInput
from circinus.model.device import DeviceId
from circinus.model.directive import Directive
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.model.selector import Relation, Requirement, parse_selector
from cloud_planner.core.audited import Audit, Finding, Placed
from cloud_planner.core.problem import Machine, Problem, QueryProblem


def check_selectors(work: Audit, placed: Sequence[Placed]) -> None:
    """No plan is on a machine that its query's selector leaves out."""
    for entry in placed:
        where = ((operator.operator_id, operator.device_id) for operator in entry.plan.operators)
        for message in _breaches(entry.query, where, work.network.machines):
            work.say(entry.query.id, message)


def directive_breaches(problem: Problem, directives: Sequence[Directive]) -> tuple[Finding, ...]:
    """No directive has a device serve what a query's selector keeps off it."""
    machines = {machine.id: machine for machine in problem.machines}
    queries = {query.id: query for query in problem.queries if query.selector}
    found = []
    for directive in directives:
        for query_id, operator_id in _served(directive):
            if query_id in queries:
                where = [(operator_id, directive.device_id)]
                found += [
                    Finding(subject=query_id, message=message)
                    for message in _breaches(queries[query_id], where, machines)
                ]
    return tuple(found)


def _served(directive: Directive) -> Iterator[tuple[QueryId, OperatorId]]:
    """All that a device serves: of whom, and what."""
    sets = [*directive.replica_sets, *(one for stand_by in directive.stand_bys for one in stand_by.replica_sets)]
    for one in sets:
        yield one.query_id, one.operator_id
        for use in one.uses:
            yield use.query_id, use.operator_id


def _breaches(
    query: QueryProblem, where: Iterable[tuple[OperatorId, DeviceId]], machines: Mapping[DeviceId, Machine]
) -> list[str]:
    if not query.selector:
        return []
    try:
        requirements = parse_selector(query.selector).requirements
    except InvalidInput as error:
        return [error.message]
    wrong = []
    for operator_id, device_id in where:
        if operator_id in query.at_source and device_id == query.source:
            continue
        machine = machines.get(device_id)
        unmet = [str(one) for one in requirements if machine is None or not _met(one, machine)]
        if unmet:
            wrong.append(f"{operator_id} is on {device_id}, which its selector leaves out: {', '.join(unmet)}")
    return wrong


def _met(requirement: Requirement, machine: Machine) -> bool:
    has = set(machine.labels.get(requirement.key, ()))
    common = has & set(requirement.values)
    return {
        Relation.HAS: len(has) > 0,
        Relation.LACKS: len(has) == 0,
        Relation.IN: len(common) > 0,
        Relation.NOT_IN: len(common) == 0,
    }[requirement.relation]


__all__ = ["check_selectors", "directive_breaches"]
