"""The pipelines and queries that people registered, in memory and in the store."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from circinus.bundle import environment_digest
from circinus.errors import AlreadyExists, InvalidInput, NotFound, TooLarge, Violation
from circinus.events import event, warning
from circinus.model.device import DeviceId, Digest
from circinus.model.pipeline import ContentRef, PipelineId, RegisteredPipeline
from circinus.model.query import Query, QueryId, input_fault
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import parse_pipeline
from cloud_planner.store import PipelineRecord, Store

MAX_CONFIGURATIONS = 2_000
MAX_PIPELINES = 1_000
MAX_QUERIES = 10_000
_QUERY_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Catalog:
    """Registered pipelines and submitted queries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pipelines: dict[PipelineId, RegisteredPipeline] = {}
        self._queries: dict[QueryId, Query] = {}

    async def load(self) -> None:
        """Reads what was registered before."""
        for record in await self._store.pipelines():
            try:
                pipeline = parse_pipeline(record.spec_yaml)
            except SpecErrors as error:
                # A newer planner may be stricter; one bad pipeline must not keep it from starting.
                warning("pipeline_unreadable", pipeline=record.id, error=error)
                continue
            self._pipelines[record.id] = RegisteredPipeline(
                pipeline=pipeline,
                bundle_digest=record.bundle_digest,
                environment_digest=record.environment_digest,
                contents=record.contents,
            )
        for query in await self._store.queries():
            if query.pipeline_id in self._pipelines:
                self._queries[query.id] = query

    @property
    def pipelines(self) -> Mapping[PipelineId, RegisteredPipeline]:
        """Pipelines by id."""
        return dict(self._pipelines)

    @property
    def queries(self) -> tuple[Query, ...]:
        """Queries in the order of submission."""
        return tuple(self._queries.values())

    def select(self, query_id: QueryId) -> tuple[Query, ...]:
        """One query, or all if no id is given.

        Raises:
            NotFound: there is none with this id.
        """
        if not query_id:
            return self.queries
        if query_id not in self._queries:
            raise NotFound(f"there is no query {query_id!r}; there are: {_listed(self._queries)}")
        return (self._queries[query_id],)

    def queries_of(self, pipeline_id: PipelineId) -> tuple[Query, ...]:
        """The queries of a pipeline."""
        return tuple(query for query in self._queries.values() if query.pipeline_id == pipeline_id)

    async def add_pipeline(
        self, spec_yaml: str, bundle_digest: Digest, contents: Sequence[ContentRef]
    ) -> RegisteredPipeline:
        """Registers a pipeline whose bundle and sample sets are there. The same again changes nothing.

        Raises:
            InvalidInput: the spec is wrong, or has too many configurations, or contents are missing.
            AlreadyExists: there is another pipeline with this id, and queries use it.
        """
        registered = self.registered(spec_yaml, bundle_digest, contents)
        pipeline = registered.pipeline
        known = self._pipelines.get(pipeline.id)
        if known == registered:
            return registered
        using = self.queries_of(pipeline.id)
        if known is not None and using:
            raise AlreadyExists(
                f"pipeline {pipeline.id} exists with other content and {len(using)} queries use it "
                f"({', '.join(query.id for query in using[:5])}): remove them first"
            )
        if known is None and len(self._pipelines) >= MAX_PIPELINES:
            raise TooLarge(f"there are {len(self._pipelines)} pipelines, the limit is {MAX_PIPELINES}")
        await self._store.put_pipeline(record_of(registered, spec_yaml))
        self._pipelines[pipeline.id] = registered
        event("pipeline_added", pipeline=pipeline.id, configurations=pipeline.configuration_count)
        return registered

    @staticmethod
    def registered(spec_yaml: str, bundle_digest: Digest, contents: Sequence[ContentRef]) -> RegisteredPipeline:
        """A pipeline as it would be registered.

        Raises:
            InvalidInput: the spec is wrong, or has too many configurations, or contents are missing.
        """
        pipeline = parse_pipeline(spec_yaml)
        if pipeline.configuration_count > MAX_CONFIGURATIONS:
            raise InvalidInput(
                f"pipeline {pipeline.id} has {pipeline.configuration_count} configurations, the limit is "
                f"{MAX_CONFIGURATIONS}: shorten the domains of its knobs"
            )
        named = {content.name for content in contents}
        missing = [content.name for content in pipeline.contents if content.name not in named]
        if missing or len(named) != len(contents) or len(contents) != len(pipeline.contents):
            wanted = ", ".join(content.name for content in pipeline.contents)
            raise InvalidInput(f"contents: pipeline {pipeline.id} needs one sample set each for {wanted}")
        return RegisteredPipeline(
            pipeline=pipeline,
            bundle_digest=bundle_digest,
            environment_digest=environment_digest(pipeline.environment),
            contents=tuple(sorted(contents, key=lambda content: content.name)),
        )

    def adopt(
        self,
        pipelines: Iterable[RegisteredPipeline],
        queries: Iterable[Query],
        removed_pipelines: Iterable[PipelineId],
        removed_queries: Iterable[QueryId],
    ) -> None:
        """These are there, or gone, from now on; the store has it already. One in another's place keeps its turn."""
        for query_id in removed_queries:
            self._queries.pop(query_id, None)
        for pipeline_id in removed_pipelines:
            self._pipelines.pop(pipeline_id, None)
        self._pipelines |= {registered.pipeline.id: registered for registered in pipelines}
        self._queries |= {query.id: query for query in queries}

    async def remove_pipeline(self, pipeline_id: PipelineId) -> None:
        """Forgets a pipeline; its profiles are kept.

        Raises:
            NotFound: there is none.
            AlreadyExists: queries use it.
        """
        _required(self._pipelines, pipeline_id)
        using = self.queries_of(pipeline_id)
        if using:
            raise AlreadyExists(
                f"{len(using)} queries use pipeline {pipeline_id} "
                f"({', '.join(query.id for query in using[:5])}): remove them first"
            )
        await self._store.remove_pipeline(pipeline_id)
        del self._pipelines[pipeline_id]
        event("pipeline_removed", pipeline=pipeline_id)

    def check_query(
        self,
        query: Query,
        devices: Collection[DeviceId],
        pipelines: Mapping[PipelineId, RegisteredPipeline] | None = None,
    ) -> None:
        """Whether all that a query names exists. ``pipelines``: those there are, if not the registered ones.

        Raises:
            NotFound: its pipeline, content or source device is not known.
            InvalidInput: its id is no id, or its pipeline can't have items of its input.
        """
        there = self._pipelines if pipelines is None else pipelines
        registered = _required(there, query.pipeline_id)
        if query.content not in {content.name for content in registered.contents}:
            has = _listed(content.name for content in registered.contents)
            raise NotFound(f"pipeline {query.pipeline_id} has no content {query.content!r}; it has: {has}")
        if fault := input_fault(query, registered.pipeline):
            raise InvalidInput(fault, (Violation(field="input", message=fault),))
        if query.source_device_id not in devices:
            raise NotFound(f"there is no device {query.source_device_id!r}; there are: {_listed(devices)}")
        if query.id and not _QUERY_ID.fullmatch(query.id):
            message = f"{query.id!r} is no query id: small letters, digits and -, at most 63, a letter first"
            raise InvalidInput(message, (Violation(field="id", message=message),))

    async def submit(self, queries: Sequence[Query], devices: Sequence[DeviceId]) -> tuple[Query, ...]:
        """Takes in queries, all or none. One that is there already, equal in all, is left as it is.

        Raises:
            InvalidInput: an id is no id, or is given twice.
            NotFound: something that a query names is not there.
            AlreadyExists: there is another query with an id.
            TooLarge: there would be too many.
        """
        for query in queries:
            self.check_query(query, devices)
        ids = [query.id for query in queries if query.id]
        if len(set(ids)) != len(ids):
            raise InvalidInput("two of the queries have the same id; give each its own, or none")
        nameless = sum(not query.id for query in queries)
        first = await self._store.name_queries(nameless) if nameless else 0
        named: list[Query] = []
        taken = {*self._queries, *ids}
        for query in queries:
            if not query.id:
                while f"query-{first}" in taken:
                    first = await self._store.name_queries(1)
                query = replace(query, id=QueryId(f"query-{first}"))
                first += 1
            named.append(query)
            taken.add(query.id)
        fresh = [query for query in named if self._queries.get(query.id) != query]
        for query in fresh:
            if query.id in self._queries:
                raise AlreadyExists(
                    f"query {query.id} exists and is another one: remove it first, or choose another id"
                )
        if len(self._queries) + len(fresh) > MAX_QUERIES:
            raise TooLarge(f"there would be {len(self._queries) + len(fresh)} queries, the limit is {MAX_QUERIES}")
        await self._store.put_queries(fresh)
        for query in fresh:
            self._queries[query.id] = query
            event("query_submitted", query=query.id, pipeline=query.pipeline_id, rate_per_s=query.rate_per_s)
        return tuple(named)

    async def remove_query(self, query_id: QueryId) -> None:
        """Forgets a query; its processes stop with the next generation.

        Raises:
            NotFound: there is none.
        """
        if query_id not in self._queries:
            raise NotFound(f"there is no query {query_id!r}; there are: {_listed(self._queries)}")
        await self._store.remove_query(query_id)
        del self._queries[query_id]
        event("query_removed", query=query_id)


def record_of(registered: RegisteredPipeline, spec_yaml: str) -> PipelineRecord:
    """A pipeline as the store keeps it."""
    return PipelineRecord(
        id=registered.pipeline.id,
        spec_yaml=spec_yaml,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        contents=registered.contents,
    )


def _required(pipelines: Mapping[PipelineId, RegisteredPipeline], pipeline_id: PipelineId) -> RegisteredPipeline:
    registered = pipelines.get(pipeline_id)
    if registered is None:
        raise NotFound(f"there is no pipeline {pipeline_id!r}; there are: {_listed(pipelines)}")
    return registered


def _listed(names: Iterable[str]) -> str:
    """Names for a message: the first ten."""
    found = list(names)
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (", ".join(found[:10]) + more) or "none"
