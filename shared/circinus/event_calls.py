"""What a client asks of what happened: a planner's events, and those that come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio

from circinus.errors import Unreachable
from circinus.planner_link import PlannerLink
from circinus.v1 import planner_pb2

#: Kinds of events.
KINDS = ("device", "query", "plan", "drift", "refusal")
_LIST_TIMEOUT_S = 30.0
#: Longest that one call follows; the client goes on with the next.
_FOLLOW_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerEvent:
    """Something that happened. ``cursor`` rises with each event; ``missed``: some before this one are forgotten."""

    cursor: int
    at: datetime
    kind: str
    name: str
    fields: Mapping[str, str]
    warning: bool
    missed: bool = False


class EventCalls:
    """The call about events of a client."""

    _link: PlannerLink

    @property
    def _stub(self) -> Any:
        raise NotImplementedError

    async def events(
        self, *, after: int = 0, limit: int = 0, kinds: Sequence[str] = (), follow: bool = False
    ) -> AsyncIterator[PlannerEvent]:
        """Events after a cursor, oldest first; 0: the newest. ``limit`` 0: 100. ``follow``: then those that come.

        Raises:
            InvalidInput: there is no such kind.
            Unreachable: the planner went away meanwhile.
        """
        while True:
            request = planner_pb2.WatchEventsRequest(after=after, limit=limit, kinds=kinds, follow=follow)
            timeout_s = _FOLLOW_S if follow else _LIST_TIMEOUT_S
            call = self._stub.WatchEvents(request, timeout=timeout_s, metadata=self._link.metadata)
            try:
                async for response in call:
                    missed = response.missed
                    for one in response.events:
                        after = one.cursor
                        yield _event(one, missed=missed)
                        missed = False
            except grpc.aio.AioRpcError as error:
                if follow and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    continue
                raise await self._link.error(error, timeout_s) from error
            finally:
                call.cancel()
            if not follow:
                return
            raise Unreachable(f"the planner at {self._link.address} ended the call; go on after cursor {after}")


def _event(message: planner_pb2.PlannerEvent, *, missed: bool) -> PlannerEvent:
    return PlannerEvent(
        cursor=message.cursor,
        at=message.at.ToDatetime(UTC),
        kind=message.kind,
        name=message.name,
        fields=dict(sorted(message.fields.items())),
        warning=message.warning,
        missed=missed,
    )


__all__ = ["KINDS", "EventCalls", "PlannerEvent"]
