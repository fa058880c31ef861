"""The planner's root and what hangs on it: files in STATE_DIR/identity, the ports' credentials, signatures.

Two private keys lie on disk, for their owner only: the root's and the signer's. The key of the planner's own
certificate is made anew at each start and never leaves memory; so is the certificate, which is replaced for new
connections from half of its life on, or when the clock was set back before it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.events import event
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.identity import certificates
from cloud_planner.identity.certificates import DIRECTIVE_CONTEXT, Issuer

#: Above this a signature may take more than a millisecond, and goes to a thread.
_LARGE_BYTES = 64 * 1024


class Authority:
    """A root with its keys. Use ``open``."""

    def __init__(self, folder: Path, clock: Clock, issuer: Issuer, signer: _Signer) -> None:
        self.folder = folder
        self.issuer = issuer
        self._clock = clock
        self._signer = signer
        self._lock = threading.Lock()
        self._server: tuple[bytes, x509.Certificate] | None = None

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Authority:
        """Takes up the root of a folder, or makes one if there is none.

        Raises:
            InvalidInput: a file is there that can't be, or that others may read.
        """
        # Of a new folder of state, too: samples and ledgers come to lie there.
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The command line may make the root at the same moment as the planner's first start.
        with closing(os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600), "w")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = clock.now()
            if not (folder / "root.pem").exists():
                _make_root(folder, now)
            root = _certificate(folder / "root.pem")
            key = _key(folder / "root.key")
            if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
                raise InvalidInput(f"{folder}: root.key is not the key of root.pem; take both from one back-up")
            issuer = Issuer(root, key)
            return cls(folder, clock, issuer, _signer(folder, issuer, now))

    @property
    def root(self) -> x509.Certificate:
        """The root."""
        return self.issuer.root

    @property
    def root_der(self) -> bytes:
        """The root's bytes."""
        return certificates.der(self.root)

    @property
    def root_pem(self) -> bytes:
        """The root as text."""
        return certificates.pem(self.root)

    @property
    def root_digest(self) -> str:
        """By what a token names the root: hex SHA-256 of its bytes."""
        return hashlib.sha256(self.root_der).hexdigest()

    async def order(self, directive: types_pb2.Directive) -> control_pb2.ConnectResponse:
        """A directive, signed: far less than a millisecond for most; a large one is signed in a thread."""
        body = directive.SerializeToString(deterministic=True)
        if len(body) > _LARGE_BYTES:
            signature = await asyncio.to_thread(self._signer.sign, body)
        else:
            signature = self._signer.sign(body)
        return control_pb2.ConnectResponse(
            signed_directive=control_pb2.SignedDirective(
                body=body, signature=signature, signer=self._signer.certificate_der
            )
        )

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """For a port. ``mutual``: only for those who show a certificate of this root."""
        fetch = self._fetcher(mutual=mutual)
        # None is an answer, whatever the published types say.
        return grpc.dynamic_ssl_server_credentials(
            cast("grpc.ServerCertificateConfiguration", fetch()),
            cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch),
            require_client_authentication=mutual,
        )

    def server_pair(self) -> tuple[bytes, bytes]:
        """The key of the planner's certificate as it is now, and the certificate with the root, as text."""
        key, certificate = self._server_certificate()
        return key, certificates.pem(certificate) + self.root_pem

    def _fetcher(self, *, mutual: bool) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """What grpc asks, from a thread of its own, before every handshake; None: nothing has changed."""
        given: x509.Certificate | None = None

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            key, certificate = self._server_certificate()
            if certificate is given:
                return None
            given = certificate
            chain = certificates.pem(certificate) + self.root_pem
            return grpc.ssl_server_certificate_configuration([(key, chain)], self.root_pem if mutual else None)

        return fetch

    def _server_certificate(self) -> tuple[bytes, x509.Certificate]:
        with self._lock:
            now = self._clock.now()
            if self._server is None or not _is_fresh(self._server[1], now):
                key = certificates.new_key()
                self._server = certificates.key_pem(key), self.issuer.server(key.public_key(), now)
                event("server_certificate_made", ends_at=self._server[1].not_valid_after_utc.isoformat())
            return self._server


class _Signer:
    """The key that signs directives, with its certificate."""

    def __init__(self, key: ed25519.Ed25519PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate_der = certificates.der(certificate)

    def sign(self, body: bytes) -> bytes:
        """Ed25519 over the context and the body."""
        return self._key.sign(DIRECTIVE_CONTEXT + body)


def _is_fresh(certificate: x509.Certificate, now: datetime) -> bool:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins <= now < begins + (ends - begins) / 2


def _make_root(folder: Path, now: datetime) -> None:
    key = certificates.new_key()
    root = certificates.make_root(key, now)
    write_private(folder / "root.key", certificates.key_pem(key))
    # Last: who finds it finds the key, too.
    write_private(folder / "root.pem", certificates.pem(root))
    event("root_made", digest=hashlib.sha256(certificates.der(root)).hexdigest())


def _signer(folder: Path, issuer: Issuer, now: datetime) -> _Signer:
    key_path, path = folder / "signer.key", folder / "signer.pem"
    if key_path.exists() and path.exists():
        key, certificate = _key(key_path), _certificate(path)
        if isinstance(key, ed25519.Ed25519PrivateKey) and _is_of(certificate, issuer.root, key):
            return _Signer(key, certificate)
    # None yet, or of a root before this one.
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = issuer.signer(key.public_key(), now)
    write_private(key_path, certificates.key_pem(key))
    write_private(path, certificates.pem(certificate))
    return _Signer(key, certificate)


def _is_of(certificate: x509.Certificate, root: x509.Certificate, key: ed25519.Ed25519PrivateKey) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return certificate.public_key() == key.public_key()


def fits(folder: Path) -> bool:
    """Whether a folder has a root with its key, as a planner can go on with; nothing is changed."""
    try:
        root, key = _certificate(folder / "root.pem"), _key(folder / "root.key")
    except InvalidInput:
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == root.public_key()


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} can't be read as a certificate ({type(error).__name__}): take it from a back-up"
        ) from error


def _key(path: Path) -> object:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidInput(
                f"{path} may be read by others than its owner (mode {stat.S_IMODE(mode):04o}): chmod 600 it, and ask "
                "who did"
            )
        return serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path} can't be read as a key ({type(error).__name__}): take it from a back-up") from error


def write_private(path: Path, data: bytes) -> None:
    """Writes a file for its owner only, at once or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
