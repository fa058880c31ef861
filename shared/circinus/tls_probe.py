"""Why a connection does not come about: dials an address by hand, and names the fault with its cure.

gRPC says UNAVAILABLE for a port that is closed, speaks another language, has another root, or refuses a certificate.
People need to know which. What is dialled hears a handshake and nothing more. Everything here blocks, for seconds at
most.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from circinus.channel import PLANNER_NAME, Tls

_TIMEOUT_S = 3.0
#: Whoever speaks TLS answers a handshake at once; who does not may say nothing at all.
_CLEAR_TIMEOUT_S = 0.5
#: Two clocks that differ by less are told apart by nobody.
_CLOCK_SLACK = timedelta(minutes=5)

# Numbers of OpenSSL's verification (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)


class Fault(StrEnum):
    """What keeps a connection from coming about."""

    NO_ADDRESS = "no_address"
    REFUSED = "refused"
    SILENT = "silent"
    #: The other side speaks in the clear, this one TLS; and the other way round.
    CLEAR = "clear"
    SECURE = "secure"
    OTHER_ROOT = "other_root"
    OTHER_NAME = "other_name"
    #: By this machine's clock the other side's certificate is over, or not valid yet.
    CLOCK = "clock"
    #: The other side wants a certificate, and this one has none to show.
    NAMELESS = "nameless"
    #: The other side does not take this one's certificate.
    UNWANTED = "unwanted"
    #: This one's certificate and key are none, or not of one another.
    BROKEN_PAIR = "broken_pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What dialling found. ``fault`` None: all is well. ``off`` is how far this machine's clock seems off, at least."""

    fault: Fault | None = None
    said: str = ""
    took_ms: float = 0.0
    off: timedelta | None = None


def probe(
    address: str,
    *,
    root: bytes = b"",
    tls: Tls | None = None,
    name: str = PLANNER_NAME,
    timeout_s: float = _TIMEOUT_S,
) -> Found:
    """Dials HOST:PORT in the clear, with TLS by ``root`` (PEM), or with mutual TLS."""
    host, _, port = address.rpartition(":")
    began_s = time.monotonic()
    try:
        socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError) as error:
        return Found(fault=Fault.NO_ADDRESS, said=f"{host} has no address: {error}")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
    except TimeoutError:
        return Found(fault=Fault.SILENT, said=f"nothing answers at {address} within {timeout_s:g} s")
    except OSError as error:
        return Found(fault=Fault.REFUSED, said=f"{address} refuses: {error.strerror or error}")
    with connection:
        took_ms = (time.monotonic() - began_s) * 1000.0
        trusted = tls.root if tls is not None else root
        if not trusted:
            return _clear(connection, address, took_ms)
        return _secure(connection, address, trusted, tls, name, took_ms)


def _clear(connection: socket.socket, address: str, took_ms: float) -> Found:
    """In the clear: a port that takes up a TLS handshake is not for us."""
    try:
        connection.settimeout(_CLEAR_TIMEOUT_S)
        with _trusting(b"").wrap_socket(connection):
            pass
    except (OSError, ssl.SSLError):
        return Found(took_ms=took_ms)
    return Found(fault=Fault.SECURE, said=f"{address} speaks TLS", took_ms=took_ms)


def _secure(connection: socket.socket, address: str, root: bytes, tls: Tls | None, name: str, took_ms: float) -> Found:
    try:
        context = _trusting(root)
    except (ssl.SSLError, ValueError) as error:
        return Found(fault=Fault.BROKEN_PAIR, said=f"the root is no certificate: {error}")
    if tls is not None:
        try:
            _show(context, tls)
        except (ssl.SSLError, ValueError, OSError) as error:
            return Found(fault=Fault.BROKEN_PAIR, said=f"the certificate and its key can't be used: {_reason(error)}")
    try:
        with context.wrap_socket(connection, server_hostname=name) as wrapped:
            # With TLS 1.3 a certificate is refused after the handshake; else the other side begins with its settings.
            answer = wrapped.recv(1)
    except ssl.SSLCertVerificationError as error:
        return _not_verified(address, error, name)
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
            return Found(fault=Fault.CLEAR, said=f"{address} does not speak TLS", took_ms=took_ms)
        return _refused_us(address, tls)
    except TimeoutError:
        return Found(fault=Fault.SILENT, said=f"{address} takes connections, but says nothing")
    except OSError:
        return _refused_us(address, tls)
    return Found(took_ms=took_ms) if answer else _refused_us(address, tls)


def _refused_us(address: str, tls: Tls | None) -> Found:
    if tls is None:
        return Found(fault=Fault.NAMELESS, said=f"{address} wants a certificate")
    return Found(fault=Fault.UNWANTED, said=f"{address} does not take this certificate")


def _not_verified(address: str, error: ssl.SSLCertVerificationError, name: str) -> Found:
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return _by_the_clock(address, error)
    if error.verify_code in _OTHER_NAME:
        return Found(fault=Fault.OTHER_NAME, said=f"what listens at {address} has a certificate, but not for {name}")
    return Found(fault=Fault.OTHER_ROOT, said=f"what listens at {address} has a certificate by another root")


def _by_the_clock(address: str, error: ssl.SSLCertVerificationError) -> Found:
    """A planner renews its certificate by itself, so that it is rather a clock that is off; this one, or its own."""
    now = datetime.now(UTC)
    off: timedelta | None = None
    try:
        starts_at, ends_at = window(_certificate_at(address))
        off = starts_at - now if now < starts_at else now - ends_at
    except (OSError, ssl.SSLError, ValueError):
        pass
    state = "is over" if error.verify_code == _EXPIRED else "is not valid yet"
    told = now.isoformat(timespec="minutes")
    said = f"by this machine's clock ({told}) the certificate of {address} {state}"
    return Found(fault=Fault.CLOCK, said=said + (f", by {span(off)}" if off else ""), off=off)


def _certificate_at(address: str) -> bytes:
    """The certificate (PEM) that is shown there, whoever made it."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S) as connection,
        _trusting(b"").wrap_socket(connection) as wrapped,
    ):
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"").encode()


def _trusting(root: bytes) -> ssl.SSLContext:
    """A context that trusts one root alone; with none it verifies nothing, and what it learns is only talked about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if root:
        context.load_verify_locations(cadata=root.decode("ascii"))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _show(context: ssl.SSLContext, tls: Tls) -> None:
    # OpenSSL reads them from a file only; one in memory leaves no key on a disk.
    descriptor = os.memfd_create("circinus-probe", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, tls.certificate + b"\n" + tls.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "they are not of one another"
    return str(error)


def window(certificate: bytes) -> tuple[datetime, datetime]:
    """From when to when a certificate (PEM) is valid.

    Raises:
        ValueError: it is no certificate.
    """
    # Only who asks pays for it: it is large.
    from cryptography import x509

    read = x509.load_pem_x509_certificate(certificate)
    return read.not_valid_before_utc, read.not_valid_after_utc


def over(certificate: bytes, now: datetime) -> str:
    """Why a certificate of one's own (PEM) is worth nothing now; empty: it is.

    Raises:
        ValueError: it is no certificate.
    """
    starts_at, ends_at = window(certificate)
    if now > ends_at:
        return f"ended {span(now - ends_at)} ago, at {ends_at.isoformat(timespec='minutes')}"
    if now + _CLOCK_SLACK < starts_at:
        told = now.isoformat(timespec="minutes")
        return f"begins in {span(starts_at - now)}; this machine's clock says {told}, which may be wrong"
    return ""


def span(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = abs(length.total_seconds())
    for size_s, unit in ((86_400.0 * 365.25, "years"), (86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size_s or (unit == "minutes" and seconds >= size_s):
            return f"{seconds / size_s:.0f} {unit}" if seconds / size_s >= 9.5 else f"{seconds / size_s:.2g} {unit}"
    return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
