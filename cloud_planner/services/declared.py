"""ApplyChanges and GetVersion of PlannerService."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc.aio

import circinus
from circinus import wire
from circinus.errors import InvalidInput, aborts_with_status
from circinus.model.device import DeviceId, Digest
from circinus.model.pipeline import ContentRef, PipelineId, RegisteredPipeline
from circinus.model.query import QueryId
from circinus.spec.pipeline import parse_pipeline
from circinus.v1 import planner_pb2
from circinus.wire import check
from cloud_planner import migrations
from cloud_planner.applying import Declared, apply
from cloud_planner.overview import Overview
from cloud_planner.store import Mark

PROTOCOL = "circinus.v1"
_MAX_SPEC_CHARS = 1_000_000
_MAX_QUERIES = 10_000
_MAX_PIPELINES = 1_000
_MAX_LABELS = 64
#: Stands for a bundle or sample set that was not made yet, where all is only checked.
_NOT_YET = Digest("sha256:" + "0" * 64)

Context = grpc.aio.ServicerContext[Any, Any]


class DeclaredCalls:
    """The calls about what files declare, and about versions."""

    _overview: Overview

    @aborts_with_status
    async def ApplyChanges(
        self, request: planner_pb2.ApplyChangesRequest, context: Context
    ) -> planner_pb2.ApplyChangesResponse:
        """Makes pipelines, queries and labels as files declare them, at once."""
        declared = await self._declared(request)
        done = await apply(self._overview, declared, validate_only=request.validate_only)
        changed = (
            *(record.id for record in done.pipelines),
            *(query.id for query in done.queries),
            *(mark.device_id for mark in done.marks),
            *done.removed_queries,
            *done.removed_pipelines,
        )
        return planner_pb2.ApplyChangesResponse(begun_anew=done.begun_anew, changed_ids=changed)

    async def _declared(self, request: planner_pb2.ApplyChangesRequest) -> Declared:
        for name in ("queries", "remove_queries", "labels"):
            check.size(name, getattr(request, name), _MAX_QUERIES)
        for name in ("pipelines", "remove_pipelines"):
            check.size(name, getattr(request, name), _MAX_PIPELINES)
        queries = tuple(wire.query_from_message(query) for query in request.queries)
        pipelines = tuple(
            [(await self._registered(one, there=not request.validate_only), one.spec_yaml) for one in request.pipelines]
        )
        _check_ids([query.id for query in queries], "query")
        _check_ids([one.pipeline.id for one, _ in pipelines], "pipeline")
        _check_ids([one.device_id for one in request.labels], "device")
        return Declared(
            pipelines=pipelines,
            queries=queries,
            marks=tuple(self._mark(one) for one in request.labels),
            removed_queries=tuple(QueryId(check.name("remove_queries", one)) for one in request.remove_queries),
            removed_pipelines=tuple(
                PipelineId(check.name("remove_pipelines", one)) for one in request.remove_pipelines
            ),
        )

    async def _registered(self, one: planner_pb2.AddPipelineRequest, *, there: bool) -> RegisteredPipeline:
        """A pipeline as it would be registered. ``there``: its blobs have to be."""
        if len(one.spec_yaml) > _MAX_SPEC_CHARS:
            raise InvalidInput(f"spec_yaml: {len(one.spec_yaml)} characters are more than {_MAX_SPEC_CHARS}")
        check.size("contents", one.contents, 1_000)
        if not there and not one.contents:
            contents = [
                ContentRef(name=content.name, digest=_NOT_YET, samples=content.samples)
                for content in parse_pipeline(one.spec_yaml).contents
            ]
            return self._overview.catalog.registered(one.spec_yaml, _NOT_YET, contents)
        bundle_digest = Digest(check.digest("bundle_digest", one.bundle_digest))
        contents = [
            ContentRef(
                name=check.name("contents.name", content.name),
                digest=Digest(check.digest("contents.digest", content.digest)),
                samples=int(check.number("contents.samples", content.samples, low=1, high=1e6)),
            )
            for content in one.contents
        ]
        for digest in [bundle_digest, *(content.digest for content in contents)]:
            await asyncio.to_thread(self._overview.blobs.size_bytes, digest)
        return self._overview.catalog.registered(one.spec_yaml, bundle_digest, contents)

    def _mark(self, one: planner_pb2.LabelDeviceRequest) -> Mark:
        record = self._overview.registry.require(DeviceId(check.name("device_id", one.device_id)))
        check.size("remove", one.remove, _MAX_LABELS)
        return self._overview.marks.relabelled(
            record.device, check.labels("set", one.set), list(one.remove), reset=one.reset
        )

    @aborts_with_status
    async def GetVersion(
        self, request: planner_pb2.GetVersionRequest, context: Context
    ) -> planner_pb2.GetVersionResponse:
        """Of which versions all is."""
        overview = self._overview
        response = planner_pb2.GetVersionResponse(
            planner_version=circinus.__version__,
            protocol=PROTOCOL,
            planner_schema=migrations.newest("cloud_planner.store"),
            identity_schema=migrations.newest("cloud_planner.identity") if overview.office is not None else 0,
            epoch=overview.rollout.epoch,
        )
        records = overview.registry.records()
        devices = Counter(record.device.agent_version for record in records)
        connected = Counter(record.device.agent_version for record in records if record.session is not None)
        for version, count in sorted(devices.items()):
            response.agents.add(version=version, devices=count, connected=connected[version])
        return response


def _check_ids(ids: list[str] | list[QueryId] | list[PipelineId] | list[DeviceId], noun: str) -> None:
    if not all(ids):
        raise InvalidInput(f"a {noun} without an id can't be told from others: give it one")
    if twice := [one for one, count in sorted(Counter(map(str, ids)).items()) if count > 1]:
        raise InvalidInput(f"{noun} {twice[0]} is declared twice")


__all__ = ["PROTOCOL", "DeclaredCalls"]
