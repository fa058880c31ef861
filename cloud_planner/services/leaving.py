"""ControlService/Leave: a box that wants to leave says so itself."""

from __future__ import annotations

from typing import Any

import grpc.aio

from circinus.errors import NotAllowed, NotRunnable, aborts_with_status
from circinus.model.device import DeviceId
from circinus.v1 import control_pb2
from circinus.wire import check
from cloud_planner.overview import Overview
from cloud_planner.services.devices import left
from cloud_planner.services.roles import caller

#: How often progress is told at most, and at least.
_PROGRESS_S = 0.1
_IDLE_S = 1.0
_WHY = "its box asked for it"

Context = grpc.aio.ServicerContext[Any, Any]


class LeaveCall:
    """The call by which a device leaves."""

    #: Set by whoever puts the planner together; None: nobody can leave by themselves.
    overview: Overview | None = None

    @aborts_with_status
    async def Leave(self, request: control_pb2.LeaveRequest, context: Context) -> None:
        """Has the caller's device leave, and tells how far that is."""
        overview = self.overview
        if overview is None:
            raise NotRunnable("devices don't leave this planner by themselves: circinus device leave")
        device_id = DeviceId(check.name("device_id", request.device_id))
        who = caller()
        if who is not None and who.name != device_id:
            raise NotAllowed(f"{who.name} can't have {device_id} leave: a device speaks for itself alone")
        record = overview.registry.record(device_id)
        if record is not None and record.doubled:
            raise NotAllowed(f"two boxes have the identity of {device_id}: which of them leaves is for people to say")
        await overview.departures.leave(device_id, _WHY)
        told: control_pb2.LeaveResponse | None = None
        while True:
            heard = overview.watched.rings
            found = left(overview, device_id)
            ended = found.gone or found.progress.ended
            stays = found.progress.staying if ended else ()
            response = control_pb2.LeaveResponse(
                waits_for=found.progress.waits_for,
                staying=[f"{one.query_id}/{one.operator_id or 'source'}: {one.reason}" for one in stays],
                gone=found.gone,
            )
            if response != told:
                told = response
                await context.write(response)
            if ended:
                return
            await overview.clock.sleep(_PROGRESS_S)
            await overview.watched.wait(heard, _IDLE_S)


__all__ = ["LeaveCall"]
