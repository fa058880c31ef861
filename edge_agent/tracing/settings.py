"""What an agent's file says of traces."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from circinus.errors import InvalidInput

_HTTPS_PORT, _OTLP_PORT = 443, 4318
_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesConfig:
    """``endpoint``: the URL of an OTLP collector (http on loopback, https elsewhere); empty: no traces.

    ``ratio``: which part of this device's items is traced (0..1). ``ca_file``: whom an https collector's certificate
    is checked against; None: the system's authorities.
    """

    endpoint: str = ""
    ratio: float = 0.0
    ca_file: Path | None = None


NO_TRACES = TracesConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collector. ``host`` is as URLs have it: IPv6 in brackets. ``secure``: with TLS."""

    host: str
    port: int
    path: str
    secure: bool


def target_of(endpoint: str) -> Target:
    """The collector of a URL; the path for traces is added where there is none.

    Raises:
        InvalidInput: it is no such URL.
    """
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise InvalidInput(f"{endpoint!r} is no URL: {error}") from error
    plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    if not plain or url.scheme not in ("http", "https") or not host or url.username or url.query or url.fragment:
        raise InvalidInput(f"{endpoint!r} is no collector; write http://127.0.0.1:4318 or https://HOST:PORT")
    secure = url.scheme == "https"
    return Target(
        host=f"[{host}]" if ":" in host else host,
        port=port or (_HTTPS_PORT if secure else _OTLP_PORT),
        path=url.path if url.path not in ("", "/") else _PATH,
        secure=secure,
    )


def endpoint_fault(endpoint: str) -> str:
    """What is wrong with a collector's URL in an agent's file; empty: nothing, or there is none."""
    if not endpoint:
        return ""
    try:
        target = target_of(endpoint)
    except InvalidInput as error:
        return f"is {error.message}"
    if target.secure or _is_loopback(target.host):
        return ""
    return f"is {endpoint!r}; http is for a collector on this machine, elsewhere write https://"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


__all__ = ["NO_TRACES", "Target", "TracesConfig", "endpoint_fault", "target_of"]
