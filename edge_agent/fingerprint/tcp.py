"""What the kernel knows of TCP connections: round trips and rates of what is sent anyway (tcp(7), TCP_INFO).

The kernel keeps these figures for every connection, so that reading them costs the link nothing. Connections that
others hold (gRPC's) are found by the kernel's list of sockets (sock_diag(7)); that needs no privilege.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: Offsets in struct tcp_info, which only ever grows at its end.
_RTT_AT, _BYTES_ACKED_AT, _MIN_RTT_AT, _RATE_AT, _HELD_AT = 68, 120, 148, 160, 176
_FLAGS_AT, _APP_LIMITED = 7, 0x01
_LENGTH = 256
_US_PER_MS = 1000.0
#: The kernel's "not known".
_NO_RTT_US = 2**32 - 1

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_INET_DIAG_INFO = 2
_ESTABLISHED = 1 << 1
_HEADER = struct.Struct("=IHHII")
#: inet_diag_msg up to its addresses: family, state, timer, retransmits, source port, destination port.
_DIAG_PORTS = struct.Struct(">HH")
_DIAG_LENGTH = 72
_MAX_ANSWERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFigures:
    """Of one connection. ``rtt_ms`` 0: unknown. ``rate_bit_per_s`` 0: unknown, or only what the sender had to send.

    ``sent_bytes``: those that arrived. ``receiver_held_us``: so long the receiver, not the link, held the sender back.
    """

    rtt_ms: float
    rate_bit_per_s: float
    sent_bytes: int
    receiver_held_us: int = 0


def read_figures(info: bytes) -> TcpFigures | None:
    """The figures in a struct tcp_info; None: this kernel tells less than that."""
    if len(info) < _RATE_AT + 8:
        return None
    smoothed_us, least_us = (struct.unpack_from("=I", info, at)[0] for at in (_RTT_AT, _MIN_RTT_AT))
    rtt_us = least_us if 0 < least_us < _NO_RTT_US else smoothed_us
    (rate_bytes_per_s,) = struct.unpack_from("=Q", info, _RATE_AT)
    (acked_bytes,) = struct.unpack_from("=Q", info, _BYTES_ACKED_AT)
    limited = bool(info[_FLAGS_AT] & _APP_LIMITED)
    return TcpFigures(
        rtt_ms=rtt_us / _US_PER_MS,
        rate_bit_per_s=0.0 if limited else rate_bytes_per_s * 8.0,
        sent_bytes=acked_bytes,
        receiver_held_us=struct.unpack_from("=Q", info, _HELD_AT)[0] if len(info) >= _HELD_AT + 8 else 0,
    )


def figures_to(host: str, port: int) -> tuple[TcpFigures, ...]:
    """The figures of this machine's connections to an address; none where the kernel doesn't tell. Blocks shortly."""
    found: list[TcpFigures] = []
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = {(family, str(address[0])) for family, _, _, _, address in resolved}
        for family in sorted({family for family, _ in addresses}):
            texts = {text for one, text in addresses if one == family}
            found.extend(_dump(family, texts, port))
    except OSError:
        return ()
    return tuple(found)


def _dump(family: int, addresses: set[str], port: int) -> Iterator[TcpFigures]:
    request = struct.pack(
        "=BBBBI", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, _ESTABLISHED
    ) + _DIAG_PORTS.pack(0, port).ljust(48, b"\0")
    message = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(2.0)
        kernel.send(message)
        answers = 0
        while answers < _MAX_ANSWERS:
            data = kernel.recv(1 << 16)
            for kind, body in _messages(data):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                answers += 1
                figures = _of_message(body, addresses, port)
                if figures is not None:
                    yield figures


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _of_message(body: bytes, addresses: set[str], port: int) -> TcpFigures | None:
    if len(body) < _DIAG_LENGTH:
        return None
    _, remote_port = _DIAG_PORTS.unpack_from(body, 4)
    size = 4 if body[0] == socket.AF_INET else 16
    if remote_port != port or socket.inet_ntop(body[0], body[24 : 24 + size]) not in addresses:
        return None
    at = _DIAG_LENGTH
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            return None
        if kind == _INET_DIAG_INFO:
            return read_figures(body[at + 4 : at + length])
        at += (length + 3) & ~3
    return None
