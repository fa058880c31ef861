"""The error tree, and how it crosses the wire.

CircinusError
├── InvalidInput            INVALID_ARGUMENT     bad file, flag or field; carries its violations
├── NotFound                NOT_FOUND
├── AlreadyExists           ALREADY_EXISTS
├── StaleGeneration         FAILED_PRECONDITION  a directive older than the accepted one
├── ConflictingDirective    FAILED_PRECONDITION  an accepted generation with other content
├── BadDigest               DATA_LOSS            content is not what its digest says
├── WrongDevice             FAILED_PRECONDITION  a directive for somebody else
├── NotRunnable             FAILED_PRECONDITION  asks for what the device can't do
├── CodeFailed              FAILED_PRECONDITION  a pipeline's own code fails when it is run; carries where
├── Unsigned                FAILED_PRECONDITION  a directive without a signature
├── Forged                  FAILED_PRECONDITION  a signature that is not the planner's
├── AgainstPolicy           FAILED_PRECONDITION  what the device's own policy forbids
├── TooLarge                RESOURCE_EXHAUSTED   a message, blob or item over its limit
├── NotAllowed              PERMISSION_DENIED
├── NotKnown                UNAUTHENTICATED      nobody that is known: no certificate or token, or a bad one
│   ├── BadToken                                 an enrolment token that is unknown, over, or bound to another device
│   ├── TokenUsed                                an enrolment token that was used before
│   ├── Revoked                                  an identity that was taken back
│   └── IdentityOver                             a certificate that ended too long ago
├── WrongAuthority          UNAUTHENTICATED      a planner, or a certificate, of another root
├── Unreachable             UNAVAILABLE          the other side can't be reached
├── TimedOut                DEADLINE_EXCEEDED
└── Internal                INTERNAL             a fault of Circinus itself

A message says what, the value, the limit and what to do. An SLO that can't be met is a result, not an error.
The name of the class travels beside the status (trailing metadata "circinus-error"), so that the caller gets
the same class back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import grpc
import grpc.aio

_KIND_KEY = "circinus-error"
_VIOLATION_KEY = "circinus-violation-bin"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field, or one line of a file, that is wrong, and why."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class CircinusError(Exception):
    """Root of the tree."""

    @property
    def message(self) -> str:
        """What went wrong, for people."""
        return str(self)


class InvalidInput(CircinusError):
    """What was given is wrong; ``violations`` lists everything that is, at once."""

    def __init__(self, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.violations = violations


class NotFound(CircinusError):
    """There is no such thing."""


class AlreadyExists(CircinusError):
    """There is another thing with this name."""


class StaleGeneration(CircinusError):
    """A directive is older than the one that was accepted."""


class ConflictingDirective(CircinusError):
    """A directive has the number of an accepted one, but not its content."""


class BadDigest(CircinusError):
    """Content is not what its digest says."""


class WrongDevice(CircinusError):
    """A directive is for another device."""


class NotRunnable(CircinusError):
    """A directive or request asks for what the device can't do."""


class CodeFailed(CircinusError):
    """A pipeline's own code fails when it is run; ``violations`` lists where and how."""

    def __init__(self, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.violations = violations


class Unsigned(CircinusError):
    """A directive without a signature, where one is wanted."""


class Forged(CircinusError):
    """A directive whose signature is not the planner's."""


class AgainstPolicy(CircinusError):
    """What the device's own policy forbids."""


class TooLarge(CircinusError):
    """Something is over its limit."""


class NotAllowed(CircinusError):
    """The caller may not do this."""


class NotKnown(CircinusError):
    """The caller is nobody that is known."""


class BadToken(NotKnown):
    """An enrolment token that is unknown, over, or bound to another device."""


class TokenUsed(NotKnown):
    """An enrolment token that was used before."""


class Revoked(NotKnown):
    """An identity that was taken back."""


class IdentityOver(NotKnown):
    """A certificate that ended longer ago than the grace allows."""


class WrongAuthority(CircinusError):
    """The other side's certificate, or one that was shown, is of another root."""


class Unreachable(CircinusError):
    """The other side can't be reached."""


class TimedOut(CircinusError):
    """No answer within the time given."""


class Internal(CircinusError):
    """A fault of Circinus itself."""


_STATUS: dict[type[CircinusError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    StaleGeneration: grpc.StatusCode.FAILED_PRECONDITION,
    ConflictingDirective: grpc.StatusCode.FAILED_PRECONDITION,
    WrongDevice: grpc.StatusCode.FAILED_PRECONDITION,
    NotRunnable: grpc.StatusCode.FAILED_PRECONDITION,
    CodeFailed: grpc.StatusCode.FAILED_PRECONDITION,
    Unsigned: grpc.StatusCode.FAILED_PRECONDITION,
    Forged: grpc.StatusCode.FAILED_PRECONDITION,
    AgainstPolicy: grpc.StatusCode.FAILED_PRECONDITION,
    BadDigest: grpc.StatusCode.DATA_LOSS,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    NotKnown: grpc.StatusCode.UNAUTHENTICATED,
    BadToken: grpc.StatusCode.UNAUTHENTICATED,
    TokenUsed: grpc.StatusCode.UNAUTHENTICATED,
    Revoked: grpc.StatusCode.UNAUTHENTICATED,
    IdentityOver: grpc.StatusCode.UNAUTHENTICATED,
    WrongAuthority: grpc.StatusCode.UNAUTHENTICATED,
    Unreachable: grpc.StatusCode.UNAVAILABLE,
    TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    Internal: grpc.StatusCode.INTERNAL,
}
_BY_NAME = {kind.__name__: kind for kind in _STATUS}
#: What a status means when the other side sent no name: the first class of the table with that status.
_BY_STATUS: dict[grpc.StatusCode, type[CircinusError]] = {
    **{status: kind for kind, status in reversed(_STATUS.items())},
    grpc.StatusCode.FAILED_PRECONDITION: NotRunnable,
    grpc.StatusCode.UNAUTHENTICATED: NotKnown,
}


def status_of(error: CircinusError) -> grpc.StatusCode:
    """The status that an error travels under."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return grpc.StatusCode.INTERNAL


def _wire_name(error: CircinusError) -> str:
    return next((kind.__name__ for kind in type(error).__mro__ if kind in _STATUS), Internal.__name__)


def trailing_metadata(error: CircinusError) -> tuple[tuple[str, str | bytes], ...]:
    """What travels beside the status: the name of the class and the violations (at most 50 of them)."""
    metadata: list[tuple[str, str | bytes]] = [(_KIND_KEY, _wire_name(error))]
    if isinstance(error, InvalidInput):
        metadata.extend(
            (_VIOLATION_KEY, f"{violation.field}\0{violation.message}"[:1000].encode())
            for violation in error.violations[:50]
        )
    return tuple(metadata)


def from_rpc(error: grpc.RpcError) -> CircinusError:
    """The error that the other side raised, as the same class."""
    code, details = error.code(), error.details()
    # At run time an entry is a (key, value) tuple; its published type does not say so.
    pairs = cast("list[tuple[str, str | bytes]]", list(error.trailing_metadata() or ()))
    name = next((value for key, value in pairs if key == _KIND_KEY), "")
    kind = _BY_NAME.get(str(name)) or _BY_STATUS.get(code, Internal)
    message = details or code.name
    if kind is InvalidInput:
        return InvalidInput(message, tuple(_violation(value) for key, value in pairs if key == _VIOLATION_KEY))
    return kind(message)


def _violation(value: str | bytes) -> Violation:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    field, _, message = text.partition("\0")
    return Violation(field=field, message=message)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: CircinusError) -> None:
    """Ends a call with an error's status, name and violations."""
    await context.abort(status_of(error), error.message[:4000], trailing_metadata(error))


def aborts_with_status(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """A unary servicer method that ends with the status of the CircinusError that it raises."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except CircinusError as error:
            context = args[-1] if args else kwargs["context"]
            await abort(context, error)  # type: ignore[arg-type]  # a servicer's last argument is its context
            raise
        except (grpc.RpcError, grpc.aio.BaseError):
            raise
        except Exception as error:
            # grpc would say UNKNOWN, and only the client would hear of it.
            context = args[-1] if args else kwargs["context"]
            fault = Internal(f"a fault of the server itself: {type(error).__name__}: {error}"[:500])
            await abort(context, fault)  # type: ignore[arg-type]  # as above
            raise

    return wrapper
