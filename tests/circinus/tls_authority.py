"""A root and certificates by it, for whoever needs to be somebody in a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from circinus.channel import PLANNER_NAME, Tls


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs for names, from when to when it is told."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._signed("root", self._key.public_key(), -1.0, 3_650.0, ca=True, sans=())
        self.root = _pem(self._root)

    def _signed(self, name, public_key, from_days, to_days, *, ca, sans) -> x509.Certificate:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("root"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=from_days))
            .not_valid_after(now + timedelta(days=to_days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if sans:
            made = made.add_extension(x509.SubjectAlternativeName(list(sans)), critical=False)
        return made.sign(self._key, hashes.SHA256())

    def pair(self, name: str = PLANNER_NAME, *, from_days: float = -1.0, to_days: float = 1.0) -> Pair:
        """A certificate for a name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._signed(name, key.public_key(), from_days, to_days, ca=False, sans=(x509.DNSName(name),))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(_pem(signed), secret)

    def certificate_for(self, csr: bytes, name: str) -> bytes:
        """A certificate (DER) for the key of a request (PKCS #10, DER)."""
        key = x509.load_der_x509_csr(csr).public_key()
        signed = self._signed(name, key, -1.0, 1.0, ca=False, sans=(x509.DNSName(name),))
        return signed.public_bytes(serialization.Encoding.DER)

    def tls(self, name: str, **dates: float) -> Tls:
        """Who somebody of this name is."""
        made = self.pair(name, **dates)
        return Tls(root=self.root, certificate=made.certificate, key=made.key)
