"""Secrets that are told once: enrolment tokens of boxes, bearer tokens of people. PURE but for chance.

A secret has 256 random bits, so a plain SHA-256 is all the protection that its stored form needs: there is nothing to
guess. It is compared in constant time. No error that is raised here repeats what was given.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from circinus.errors import BadToken, InvalidInput, NotKnown

_SECRET_BYTES = 32
_TOKEN = re.compile(r"circ1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{22,64})\.([0-9a-f]{64})")
_BEARER = re.compile(r"circp\.([A-Za-z0-9_.-]{1,63})\.([A-Za-z0-9_-]{22,64})")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that is told now, and what is kept of it."""

    text: str = field(repr=False)
    digest: bytes


def new_secret() -> Secret:
    """A secret of 256 bits."""
    text = secrets.token_urlsafe(_SECRET_BYTES)
    return Secret(text=text, digest=secret_digest(text))


def secret_digest(text: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(text.encode()).digest()


def is_secret(text: str, digest: bytes) -> bool:
    """Whether a secret is the one that this was kept of; takes equally long either way."""
    return hmac.compare_digest(secret_digest(text), digest)


def new_token_id() -> str:
    """An id for a token; it is no secret."""
    return secrets.token_hex(8)


def token_text(token_id: str, secret: str, root_digest: str) -> str:
    """A token as people carry it to a box."""
    return f"circ1.{token_id}.{secret}.{root_digest}"


def parse_token(text: str) -> tuple[str, str, str]:
    """A token's id, secret and digest of the root.

    Raises:
        BadToken: it has not the form of one.
    """
    match = _TOKEN.fullmatch(text.strip()) if len(text) < 400 else None
    if match is None:
        raise BadToken("the token has not the form circ1.ID.SECRET.CAHASH: copy the whole of it, or make another")
    return match[1], match[2], match[3]


def bearer_text(name: str, secret: str) -> str:
    """A person's token."""
    return f"circp.{name}.{secret}"


def parse_bearer(text: str) -> tuple[str, str]:
    """A person's name and secret.

    Raises:
        NotKnown: it has not the form of a bearer token.
    """
    match = _BEARER.fullmatch(text) if len(text) < 200 else None
    if match is None:
        raise NotKnown("the bearer token has not the form circp.NAME.SECRET")
    return match[1], match[2]


def span_s(text: str) -> float:
    """Seconds of a span such as "90s", "30m", "1h" or "7d".

    Raises:
        InvalidInput: it is none.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{text[:40]!r} is no span of time: a number and s, m, h or d, such as 1h")
    return float(match[1]) * _UNIT_S[match[2]]
