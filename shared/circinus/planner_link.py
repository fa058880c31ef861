"""One connection to a planner: who asks, a deadline for each call, and errors with their cure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
import grpc.aio

from circinus.channel import (
    Tls,
    check_address,
    check_loopback,
    open_channel,
    open_secure_channel,
    open_trusting_channel,
)
from circinus.contexts import Bearer, Credentials
from circinus.errors import (
    CircinusError,
    IdentityOver,
    InvalidInput,
    NotKnown,
    TimedOut,
    Unreachable,
    WrongAuthority,
    from_rpc,
)
from circinus.tls_probe import Fault, Found, over, probe

#: Time for an ordinary answer.
CALL_TIMEOUT_S = 15.0

R = TypeVar("R")

#: What people do about each fault, and the error that it is to them; the others mean that nobody answers.
CURES: Mapping[Fault | None, tuple[type[CircinusError], str]] = {
    Fault.SECURE: (Unreachable, "leave --insecure-loopback out: it asks in the clear"),
    Fault.CLEAR: (
        Unreachable,
        "nobody can tell who listens there; if it is your own planner of this machine, say --insecure-loopback",
    ),
    Fault.OTHER_ROOT: (
        WrongAuthority,
        "it is not the planner of this context: check the address, or take that planner's own context file "
        "(circinus context add FILE)",
    ),
    Fault.OTHER_NAME: (WrongAuthority, "it is no planner: check the address"),
    Fault.CLOCK: (WrongAuthority, "set the clock right (timedatectl set-ntp true), here or there"),
    Fault.NAMELESS: (
        NotKnown,
        "this context has a token, which is for the planner's other port, that for enrolment (one higher, if not told "
        "otherwise)",
    ),
    Fault.UNWANTED: (
        NotKnown,
        "it is over, taken back, or of another root: ask an admin of the planner for a new context file",
    ),
    Fault.BROKEN_PAIR: (InvalidInput, "ask an admin of the planner for a new context file"),
}


class PlannerLink:
    """A channel to one planner: mutual TLS, TLS with a bearer token, or without credentials in the clear on loopback.

    Raises (each call):
        Unreachable: no planner answers at the address, or it speaks another language.
        WrongAuthority: what answers there has another root.
        NotKnown: the planner does not know the certificate or token.
        TimedOut: no answer within the deadline.
        CircinusError: what the planner says.
    """

    def __init__(
        self, address: str, credentials: Credentials | None = None, *, call_timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self.address = address
        self.credentials = credentials
        self._call_timeout_s = call_timeout_s
        self._channel: grpc.aio.Channel | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        if isinstance(self.credentials, Bearer):
            return (("authorization", f"Bearer {self.credentials.token}"),)
        return ()

    def open(self) -> None:
        """Makes the channel; it connects when it is first used.

        Raises:
            InvalidInput: the address, or what stands in the credentials, is no such thing.
            IdentityOver: the own certificate is over.
        """
        match self.credentials:
            case None:
                check_loopback(self.address)
                self._channel = open_channel(self.address)
            case Bearer(root=root):
                check_address(self.address)
                self._channel = open_trusting_channel(self.address, root)
            case Tls() as tls:
                _check_own(tls)
                self._channel = open_secure_channel(self.address, tls)

    async def close(self) -> None:
        """Ends all calls."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel.

        Raises:
            Unreachable: it is not open.
        """
        if self._channel is None:
            raise Unreachable("the client is not open; use it as `async with Client(...) as client`")
        return self._channel

    async def ask(self, stub: Any, method: str, request: Any, timeout_s: float | None = None) -> Any:
        """One call of one answer."""
        limit_s = self._call_timeout_s if timeout_s is None else timeout_s
        return await self.call(getattr(stub, method)(request, timeout=limit_s, metadata=self.metadata), limit_s)

    async def call(self, call: Awaitable[R], timeout_s: float) -> R:
        """What a call gives, its errors as our own."""
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise await self.error(error, timeout_s) from error

    async def error(self, error: grpc.aio.AioRpcError, timeout_s: float) -> CircinusError:
        """Our own error for gRPC's."""
        if any(key == "circinus-error" for key, _ in error.trailing_metadata() or ()):
            return from_rpc(error)
        # Without the planner's own word it is the connection that failed.
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return await asyncio.to_thread(self._why)
        if code is grpc.StatusCode.CANCELLED:
            return Unreachable(f"the planner at {self.address} ended the call; it may be shutting down, try again")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut(f"the planner at {self.address} gave no answer within {timeout_s:g} s")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return Unreachable(
                f"what answers at {self.address} does not do this: it is no planner, an older one, or its other port; "
                "see with `circinus context show` whether the port is right"
            )
        return from_rpc(error)

    def _why(self) -> CircinusError:
        """Why nobody answers. Blocks."""
        return self._fault(probe_as(self.address, self.credentials))

    def _fault(self, found: Found) -> CircinusError:
        if found.fault in CURES:
            kind, cure = CURES[found.fault]
            return kind(f"{found.said}; {cure}")
        if found.fault is Fault.NO_ADDRESS:
            return Unreachable(f"{found.said}; check the name in the planner's address, and this machine's DNS")
        if found.fault is Fault.SILENT:
            return Unreachable(f"{found.said}; check the address; a firewall may be in the way")
        return Unreachable(
            f"no planner answers at {self.address}; start one (cloud-planner run --listen {self.address} ...) "
            "or name another address"
        )


def probe_as(address: str, credentials: Credentials | None) -> Found:
    """Dials an address by hand as a link with these credentials would. Blocks."""
    match credentials:
        case Bearer(root=root):
            return probe(address, root=root)
        case Tls() as tls:
            return probe(address, tls=tls)
    return probe(address)


def _check_own(tls: Tls) -> None:
    try:
        why = over(tls.certificate, datetime.now(UTC))
    except ValueError as error:
        raise InvalidInput(f"the certificate of this context can't be read: {error}") from error
    if why:
        raise IdentityOver(
            f"the certificate of this context {why}; ask an admin of the planner for a new context file, "
            "then: circinus context add FILE"
        )
