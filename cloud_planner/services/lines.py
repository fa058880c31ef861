"""What live views ask for: devices and queries as lines, as many as are shown."""

from __future__ import annotations

from typing import Any

import grpc.aio

from circinus.errors import aborts_with_status
from circinus.model.query import QueryId
from circinus.v1 import planner_pb2
from circinus.wire import check
from cloud_planner.lines import Lines

Context = grpc.aio.ServicerContext[Any, Any]


class LineCalls:
    """The calls about lines of PlannerService."""

    _lines: Lines

    @aborts_with_status
    async def ListDeviceLines(
        self, request: planner_pb2.ListDeviceLinesRequest, context: Context
    ) -> planner_pb2.ListDeviceLinesResponse:
        """Devices, a line each."""
        check.text("wanted.filter", request.wanted.filter)
        return self._lines.devices(request.wanted)

    @aborts_with_status
    async def ListQueryLines(
        self, request: planner_pb2.ListQueryLinesRequest, context: Context
    ) -> planner_pb2.ListQueryLinesResponse:
        """Queries, a line each."""
        check.text("wanted.filter", request.wanted.filter)
        query_id = check.name("query_id", request.query_id, empty=True)
        return await self._lines.queries(request.wanted, QueryId(query_id))


__all__ = ["LineCalls"]
