"""AdminService: tokens, people, revocation and the audit log, for admins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc.aio

from circinus.errors import aborts_with_status
from circinus.v1 import identity_pb2, identity_pb2_grpc
from circinus.wire import check
from cloud_planner.identity.audit import Entry
from cloud_planner.identity.log import MAX_ENTRIES
from cloud_planner.identity.office import IdentityOffice
from cloud_planner.identity.people import PERSON_LIFE_S
from cloud_planner.identity.registrar import TOKEN_LIFE_S
from cloud_planner.identity.rows import EnrolmentRecord, PersonRecord, TokenRecord
from cloud_planner.services import roles

Context = grpc.aio.ServicerContext[Any, Any]
_ENTRIES = 100


class AdminService(identity_pb2_grpc.AdminServiceServicer):
    """Serves admins."""

    def __init__(self, office: IdentityOffice) -> None:
        self._office = office

    @aborts_with_status
    async def CreateToken(
        self, request: identity_pb2.CreateTokenRequest, context: Context
    ) -> identity_pb2.CreateTokenResponse:
        """A token for a box."""
        ttl_s = check.number("ttl_s", request.ttl_s) or TOKEN_LIFE_S
        text, token = await self._office.registrar.create_token(
            request.device_id, dict(request.labels), ttl_s, roles.actor()
        )
        return identity_pb2.CreateTokenResponse(token=text, about=token_message(token))

    @aborts_with_status
    async def ListTokens(
        self, request: identity_pb2.ListTokensRequest, context: Context
    ) -> identity_pb2.ListTokensResponse:
        """All tokens, without their secrets."""
        return identity_pb2.ListTokensResponse(
            tokens=[token_message(token) for token in await self._office.registrar.tokens()]
        )

    @aborts_with_status
    async def RemoveToken(
        self, request: identity_pb2.RemoveTokenRequest, context: Context
    ) -> identity_pb2.RemoveTokenResponse:
        """Makes a token worth nothing."""
        await self._office.registrar.remove_token(request.id, roles.actor())
        return identity_pb2.RemoveTokenResponse()

    @aborts_with_status
    async def ListIdentities(
        self, request: identity_pb2.ListIdentitiesRequest, context: Context
    ) -> identity_pb2.ListIdentitiesResponse:
        """The last certificate of each device."""
        found = await self._office.registrar.identities()
        return identity_pb2.ListIdentitiesResponse(identities=[identity_message(one) for one in found])

    @aborts_with_status
    async def RevokeDevice(
        self, request: identity_pb2.RevokeDeviceRequest, context: Context
    ) -> identity_pb2.RevokeDeviceResponse:
        """Takes a device's identity back."""
        await self._office.registrar.revoke(request.device_id, request.why, roles.actor())
        return identity_pb2.RevokeDeviceResponse()

    @aborts_with_status
    async def CreatePerson(
        self, request: identity_pb2.CreatePersonRequest, context: Context
    ) -> identity_pb2.CreatePersonResponse:
        """A person, with a certificate or a bearer token."""
        ttl_s = check.number("ttl_s", request.ttl_s) or PERSON_LIFE_S
        made = await self._office.people.create(request.name, request.role, ttl_s, request.csr, roles.actor())
        return identity_pb2.CreatePersonResponse(
            bearer_token=made.bearer,
            certificate=made.certificate,
            root=self._office.authority.root_der,
            about=person_message(made.person),
        )

    @aborts_with_status
    async def ListPeople(
        self, request: identity_pb2.ListPeopleRequest, context: Context
    ) -> identity_pb2.ListPeopleResponse:
        """Everybody."""
        return identity_pb2.ListPeopleResponse(
            people=[person_message(person) for person in await self._office.people.list()]
        )

    @aborts_with_status
    async def RemovePerson(
        self, request: identity_pb2.RemovePersonRequest, context: Context
    ) -> identity_pb2.RemovePersonResponse:
        """Makes what a person has worth nothing."""
        await self._office.people.remove(request.name, roles.actor())
        return identity_pb2.RemovePersonResponse()

    @aborts_with_status
    async def ListAudit(
        self, request: identity_pb2.ListAuditRequest, context: Context
    ) -> identity_pb2.ListAuditResponse:
        """What was done and refused."""
        limit = int(check.number("limit", request.limit, high=MAX_ENTRIES)) or _ENTRIES
        after = int(check.number("after", request.after, high=2**53))
        log = self._office.log
        entries = await log.entries(after, limit, refused=request.refused)
        return identity_pb2.ListAuditResponse(
            entries=[audit_message(entry, digest) for entry, digest in entries], intact=not await log.broken_at()
        )


def token_message(token: TokenRecord) -> identity_pb2.Token:
    """A token without its secret."""
    message = identity_pb2.Token(
        id=token.id,
        device_id=token.device_id,
        labels=dict(token.labels),
        used_by=token.used_by,
        created_by=token.created_by,
    )
    message.created_at.FromDatetime(token.created_at)
    message.ends_at.FromDatetime(token.ends_at)
    if token.used_at is not None:
        message.used_at.FromDatetime(token.used_at)
    return message


def identity_message(one: EnrolmentRecord) -> identity_pb2.Identity:
    """A device's identity."""
    message = identity_pb2.Identity(device_id=one.device_id, serial=one.serial, revoked_why=one.revoked_why)
    message.enrolled_at.FromDatetime(one.enrolled_at)
    message.ends_at.FromDatetime(one.ends_at)
    if one.revoked_at is not None:
        message.revoked_at.FromDatetime(one.revoked_at)
    if one.doubled_at is not None:
        message.doubled_at.FromDatetime(one.doubled_at)
    return message


def person_message(person: PersonRecord) -> identity_pb2.Person:
    """A person."""
    message = identity_pb2.Person(name=person.name, role=identity_pb2.Role.Name(person.role))
    message.created_at.FromDatetime(person.created_at)
    message.ends_at.FromDatetime(person.ends_at)
    return message


def audit_message(entry: Entry, digest: bytes) -> identity_pb2.AuditEntry:
    """An entry of the log."""
    message = identity_pb2.AuditEntry(
        sequence=entry.sequence,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        outcome=entry.outcome,
        detail=entry.detail,
        digest=digest.hex(),
    )
    message.at.FromDatetime(datetime.fromtimestamp(entry.at_us / 1e6, UTC))
    return message
