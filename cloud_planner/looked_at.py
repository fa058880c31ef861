"""Where to look: which devices have a part in what somebody names, as the newest directives say. Does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from circinus.errors import NotFound
from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from circinus.v1 import types_pb2
from cloud_planner.catalog import Catalog

#: Names that a message lists.
_NAMED = 10
#: What agents call processes that are no operators.
_OTHERS = ("profile", "shadow", SOURCE)

Directives = Mapping[DeviceId, types_pb2.Directive]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at: an operator of a query; empty: of any."""

    query_id: str = ""
    operator_id: str = ""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is named."""
        return not self.query_id and not self.operator_id


def subject_of(text: str, catalog: Catalog) -> Subject:
    """What a person means by QUERY, OPERATOR or QUERY/OPERATOR.

    Raises:
        NotFound: there is no such thing; the message names some that there are.
    """
    if not text:
        return Subject()
    queries = {query.id: query for query in catalog.queries}
    name, _, operator = text.partition("/")
    if operator:
        catalog.select(QueryId(name))
        return Subject(
            query_id=name,
            operator_id=operator if operator in _OTHERS else known_operator(QueryId(name), operator, catalog),
        )
    if QueryId(text) in queries:
        return Subject(query_id=text)
    pipelines = {query.pipeline_id for query in queries.values()}
    operators = (
        {one.id for id_ in pipelines for one in catalog.pipelines[id_].pipeline.operators} if pipelines else set()
    )
    if text in _OTHERS or OperatorId(text) in operators:
        return Subject(operator_id=text)
    raise NotFound(
        f"{text[:60]!r} is neither a query nor an operator of one; queries: {_listed(queries)}; "
        f"operators: {_listed(operators)}"
    )


def known_operator(query_id: QueryId, operator_id: str, catalog: Catalog) -> str:
    """An operator of a query.

    Raises:
        NotFound: the query has none of that name.
    """
    (query,) = catalog.select(query_id)
    known = [one.id for one in catalog.pipelines[query.pipeline_id].pipeline.operators]
    if operator_id != SOURCE and operator_id not in known:
        raise NotFound(
            f"query {query_id} has no operator {operator_id[:60]!r}; it has: {SOURCE}, {', '.join(sorted(known))}"
        )
    return operator_id


def devices_of(subject: Subject, directives: Directives) -> tuple[DeviceId, ...]:
    """The devices that run a part of it, by id."""
    return tuple(
        device_id
        for device_id, directive in sorted(directives.items())
        if any(
            subject.query_id in ("", query_id) and subject.operator_id in ("", operator_id)
            for query_id, operator_id in _runs(directive)
        )
    )


def run_for(subject: Subject, directives: Directives) -> Subject:
    """Where the items of an operator of a query are: what runs once for several queries runs for one of them."""
    for directive in directives.values():
        for source in directive.sources:
            if source.query_id == subject.query_id:
                if subject.operator_id == SOURCE and source.leader_query_id:
                    return Subject(query_id=source.leader_query_id, operator_id=SOURCE)
                leader = source.given_by.get(subject.operator_id, "")
                return Subject(query_id=leader, operator_id=subject.operator_id) if leader else subject
    return subject


def _runs(directive: types_pb2.Directive) -> Iterator[tuple[str, str]]:
    for source in directive.sources:
        yield source.query_id, SOURCE
    everything = [*directive.replica_sets, *(one for entry in directive.stand_bys for one in entry.replica_sets)]
    for one in everything:
        yield one.query_id, one.operator_id
        for use in one.uses:
            yield use.query_id, use.operator_id


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more or "none"
