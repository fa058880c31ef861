"""What files declare against what is there. PURE."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import Query, QueryId


class Verdict(StrEnum):
    """What becomes of a thing."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


class Noun(StrEnum):
    """What can be declared, in the order in which it is shown."""

    PIPELINE = "pipeline"
    QUERY = "query"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFacts:
    """By what two pipelines are told apart: digests of the bundle and of what pipeline.yaml says."""

    bundle_digest: str
    spec_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """Pipelines, queries and labels, by id: as files declare them, or as they are.

    A label of None, where it is declared: the device is to have none with this key.
    """

    pipelines: Mapping[PipelineId, PipelineFacts] = field(default_factory=dict)
    queries: Mapping[QueryId, Query] = field(default_factory=dict)
    labels: Mapping[DeviceId, Mapping[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one thing. ``details``: of what is changed, a line each. ``pauses``: it is searched for anew."""

    noun: Noun
    id: str
    verdict: Verdict
    details: tuple[str, ...] = ()
    pauses: bool = False


def changes(declared: Things, present: Things, prune: Iterable[Query] | None = None) -> tuple[Change, ...]:
    """What it takes to make what is declared true; once it is true, all are unchanged.

    ``prune``: the queries that go if they are not declared, and with them pipelines that no query uses then; None:
    nothing goes. Labels that are not declared stay.
    """
    found = [
        *(_pipeline(name, facts, present) for name, facts in sorted(declared.pipelines.items())),
        *(_query(query, declared, present) for _, query in sorted(declared.queries.items())),
        *(_labels(name, labels, present.labels.get(name, {})) for name, labels in sorted(declared.labels.items())),
    ]
    anew = {one.id for one in found if one.noun is Noun.PIPELINE and one.verdict is Verdict.CHANGED}
    for query_id, query in sorted(present.queries.items()):
        if query.pipeline_id in anew and query_id not in declared.queries:
            detail = f"its pipeline {query.pipeline_id} is another one"
            found.append(_of_query(query_id, Verdict.CHANGED, (detail,), pauses=True))
    if prune is not None:
        found += _pruned(declared, present, {query.id for query in prune})
    order = list(Noun)
    return tuple(sorted(found, key=lambda one: (order.index(one.noun), one.id)))


def _pipeline(name: PipelineId, facts: PipelineFacts, present: Things) -> Change:
    known = present.pipelines.get(name)
    if known is None:
        return Change(noun=Noun.PIPELINE, id=name, verdict=Verdict.ADDED)
    details = []
    if known.bundle_digest != facts.bundle_digest:
        details.append(f"code {_short(known.bundle_digest)} -> {_short(facts.bundle_digest)}")
    if known.spec_digest != facts.spec_digest:
        details.append("what its pipeline.yaml says")
    verdict = Verdict.CHANGED if details else Verdict.UNCHANGED
    return Change(noun=Noun.PIPELINE, id=name, verdict=verdict, details=tuple(details))


def _query(query: Query, declared: Things, present: Things) -> Change:
    known = present.queries.get(query.id)
    if known is None:
        return _of_query(query.id, Verdict.ADDED)
    details = differences(known, query)
    pauses = (known.pipeline_id, known.content) != (query.pipeline_id, query.content)
    facts = declared.pipelines.get(query.pipeline_id)
    before = present.pipelines.get(query.pipeline_id)
    if facts is not None and before is not None and facts != before:
        details = (*details, f"its pipeline {query.pipeline_id} is another one")
        pauses = True
    return _of_query(query.id, Verdict.CHANGED if details else Verdict.UNCHANGED, details, pauses=pauses)


def _of_query(query_id: QueryId, verdict: Verdict, details: tuple[str, ...] = (), *, pauses: bool = False) -> Change:
    return Change(noun=Noun.QUERY, id=query_id, verdict=verdict, details=details, pauses=pauses)


def _labels(name: DeviceId, labels: Mapping[str, str | None], known: Mapping[str, str | None]) -> Change:
    details = [
        f"label {_label(key, known.get(key))} -> {_label(key, value)}"
        for key, value in sorted(labels.items())
        if known.get(key) != value
    ]
    verdict = Verdict.CHANGED if details else Verdict.UNCHANGED
    return Change(noun=Noun.DEVICE, id=name, verdict=verdict, details=tuple(details))


def _label(key: str, value: str | None) -> str:
    return f"no {key}" if value is None else f"{key}={value}" if value else key


def _pruned(declared: Things, present: Things, meant: set[QueryId]) -> list[Change]:
    gone = {query_id for query_id in present.queries if query_id in meant and query_id not in declared.queries}
    left = {query.pipeline_id for query_id, query in present.queries.items() if query_id not in gone}
    left |= {query.pipeline_id for query in declared.queries.values()}
    # With a part of the queries alone nobody said that the pipelines of the others are to go.
    whole = meant >= present.queries.keys()
    unused = [one for one in present.pipelines if one not in declared.pipelines and one not in left] if whole else []
    found = [_of_query(query_id, Verdict.REMOVED) for query_id in gone]
    return found + [Change(noun=Noun.PIPELINE, id=one, verdict=Verdict.REMOVED) for one in unused]


def differences(old: Any, new: Any, prefix: str = "") -> tuple[str, ...]:
    """How two values of one dataclass differ, a line each, as the keys of files are called."""
    found: list[str] = []
    for each in dataclasses.fields(old):
        before, after = getattr(old, each.name), getattr(new, each.name)
        if before == after:
            continue
        name = f"{prefix}{each.name}"
        if dataclasses.is_dataclass(before):
            found += differences(before, after, f"{name}.")
        else:
            found.append(f"{name} {_value(before)} -> {_value(after)}")
    return tuple(found)


def _value(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
