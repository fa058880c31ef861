"""What a box does with keys, certificates and signatures, asked of a short-lived child (keys_child.py)."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from circinus.channel import Tls
from circinus.errors import Internal, WrongAuthority
from circinus.model.device import DeviceId
from edge_agent.child import run_child

_CHILD = "edge_agent.identity.keys_child"
#: Its imports take a tenth of a second, on a slow and busy box a hundred times that.
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key (PEM), the request for its certificate (DER), and the proof of having the last key (empty: none)."""

    key: bytes = field(repr=False)
    csr: bytes
    proof: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Whose a certificate is, and from when to when it holds. ``by_root``: it is signed by the root that was given."""

    name: str
    begins_at: datetime
    ends_at: datetime
    der: bytes
    by_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A directive's bytes, their signature and the certificate (DER) of the key that signed; as they came."""

    body: bytes
    signature: bytes
    signer: bytes


async def make_key(device_id: DeviceId, last_key: bytes = b"") -> NewKey:
    """A new key for a device; with ``last_key`` (PEM) also the proof that renews its certificate."""
    answer = await _ask("make", device_id=device_id, last_key=last_key.decode())
    return NewKey(key=answer["key"].encode(), csr=_bytes(answer["csr"]), proof=_bytes(answer.get("proof", "")))


async def take_certificate(device_id: DeviceId, key: bytes, certificate: bytes, root: bytes) -> Tls:
    """The identity that a planner's answer makes with a key.

    Raises:
        WrongAuthority: the certificate is not by the root, or not for this device and key.
    """
    try:
        answer = await _ask(
            "take", device_id=device_id, key=key.decode(), certificate=_text(certificate), root=_text(root)
        )
    except _Refused as error:
        raise WrongAuthority(f"the planner answered with a certificate that {device_id} can't use: {error}") from error
    return Tls(root=answer["root"].encode(), certificate=answer["certificate"].encode(), key=key)


async def ends_of(certificate: bytes, root: bytes = b"") -> Ends:
    """What a certificate says, PEM or DER. ``root`` (PEM): whether it is by that is said, too.

    Raises:
        WrongAuthority: it is no certificate.
    """
    der = not certificate.startswith(b"-----")
    text = _text(certificate) if der else certificate.decode()
    try:
        answer = await _ask("describe", certificate=text, der=der, root=root.decode())
    except _Refused as error:
        raise WrongAuthority(f"what should be a certificate is none: {error}") from error
    return Ends(
        name=answer["name"],
        begins_at=datetime.fromtimestamp(answer["begins_s"], UTC),
        ends_at=datetime.fromtimestamp(answer["ends_s"], UTC),
        der=_bytes(answer["der"]),
        by_root=answer.get("by_root", False),
    )


async def verify(root: bytes, signed: Sequence[Signed], now: datetime | None) -> list[str]:
    """What is wrong with each of these; empty: it is the planner's.

    ``root``: PEM. ``now``: the signer's certificate must hold at that moment; None: it may be over.
    """
    if not signed:
        return []
    entries = [
        {"body": _text(one.body), "signature": _text(one.signature), "signer": _text(one.signer)} for one in signed
    ]
    now_s = now.timestamp() if now is not None else None
    answer = await _ask("verify", root=root.decode(), signed=entries, now_s=now_s)
    return [str(wrong) for wrong in answer["wrong"]]


class _Refused(Exception):
    """The child found what it was given to be wrong."""


async def _ask(question: str, **given: Any) -> dict[str, Any]:
    """The child's answer.

    Raises:
        _Refused: what it was given is wrong.
        Internal: the child did not answer.
    """
    asked = json.dumps({"question": question, **given}).encode()
    try:
        ended = await run_child((sys.executable, "-P", "-m", _CHILD), timeout_s=_TIMEOUT_S, stdin=asked)
    except OSError as error:  # no memory, no processes, no files
        raise Internal(f"the child that works with keys can't be started: {error}") from error
    lines = ended.output.splitlines()
    if ended.returncode != 0 or not lines:
        how = f"ended with {ended.returncode}" if ended.returncode is not None else f"took over {_TIMEOUT_S:g} s"
        # Of what it said not the answer: that may have a new key.
        words = "; ".join(line.strip() for line in lines if not line.lstrip().startswith("{"))[-800:]
        raise Internal(f"the child that works with keys {how}: {words}")
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except ValueError as error:
        raise Internal("the child that works with keys said what it never says") from error
    if refusal := answer.get("error"):
        raise _Refused(refusal)
    return answer


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
