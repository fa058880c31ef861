"""Certificates: how each kind is made, and what one that was shown says. No files, no clock.

A leaf's serial number begins with the *lineage* of its holder: 8 random bytes that an enrolment (or a person) gets once
and keeps over every renewal. Whether a certificate still stands is then one look at one row, however many certificates
there were, and neither order nor clock matters. Elliptic curves throughout: making a key, issuing and checking a
certificate take less than a millisecond each, so that they need no thread of their own.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from circinus.channel import PLANNER_NAME
from circinus.errors import InvalidInput, NotKnown, WrongAuthority

#: The name that whoever signs directives has in its certificate.
SIGNER_NAME = "directives.circinus"
#: What the proof of an old key is signed over, before the CSR.
RENEW_CONTEXT = b"circinus renew v1\n"
#: What a directive's signature is over, before its bytes.
DIRECTIVE_CONTEXT = b"circinus directive v1\n"

_AUTHORITY_LIFE = timedelta(days=20 * 365)
_SERVER_LIFE = timedelta(days=90)
#: A root is trusted by its digest, so that its beginning protects nothing; a planner whose clock was wrong must not
#: have one that holds only later.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_MOST_EARLY = timedelta(days=1)
_MAX_BYTES = 8_192
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?")
_LINEAGE_BYTES = 8
_SERIAL_BYTES = 19
#: What reading a certificate or a request raises, whatever its bytes are.
_UNREADABLE = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)


PublicKey = ec.EllipticCurvePublicKey


class HolderKind(StrEnum):
    """Who holds a certificate."""

    DEVICE = "device"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a certificate names. ``lineage``: 16 hex digits, the same over all renewals."""

    kind: HolderKind
    name: str
    lineage: str

    @property
    def uri(self) -> str:
        """As it stands in the certificate, apart from the lineage."""
        return f"circinus:{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate of this root that somebody showed; whether it still stands is another question."""

    holder: Holder
    serial: str
    ends_at: datetime
    public_key: ec.EllipticCurvePublicKey


def new_lineage() -> str:
    """A lineage that nobody had."""
    # Neither zero nor negative as the beginning of a serial number.
    return f"{secrets.randbelow(0x7F) + 1:02x}{secrets.token_hex(_LINEAGE_BYTES - 1)}"


def check_holder_name(field: str, name: str) -> str:
    """A name that a certificate can have, as a DNS name too.

    Raises:
        InvalidInput: it is none, or one that the planner itself has.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{field}: {name[:70]!r} can't be in a certificate: letters, digits and . _ - between them, at most 63"
        )
    if name.lower().endswith(".circinus"):
        raise InvalidInput(f"{field}: {name!r} is not free: names that end in .circinus are the planner's own")
    return name


def make_root(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """A root for this key. Two roots never have the same name."""
    name = _common_name(f"Circinus root {secrets.token_hex(4)}")
    usage = _key_usage(certificate_sign=True)
    builder = _builder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(min(_LONG_AGO, now)).not_valid_after(max(_LONG_AGO, now) + _AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


class Issuer:
    """A root with its key: makes certificates."""

    def __init__(self, root: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.root = root
        self._key = key

    def leaf(
        self, holder: Holder, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
    ) -> x509.Certificate:
        """A device's or a person's certificate.

        It holds from a little earlier on (a quarter of its life, at most a day), so that a clock that was set back does
        not make it one of the future; but so little that the middle of its dates is still ahead.
        """
        serial = int.from_bytes(
            bytes.fromhex(holder.lineage) + secrets.token_bytes(_SERIAL_BYTES - _LINEAGE_BYTES), "big"
        )
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(holder.uri)]
        if holder.kind is HolderKind.DEVICE:
            # Agents serve one another, too.
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names.insert(0, x509.DNSName(holder.name))
        # A person may have a device's name: nothing that reads common names alone must take one for the other.
        common_name = holder.name if holder.kind is HolderKind.DEVICE else f"person {holder.name}"[:64]
        builder = _builder(_common_name(common_name), self.root.subject, public_key, serial)
        builder = builder.not_valid_before(now - min(life / 4, _MOST_EARLY)).not_valid_after(now + life)
        return self._signed(builder, public_key, uses, names)

    def server(self, public_key: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
        """The planner's own, for its ports: under its name, and loopback's for browsers on its machine."""
        builder = _builder(_common_name(PLANNER_NAME), self.root.subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(now - _MOST_EARLY).not_valid_after(now + _SERVER_LIFE)
        names: list[x509.GeneralName] = [x509.DNSName(PLANNER_NAME), x509.DNSName("localhost")]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        return self._signed(builder, public_key, [ExtendedKeyUsageOID.SERVER_AUTH], names)

    def signer(self, public_key: ed25519.Ed25519PublicKey, now: datetime) -> x509.Certificate:
        """That of the key which signs directives; it lives as long as the root."""
        builder = _builder(_common_name(SIGNER_NAME), self.root.subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(min(_LONG_AGO, now)).not_valid_after(self.root.not_valid_after_utc)
        return self._signed(
            builder,
            public_key,
            [ExtendedKeyUsageOID.CODE_SIGNING],
            [x509.UniformResourceIdentifier("circinus:directives")],
        )

    def _signed(
        self,
        builder: x509.CertificateBuilder,
        public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
        uses: list[x509.ObjectIdentifier],
        names: list[x509.GeneralName],
    ) -> x509.Certificate:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())


def read_csr(der: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request whose sender has the private one.

    Raises:
        InvalidInput: it is no such request, or its key is not on P-256.
    """
    if len(der) > _MAX_BYTES:
        raise InvalidInput(f"csr: {len(der)} bytes are more than {_MAX_BYTES}")
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        valid = request.is_signature_valid
    except _UNREADABLE as error:
        raise InvalidInput(f"csr: it is no PKCS #10 request: {type(error).__name__}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("csr: its key must be on the elliptic curve P-256")
    if not valid:
        raise InvalidInput("csr: it is not signed by its own key")
    return key


def read_leaf(der: bytes, root: x509.Certificate) -> Shown:
    """What a certificate of this root says; its dates are not looked at.

    Raises:
        NotKnown: it is no certificate of a device or a person.
        WrongAuthority: it is of another root.
    """
    if len(der) > _MAX_BYTES:
        raise NotKnown(f"what was shown is no certificate: {len(der)} bytes are more than {_MAX_BYTES}")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except _UNREADABLE as error:
        raise NotKnown("what was shown is no certificate") from error
    return _read(certificate, root)


@lru_cache(maxsize=4_096)
def read_pem_leaf(pem: bytes, root: x509.Certificate) -> Shown:
    """The same for PEM text. The last ones are remembered: every call of a connection shows the same.

    Raises:
        NotKnown: it is no certificate of a device or a person.
        WrongAuthority: it is of another root.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except _UNREADABLE as error:
        raise NotKnown("what was shown is no certificate") from error
    return _read(certificate, root)


def _read(certificate: x509.Certificate, root: x509.Certificate) -> Shown:
    try:
        certificate.verify_directly_issued_by(root)
    except _UNREADABLE as error:
        raise WrongAuthority(
            "the certificate that was shown is of another root than this planner's: enrol with a token of this planner"
        ) from error
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        key = certificate.public_key()
    except (x509.ExtensionNotFound, *_UNREADABLE) as error:
        raise NotKnown("the certificate that was shown names neither a device nor a person") from error
    match = re.fullmatch(r"circinus:(device|person)/(.+)", uris[0]) if len(uris) == 1 else None
    if match is None or not isinstance(key, ec.EllipticCurvePublicKey):
        raise NotKnown("the certificate that was shown names neither a device nor a person")
    serial = certificate.serial_number.to_bytes(_SERIAL_BYTES + 1, "big")[1:]
    return Shown(
        holder=Holder(kind=HolderKind(match[1]), name=match[2], lineage=serial[:_LINEAGE_BYTES].hex()),
        serial=serial.hex(),
        ends_at=certificate.not_valid_after_utc,
        public_key=key,
    )


def is_proof(public_key: ec.EllipticCurvePublicKey, csr: bytes, proof: bytes) -> bool:
    """Whether the holder of a key signed this request for the next one."""
    if len(csr) > _MAX_BYTES:
        return False
    try:
        public_key.verify(proof, RENEW_CONTEXT + csr, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def der(certificate: x509.Certificate) -> bytes:
    """A certificate's bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """A private key as text, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def request_of(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A request (PKCS #10, DER) for a certificate of this key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_common_name(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    serial: int,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    return builder.public_key(public_key).serial_number(serial)


def _key_usage(*, digital_signature: bool = False, certificate_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        encipher_only=False,
        decipher_only=False,
    )
