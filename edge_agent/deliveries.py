"""What must get to the planner, if not in this session then in a later one: written down first, then sent.

Results are handed over by code that can't wait, so they stand in a short line for the moment until they are on disk.
Over the outbox's bound it is the newest that is refused, never what was promised before; the planner hears of a refused
result by a small message in its place, so that it asks again instead of waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from circinus.events import warning
from circinus.v1 import control_pb2
from edge_agent.outbox import Outbox

_MAX_HANDED = 1_000


class Deliveries:
    """Messages on their way into the outbox. ``kept`` is called after each."""

    def __init__(self, outbox: Outbox, kept: Callable[[], None]) -> None:
        self._outbox = outbox
        self._kept = kept
        self._handed: deque[control_pb2.ConnectRequest] = deque()
        self._news = asyncio.Event()

    def hand(self, message: control_pb2.ConnectRequest) -> None:
        """Takes a message."""
        if len(self._handed) >= _MAX_HANDED:
            # The disk is so slow that all its bounds are met; what came first goes first.
            warning("delivery_refused", limit=_MAX_HANDED, kind=message.WhichOneof("message"))
            return
        self._handed.append(message)
        self._news.set()

    async def run(self) -> None:
        """Writes down what is handed over, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.keep()

    async def keep(self) -> None:
        """Writes down what is handed over now."""
        while self._handed:
            # A cancel must not cut one off in the middle: it would be written twice, or not at all.
            await asyncio.shield(self._keep_one(self._handed.popleft()))

    async def _keep_one(self, message: control_pb2.ConnectRequest) -> None:
        if not await self._outbox.promise(message):
            warning("delivery_refused", kind=message.WhichOneof("message"), reason="the outbox is full")
            if (instead := _instead_of(message)) is not None:
                await self._outbox.promise(instead)
        self._kept()


def _instead_of(message: control_pb2.ConnectRequest) -> control_pb2.ConnectRequest | None:
    """What is sent of a result that has no room."""
    if message.WhichOneof("message") != "profile_report":
        return None
    report = message.profile_report
    reason = "its results had no room in the agent's outbox: the planner was out of reach for too long"
    return control_pb2.ConnectRequest(
        profile_report=control_pb2.ProfileReport(
            id=report.id, done=report.done, error=report.error or reason, operator_s=report.operator_s
        )
    )
