"""A root of its own, an enrolment service on real TLS that does as it is told, and a planner that speaks mutual TLS."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from circinus.channel import PLANNER_NAME, Tls, credentials_port, server
from circinus.clock import SystemClock
from circinus.errors import BadToken, CircinusError, NotKnown, TokenUsed, abort
from circinus.v1 import control_pb2, identity_pb2, identity_pb2_grpc, types_pb2
from edge_agent.identity.keys import Signed

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
DAY = timedelta(days=1)
SECRET = "a" * 43


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_pem(key) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Root:
    """Signs for whom it is told, from when to when it is told."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.issue("a root", self.key.public_key(), begins=-3650 * DAY, ends=3650 * DAY, ca=True)
        self.pem = self.certificate.public_bytes(PEM)
        self.der = self.certificate.public_bytes(DER)
        self.hash = hashlib.sha256(self.der).hexdigest()
        self._signer_key = ed25519.Ed25519PrivateKey.generate()
        self._signer = self.issue("directives.circinus", self._signer_key.public_key(), begins=-DAY, ends=30 * DAY)

    def issue(self, name, public_key, *, begins=-DAY, ends=DAY, ca=False, now=None, person=False) -> x509.Certificate:
        who = f"circinus:{'person' if person else 'device'}/{name.replace(' ', '-')}"
        names = [x509.DNSName(name.replace(" ", "-")), x509.UniformResourceIdentifier(who)]
        now = now or datetime.now(UTC)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        made = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("a root"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if not ca:
            made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return made.sign(self.key, hashes.SHA256())

    def tls(self, name: str, **dates) -> Tls:
        """A whole identity by this root."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.issue(name, key.public_key(), **dates)
        return Tls(root=self.pem, certificate=certificate.public_bytes(PEM), key=_key_pem(key))

    def token(self, token_id: str = "one", root_hash: str = "") -> str:
        return f"circ1.{token_id}.{SECRET}.{root_hash or self.hash}"

    def sign(self, directive: types_pb2.Directive) -> Signed:
        body = directive.SerializeToString(deterministic=True)
        signature = self._signer_key.sign(b"circinus directive v1\n" + body)
        return Signed(body=body, signature=signature, signer=self._signer.public_bytes(DER))


def signed_message(signed: Signed) -> control_pb2.SignedDirective:
    return control_pb2.SignedDirective(body=signed.body, signature=signed.signature, signer=signed.signer)


class Enrolment(identity_pb2_grpc.EnrolmentServiceServicer):
    """Gives certificates for tokens, once each, and for proofs. ``refusal``: raised instead."""

    def __init__(self, root: Root, *tokens: str, life: timedelta = DAY) -> None:
        self.root = root
        self.tokens = dict.fromkeys(tokens, False)
        self.life = life
        self.refusal: CircinusError | None = None
        self.asked = 0
        self.renewed = 0
        self.labels: dict[str, str] = {}

    async def Enrol(self, request, context):
        try:
            if self.refusal is not None:
                raise self.refusal
            if request.token not in self.tokens:
                raise BadToken("no such token")
            if self.tokens[request.token]:
                raise TokenUsed("the token was used before")
        except CircinusError as error:
            await abort(context, error)
        self.tokens[request.token] = True
        self.labels = dict(request.labels)
        return identity_pb2.EnrolResponse(
            certificate=self._issue(request.device_id, request.csr), root=self.root.der, control_address=":7400"
        )

    async def Renew(self, request, context):
        self.asked += 1
        last = x509.load_der_x509_certificate(request.certificate)
        try:
            if self.refusal is not None:
                raise self.refusal
            try:
                last.verify_directly_issued_by(self.root.certificate)
                key = last.public_key()
                key.verify(request.proof, b"circinus renew v1\n" + request.csr, ec.ECDSA(hashes.SHA256()))
            except (ValueError, InvalidSignature) as error:
                raise NotKnown(f"no proof: {error}") from error
        except CircinusError as error:
            await abort(context, error)
        self.renewed += 1
        name = last.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return identity_pb2.RenewResponse(certificate=self._issue(name, request.csr), root=self.root.der)

    def _issue(self, name: str, csr: bytes) -> bytes:
        request = x509.load_der_x509_csr(csr)
        assert request.is_signature_valid
        issued = self.root.issue(name, request.public_key(), begins=-self.life / 4, ends=self.life)
        return issued.public_bytes(DER)


@contextlib.asynccontextmanager
async def enrolling(enrolment: Enrolment, *, shows: Root | None = None, **dates) -> AsyncIterator[str]:
    """The service on TLS; gives its address. ``shows``: the root whose chain the server shows, if not its own."""
    root = shows or enrolment.root
    own = root.tls(PLANNER_NAME, **dates)
    grpc_server = server()
    identity_pb2_grpc.add_EnrolmentServiceServicer_to_server(enrolment, grpc_server)
    credentials = grpc.ssl_server_credentials([(own.key, own.certificate + root.pem)])
    address = f"127.0.0.1:{credentials_port(grpc_server, '127.0.0.1:0', credentials)}"
    await grpc_server.start()
    try:
        yield address
    finally:
        await grpc_server.stop(0)


class SetClock(SystemClock):
    """The machine's clock, off by so much."""

    def __init__(self, off: timedelta = timedelta()) -> None:
        self.off = off

    def now(self) -> datetime:
        return super().now() + self.off
