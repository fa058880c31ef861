"""The identity of a box on disk: the planner's root, the box's certificate and its key, three PEM files.

    identity/3/{root,certificate,key}.pem     a whole identity, written once
    identity/current -> 3
    identity/key.pem -> current/key.pem       and so on, for people and their tools

A key without its certificate is worth nothing, and a box that nobody visits must not lose both between two writes. So
an identity is a folder of its own, and becomes the current one by the change of one name; whoever reads follows that
name once. The one before stays until the next comes, for a reader who is just there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from circinus.channel import Tls
from circinus.errors import InvalidInput

_CURRENT = "current"
_ROOT, _CERTIFICATE, _KEY = "root.pem", "certificate.pem", "key.pem"
_MAX_FILE_BYTES = 64 * 1024


def read_identity(folder: Path) -> Tls | None:
    """The identity in a folder; None: there is none.

    Raises:
        InvalidInput: what is there can't be read, or is none.
    """
    try:
        whole = folder / os.readlink(folder / _CURRENT)
    except FileNotFoundError:
        whole = folder
    except OSError as error:
        raise InvalidInput(f"the identity in {folder} can't be read: {error}") from error
    if not (whole / _CERTIFICATE).exists() and not (whole / _KEY).exists():
        return None
    try:
        root, certificate, key = (_pem(whole / name) for name in (_ROOT, _CERTIFICATE, _KEY))
    except OSError as error:
        raise InvalidInput(f"the identity in {folder} can't be read: {error}; join again with a new token") from error
    return Tls(root=root, certificate=certificate, key=key)


def write_identity(folder: Path, identity: Tls) -> None:
    """Makes this the identity in a folder, all of it or none, whatever happens meanwhile.

    Raises:
        OSError: it can't be written; the one before stands.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
    number = max(numbers, default=0) + 1
    made = folder / f"tmp-{number}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o700)
    try:
        for name, text in ((_ROOT, identity.root), (_CERTIFICATE, identity.certificate), (_KEY, identity.key)):
            _write(made / name, text)
        _sync_folder(made)
        made.rename(folder / str(number))
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _point(folder / _CURRENT, str(number))
    for name in (_ROOT, _CERTIFICATE, _KEY):
        _point(folder / name, f"{_CURRENT}/{name}")
    _sync_folder(folder)
    for old in sorted(numbers)[:-1]:
        shutil.rmtree(folder / str(old), ignore_errors=True)


def written_at(folder: Path) -> datetime | None:
    """When the identity in a folder was written, by the clock of then; None: there is none."""
    try:
        return datetime.fromtimestamp((folder / _CERTIFICATE).stat().st_mtime, UTC)
    except OSError:
        return None


def remove_identity(folder: Path) -> None:
    """Forgets who this box is; nothing happens if there is no identity."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _pem(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(_MAX_FILE_BYTES + 1)
    if not text.startswith(b"-----BEGIN ") or len(text) > _MAX_FILE_BYTES:
        raise OSError(f"{path} is no PEM file")
    return text


def _write(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _point(link: Path, target: str) -> None:
    """Lets a name stand for another one, at once whatever it stood for."""
    aside = link.with_name(f"{link.name}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
