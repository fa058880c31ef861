"""gRPC channels and servers, set up the one way that all of Circinus uses.

Keepalive on both sides finds a peer that is gone without a word; the server's limits keep one bad client from
harming the others (measured: without max_concurrent_streams one connection got 1,287 handlers at once; without
a handshake time-out silent sockets stay for ever; a stopped peer is never noticed without keepalive).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio

from circinus.errors import InvalidInput, Unreachable

#: Largest gRPC message.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Blobs travel in chunks of this size.
CHUNK_BYTES = 1024 * 1024
#: Largest bundle or sample set.
MAX_BLOB_BYTES = 256 * 1024 * 1024
#: Largest payload of one item: a message with room for its envelope.
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - 64 * 1024

#: A peer that is gone without a word is found after 15 s at the latest: after 5 s of silence it is asked, and 10 s it
#: may take to answer, behind what a link of 64 kbit/s is still busy with. With a sign of life every 5 s a peer that
#: pauses for 10 s is still there afterwards. At 10,000 agents this is 2,000 pings of 17 bytes a second for the planner
#: to answer, beside 2,000 heartbeats. The time-out of pings is what counts: it is a minute if nobody says so, whatever
#: that of keepalive is.
_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
)

_CLIENT_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    *_KEEPALIVE,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A proxy of the environment has no business between a box and its planner.
    ("grpc.enable_http_proxy", 0),
)
_SERVER_OPTIONS = (
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", 5_000),
    *_KEEPALIVE,
    # Without this an idle client's keepalive counts as an attack: only one ping in two hours is then allowed.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 3_000),
    ("grpc.http2.max_ping_strikes", 4),
    # Two planners on one port would each have half of the fleet.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Who an end is and whom it trusts, for mutual TLS: PEM texts of a root, of its own certificate and of the key."""

    root: bytes
    certificate: bytes
    key: bytes = field(repr=False)


#: The name that the planner's certificates have, wherever it listens: nobody's trust hangs on an address.
PLANNER_NAME = "planner.circinus"


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel in the clear to a loopback address; it connects when it is first used.

    Raises:
        InvalidInput: the address is not host:port on loopback.
    """
    check_loopback(address)
    return grpc.aio.insecure_channel(address, options=_CLIENT_OPTIONS)


def open_secure_channel(address: str, tls: Tls, name: str = PLANNER_NAME) -> grpc.aio.Channel:
    """A channel with mutual TLS; the certificate at the other end must be for ``name``.

    Raises:
        InvalidInput: the address is not host:port.
    """
    return _secure_channel(address, grpc.ssl_channel_credentials(tls.root, tls.key, tls.certificate), name)


def open_trusting_channel(address: str, root: bytes, name: str = PLANNER_NAME) -> grpc.aio.Channel:
    """A channel with TLS on which the caller shows no certificate: to enrol, or with a bearer token.

    Raises:
        InvalidInput: the address is not host:port.
    """
    return _secure_channel(address, grpc.ssl_channel_credentials(root), name)


def _secure_channel(address: str, credentials: grpc.ChannelCredentials, name: str) -> grpc.aio.Channel:
    check_address(address)
    options = (*_CLIENT_OPTIONS, ("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, credentials, options=options)


def server(
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (), *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> grpc.aio.Server:
    """A server with limits and keepalive, not yet listening."""
    sizes = (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
    )
    return grpc.aio.server(options=(*sizes, *_SERVER_OPTIONS), interceptors=list(interceptors))


def insecure_port(grpc_server: grpc.aio.Server, address: str) -> int:
    """Listens on a loopback address; port 0 takes a free one. Gives the port.

    Raises:
        InvalidInput: the address is not host:port on loopback.
        Unreachable: the port is taken.
    """
    check_loopback(address)
    try:
        port: int = grpc_server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    return _taken(port, address)


def secure_port(grpc_server: grpc.aio.Server, address: str, tls: Tls) -> int:
    """Listens with mutual TLS; port 0 takes a free one. Gives the port.

    Raises:
        InvalidInput: the address is not host:port.
        Unreachable: the port is taken, or the certificate and key are none.
    """
    credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)], tls.root, require_client_auth=True)
    return credentials_port(grpc_server, address, credentials)


def credentials_port(grpc_server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    """Listens with these credentials; port 0 takes a free one. Gives the port.

    Raises:
        InvalidInput: the address is not host:port.
        Unreachable: the port is taken, or the certificate and key are none.
    """
    check_address(address)
    try:
        port: int = grpc_server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    return _taken(port, address)


def _taken(port: int, address: str) -> int:
    if port == 0:
        raise Unreachable(
            f"can't listen on {address}: the port is taken; stop what has it, or choose another (port 0: any)"
        )
    return port


def check_address(address: str) -> str:
    """Does nothing for HOST:PORT but give the host.

    Raises:
        InvalidInput: the address is something else.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"address {address!r} is not HOST:PORT, such as 127.0.0.1:7400")
    return host


def is_loopback(address: str) -> bool:
    """Whether what listens there can be reached from this machine alone.

    Raises:
        InvalidInput: the address is not host:port.
    """
    host = check_address(address)
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_loopback(address: str) -> None:
    """Does nothing for an address that may be dialled or listened on in the clear.

    Raises:
        InvalidInput: the address is not host:port on loopback.
    """
    if not is_loopback(address):
        raise InvalidInput(
            f"address {address!r} is not on loopback: without TLS (--insecure-loopback) connections stay on this "
            "machine; use 127.0.0.1:PORT, or certificates"
        )
