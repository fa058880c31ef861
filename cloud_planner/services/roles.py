"""Who calls, and whether they may: one table for every method, and the interceptor that holds each call against it.

What the table does not name is refused to everybody. Whoever shows a certificate is who that says; a bearer token
counts only on a connection without one (the port for enrolment). What a person changes is in the audit log, and so is
every call that was refused for who made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from circinus.errors import CircinusError, Internal, NotAllowed, NotKnown, Unreachable, abort
from circinus.events import warning
from cloud_planner.identity.audit import DONE
from cloud_planner.identity.certificates import Holder, HolderKind, Shown, read_pem_leaf
from cloud_planner.identity.limiter import peer_name
from cloud_planner.identity.office import IdentityOffice

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Context], Any]
_AUTHORIZATION = "authorization"
_KIND_KEY = "circinus-error"
_MAX_SUBJECTS = 20
#: How often somebody who watches is held against the file.
_LOOK_S = 0.5


class Least(IntEnum):
    """The least that a caller must be. Roles of people rise; DEVICE is beside them."""

    ANYBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3
    DEVICE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``noted``: each call is written to the audit log by the gate (what identity itself does writes its own)."""

    least: Least
    noted: bool = False


_SEES = Rule(least=Least.VIEWER)
_CHANGES = Rule(least=Least.OPERATOR, noted=True)
_ADMITS = Rule(least=Least.ADMIN)
_DEVICE = Rule(least=Least.DEVICE)
_ANYBODY = Rule(least=Least.ANYBODY)

#: Every method of every service of the planner. docs/security.md shows it; a test holds both against the descriptors.
METHODS: Mapping[str, Rule] = MappingProxyType(
    {
        "/circinus.v1.EnrolmentService/Enrol": _ANYBODY,
        "/circinus.v1.EnrolmentService/Renew": _ANYBODY,
        "/circinus.v1.ControlService/Connect": _DEVICE,
        "/circinus.v1.ControlService/FetchBlob": _DEVICE,
        "/circinus.v1.ControlService/Leave": _DEVICE,
        "/circinus.v1.PlannerService/GetStatus": _SEES,
        "/circinus.v1.PlannerService/GetVersion": _SEES,
        "/circinus.v1.PlannerService/ListDevices": _SEES,
        "/circinus.v1.PlannerService/ListPipelines": _SEES,
        "/circinus.v1.PlannerService/ListQueries": _SEES,
        "/circinus.v1.PlannerService/PlanSelection": _SEES,
        "/circinus.v1.PlannerService/WhatIf": _SEES,
        "/circinus.v1.PlannerService/Explain": _SEES,
        "/circinus.v1.PlannerService/ExportRecord": _SEES,
        "/circinus.v1.PlannerService/WatchProgress": _SEES,
        "/circinus.v1.PlannerService/WatchQuery": _SEES,
        "/circinus.v1.PlannerService/WatchEvents": _SEES,
        "/circinus.v1.PlannerService/WatchItems": _SEES,
        "/circinus.v1.PlannerService/ListDeviceLines": _SEES,
        "/circinus.v1.PlannerService/ListQueryLines": _SEES,
        "/circinus.v1.PlannerService/GetLedger": _SEES,
        "/circinus.v1.PlannerService/GetAccounts": _SEES,
        "/circinus.v1.PlannerService/UploadBlob": _CHANGES,
        "/circinus.v1.PlannerService/AddPipeline": _CHANGES,
        "/circinus.v1.PlannerService/RemovePipeline": _CHANGES,
        "/circinus.v1.PlannerService/SubmitQueries": _CHANGES,
        "/circinus.v1.PlannerService/RemoveQuery": _CHANGES,
        "/circinus.v1.PlannerService/CordonDevice": _CHANGES,
        "/circinus.v1.PlannerService/DrainDevice": _CHANGES,
        "/circinus.v1.PlannerService/LabelDevice": _CHANGES,
        "/circinus.v1.PlannerService/ApplyChanges": _CHANGES,
        # They change nothing, but what code prints may have anything in it, and items are somebody's.
        "/circinus.v1.PlannerService/ReadLogs": _CHANGES,
        "/circinus.v1.PlannerService/TapItems": _CHANGES,
        "/circinus.v1.PlannerService/LeaveDevice": Rule(least=Least.ADMIN, noted=True),
        "/circinus.v1.AdminService/CreateToken": _ADMITS,
        "/circinus.v1.AdminService/ListTokens": _ADMITS,
        "/circinus.v1.AdminService/RemoveToken": _ADMITS,
        "/circinus.v1.AdminService/ListIdentities": _ADMITS,
        "/circinus.v1.AdminService/RevokeDevice": _ADMITS,
        "/circinus.v1.AdminService/CreatePerson": _ADMITS,
        "/circinus.v1.AdminService/ListPeople": _ADMITS,
        "/circinus.v1.AdminService/RemovePerson": _ADMITS,
        "/circinus.v1.AdminService/ListAudit": _ADMITS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. ``holder`` and ``ends_at`` are of the certificate, where one was shown; ``role`` is a person's."""

    name: str
    role: int = 0
    holder: Holder | None = None
    ends_at: datetime | None = None

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        kind = self.holder.kind if self.holder is not None else HolderKind.PERSON
        return f"{kind}:{self.name}"


_CALLER: ContextVar[Caller | None] = ContextVar("circinus_caller", default=None)


def caller() -> Caller | None:
    """Who made the call that is being served; None: nobody was asked (--insecure-loopback), or anybody may."""
    return _CALLER.get()


def actor() -> str:
    """The caller as the audit log names them."""
    found = caller()
    return found.actor if found is not None else "nobody"


def rule_of(method: str) -> Rule | None:
    """What a method asks of its callers; None: nobody may call it."""
    return METHODS.get(method)


@contextmanager
def serving_for(found: Caller | None) -> Iterator[None]:
    """What is called within is called by this one, though it came by another way than the wire."""
    token = _CALLER.set(found)
    try:
        yield
    finally:
        _CALLER.reset(token)


class RoleGate(grpc.aio.ServerInterceptor):
    """Stands before every method."""

    def __init__(self, office: IdentityOffice) -> None:
        self._office = office

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Puts the gate around the method that is called; None: there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        bearer = _bearer(handler_call_details.invocation_metadata)

        def around(inner: Any) -> Handler:
            async def gated(request: Any, context: Context) -> Any:
                return await self._call(method, bearer, inner, request, context, streams=handler.response_streaming)

            return gated

        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(around(handler.unary_unary), **codecs)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(around(handler.unary_stream), **codecs)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(around(handler.stream_unary), **codecs)
        return grpc.stream_stream_rpc_method_handler(around(handler.stream_stream), **codecs)

    async def _call(
        self, method: str, bearer: str, inner: Handler, request: Any, context: Context, *, streams: bool
    ) -> Any:
        found: Caller | None = None
        peer = peer_name(context.peer())
        who, subject = f"peer:{peer}", ""
        try:
            rule = METHODS.get(method)
            if rule is None or rule.least is not Least.ANYBODY:
                leaf = self._leaf(context)
                if leaf is not None:
                    # Theirs by the root's word, whether it still stands or not.
                    who, subject = f"{leaf.holder.kind}:{leaf.holder.name}", leaf.holder.name
                found = self._standing(leaf) if leaf is not None else self._bearer(bearer, peer)
                who = found.actor
                check_role(method, rule, found)
        except CircinusError as error:
            await self._office.log.refused(who, method.rpartition("/")[2], subject, error, f"from {peer}")
            await abort(context, error)
        _CALLER.set(found)
        # Who only asks whether something would do changes nothing.
        if rule is not None and rule.noted and found is not None and not getattr(request, "validate_only", False):
            return await self._noted(method, found, inner, request, context)
        if streams and found is not None and Least.VIEWER <= found.role <= Least.ADMIN:
            return await self._told(found, inner, request, context)
        return await _served(inner, request, context)

    async def _told(self, found: Caller, inner: Handler, request: Any, context: Context) -> None:
        """Serves a person who watches, for as long as they stand."""
        serving = asyncio.create_task(_served(inner, request, context))
        refusal: CircinusError | None = None
        try:
            while refusal is None and not (await asyncio.wait({serving}, timeout=_LOOK_S))[0]:
                try:
                    self._office.standing.check_role(found.name, found.role)
                except CircinusError as error:
                    refusal = error
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        if refusal is not None:
            await abort(context, refusal)
        await serving

    def _leaf(self, context: Context) -> Shown | None:
        """The certificate that was shown at the handshake; None: none was.

        Raises:
            NotKnown, WrongAuthority: it names nobody of this planner.
        """
        shown = tuple(context.auth_context().get("x509_pem_cert", ()))
        return read_pem_leaf(shown[0], self._office.authority.root) if shown else None

    def _standing(self, leaf: Shown) -> Caller:
        """Who showed a certificate.

        Raises:
            NotKnown, Revoked, IdentityOver: nobody that stands.
        """
        holder, role = leaf.holder, 0
        if holder.kind is HolderKind.DEVICE:
            self._office.standing.check_device(holder, leaf.ends_at)
        else:
            role = self._office.standing.check_person(holder, leaf.ends_at).role
        return Caller(name=holder.name, role=role, holder=holder, ends_at=leaf.ends_at)

    def _bearer(self, bearer: str, peer: str) -> Caller:
        """Whose bearer token it is.

        Raises:
            NotKnown, IdentityOver: nobody's that stands.
            TooLarge: too many failures from there.
        """
        if not bearer:
            raise NotKnown(
                "nobody is known here without a certificate or a bearer token: `cloud-planner person create` makes both"
            )
        self._office.failures.check(peer)
        try:
            person = self._office.standing.check_bearer(bearer)
        except NotKnown:
            self._office.failures.failed(peer)
            raise
        return Caller(name=person.name, role=person.role)

    async def _noted(self, method: str, found: Caller, inner: Handler, request: Any, context: Context) -> Any:
        """Serves a call that changes something, and writes down what became of it."""
        seen: list[Message] = []
        watched = _remembering(request, seen) if hasattr(request, "__aiter__") else request
        response: Any = None
        outcome = Internal.__name__
        try:
            response = await _served(inner, watched, context)
            outcome = DONE
        except asyncio.CancelledError:
            # The caller hung up.
            outcome = Unreachable.__name__
            raise
        except BaseException:
            outcome = _outcome(context)
            raise
        finally:
            subject = subject_of(seen[0] if seen else request, response)
            action = method.rpartition("/")[2]
            await self._note(self._office.log.note(found.actor, action, subject, outcome=outcome))
        return response

    async def _note(self, writing: Awaitable[None]) -> None:
        try:
            await writing
        except Exception as error:  # a full disk, say: what was done is done, and a refusal must still be said
            warning("audit_not_written", reason=f"{type(error).__name__}: {error}")


def check_role(method: str, rule: Rule | None, found: Caller) -> None:
    """Lets a caller through.

    Raises:
        NotAllowed: they may not call this.
    """
    name = method.rpartition("/")[2]
    if rule is None:
        raise NotAllowed(f"{name} is in no role of this planner")
    is_device = found.holder is not None and found.holder.kind is HolderKind.DEVICE
    if rule.least is Least.DEVICE:
        if not is_device:
            raise NotAllowed(f"{name} is for devices; {found.name} is a person")
        return
    if is_device:
        raise NotAllowed(f"{name} is for people; {found.name} is a device")
    if found.role < rule.least:
        raise NotAllowed(
            f"{name} needs the role {rule.least.name.lower()}; {found.name} is {_role_name(found.role)}: ask an admin"
        )


def _role_name(role: int) -> str:
    return next((least.name.lower() for least in Least if least == role and role), "nobody")


def _bearer(metadata: Any) -> str:
    """The bearer token of a call; empty: none."""
    for key, value in metadata or ():
        if key == _AUTHORIZATION and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    return ""


async def _served(inner: Handler, request: Any, context: Context) -> Any:
    result = inner(request, context)
    if hasattr(result, "__aiter__"):
        async for message in result:
            await context.write(message)
        return None
    return await result


async def _remembering(requests: AsyncIterator[Message], seen: list[Message]) -> AsyncIterator[Message]:
    """The same requests; the first of them is kept, for it says what the call is about."""
    async for request in requests:
        if not seen:
            seen.append(request)
        yield request


def _outcome(context: Context) -> str:
    """The class of the error that a call ended with."""
    for key, value in context.trailing_metadata() or ():
        if key == _KIND_KEY:
            return str(value)
    return Internal.__name__


def subject_of(request: Any, response: Any) -> str:
    """What a call is about: the ids in its request, else those in its response."""
    for message in (response, request):
        if isinstance(message, Message) and (found := _ids(message)):
            return ", ".join(found[:_MAX_SUBJECTS])
    return ""


def _ids(message: Message) -> list[str]:
    found: list[str] = []
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if name in ("id", "name", "digest") or name.endswith("_id"):
            found.append(str(value))
        elif name.endswith("_ids"):
            found.extend(str(one) for one in value)
        elif name in ("queries", "query") and descriptor.message_type is not None:
            found.extend(str(one.id) for one in (value if name == "queries" else (value,)))
    return found
