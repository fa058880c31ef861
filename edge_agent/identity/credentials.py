"""Who this box is just now. A renewal changes it, and whoever uses it takes up the new one by itself."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import grpc

from circinus.channel import Tls


class Credentials:
    """The box's certificate and key, and the planner's root, for all of its connections."""

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self._listeners: list[Callable[[], None]] = []
        self._client: ssl.SSLContext | None = None
        self._server: ssl.SSLContext | None = None

    def on_renewed(self, listener: Callable[[], None]) -> None:
        """Calls this whenever there is a new certificate; it must not wait."""
        self._listeners.append(listener)

    def renew(self, tls: Tls) -> None:
        """Takes up a new certificate and key. Connections that stand are not touched."""
        self.tls = tls
        self._client = None
        if self._server is not None:
            # Whoever listens holds this very context: what it shows changes with the next handshake.
            _load_chain(self._server, tls)
        for listener in self._listeners:
            listener()

    def client_context(self) -> ssl.SSLContext:
        """What streams to peers are dialled with; the name at the other end is checked."""
        if self._client is None:
            self._client = _context(self.tls, ssl.PROTOCOL_TLS_CLIENT)
        return self._client

    def server_context(self) -> ssl.SSLContext:
        """What peers that dial are answered with: they need certificates of the same root."""
        if self._server is None:
            self._server = _context(self.tls, ssl.PROTOCOL_TLS_SERVER)
        return self._server


def server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """For a gRPC port with mutual TLS: callers need certificates of the same root. It shows what is new at once."""
    shown = credentials.tls

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # grpc asks before every handshake; None: nothing has changed.
        nonlocal shown
        if credentials.tls is shown:
            return None
        shown = credentials.tls
        return _configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        fetch,  # type: ignore[arg-type]  # its types leave out None
        require_client_authentication=True,
    )


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.key, tls.certificate)], tls.root)


def _context(tls: Tls, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=tls.root.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    _load_chain(context, tls)
    return context


def _load_chain(context: ssl.SSLContext, tls: Tls) -> None:
    # ssl takes files only; this one has no name, and no disk under it.
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, tls.key + b"\n" + tls.certificate)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
