"""People: made, removed, and asked for their role."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from circinus.clock import Clock
from circinus.errors import AlreadyExists, InvalidInput, NotFound
from circinus.v1 import identity_pb2
from cloud_planner.identity import certificates, tokens
from cloud_planner.identity.authority import Authority
from cloud_planner.identity.certificates import Holder, HolderKind
from cloud_planner.identity.log import AuditLog, tell
from cloud_planner.identity.rows import PersonRecord
from cloud_planner.identity.standing import Standing
from cloud_planner.identity.store import IdentityStore

PERSON_LIFE_S = 365 * 86_400.0
MAX_PERSON_LIFE_S = 10 * 365 * 86_400.0
ROLES: Mapping[int, str] = {
    identity_pb2.ROLE_VIEWER: "viewer",
    identity_pb2.ROLE_OPERATOR: "operator",
    identity_pb2.ROLE_ADMIN: "admin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a new person gets: a bearer token, or a certificate (DER) for the key that they have."""

    person: PersonRecord
    bearer: str = field(default="", repr=False)
    certificate: bytes = b""


class People:
    """The people of an identity file."""

    def __init__(
        self, store: IdentityStore, authority: Authority, standing: Standing, log: AuditLog, clock: Clock
    ) -> None:
        self._store = store
        self._authority = authority
        self._standing = standing
        self._log = log
        self._clock = clock

    async def create(self, name: str, role: int, ttl_s: float, csr: bytes, actor: str) -> Credentials:
        """A new person, with a certificate for the key of a request, or with a bearer token if there is none.

        Raises:
            InvalidInput: the name, role, time or request is wrong.
            AlreadyExists: there is somebody of this name.
        """
        certificates.check_holder_name("name", name)
        if role not in ROLES:
            raise InvalidInput(f"role: must be one of {', '.join(ROLES.values())}")
        if not 0.0 < ttl_s <= MAX_PERSON_LIFE_S:
            raise InvalidInput(f"ttl_s: {ttl_s:g} is not above 0 and at most {MAX_PERSON_LIFE_S:g} seconds (10 years)")
        now, life = self._clock.now(), timedelta(seconds=ttl_s)
        secret = None if csr else tokens.new_secret()
        holder = Holder(kind=HolderKind.PERSON, name=name, lineage=certificates.new_lineage())
        certificate = b""
        if csr:
            public_key = certificates.read_csr(csr)
            certificate = certificates.der(self._authority.issuer.leaf(holder, public_key, now, life))
        person = PersonRecord(
            name=name,
            lineage=holder.lineage,
            role=role,
            created_at=now,
            ends_at=now + life,
            secret_sha256=secret.digest if secret is not None else None,
        )
        async with self._store.writing() as rows:
            try:
                await rows.put_person(person)
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"there is a person {name}: remove them first, or take another name") from None
            kind = "bearer token" if secret is not None else "certificate"
            detail = f"{ROLES[role]}, by {kind}"
            written = await self._log.within(rows, actor, "CreatePerson", name, detail=detail)
        tell(*written)
        await self._standing.refresh()
        bearer = tokens.bearer_text(name, secret.text) if secret is not None else ""
        return Credentials(person=person, bearer=bearer, certificate=certificate)

    async def list(self) -> tuple[PersonRecord, ...]:
        """Everybody, by name."""
        async with self._store.reading() as rows:
            return await rows.people()

    async def remove(self, name: str, actor: str) -> None:
        """Makes what a person has worth nothing, at once.

        Raises:
            NotFound: there is nobody of this name.
        """
        async with self._store.writing() as rows:
            if not await rows.remove_person(name):
                raise NotFound(f"there is no person {name[:70]!r}; `cloud-planner person ls` lists them")
            written = await self._log.within(rows, actor, "RemovePerson", name)
        tell(*written)
        await self._standing.refresh()
