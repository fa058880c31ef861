"""Certificates for a trial of mutual TLS: a root, and a certificate and key for each name, by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from circinus.channel import Tls

#: The program that makes them; None: it isn't there.
OPENSSL = shutil.which("openssl")
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificates(folder: Path, *names: str) -> dict[str, Tls]:
    """Makes a root of its own in the folder, and for each name a certificate that it signed."""
    root = folder / "root.pem"
    root_key = folder / "root.key"
    _openssl("req", "-x509", *_CURVE, "-keyout", root_key, "-out", root, "-days", "2", "-subj", "/CN=trial")
    made = {}
    for name in names:
        key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extension = folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{name}\n")
        _openssl("req", *_CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signed = ("-CA", root, "-CAkey", root_key, "-CAcreateserial", "-days", "2", "-extfile", extension)
        _openssl("x509", "-req", "-in", request, *signed, "-out", certificate)
        made[name] = Tls(root=root.read_bytes(), certificate=certificate.read_bytes(), key=key.read_bytes())
    return made


def _openssl(*arguments: object) -> None:
    if OPENSSL is None:
        raise FileNotFoundError("there is no openssl program; install the package openssl")
    subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True)
