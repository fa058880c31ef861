"""Whom a box talks to: the chain that a server shows, the root that is trusted, and why a connection with TLS fails.

A box that joins has nothing but a token, which names the planner's root by its hash. So it looks at what the server
shows without believing it, keeps the one certificate that has this hash, and believes only that from then on.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import sys
from datetime import datetime

from circinus.channel import PLANNER_NAME, check_address
from circinus.errors import CircinusError, Unreachable, WrongAuthority
from edge_agent.identity.keys import Ends, ends_of

_TIMEOUT_S = 10.0
_DAY_S = 86_400.0


async def shown_chain(address: str) -> tuple[bytes, ...]:
    """The certificates (DER) that a server shows, its own first; nothing of them is checked.

    Raises:
        InvalidInput: the address is not host:port.
        Unreachable: nobody there speaks TLS.
    """
    check_address(address)
    return await asyncio.to_thread(_shown_chain, address)


def _shown_chain(address: str) -> tuple[bytes, ...]:
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # gRPC's servers end a handshake without it.
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=PLANNER_NAME) as connection,
        ):
            return _chain_of(connection)
    except OSError as error:  # ssl's errors are OSErrors
        raise Unreachable(
            f"no planner answers with TLS at {address}: {error}; does it run, and is that its --enrol-listen?"
        ) from error


def _chain_of(connection: ssl.SSLSocket) -> tuple[bytes, ...]:
    # Public from 3.13 on; before, only the object under it has it.
    if sys.version_info >= (3, 13):
        return tuple(connection.get_unverified_chain())
    from _ssl import ENCODING_DER  # type: ignore[import-not-found,unused-ignore]  # private

    chain = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # as above
    return tuple(certificate.public_bytes(ENCODING_DER) for certificate in chain)


def root_of(chain: tuple[bytes, ...], root_hash: str, address: str) -> bytes:
    """The certificate of a chain that has this hash (hex SHA-256 of its DER), as PEM.

    Raises:
        WrongAuthority: none has.
    """
    for certificate in chain:
        if hashlib.sha256(certificate).hexdigest() == root_hash.lower():
            return ssl.DER_cert_to_PEM_cert(certificate).encode()
    last = hashlib.sha256(chain[-1]).hexdigest()[:16] if chain else "none"
    raise WrongAuthority(
        f"the server at {address} is not the planner that the token is of: the token names the root "
        f"{root_hash[:16]}..., the server shows {last}...; check the address, and take a token of this planner"
    )


async def why_not_trusted(address: str, root: bytes, now: datetime) -> CircinusError | None:
    """Why TLS with the planner at an address fails, as far as its certificate tells; None: it tells nothing.

    ``root``: PEM. A clock that is far off fails every handshake, so it is named before anything else is blamed.
    """
    try:
        chain = await shown_chain(address)
        shown = await ends_of(chain[0], root) if chain else None
    except CircinusError:
        return None
    if shown is None:
        return None
    if not shown.by_root:
        return WrongAuthority(
            f"the server at {address} shows a certificate of another root than this box joined: it is another planner, "
            "or somebody between; join again with a token if the planner was set up anew"
        )
    if clock := wrong_clock(shown, now):
        return Unreachable(clock)
    return None


def wrong_clock(shown: Ends, now: datetime) -> str:
    """What to say if this box's clock and the planner's certificate can't both be right; empty: they can."""
    if shown.begins_at <= now <= shown.ends_at:
        return ""
    off_s = (shown.begins_at - now if now < shown.begins_at else now - shown.ends_at).total_seconds()
    how = f"{off_s / _DAY_S:.0f} days" if off_s >= 2 * _DAY_S else f"{off_s / 60:.0f} minutes"
    where = "before" if now < shown.begins_at else "after"
    return (
        f"this box's clock says {now:%Y-%m-%d %H:%M} UTC, {how} {where} what the planner's certificate allows "
        f"({shown.begins_at:%Y-%m-%d %H:%M} to {shown.ends_at:%Y-%m-%d %H:%M}): set the clock (timedatectl, NTP); "
        "if it is right, the planner's is not"
    )
