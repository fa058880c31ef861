"""What people ask of what happened: events, and those that come."""

from __future__ import annotations

from typing import Any

import grpc.aio

from circinus.errors import InvalidInput, Violation, aborts_with_status
from circinus.v1 import planner_pb2
from circinus.wire import check
from cloud_planner.overview import Overview
from cloud_planner.services.pages import Page
from cloud_planner.store import EventKind, EventRecord

_EVENTS = 100
_MAX_EVENTS = 10_000
#: How often it is looked at least.
_IDLE_S = 2.0

Context = grpc.aio.ServicerContext[Any, Any]


class EventCalls:
    """The call about events of PlannerService."""

    _overview: Overview

    @aborts_with_status
    async def WatchEvents(self, request: planner_pb2.WatchEventsRequest, context: Context) -> None:
        """Tells what happened, and, followed, what happens."""
        chronicle = self._overview.chronicle
        limit = int(check.number("limit", request.limit, high=_MAX_EVENTS)) or _EVENTS
        kinds = _kinds(list(request.kinds))
        after = int(check.number("after", request.after, high=2**53))
        await chronicle.flush()
        missed = await chronicle.missed(after)
        heard = chronicle.written.rings
        # Without a cursor it is the newest that are of interest.
        found = await chronicle.list(after, limit, kinds, newest=not after)
        while True:
            for response in _responses(found, missed=missed):
                await context.write(response)
            after, missed = (found[-1].cursor if found else after), False
            if not request.follow:
                return
            if len(found) < limit:
                heard = await chronicle.written.wait(heard, _IDLE_S)
            found = await chronicle.list(after, limit, kinds)


def _responses(found: tuple[EventRecord, ...], *, missed: bool) -> list[planner_pb2.WatchEventsResponse]:
    """Events in messages of which each fits; none if there is nothing to say."""
    responses: list[planner_pb2.WatchEventsResponse] = []
    left = list(found)
    while left or (missed and not responses):
        page: Page[planner_pb2.PlannerEvent] = Page(0)
        for one in left:
            if not page.add(str(one.cursor), _message(one)):
                break
        left = left[len(page.messages) :]
        responses.append(planner_pb2.WatchEventsResponse(events=page.messages, missed=missed and not responses))
    return responses


def _message(record: EventRecord) -> planner_pb2.PlannerEvent:
    message = planner_pb2.PlannerEvent(
        cursor=record.cursor, kind=record.kind, name=record.name, fields=record.fields, warning=record.warning
    )
    message.at.FromDatetime(record.at)
    return message


def _kinds(texts: list[str]) -> list[EventKind]:
    known = [kind.value for kind in EventKind]
    for text in texts:
        if text not in known:
            message = f"{text[:40]!r} is no kind of event; there are {', '.join(known)}"
            raise InvalidInput(f"kinds: {message}", (Violation(field="kinds", message=message),))
    return [EventKind(text) for text in dict.fromkeys(texts)]


__all__ = ["EventCalls"]
