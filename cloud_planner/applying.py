"""What files declare, checked as a whole and made true at once: all of it, or nothing.

One transaction, and one word to planning when it is done: a query that is changed is never seen as missing, and plans
go from the old to the new as with any other change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circinus.errors import InvalidInput, NotFound, TooLarge, Violation
from circinus.events import event
from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId, RegisteredPipeline
from circinus.model.query import Query, QueryId
from cloud_planner.catalog import MAX_PIPELINES, MAX_QUERIES, record_of
from cloud_planner.overview import Overview
from cloud_planner.store import Changes, Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is to be added or put in the place of what has the same id, and what is to go.

    ``pipelines``: each with the text of its file. ``marks``: what is to be said of devices.
    """

    pipelines: tuple[tuple[RegisteredPipeline, str], ...] = ()
    queries: tuple[Query, ...] = ()
    marks: tuple[Mark, ...] = ()
    removed_queries: tuple[QueryId, ...] = ()
    removed_pipelines: tuple[PipelineId, ...] = ()


async def apply(overview: Overview, declared: Declared, *, validate_only: bool = False) -> Changes:
    """Makes what is declared true; gives what that changed.

    Raises:
        InvalidInput: it does not fit together; its violations are all that is wrong. Nothing has changed then.
        TooLarge: there would be too many.
    """
    changes = _changes(overview, declared)
    if validate_only or changes == Changes():
        return changes
    await overview.store.apply_changes(changes)
    put = {record.id for record in changes.pipelines}
    overview.catalog.adopt(
        [registered for registered, _ in declared.pipelines if registered.pipeline.id in put],
        changes.queries,
        changes.removed_pipelines,
        changes.removed_queries,
    )
    overview.searching.begin_anew(changes.begun_anew)
    for mark in changes.marks:
        # It may have left meanwhile.
        if (record := overview.registry.record(mark.device_id)) is not None:
            overview.marks.take(mark, record.device)
    _tell(changes)
    overview.replan.ring()
    overview.watched.ring()
    return changes


def _changes(overview: Overview, declared: Declared) -> Changes:
    """What the store has to do; what is so already is left out."""
    catalog = overview.catalog
    pipelines, queries = dict(catalog.pipelines), {query.id: query for query in catalog.queries}
    # What somebody else removed meanwhile is as it should be.
    removed_pipelines = tuple(name for name in declared.removed_pipelines if pipelines.pop(name, None) is not None)
    removed_queries = tuple(name for name in declared.removed_queries if queries.pop(name, None) is not None)
    replaced = [
        (registered, text)
        for registered, text in declared.pipelines
        if pipelines.get(registered.pipeline.id) != registered
    ]
    pipelines |= {registered.pipeline.id: registered for registered, _ in replaced}
    changed = [query for query in declared.queries if queries.get(query.id) != query]
    anew = _begun_anew(
        queries, changed, {one.pipeline.id for one, _ in replaced if _is_another(catalog.pipelines, one)}
    )
    queries |= {query.id: query for query in changed}
    if wrong := _wrong(overview, pipelines, queries, changed):
        raise InvalidInput("; ".join(str(one) for one in wrong[:5]), tuple(wrong))
    if len(pipelines) > MAX_PIPELINES:
        raise TooLarge(f"there would be {len(pipelines)} pipelines, the limit is {MAX_PIPELINES}")
    if len(queries) > MAX_QUERIES:
        raise TooLarge(f"there would be {len(queries)} queries, the limit is {MAX_QUERIES}")
    return Changes(
        pipelines=tuple(record_of(registered, text) for registered, text in replaced),
        queries=tuple(changed),
        marks=tuple(mark for mark in declared.marks if overview.marks.of(mark.device_id) != mark),
        removed_queries=removed_queries,
        removed_pipelines=removed_pipelines,
        begun_anew=tuple(sorted(anew)),
    )


def _is_another(known: Mapping[PipelineId, RegisteredPipeline], one: RegisteredPipeline) -> bool:
    """Whether a pipeline is served or measured otherwise than the one that it takes the place of."""
    old = known.get(one.pipeline.id)
    return old is not None and replace(old, pipeline=replace(old.pipeline, description="")) != replace(
        one, pipeline=replace(one.pipeline, description="")
    )


def _begun_anew(
    before: Mapping[QueryId, Query], changed: Sequence[Query], replaced: set[PipelineId]
) -> frozenset[QueryId]:
    """The queries that were there and whose answers will be of something else."""
    found = {query.id for query in before.values() if query.pipeline_id in replaced}
    for query in changed:
        old = before.get(query.id)
        if old is not None and (old.pipeline_id, old.content) != (query.pipeline_id, query.content):
            found.add(query.id)
    return frozenset(found)


def _wrong(
    overview: Overview,
    pipelines: Mapping[PipelineId, RegisteredPipeline],
    queries: Mapping[QueryId, Query],
    changed: Sequence[Query],
) -> list[Violation]:
    """All that does not fit together: of what is new, and of what is there already and loses what it needs."""
    devices = {record.device.id for record in overview.registry.records()}
    fresh = {query.id for query in changed}
    wrong = []
    for query in queries.values():
        # What is there already may well have a source that has left since.
        known = devices if query.id in fresh else devices | {DeviceId(query.source_device_id)}
        try:
            overview.catalog.check_query(query, known, pipelines)
        except (NotFound, InvalidInput) as error:
            wrong.append(Violation(field=f"query {query.id}", message=error.message))
    return wrong


def _tell(changes: Changes) -> None:
    for query_id in changes.removed_queries:
        event("query_removed", query=query_id)
    for pipeline_id in changes.removed_pipelines:
        event("pipeline_removed", pipeline=pipeline_id)
    for record in changes.pipelines:
        event("pipeline_added", pipeline=record.id)
    for query in changes.queries:
        event("query_submitted", query=query.id, pipeline=query.pipeline_id, rate_per_s=query.rate_per_s)
