"""All that needs `cryptography`, in a process of its own: it is started for one question and is gone after the answer.

Its import alone takes more memory than an idle agent may have. One JSON object comes on standard input, one goes to
standard output; keys and certificates are PEM texts there, everything else that is bytes is base64. keys.py asks.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

RENEW_PREFIX = b"circinus renew v1\n"
DIRECTIVE_PREFIX = b"circinus directive v1\n"
SIGNER_NAME = "directives.circinus"
#: Clocks are not equal: a signer that begins or ends within so much of now is taken.
_TOLERANCE_S = 3600.0


def make(asked: dict[str, Any]) -> dict[str, Any]:
    """A new key and the request for its certificate; with the last key also the proof of having that."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, asked["device_id"])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    csr = request.public_bytes(serialization.Encoding.DER)
    made = {"key": _key_text(key), "csr": _text(csr)}
    if last := asked.get("last_key"):
        proof = _key(last).sign(RENEW_PREFIX + csr, ec.ECDSA(hashes.SHA256()))
        made["proof"] = _text(proof)
    return made


def take(asked: dict[str, Any]) -> dict[str, Any]:
    """What a planner answered, checked: by the root, for this device, and of this key."""
    root = x509.load_der_x509_certificate(_bytes(asked["root"]))
    certificate = x509.load_der_x509_certificate(_bytes(asked["certificate"]))
    certificate.verify_directly_issued_by(root)
    name = _common_name(certificate)
    if name != asked["device_id"]:
        raise ValueError(f"the certificate is for {name!r}")
    if certificate.public_key() != _key(asked["key"]).public_key():
        raise ValueError("the certificate is for another key")
    pem = serialization.Encoding.PEM
    return {"certificate": certificate.public_bytes(pem).decode(), "root": root.public_bytes(pem).decode()}


def describe(asked: dict[str, Any]) -> dict[str, Any]:
    """Whose a certificate is, and from when to when; whether it is by the root, where one is given."""
    text = asked["certificate"]
    certificate = x509.load_der_x509_certificate(_bytes(text)) if asked.get("der") else _certificate(text)
    told = {
        "name": _common_name(certificate),
        "begins_s": certificate.not_valid_before_utc.timestamp(),
        "ends_s": certificate.not_valid_after_utc.timestamp(),
        "der": _text(certificate.public_bytes(serialization.Encoding.DER)),
    }
    if root := asked.get("root"):
        try:
            certificate.verify_directly_issued_by(_certificate(root))
            told["by_root"] = True
        except (ValueError, TypeError, InvalidSignature):
            told["by_root"] = False
    return told


def verify(asked: dict[str, Any]) -> dict[str, Any]:
    """What is wrong with each signed directive; empty: it is the planner's."""
    root = _certificate(asked["root"])
    return {"wrong": [_wrong(root, one, asked.get("now_s")) for one in asked["signed"]]}


def _wrong(root: x509.Certificate, one: dict[str, Any], now_s: float | None) -> str:
    try:
        signer = x509.load_der_x509_certificate(_bytes(one["signer"]))
        signer.verify_directly_issued_by(root)
    except InvalidSignature:
        return "its signer's certificate is not by the planner's root"
    except (ValueError, TypeError) as error:
        return f"its signer's certificate is not by the planner's root: {error}"
    if (name := _common_name(signer)) != SIGNER_NAME:
        return f"it is signed by {name!r}, and only {SIGNER_NAME!r} may"
    begins_s, ends_s = signer.not_valid_before_utc.timestamp(), signer.not_valid_after_utc.timestamp()
    if now_s is not None and not begins_s - _TOLERANCE_S <= now_s <= ends_s + _TOLERANCE_S:
        return f"its signer's certificate holds from {signer.not_valid_before_utc} to {signer.not_valid_after_utc}"
    key = signer.public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey):
        return "its signer's key is no Ed25519 key"
    try:
        key.verify(_bytes(one["signature"]), DIRECTIVE_PREFIX + _bytes(one["body"]))
    except InvalidSignature:
        return "its content is not what was signed"
    return ""


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _certificate(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is no EC key")
    return key


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_QUESTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "make": make,
    "take": take,
    "describe": describe,
    "verify": verify,
}


def main() -> int:
    """Answers the question on standard input."""
    asked = json.load(sys.stdin)
    try:
        answer = _QUESTIONS[asked["question"]](asked)
    except InvalidSignature:
        answer = {"error": "a signature is not by the key that it should be by"}
    except (ValueError, TypeError, KeyError) as error:
        answer = {"error": str(error) or type(error).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
