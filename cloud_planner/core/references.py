"""Which configuration a query's live items are judged by, where nobody has labels for them. PURE.

It is the one with the best mean score that is known of the pipeline: on the query's content, else on another one. A
source keeps the reference that it has as long as it is the same source: a new one for each sample that is profiled
would be a new generation each time, and its scores would mean something else each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.directive import Directive
from circinus.model.pipeline import Configuration, RegisteredPipeline, configuration_key
from circinus.model.profile import ProfileTable
from circinus.model.query import Query, QueryId
from circinus.v1 import types_pb2
from cloud_planner.core.decompose import Fleet, content_of

#: A mean of fewer scores says too little.
LEAST_SCORES = 12


def with_references(
    told: Sequence[Directive],
    fleet: Fleet,
    queries: Iterable[Query],
    before: Mapping[DeviceId, types_pb2.Directive],
) -> tuple[Directive, ...]:
    """Directives whose sources have references; ``before``: those that are in force.

    A source that has none gets one with whatever else changes: by itself that is no reason for a generation.
    """
    kept = {
        (source.query_id, source.key): wire.configuration_from_message(source.reference)
        for directive in before.values()
        for source in directive.sources
        if source.reference.values
    }
    made = tuple(
        replace(
            directive,
            sources=tuple(
                replace(source, reference=kept.get((source.query_id, source.key), source.reference))
                for source in directive.sources
            ),
        )
        for directive in told
    )
    by_id = {query.id: query for query in queries}
    lacking = {
        source.query_id
        for directive in made
        for source in directive.sources
        if not source.reference and source.scorer_entry_point and source.query_id in by_id
    }
    found = _references(fleet, [by_id[query_id] for query_id in sorted(lacking)])
    if not found or _in_force(made, before):
        return made
    return tuple(
        replace(
            directive,
            sources=tuple(
                replace(source, reference=found[source.query_id]) if source.query_id in found else source
                for source in directive.sources
            ),
        )
        for directive in made
    )


def _references(fleet: Fleet, queries: Sequence[Query]) -> dict[QueryId, Configuration]:
    """The references of queries, where there are any; queries of one content have the same."""
    known: dict[tuple[str, str], Configuration] = {}
    for query in queries:
        place = (query.pipeline_id, query.content)
        if place not in known:
            known[place] = reference_of(fleet, fleet.pipelines[query.pipeline_id], query)
    places = {query.id: (query.pipeline_id, query.content) for query in queries}
    return {query_id: known[place] for query_id, place in places.items() if known[place]}


def _in_force(made: Sequence[Directive], before: Mapping[DeviceId, types_pb2.Directive]) -> bool:
    """Whether these directives, but for their generation and stand-bys, are what devices have."""
    for directive in made:
        held = before.get(directive.device_id)
        if held is None or _content(held) != _content(wire.directive_to_message(directive)):
            return False
    return True


def _content(message: types_pb2.Directive) -> types_pb2.Directive:
    found = wire.orders_of(message)
    found.ClearField("stand_bys")
    return found


def reference_of(fleet: Fleet, registered: RegisteredPipeline, query: Query) -> Configuration:
    """The configuration with the best mean score that is known; empty: too little is. Ties go to the lesser key.

    Empty, too, for a pipeline whose operators carry state: one live item can't be run again by itself.
    """
    if any(operator.state.value != "none" for operator in registered.pipeline.operators):
        return {}
    own = content_of(registered, query.content)
    others = [content for content in registered.contents if content.digest != own.digest]
    keys = {configuration_key(one): one for one in registered.pipeline.configurations()}
    for contents in ([own], others):
        tables = [table for content in contents if (table := fleet.table(registered, content)) is not None]
        means = _means(tables)
        known = {key: mean for key, mean in means.items() if key in keys}
        if known:
            return keys[min(known, key=lambda key: (-known[key], key))]
    return {}


def _means(tables: Sequence[ProfileTable]) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for table in tables:
        for key, by_sample in table.scores.items():
            scores.setdefault(key, []).extend(by_sample.values())
    return {key: sum(ones) / len(ones) for key, ones in scores.items() if len(ones) >= LEAST_SCORES}
