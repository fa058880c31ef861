"""Lines of a resumable run: written for good, and the digest of the code that made them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def append(path: Path, line: DataclassInstance) -> None:
    """Writes a line to the end, whole and for good; a line that was cut off before it is ended first."""
    text = json.dumps(asdict(line), separators=(",", ":")) + "\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def digest_of(paths: Iterable[Path]) -> str:
    """A short digest of files' contents, in order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
