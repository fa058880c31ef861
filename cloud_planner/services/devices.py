"""What people ask of devices: which there are, their labels, cordon, drain and leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc.aio

from circinus.errors import InvalidInput, Violation, aborts_with_status
from circinus.model.device import DeviceId
from circinus.model.selector import labels_of, parse_selector
from circinus.v1 import planner_pb2
from circinus.wire import check
from cloud_planner.overview import Overview
from cloud_planner.registry import DeviceRecord
from cloud_planner.services import states
from cloud_planner.services.pages import Page
from cloud_planner.store import Keeping

MAX_PAGE = 10_000
_MAX_REMOVED = 64
#: How often progress is told at most, and at least.
_PROGRESS_S = 0.1
_IDLE_S = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class DeviceCalls:
    """The calls about devices of PlannerService."""

    _overview: Overview

    @aborts_with_status
    async def ListDevices(
        self, request: planner_pb2.ListDevicesRequest, context: Context
    ) -> planner_pb2.ListDevicesResponse:
        """The devices that were ever seen and have not left, a page of them."""
        page: Page[planner_pb2.DeviceState] = Page(check_page(request.page_size))
        for record in self._chosen(request):
            if not page.add(record.device.id, self._state(record)):
                break
        return planner_pb2.ListDevicesResponse(devices=page.messages, next_page_token=page.next_token)

    def _chosen(self, request: planner_pb2.ListDevicesRequest) -> Iterator[DeviceRecord]:
        overview = self._overview
        if request.device_id:
            yield self._record(request.device_id)
            return
        meant = selected(overview, request.selector)
        for record in overview.registry.records():
            if record.device.id > request.page_token and (meant is None or record.device.id in meant):
                yield record

    def _record(self, text: str) -> DeviceRecord:
        return self._overview.registry.require(DeviceId(check.name("device_id", text)))

    def _state(self, record: DeviceRecord) -> planner_pb2.DeviceState:
        marks = self._overview.marks
        state = states.device_state(record, self._overview.rollout.newest)
        mark = marks.of(record.device.id)
        state.labels.update(marks.labels(record.device))
        if mark.keeping is not Keeping.FREE:
            state.cordoned = True
            state.draining = record.device.id in marks.draining
            state.leaving = mark.keeping in (Keeping.LEAVING, Keeping.LEFT)
            state.why = mark.why
            state.since.FromDatetime(mark.since)
        return state

    @aborts_with_status
    async def CordonDevice(
        self, request: planner_pb2.CordonDeviceRequest, context: Context
    ) -> planner_pb2.CordonDeviceResponse:
        """Puts nothing new on a device, or lets plans use it again."""
        record, why = self._record(request.device_id), check.text("why", request.why)
        departures = self._overview.departures
        if request.lift:
            await departures.lift(record.device.id)
        else:
            await departures.cordon(record.device.id, why)
        return planner_pb2.CordonDeviceResponse(device=self._state(record))

    @aborts_with_status
    async def LabelDevice(
        self, request: planner_pb2.LabelDeviceRequest, context: Context
    ) -> planner_pb2.LabelDeviceResponse:
        """Sets and removes labels."""
        record = self._record(request.device_id)
        check.size("remove", request.remove, _MAX_REMOVED)
        await self._overview.marks.label(
            record.device, check.labels("set", request.set), list(request.remove), reset=request.reset
        )
        return planner_pb2.LabelDeviceResponse(device=self._state(record))

    @aborts_with_status
    async def DrainDevice(self, request: planner_pb2.DrainDeviceRequest, context: Context) -> None:
        """Empties a device, and tells how far that is."""
        overview, device_id = self._overview, self._record(request.device_id).device.id
        await overview.departures.drain(device_id, check.text("why", request.why))
        told: planner_pb2.DrainProgress | None = None
        while True:
            heard = overview.watched.rings
            progress = overview.departures.progress(device_id)
            if progress != told:
                told = progress
                await context.write(planner_pb2.DrainDeviceResponse(progress=progress))
            if progress.ended or not request.wait:
                return
            await overview.clock.sleep(_PROGRESS_S)
            await overview.watched.wait(heard, _IDLE_S)

    @aborts_with_status
    async def LeaveDevice(self, request: planner_pb2.LeaveDeviceRequest, context: Context) -> None:
        """Has a device leave, and tells how far that is."""
        overview, device_id = self._overview, self._record(request.device_id).device.id
        await overview.departures.leave(device_id, check.text("why", request.why), force=request.force)
        told: planner_pb2.LeaveDeviceResponse | None = None
        while True:
            heard = overview.watched.rings
            response = left(overview, device_id)
            if response != told:
                told = response
                await context.write(response)
            if response.gone or response.progress.ended or not request.wait:
                return
            await overview.clock.sleep(_PROGRESS_S)
            await overview.watched.wait(heard, _IDLE_S)


def left(overview: Overview, device_id: DeviceId) -> planner_pb2.LeaveDeviceResponse:
    """How far a device is that is to leave. One with nothing left on it is on its way out: its drain hasn't ended."""
    # One that enrols anew under its name is another.
    if not overview.departures.is_known(device_id) or overview.marks.of(device_id).keeping not in (
        Keeping.LEAVING,
        Keeping.LEFT,
    ):
        return planner_pb2.LeaveDeviceResponse(
            progress=planner_pb2.DrainProgress(device_id=device_id, ended=True), gone=True
        )
    progress = overview.departures.progress(device_id)
    if progress.ended and not progress.staying:
        progress.ended, progress.waits_for = False, "its goodbye"
    return planner_pb2.LeaveDeviceResponse(progress=progress)


def selected(overview: Overview, text: str) -> frozenset[DeviceId] | None:
    """The devices that a selector means; None: all.

    Raises:
        InvalidInput: the text is no selector.
    """
    if not text:
        return None
    selector = parse_selector(text)
    devices = overview.marks.labelled(record.device for record in overview.registry.records())
    return frozenset(device.id for device in devices if selector.matches(labels_of(device)))


def check_page(size: int) -> int:
    """The size of a page, as it was asked for.

    Raises:
        InvalidInput: it is too large.
    """
    if size > MAX_PAGE:
        message = f"{size} entries are more than the {MAX_PAGE} that a page may have"
        raise InvalidInput(f"page_size: {message}", (Violation(field="page_size", message=message),))
    return size


__all__ = ["DeviceCalls", "check_page", "left", "selected"]
