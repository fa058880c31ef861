"""Makes environments ready as the planner asks, one after the other, and says how each went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from circinus.errors import CircinusError, TimedOut, Unreachable
from circinus.events import warning
from circinus.model.device import Digest, Environment
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import check
from edge_agent.environments import Environments

_FETCH_ATTEMPTS = 3
_MAX_WAITING = 64


class Preparing:
    """The requests of one device. ``fingerprint`` gives what the device is now, with its environments."""

    def __init__(
        self,
        environments: Environments,
        *,
        tell: Callable[[control_pb2.ConnectRequest], None],
        fingerprint: Callable[[], types_pb2.Fingerprint],
    ) -> None:
        self._environments = environments
        self._tell = tell
        self._fingerprint = fingerprint
        self._waiting: asyncio.Queue[control_pb2.PrepareEnvironmentRequest] = asyncio.Queue(_MAX_WAITING)

    async def put(self, request: control_pb2.PrepareEnvironmentRequest) -> None:
        """Takes a request; waits while there are too many."""
        await self._waiting.put(request)

    async def run(self) -> None:
        """Works requests off until it is cancelled."""
        while True:
            request = await self._waiting.get()
            try:
                check.digest("environment_digest", request.environment_digest)
                check.digest("bundle_digest", request.bundle_digest)
                environment = await self._prepared(request)
            except Exception as error:
                reason = str(error) if isinstance(error, CircinusError) else f"{type(error).__name__}: {error}"
                environment = Environment(digest=Digest(request.environment_digest), ready=False, reason=reason[:1_500])
                warning("environment_not_prepared", digest=request.environment_digest, reason=reason)
            message = types_pb2.Environment(
                digest=environment.digest, ready=environment.ready, reason=environment.reason[:2_000]
            )
            status = control_pb2.EnvironmentStatus(environment=message)
            self._tell(control_pb2.ConnectRequest(environment_status=status))
            self._tell(control_pb2.ConnectRequest(fingerprint=self._fingerprint()))

    async def _prepared(self, request: control_pb2.PrepareEnvironmentRequest) -> Environment:
        digest, bundle = Digest(request.environment_digest), Digest(request.bundle_digest)
        for _ in range(_FETCH_ATTEMPTS - 1):
            try:
                return await self._environments.prepare(digest, bundle)
            except (Unreachable, TimedOut) as error:
                # The fetch itself waits for the link, so this is no busy loop.
                warning("bundle_not_fetched", digest=bundle, reason=error)
        return await self._environments.prepare(digest, bundle)
