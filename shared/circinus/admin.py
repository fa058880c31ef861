"""What admins ask of a planner: tokens for boxes, people and their roles, revoking, what was done and refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from circinus.planner_link import PlannerLink
from circinus.v1 import identity_pb2, identity_pb2_grpc


class Role(StrEnum):
    """What a person may do; each may all that the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_ROLES = {
    Role.VIEWER: identity_pb2.ROLE_VIEWER,
    Role.OPERATOR: identity_pb2.ROLE_OPERATOR,
    Role.ADMIN: identity_pb2.ROLE_ADMIN,
}
_ROLE_NAMES = {value: str(role) for role, value in _ROLES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An enrolment token, without its secret. ``device_id`` empty: for any device that has the labels."""

    id: str
    device_id: str
    labels: Mapping[str, str]
    created_at: datetime | None
    ends_at: datetime | None
    used_at: datetime | None
    used_by: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token with its secret, as it is told once."""

    token: str = field(repr=False)
    about: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device's certificate, as the planner last gave it. ``doubled_at``: two boxes were seen with it."""

    device_id: str
    serial: str
    enrolled_at: datetime | None
    ends_at: datetime | None
    revoked_at: datetime | None
    revoked_why: str
    doubled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may ask the planner. ``role`` is one of Role."""

    name: str
    role: str
    created_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedPerson:
    """A person and what they show: a bearer token, or a certificate (DER). ``root`` (DER) is what they trust."""

    about: Person
    root: bytes
    token: str = field(default="", repr=False)
    certificate: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done, or refused: ``outcome`` is "done", or the class of the error."""

    sequence: int
    at: datetime | None
    actor: str
    action: str
    subject: str
    outcome: str
    detail: str
    digest: str

    @property
    def refused(self) -> bool:
        """Whether it was not let happen."""
        return self.outcome != "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """Entries, oldest first. ``intact``: nothing was changed or taken out, from the first entry to the last."""

    entries: tuple[AuditEntry, ...]
    intact: bool


class Admin:
    """What only an admin may do. Each method raises what PlannerLink does.

    NotAllowed: the caller is no admin.
    """

    def __init__(self, link: PlannerLink) -> None:
        self._link = link

    async def _ask(self, method: str, request: Any) -> Any:
        stub = identity_pb2_grpc.AdminServiceStub(self._link.channel)  # type: ignore[no-untyped-call]  # generated
        return await self._link.ask(stub, method, request)

    async def create_token(
        self, device_id: str = "", *, labels: Mapping[str, str] | None = None, ttl_s: float = 0.0
    ) -> IssuedToken:
        """A token with which one box may enrol, once. ``ttl_s`` 0: one hour."""
        request = identity_pb2.CreateTokenRequest(device_id=device_id, labels=dict(labels or {}), ttl_s=ttl_s)
        response = await self._ask("CreateToken", request)
        return IssuedToken(token=response.token, about=_token(response.about))

    async def tokens(self) -> tuple[Token, ...]:
        """All tokens that are kept, oldest first."""
        response = await self._ask("ListTokens", identity_pb2.ListTokensRequest())
        return tuple(_token(message) for message in response.tokens)

    async def remove_token(self, token_id: str) -> None:
        """Takes a token back."""
        await self._ask("RemoveToken", identity_pb2.RemoveTokenRequest(id=token_id))

    async def identities(self) -> tuple[Identity, ...]:
        """The certificate of each device that ever enrolled, by its id."""
        response = await self._ask("ListIdentities", identity_pb2.ListIdentitiesRequest())
        found = (_identity(message) for message in response.identities)
        return tuple(sorted(found, key=lambda one: (one.device_id, one.serial)))

    async def revoke(self, device_id: str, why: str) -> None:
        """From now on the device's certificates are worth nothing; with a new token it may enrol again."""
        await self._ask("RevokeDevice", identity_pb2.RevokeDeviceRequest(device_id=device_id, why=why))

    async def create_person(self, name: str, role: Role, *, ttl_s: float = 0.0, csr: bytes = b"") -> IssuedPerson:
        """Somebody new: a certificate for a key (``csr``: PKCS #10, DER), or a bearer token. ``ttl_s`` 0: a year."""
        request = identity_pb2.CreatePersonRequest(name=name, role=_ROLES[role], ttl_s=ttl_s, csr=csr)
        response = await self._ask("CreatePerson", request)
        return IssuedPerson(
            about=_person(response.about),
            root=response.root,
            token=response.bearer_token,
            certificate=response.certificate,
        )

    async def people(self) -> tuple[Person, ...]:
        """Everybody who may ask, by name."""
        response = await self._ask("ListPeople", identity_pb2.ListPeopleRequest())
        return tuple(sorted(map(_person, response.people), key=lambda person: person.name))

    async def remove_person(self, name: str) -> None:
        """From now on they may not ask."""
        await self._ask("RemovePerson", identity_pb2.RemovePersonRequest(name=name))

    async def audit_log(self, *, after: int = 0, limit: int = 0, refused: bool = False) -> AuditLog:
        """The newest entries after ``after``, oldest first. ``limit`` 0: 100 of them; at most 1,000."""
        request = identity_pb2.ListAuditRequest(after=after, limit=limit, refused=refused)
        response = await self._ask("ListAudit", request)
        return AuditLog(entries=tuple(map(_entry, response.entries)), intact=response.intact)


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None


def _token(message: identity_pb2.Token) -> Token:
    return Token(
        id=message.id,
        device_id=message.device_id,
        labels=dict(sorted(message.labels.items())),
        created_at=_moment(message, "created_at"),
        ends_at=_moment(message, "ends_at"),
        used_at=_moment(message, "used_at"),
        used_by=message.used_by,
        created_by=message.created_by,
    )


def _identity(message: identity_pb2.Identity) -> Identity:
    return Identity(
        device_id=message.device_id,
        serial=message.serial,
        enrolled_at=_moment(message, "enrolled_at"),
        ends_at=_moment(message, "ends_at"),
        revoked_at=_moment(message, "revoked_at"),
        revoked_why=message.revoked_why,
        doubled_at=_moment(message, "doubled_at"),
    )


def _person(message: identity_pb2.Person) -> Person:
    return Person(
        name=message.name,
        role=_ROLE_NAMES.get(message.role, "unknown"),
        created_at=_moment(message, "created_at"),
        ends_at=_moment(message, "ends_at"),
    )


def _entry(message: identity_pb2.AuditEntry) -> AuditEntry:
    return AuditEntry(
        sequence=message.sequence,
        at=_moment(message, "at"),
        actor=message.actor,
        action=message.action,
        subject=message.subject,
        outcome=message.outcome,
        detail=message.detail,
        digest=message.digest,
    )
