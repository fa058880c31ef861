"""All of a planner's identity together: opened by the planner, and by its command line beside it."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from circinus import contexts
from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.v1 import identity_pb2
from cloud_planner.identity import certificates
from cloud_planner.identity.authority import Authority
from cloud_planner.identity.limiter import FailureLimiter
from cloud_planner.identity.log import AuditLog
from cloud_planner.identity.people import PERSON_LIFE_S, People
from cloud_planner.identity.registrar import CERTIFICATE_LIFE, RENEWAL_GRACE, Registrar
from cloud_planner.identity.standing import Standing
from cloud_planner.identity.store import IdentityStore

FOLDER = "identity"
#: The context file of the first admin.
ADMIN_FILE = "admin.toml"
ADMIN_NAME = "admin"
#: The root, for whoever is to trust this planner; and where it listens.
ROOT_FILE, ADDRESS_FILE, ENROL_ADDRESS_FILE = "root.pem", "address", "enrol-address"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOffice:
    """The parts of a planner's identity. ``failures``: attempts of those who could not say who they are."""

    folder: Path
    clock: Clock
    authority: Authority
    store: IdentityStore
    standing: Standing
    log: AuditLog
    registrar: Registrar
    people: People
    failures: FailureLimiter

    async def create_person_here(
        self, name: str, role: int, actor: str, planner: str, *, ttl_s: float = PERSON_LIFE_S, bearer: bool = False
    ) -> contexts.Contexts:
        """A new person whose key is made here: what they need to use the planner, as a context file has it."""
        bare = contexts.Context(name=name, planner=planner, root=self.authority.root_pem.decode())
        if bearer:
            made = await self.people.create(name, role, ttl_s, b"", actor)
            return contexts.Contexts().plus(replace(bare, token=made.bearer))
        key = certificates.new_key()
        made = await self.people.create(name, role, ttl_s, certificates.request_of(key, name), actor)
        certificate = ssl.DER_cert_to_PEM_cert(made.certificate)
        return contexts.Contexts().plus(replace(bare, certificate=certificate, key=certificates.key_pem(key).decode()))

    async def admit_first_admin(self, planner: str) -> None:
        """Makes the first admin, if nobody was ever made; else only keeps the address in their file up to date."""
        path = self.folder / ADMIN_FILE
        if path.exists():
            try:
                found = contexts.load(path)
            except InvalidInput:
                # Somebody's own by now.
                return
            for context in found.contexts:
                if context.name == ADMIN_NAME and context.planner != planner and not context.token:
                    contexts.save(path, found.plus(replace(context, planner=planner)))
        elif not await self.people.list():
            made = await self.create_person_here(ADMIN_NAME, identity_pb2.ROLE_ADMIN, "planner", planner)
            contexts.save(path, made)


@asynccontextmanager
async def identity_office(
    state_dir: Path, clock: Clock, *, life: timedelta = CERTIFICATE_LIFE, grace: timedelta = RENEWAL_GRACE
) -> AsyncIterator[IdentityOffice]:
    """The identity of a planner's state folder, made if there is none yet.

    Raises:
        InvalidInput: its files can't be as they are.
        Internal: it is of a newer Circinus.
    """
    folder = state_dir / FOLDER
    try:
        authority = Authority.open(folder, clock)
        told = state_dir / ROOT_FILE
        if not told.exists() or told.read_bytes() != authority.root_pem:
            told.write_bytes(authority.root_pem)
        store = await IdentityStore.open(folder / "identity.sqlite3")
    except (OSError, sqlite3.Error) as error:
        raise InvalidInput(
            f"the identity in {folder} can't be used: {error}; it is the planner's user's: ask as that, or as root"
        ) from error
    try:
        standing, log = Standing(store, clock), AuditLog(store, clock)
        await standing.refresh()
        yield IdentityOffice(
            folder=folder,
            clock=clock,
            authority=authority,
            store=store,
            standing=standing,
            log=log,
            registrar=Registrar(store, authority, standing, log, clock, life=life, grace=grace),
            people=People(store, authority, standing, log, clock),
            failures=FailureLimiter(clock),
        )
    finally:
        await store.close()


def listens_everywhere(address: str) -> bool:
    """Whether an address that is listened on names no host of its own."""
    return address.rpartition(":")[0] in ("0.0.0.0", "[::]")


def dialled(address: str) -> str:
    """Where to dial, of an address that is listened on: what listens everywhere is found on this machine."""
    host, _, port = address.rpartition(":")
    if listens_everywhere(address):
        host = "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"{host}:{port}"


def advertised(address: str) -> str:
    """The same for boxes: ":PORT" if this planner can't know by what name they find it."""
    return f":{address.rpartition(':')[2]}" if listens_everywhere(address) else address
