"""The section ``queries``. PURE."""

from __future__ import annotations

from collections.abc import Mapping

from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import DEFAULT_PERCENTILE_RATIO, QueryId, Slo
from circinus.model.selector import selector_fault
from cloud_planner.offline.case import AT_SOURCE, MachineEntry, PipelineEntry, QueryEntry, Settings
from cloud_planner.offline.documents import Faults, Record
from cloud_planner.offline.fields import Fields, suggestion

MAX_QUERIES = 100_000


def read_queries(
    records: tuple[Record, ...],
    settings: Settings,
    machines: tuple[MachineEntry, ...],
    pipelines: Mapping[PipelineId, PipelineEntry],
    faults: Faults,
) -> tuple[QueryEntry, ...]:
    """The queries, in the order in which they were written."""
    queries: dict[QueryId, QueryEntry] = {}
    known = {entry.machine.id for entry in machines}
    for record in records:
        entry = _query(record, settings, known, pipelines, faults)
        first = queries.setdefault(entry.id, entry)
        if first is not entry and entry.id:
            faults.add(record.place, f"query {entry.id!r} is given twice (first at {first.place})")
    for entry in queries.values():
        others = [other for other in queries if other != entry.id] if entry.apart_from else []
        for name in sorted(entry.apart_from.difference(others)):
            what = "it can't stay apart from itself"
            if name != entry.id:
                what = f"unknown query {name!r}{suggestion(name, others)}"
            faults.add(entry.place, f"query {entry.id}: apart_from: {what}")
    if len(queries) > MAX_QUERIES:
        faults.add(records[MAX_QUERIES].place, f"more than {MAX_QUERIES} queries")
    return tuple(queries.values())


def _query(
    record: Record,
    settings: Settings,
    known: set[DeviceId],
    pipelines: Mapping[PipelineId, PipelineEntry],
    faults: Faults,
) -> QueryEntry:
    fields = Fields(record, faults, "query")
    query_id = fields.id("id", required=True)
    fields.what = f"query {query_id}"
    only = next(iter(pipelines)) if len(pipelines) == 1 else ""
    pipeline_id = fields.text("pipeline", required=not only, default=only)
    pipeline = pipelines.get(PipelineId(pipeline_id))
    if pipeline is None and pipeline_id:
        message = f"{fields.what}: unknown pipeline {pipeline_id!r}{suggestion(pipeline_id, pipelines)}"
        faults.add(fields.place_of("pipeline"), message)
    source = fields.text("source")
    if source and source not in known:
        message = f"{fields.what}: unknown source machine {source!r}{suggestion(source, known)}"
        faults.add(fields.place_of("source"), message)
    at_source = [op.id for op in pipeline.operators if op.pinned == AT_SOURCE] if pipeline is not None else []
    if at_source and not source:
        faults.add(
            record.place, f"{fields.what}: operator {at_source[0]} is pinned to the source, but there is no source"
        )
    splittable = fields.flag("splittable", default=settings.splittable)
    single = [operator.id for operator in pipeline.operators if operator.single] if pipeline is not None else []
    if splittable and single:
        message = (
            f"{fields.what}: operator {single[0]} carries state, so its items can't be divided: splittable is false"
        )
        faults.add(record.place, message)
    answer = fields.flag("answer_to_source", default=settings.answer_to_source)
    entry = QueryEntry(
        place=record.place,
        id=QueryId(query_id),
        pipeline=PipelineId(pipeline_id),
        content=fields.text("content"),
        source=DeviceId(source) if source else None,
        rate_per_s=fields.number("rate_per_s", required=True, above=0.0, high=1e12, default=1.0),
        weight=fields.number("weight", default=1.0, above=0.0, high=1e9),
        slo=_slo(fields, faults),
        answer_to_source=answer and bool(source),
        arrival_cv2=fields.number("arrival_cv2", default=settings.arrival_cv2, high=1000.0),
        splittable=splittable,
        apart_from=frozenset(QueryId(name) for name in fields.names("apart_from")),
        stream=fields.id("stream"),
        selector=_selector(fields, faults),
    )
    fields.done()
    return entry


def _selector(fields: Fields, faults: Faults) -> str:
    text = fields.text("selector")
    if fault := selector_fault(text):
        faults.add(fields.place_of("selector"), f"{fields.what}: {fault}")
        return ""
    return text


def _slo(query: Fields, faults: Faults) -> Slo:
    record = query.record_of("slo")
    if record is None:
        return Slo()
    fields = Fields(record, faults, f"{query.what}: slo")
    slo = Slo(
        latency_ms=fields.number_or_none("latency_ms", above=0.0, high=1e12),
        percentile_ratio=fields.number("percentile", default=DEFAULT_PERCENTILE_RATIO, above=0.0, high=0.9999),
        accuracy_ratio=fields.number_or_none("accuracy", low=-1e12, high=1e12),
        cost_per_h=fields.number_or_none("cost_per_h", high=1e12),
    )
    fields.done()
    return slo
