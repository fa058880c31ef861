"""Somebody between a box and its planner, who has stolen all that it takes to be one: for trials of what is left then.

It has a certificate of the planner's name by the planner's own root, and the box's certificate and key. So TLS does not
stop it; what it can't do is sign directives.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from circinus.channel import PLANNER_NAME, Tls, open_secure_channel, secure_port, server
from circinus.v1 import control_pb2, control_pb2_grpc
from edge_agent.identity.files import read_identity

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_USAGES = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class StolenRoot:
    """The root of a planner's state folder, in the wrong hands."""

    def __init__(self, planner_state: Path) -> None:
        folder = planner_state / "identity"
        self._certificate = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
        self._key = serialization.load_pem_private_key((folder / "root.key").read_bytes(), None)

    def issue(self, name: str) -> Tls:
        """An identity by this root."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Tls(root=self._certificate.public_bytes(_PEM), certificate=made.public_bytes(_PEM), key=secret)


def signed_by_nobody(body: bytes) -> control_pb2.SignedDirective:
    """A directive signed by a signer of another root, whose names are all right."""
    root_key, key, now = (
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
        datetime.now(UTC),
    )
    signer = (
        x509.CertificateBuilder()
        .subject_name(named("directives.circinus"))
        .issuer_name(named("Circinus root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(root_key, hashes.SHA256())
    )
    signature = key.sign(b"circinus directive v1\n" + body)
    return control_pb2.SignedDirective(body=body, signature=signature, signer=signer.public_bytes(_DER))


class Relay(control_pb2_grpc.ControlServiceServicer):
    """Stands for the planner before one box. ``blobs`` are served in the place of the planner's; what is put into
    ``inject`` goes to the box; ``exchange`` may change what comes from the planner."""

    def __init__(self, planner: str, planner_state: Path, box_identity: Path) -> None:
        self._planner = planner
        self._root = StolenRoot(planner_state)
        self._box_identity = box_identity
        self._server = server()
        self.address = ""
        self.signed: list[control_pb2.SignedDirective] = []
        self.inject: asyncio.Queue[control_pb2.ConnectResponse] = asyncio.Queue()
        self.blobs: dict[str, bytes] = {}
        self.exchange = lambda message: message

    async def __aenter__(self) -> Relay:
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        port = secure_port(self._server, "127.0.0.1:0", self._root.issue(PLANNER_NAME))
        self.address = f"127.0.0.1:{port}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    def _channel(self):
        identity = read_identity(self._box_identity)
        assert identity is not None
        return open_secure_channel(self._planner, identity)

    async def Connect(self, request_iterator, context):
        async with self._channel() as channel, asyncio.TaskGroup() as group:
            stream = control_pb2_grpc.ControlServiceStub(channel).Connect()

            async def upwards() -> None:
                async for message in request_iterator:
                    await stream.write(message)

            async def downwards() -> None:
                while isinstance(message := await stream.read(), control_pb2.ConnectResponse):
                    if message.WhichOneof("message") == "signed_directive":
                        self.signed.append(message.signed_directive)
                    await self.inject.put(self.exchange(message))

            tasks = [group.create_task(upwards()), group.create_task(downwards())]
            try:
                while True:
                    yield await self.inject.get()
            finally:
                for task in tasks:
                    task.cancel()

    async def FetchBlob(self, request, context):
        if request.digest in self.blobs:
            blob = self.blobs[request.digest]
            yield control_pb2.FetchBlobResponse(chunk=blob, total_bytes=len(blob))
            return
        async with self._channel() as channel:
            async for answer in control_pb2_grpc.ControlServiceStub(channel).FetchBlob(request):
                yield answer
