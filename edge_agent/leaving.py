"""A box that leaves: asks the planner to be let go, and forgets what it held when it is told goodbye.

What is forgotten is what makes it a part of the fleet: accepted directives, telemetry that waits, who it is. Bundles
and environments stay, addressed by digest, so that a box that joins again need not fetch them again.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import Random

import grpc
import grpc.aio

from circinus.channel import open_channel, open_secure_channel
from circinus.clock import SystemClock
from circinus.errors import TimedOut, Unreachable, from_rpc
from circinus.events import event
from circinus.model.device import DeviceId
from circinus.v1 import control_pb2, control_pb2_grpc
from edge_agent.config import AgentConfig
from edge_agent.identity.box import open_identity

#: Files of SQLite stand beside its databases.
_DATABASES = ("ledger.db", "outbox.db")
EXIT_PARTIAL = 7
_BESIDE = ("", "-wal", "-shm", "-journal")


def forget(config: AgentConfig) -> None:
    """Removes what makes the box a part of the fleet. Nothing of the agent may be open any more."""
    for name in _DATABASES:
        for ending in _BESIDE:
            with suppress(FileNotFoundError):
                (config.state_dir / f"{name}{ending}").unlink()
    shutil.rmtree(config.identity_dir, ignore_errors=True)
    event("device_left", device=config.device_id, state_dir=config.state_dir)


async def leave(config: AgentConfig, timeout_s: float, say: Callable[[str], None]) -> int:
    """Has this box leave, and says how far that is. Gives the exit code: 0 it has left, 7 something has to stay.

    Raises:
        TimedOut: it takes longer; it goes on.
        InvalidInput: the box has no identity, and should.
        CircinusError: the planner refuses, or can't be reached.
    """
    identity = open_identity(config, clock=SystemClock(), rng=Random())
    address = config.planner
    made = open_channel(address) if identity is None else open_secure_channel(address, identity.credentials.tls)
    last: control_pb2.LeaveResponse | None = None
    async with made as channel:
        async for last in ask_to_leave(channel, config.device_id, timeout_s):
            if last.waits_for:
                say(f"waits for {last.waits_for}")
    if last is None:
        raise Unreachable(f"the planner at {address} ended the call; it may be shutting down, try again")
    if last.gone:
        say(f"{config.device_id} has left; its name is free")
        return 0
    for one in last.staying:
        say(f"stays: {one}")
    say(f"{config.device_id} leaves as soon as that is gone; circinus device uncordon {config.device_id} takes it back")
    return EXIT_PARTIAL


async def ask_to_leave(
    channel: grpc.aio.Channel, device_id: DeviceId, timeout_s: float
) -> AsyncIterator[control_pb2.LeaveResponse]:
    """Asks the planner to let this box go; how far that is, until it has left or something has to stay.

    Raises:
        TimedOut: it takes longer; it goes on.
        CircinusError: the planner refuses, or can't be reached.
    """
    stub = control_pb2_grpc.ControlServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    try:
        async for response in stub.Leave(control_pb2.LeaveRequest(device_id=device_id), timeout=timeout_s):
            yield response
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise TimedOut(f"{device_id} has not left within {timeout_s:g} s; it goes on, ask again later") from error
        raise from_rpc(error) from error
