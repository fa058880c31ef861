"""What a box asks of the planner's enrolment service: its first certificate, for a token, and the next ones."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
import grpc.aio

from circinus.channel import Tls, open_trusting_channel
from circinus.clock import Clock
from circinus.errors import BadToken, CircinusError, Unreachable, WrongAuthority, from_rpc
from circinus.model.device import DeviceId
from circinus.v1 import identity_pb2, identity_pb2_grpc
from edge_agent.identity.authority import root_of, shown_chain, why_not_trusted
from edge_agent.identity.keys import ends_of, make_key, take_certificate

_CALL_TIMEOUT_S = 20.0
_TOKEN = re.compile(r"circ1\.([A-Za-z0-9_-]{1,100})\.([A-Za-z0-9_-]{1,200})\.([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An enrolment token; ``root_hash`` is that of the planner's root, the hex SHA-256 of its DER."""

    id: str
    secret: str = field(repr=False)
    root_hash: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"circ1.{self.id}.{self.secret}.{self.root_hash}"


def read_token(text: str) -> Token:
    """The token in a text, such as "circ1.ID.SECRET.CAHASH".

    Raises:
        BadToken: it is none.
    """
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        raise BadToken("this is no token: it must be circ1.ID.SECRET.CAHASH as `cloud-planner token create` prints it")
    return Token(id=found[1], secret=found[2], root_hash=found[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A first identity. ``control_address``: where the planner says that agents dial it; its host may be empty."""

    identity: Tls
    control_address: str


async def join(device_id: DeviceId, token: Token, address: str, labels: Mapping[str, str], clock: Clock) -> Joined:
    """Makes a key and gets its first certificate for a token; nothing is written.

    Raises:
        WrongAuthority: the server is not the planner that the token is of.
        BadToken, TokenUsed: the planner does not take the token.
        Unreachable, TimedOut: the planner can't be reached at ``address``, or this box's clock is wrong.
    """
    chain = await shown_chain(address)
    made = await make_key(device_id)
    try:
        root = root_of(chain, token.root_hash, address)
    except WrongAuthority:
        await _leave_word(device_id, token, address, chain, made.csr)
        raise
    request = identity_pb2.EnrolRequest(token=token.text, device_id=device_id, csr=made.csr, labels=dict(labels))
    async with open_trusting_channel(address, root) as channel:
        stub = identity_pb2_grpc.EnrolmentServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        try:
            answer: identity_pb2.EnrolResponse = await stub.Enrol(request, timeout=_CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise await _explained(from_rpc(error), address, root, clock) from error
    # The root is the one whose hash the token has, whatever the answer says.
    trusted = ssl.PEM_cert_to_DER_cert(root.decode())
    identity = await take_certificate(device_id, made.key, answer.certificate, trusted)
    return Joined(identity=identity, control_address=answer.control_address)


async def _leave_word(device_id: DeviceId, token: Token, address: str, chain: tuple[bytes, ...], csr: bytes) -> None:
    """Lets a planner that the token is not of know who came, for its log; the secret stays here."""
    if not chain:
        return
    blank = f"circ1.{token.id}.{'x' * len(token.secret)}.{token.root_hash}"
    request = identity_pb2.EnrolRequest(token=blank, device_id=device_id, csr=csr)
    root = ssl.DER_cert_to_PEM_cert(chain[-1]).encode()
    async with open_trusting_channel(address, root) as channel:
        stub = identity_pb2_grpc.EnrolmentServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.Enrol(request, timeout=_CALL_TIMEOUT_S)


async def renew(device_id: DeviceId, last: Tls, address: str, clock: Clock) -> Tls:
    """The next certificate, with a new key, for proof of the last one's key; nothing is written.

    Raises:
        Revoked, IdentityOver, NotKnown: the planner gives none.
        WrongAuthority: the server is another planner.
        Unreachable, TimedOut: the planner can't be reached at ``address``, or this box's clock is wrong.
    """
    # Cheaper than a key, while nobody is there.
    await shown_chain(address)
    made = await make_key(device_id, last.key)
    ends = await ends_of(last.certificate)
    request = identity_pb2.RenewRequest(certificate=ends.der, csr=made.csr, proof=made.proof)
    async with open_trusting_channel(address, last.root) as channel:
        stub = identity_pb2_grpc.EnrolmentServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        try:
            answer: identity_pb2.RenewResponse = await stub.Renew(request, timeout=_CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise await _explained(from_rpc(error), address, last.root, clock) from error
    trusted = ssl.PEM_cert_to_DER_cert(last.root.decode())
    return await take_certificate(device_id, made.key, answer.certificate, trusted)


async def _explained(error: CircinusError, address: str, root: bytes, clock: Clock) -> CircinusError:
    """A failed call's error, or what is behind it if the connection itself failed."""
    if not isinstance(error, Unreachable):
        return error
    return await why_not_trusted(address, root, clock.now()) or error
