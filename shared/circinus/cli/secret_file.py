"""Files with a secret in them: for their owner only, from the first byte on."""

from __future__ import annotations

import os
from pathlib import Path

from circinus.errors import AlreadyExists, CircinusError


def write_secret(path: Path, text: str) -> None:
    """Writes a new file.

    Raises:
        AlreadyExists: there is a file of this name: what it holds may be somebody's only copy.
        CircinusError: it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExists(f"{path} is there already; name another file, or remove it first") from None
    except OSError as error:
        raise CircinusError(f"can't write {path}: {error.strerror or error}") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CircinusError(f"can't write {path}: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Does nothing for a file that can be made: better known before a secret is made that would be lost.

    Raises:
        AlreadyExists: there is one.
        CircinusError: its folder can't be written.
    """
    write_secret(path, "")
    path.unlink()
