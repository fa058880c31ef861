"""Whose directives this box obeys: those that the planner of its root has signed."""

from __future__ import annotations

from collections.abc import Sequence

from circinus.clock import Clock
from circinus.errors import CircinusError, Forged, Unsigned
from circinus.events import warning
from circinus.v1 import control_pb2, types_pb2
from edge_agent.identity.credentials import Credentials
from edge_agent.identity.keys import Signed, verify

_ATTEMPTS, _RETRY_S = 3, 2.0
_UNSIGNED = "it has no signature, and this device obeys only what its planner has signed"


class Signatures:
    """Checks what comes, and once more what was kept."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock

    async def open(self, order: control_pb2.ConnectResponse) -> tuple[types_pb2.Directive, Signed]:
        """The directive in an order, once it is known to be the planner's.

        Raises:
            Unsigned: it has no signature.
            Forged: its signature is not the planner's.
        """
        if order.WhichOneof("message") != "signed_directive":
            raise Unsigned(_UNSIGNED)
        message = order.signed_directive
        signed = Signed(body=message.body, signature=message.signature, signer=message.signer)
        if not (signed.signature and signed.signer):
            raise Unsigned(_UNSIGNED)
        (wrong,) = await verify(self._credentials.tls.root, [signed], self._clock.now())
        if wrong:
            raise Forged(f"the directive is not the planner's: {wrong}")
        return parsed(signed.body), signed

    async def wrong(self, kept: Sequence[Signed]) -> list[str]:
        """What is wrong with each directive that was accepted before; empty: nothing.

        Its signer's certificate may be over by now; it was not when the directive came.
        """
        asked = [one for one in kept if one.signature and one.signer]
        told = dict(zip(map(id, asked), await self._patiently(asked), strict=True))
        return [told.get(id(one), _UNSIGNED) for one in kept]

    async def _patiently(self, asked: Sequence[Signed]) -> list[str]:
        """A box that is just booting may be short of everything for a moment; what is not checked is not run."""
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                return await verify(self._credentials.tls.root, asked, None)
            except CircinusError as error:
                reason = error.message
                warning("signatures_not_checked", reason=reason)
                await self._clock.sleep(_RETRY_S)
        return [f"its signature can't be checked: {reason}"] * len(asked)


def parsed(body: bytes) -> types_pb2.Directive:
    """The directive in these bytes.

    Raises:
        Forged: there is none.
    """
    message = types_pb2.Directive()
    try:
        message.ParseFromString(body)
    except Exception as error:  # protobuf's DecodeError differs between its runtimes
        raise Forged(f"what was signed is no directive: {error}") from error
    return message
