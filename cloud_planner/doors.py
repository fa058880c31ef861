"""The planner's ports: in the clear on loopback, or two with TLS and the identity behind them.

One server has both ports, so that what stands on them can't differ; who may call what is the gate's to say. The main
port asks for a certificate at the handshake: nobody else gets as far as a call. The port for enrolment can't.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from circinus import channel
from circinus.clock import Clock
from circinus.v1 import identity_pb2_grpc
from cloud_planner.identity.office import IdentityOffice, advertised, dialled, identity_office
from cloud_planner.identity.registrar import CERTIFICATE_LIFE, RENEWAL_GRACE
from cloud_planner.services.admin import AdminService
from cloud_planner.services.enrolment import EnrolmentService
from cloud_planner.services.roles import RoleGate

if TYPE_CHECKING:
    import grpc.aio


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Where to listen. ``enrol_listen`` empty: the same host, the next port.

    ``insecure_loopback``: one port in the clear, on loopback only, and nobody is asked who they are.
    """

    listen: str
    state_dir: Path
    enrol_listen: str = ""
    insecure_loopback: bool = False
    certificate_life: timedelta = CERTIFICATE_LIFE
    renewal_grace: timedelta = RENEWAL_GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """A server that has its ports but is not started. ``office`` is None, and ``enrol_address`` empty, in the clear."""

    server: grpc.aio.Server
    address: str
    enrol_address: str = ""
    office: IdentityOffice | None = None


@asynccontextmanager
async def doors(settings: DoorSettings, clock: Clock) -> AsyncIterator[Doors]:
    """The planner's server on its ports.

    Raises:
        InvalidInput: an address can't be, or is not on loopback in the clear; or the identity's files are wrong.
        Unreachable: a port is taken.
    """
    if settings.insecure_loopback:
        server = channel.server()
        port = channel.insecure_port(server, settings.listen)
        yield Doors(server=server, address=_at(settings.listen, port))
        return
    channel.check_address(settings.listen)
    enrol_listen = settings.enrol_listen or _next(settings.listen)
    async with identity_office(
        settings.state_dir, clock, life=settings.certificate_life, grace=settings.renewal_grace
    ) as office:
        server = channel.server([RoleGate(office)])
        port = channel.credentials_port(server, settings.listen, office.authority.credentials(mutual=True))
        enrol_port = channel.credentials_port(server, enrol_listen, office.authority.credentials(mutual=False))
        address, enrol_address = _at(settings.listen, port), _at(enrol_listen, enrol_port)
        await office.admit_first_admin(dialled(address))
        enrolment = EnrolmentService(office, advertised(address))
        # The generated code has no types.
        identity_pb2_grpc.add_EnrolmentServiceServicer_to_server(enrolment, server)  # type: ignore[no-untyped-call]
        identity_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(office), server)  # type: ignore[no-untyped-call]
        yield Doors(server=server, address=address, enrol_address=enrol_address, office=office)


def _at(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


def _next(listen: str) -> str:
    """The port after this one; any, after any."""
    port = int(listen.rpartition(":")[2])
    return _at(listen, port + 1 if port else 0)
