"""EnrolmentService: certificates for tokens, and for certificates."""

from __future__ import annotations

from typing import Any

import grpc.aio

from circinus.errors import CircinusError, NotKnown, TooLarge, WrongAuthority, aborts_with_status
from circinus.v1 import identity_pb2, identity_pb2_grpc
from cloud_planner.identity.limiter import peer_name
from cloud_planner.identity.office import IdentityOffice

Context = grpc.aio.ServicerContext[Any, Any]


class EnrolmentService(identity_pb2_grpc.EnrolmentServiceServicer):
    """Serves boxes that have no certificate yet, or one that is over. ``control_address`` as they may dial it."""

    def __init__(self, office: IdentityOffice, control_address: str) -> None:
        self._office = office
        self._control_address = control_address

    @aborts_with_status
    async def Enrol(self, request: identity_pb2.EnrolRequest, context: Context) -> identity_pb2.EnrolResponse:
        """A first certificate for a token."""
        peer = await self._peer(context, "enrol")
        try:
            certificate = await self._office.registrar.enrol(
                request.token, request.device_id, request.csr, dict(request.labels), peer
            )
        except CircinusError:
            self._office.failures.failed(peer)
            raise
        return identity_pb2.EnrolResponse(
            certificate=certificate, root=self._office.authority.root_der, control_address=self._control_address
        )

    @aborts_with_status
    async def Renew(self, request: identity_pb2.RenewRequest, context: Context) -> identity_pb2.RenewResponse:
        """The next certificate for the last one."""
        # Failures of a neighbour behind the same address must not cost a box its certificate.
        if self._office.registrar.has_proof(request.certificate, request.csr, request.proof):
            peer = peer_name(context.peer())
        else:
            peer = await self._peer(context, "renew")
        try:
            certificate = await self._office.registrar.renew(request.certificate, request.csr, request.proof, peer)
        except (NotKnown, WrongAuthority):
            self._office.failures.failed(peer)
            raise
        return identity_pb2.RenewResponse(certificate=certificate, root=self._office.authority.root_der)

    async def _peer(self, context: Context, action: str) -> str:
        """Where a call comes from.

        Raises:
            TooLarge: too much from there has failed.
        """
        peer = peer_name(context.peer())
        try:
            self._office.failures.check(peer)
        except TooLarge as error:
            await self._office.log.refused(f"peer:{peer}", action, "", error)
            raise
        return peer
