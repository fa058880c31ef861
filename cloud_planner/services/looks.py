"""What people ask to see of devices while it happens: what processes print, and items at an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import grpc.aio

from circinus import errors
from circinus.errors import CircinusError, InvalidInput, NotAllowed, NotRunnable, Unreachable, aborts_with_status
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, planner_pb2
from circinus.wire import check
from cloud_planner.looked_at import Directives, Subject, devices_of, known_operator, run_for, subject_of
from cloud_planner.looking import MAX_DEVICES, Look, Viewing
from cloud_planner.overview import Overview
from cloud_planner.services.roles import actor, caller

_TICK_S = 0.5
#: In a fleet of so few devices all are asked for lines: what has moved away left its last words behind.
_FEW_DEVICES = 16
_MAX_TAIL = 100_000
_MAX_COUNT = 100_000
_USUAL_RATE_PER_S = 2.0
MAX_RATE_PER_S = 20.0
_USUAL_TAP_S = 30.0
MAX_TAP_S = 600.0
MAX_WHOLE_BYTES = 4 * 1024 * 1024

Context = grpc.aio.ServicerContext[Any, Any]
Fill = Callable[[control_pb2.LookRequest], None]
#: Makes a response of a chunk, or of notes alone.
Respond = Callable[[Look | None, control_pb2.LookChunk, list[planner_pb2.LookNote]], Any]


class LookCalls:
    """The calls of PlannerService by which people look at devices."""

    _overview: Overview

    @aborts_with_status
    async def ReadLogs(self, request: planner_pb2.ReadLogsRequest, context: Context) -> None:
        """What processes print, of what is there and, followed, of what comes."""
        overview = self._overview
        subject = subject_of(check.name("subject_id", request.subject_id, empty=True), overview.catalog)
        wanted = control_pb2.LogsWanted(
            query_id=subject.query_id,
            operator_id=subject.operator_id,
            since_s=check.number("since_s", request.since_s, high=1e9),
            tail=int(check.number("tail", request.tail, high=_MAX_TAIL)),
            follow=request.follow,
            agent=subject.is_everything,
        )
        devices, idle = self._log_devices(subject, request.device_id)

        def respond(
            look: Look | None, chunk: control_pb2.LookChunk, notes: list[planner_pb2.LookNote]
        ) -> planner_pb2.ReadLogsResponse:
            return planner_pb2.ReadLogsResponse(
                device_id=look.device_id if look is not None else "",
                lines=chunk.lines,
                caught_up=chunk.caught_up,
                notes=notes,
            )

        await self._relay(devices, idle, lambda look: look.logs.CopyFrom(wanted), respond, context)

    @aborts_with_status
    async def WatchItems(self, request: planner_pb2.WatchItemsRequest, context: Context) -> None:
        """Items at an operator, by their sizes and shapes."""
        devices, wanted = self._tap(request)

        def respond(
            look: Look | None, chunk: control_pb2.LookChunk, notes: list[planner_pb2.LookNote]
        ) -> planner_pb2.WatchItemsResponse:
            return planner_pb2.WatchItemsResponse(
                device_id=look.device_id if look is not None else "",
                items=chunk.items,
                items_left_out=chunk.items_left_out,
                notes=notes,
            )

        await self._relay(devices, (), lambda look: look.tap.CopyFrom(wanted), respond, context)

    @aborts_with_status
    async def TapItems(self, request: planner_pb2.TapItemsRequest, context: Context) -> None:
        """Items at an operator, with their values. It is in the audit log before the first is seen."""
        devices, wanted = self._tap(request)
        wanted.values = True
        wanted.whole_bytes = int(check.number("whole_bytes", request.whole_bytes, high=MAX_WHOLE_BYTES))
        office = self._overview.office
        if office is not None:
            side = "out" if wanted.output else "in"
            detail = f"begins, side {side}, {wanted.rate_per_s:g} items/s for {wanted.for_s:g} s"
            await office.log.note(actor(), "TapItems", f"{request.query_id}/{request.operator_id}", detail=detail)

        def respond(
            look: Look | None, chunk: control_pb2.LookChunk, notes: list[planner_pb2.LookNote]
        ) -> planner_pb2.TapItemsResponse:
            return planner_pb2.TapItemsResponse(
                device_id=look.device_id if look is not None else "",
                items=chunk.items,
                pieces=chunk.pieces,
                items_left_out=chunk.items_left_out,
                notes=notes,
            )

        await self._relay(devices, (), lambda look: look.tap.CopyFrom(wanted), respond, context)

    def _directives(self) -> Directives:
        newest = self._overview.rollout.newest
        return newest.directives if newest is not None else {}

    def _log_devices(self, subject: Subject, named: str) -> tuple[tuple[DeviceId, ...], tuple[DeviceId, ...]]:
        """The devices that have a part in a subject, and those that may have had one."""
        registry = self._overview.registry
        if named:
            return (registry.require(DeviceId(check.name("device_id", named))).device.id,), ()
        connected = tuple(sorted(registry.connected()))
        if subject.is_everything:
            if not connected:
                raise Unreachable("no device is connected: `circinus device ls` shows those that were")
            return connected, ()
        having = devices_of(subject, self._directives())
        few = connected if len(connected) <= _FEW_DEVICES else ()
        if not having and not few:
            raise NotRunnable(
                f"{_name(subject)} runs nowhere now: `circinus explain QUERY` says why; its old lines are with "
                "`circinus logs --device DEVICE`"
            )
        return having, tuple(one for one in few if one not in having)

    def _tap(
        self, request: planner_pb2.WatchItemsRequest | planner_pb2.TapItemsRequest
    ) -> tuple[tuple[DeviceId, ...], control_pb2.TapWanted]:
        """The devices where an operator's items are, and what is asked of them."""
        overview = self._overview
        query_id = QueryId(check.name("query_id", request.query_id))
        operator_id = known_operator(query_id, check.name("operator_id", request.operator_id), overview.catalog)
        subject = run_for(Subject(query_id=query_id, operator_id=operator_id), self._directives())
        devices = devices_of(subject, self._directives())
        if request.device_id:
            named = overview.registry.require(DeviceId(check.name("device_id", request.device_id))).device.id
            if devices and named not in devices:
                raise InvalidInput(f"{named} does not run {_name(subject)}; {', '.join(devices[:10])} does")
            devices = (named,) if devices else ()
        if not devices:
            raise NotRunnable(f"{_name(subject)} runs nowhere now: `circinus explain {query_id}` says why")
        return devices, control_pb2.TapWanted(
            query_id=subject.query_id,
            operator_id=subject.operator_id,
            output=request.output,
            count=int(check.number("count", request.count, high=_MAX_COUNT)),
            rate_per_s=check.number("rate_per_s", request.rate_per_s, high=MAX_RATE_PER_S) or _USUAL_RATE_PER_S,
            for_s=check.number("for_s", request.for_s, high=MAX_TAP_S) or _USUAL_TAP_S,
        )

    async def _relay(
        self,
        devices: tuple[DeviceId, ...],
        idle: Iterable[DeviceId],
        fill: Fill,
        respond: Respond,
        context: Context,
    ) -> None:
        """Passes on what devices send until all of it has ended. Of ``idle`` devices nothing is said if they can't."""
        looking = self._overview.looking
        if len(devices) > MAX_DEVICES:
            raise InvalidInput(f"{len(devices)} devices are more than {MAX_DEVICES}: name one of them (--device)")
        viewing = looking.open()
        notes: list[planner_pb2.LookNote] = []
        failed: list[CircinusError] = []
        try:
            for device_id in (*devices, *idle):
                try:
                    looking.begin(viewing, device_id, fill)
                except CircinusError as error:
                    if device_id in devices:
                        failed.append(error)
                        notes.append(planner_pb2.LookNote(device_id=device_id, text=error.message))
            if failed and len(failed) == len(devices) and not viewing.looks:
                raise failed[0]
            await self._pass_on(viewing, frozenset(devices), notes, respond, context)
        finally:
            looking.close(viewing)

    async def _pass_on(
        self,
        viewing: Viewing,
        asked: frozenset[DeviceId],
        notes: list[planner_pb2.LookNote],
        respond: Respond,
        context: Context,
    ) -> None:
        looking = self._overview.looking
        told: set[str] = set()
        shown, caught_up, looked_s = False, False, 0.0
        while not viewing.is_over or len(told) < len(viewing.looks):
            found = await looking.next(viewing, _TICK_S)
            if (now_s := self._overview.clock.monotonic_s()) - looked_s >= _TICK_S or found is None:
                looked_s = now_s
                looking.tick(viewing)
                self._check_standing()
            look, chunk = found if found is not None else (None, control_pb2.LookChunk())
            for one in viewing.looks.values():
                # Not before all that it sent.
                if one.ended and one.id not in told and (one is look or viewing.chunks.empty()):
                    told.add(one.id)
                    if one.device_id in asked and one.why:
                        if one.error and not shown and len(asked) == 1:
                            raise _error(one)
                        notes.append(planner_pb2.LookNote(device_id=one.device_id, text=one.why, ended=not one.error))
            chunk.caught_up = viewing.caught_up and not caught_up
            caught_up = caught_up or chunk.caught_up
            if look is not None and (chunk.lines or chunk.items or chunk.pieces or chunk.items_left_out):
                shown = True
            elif not notes and not chunk.caught_up:
                if look is not None:
                    looking.passed_on(look)
                continue
            await context.write(respond(look, chunk, notes))
            notes = []
            if look is not None:
                looking.passed_on(look)

    def _check_standing(self) -> None:
        """Whether whoever looks still may.

        Raises:
            NotKnown, NotAllowed: they may not any more.
        """
        office, found = self._overview.office, caller()
        if office is not None and found is not None:
            office.standing.check_role(found.name, found.role)


def _name(subject: Subject) -> str:
    return "/".join(part for part in (subject.query_id, subject.operator_id) if part)


def _error(look: Look) -> CircinusError:
    """The error that a device ended a look with."""
    kind = getattr(errors, look.error, None)
    text = f"{look.device_id}: {look.why}"
    return kind(text) if isinstance(kind, type) and issubclass(kind, CircinusError) else NotAllowed(text)


__all__ = ["LookCalls"]
