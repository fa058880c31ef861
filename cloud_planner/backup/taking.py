"""Takes a backup: the planner's file first, as it is at one moment, then all that it names. Nobody who serves waits."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import sqlite3
import ssl
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import circinus
from circinus.errors import CircinusError, InvalidInput
from cloud_planner.backup import databases
from cloud_planner.backup.manifest import (
    IDENTITY_FILE,
    KEY_FILES,
    NAME,
    PLANNER_FILE,
    ROOT_FILE,
    Manifest,
    Part,
    dump,
)

_CHUNK_BYTES = 1024 * 1024
#: The planner's file shrinks to a third at once; more effort gains little and takes long.
_EFFORT = 1


def take(state_dir: Path, to: Path, *, with_keys: bool, now: datetime) -> Manifest:
    """Writes a backup of a planner's state folder, whether the planner runs or not, for its owner only.

    Raises:
        InvalidInput: there is no state, or the file is there already, or it has no keys though they are wanted.
        CircinusError: the state can't be read as a whole.
        OSError: the file can't be written; nothing is left of it.
    """
    if not (state_dir / PLANNER_FILE).is_file():
        raise InvalidInput(f"{state_dir} has no {PLANNER_FILE}: name the planner's state folder with --state-dir")
    if to.exists():
        raise InvalidInput(f"{to} is there already: move it away, or name another file with --to")
    if with_keys and not (state_dir / KEY_FILES[0]).is_file():
        raise InvalidInput(f"{state_dir} has no identity, and so no keys: leave --with-keys out")
    with _folder_beside(to) as folder:
        manifest, files = _collected(state_dir, folder, with_keys=with_keys, now=now)
        beside = folder / "backup"
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _write(file, manifest, files)
            file.flush()
            os.fsync(file.fileno())
        # Never over one that came meanwhile.
        os.link(beside, to)
    sync_folder(to.absolute().parent)
    return manifest


def _collected(state_dir: Path, folder: Path, *, with_keys: bool, now: datetime) -> tuple[Manifest, dict[str, Path]]:
    """The parts' files. What the planner's file names was there before it was written, and is never taken away."""
    files = {PLANNER_FILE: folder / "planner.sqlite3"}
    databases.copy(state_dir / PLANNER_FILE, files[PLANNER_FILE])
    databases.check(files[PLANNER_FILE])
    schemas = {"planner": databases.schema_of(files[PLANNER_FILE])}
    root_sha256 = ""
    if (state_dir / IDENTITY_FILE).is_file():
        files[IDENTITY_FILE] = folder / "identity.sqlite3"
        databases.copy(state_dir / IDENTITY_FILE, files[IDENTITY_FILE])
        databases.check(files[IDENTITY_FILE])
        schemas["identity"] = databases.schema_of(files[IDENTITY_FILE])
        root_sha256 = root_digest(state_dir / ROOT_FILE)
        kept = (ROOT_FILE, *(KEY_FILES if with_keys else ()))
        files |= {name: state_dir / name for name in kept if (state_dir / name).is_file()}
    left_out: dict[str, str] = {}
    parts = [_part(name, path) for name, path in files.items()]
    for path in _blobs(state_dir):
        part = _part(f"blobs/{path.name}", path)
        if part.sha256 != path.name:
            left_out[path.name] = "damaged"
        else:
            files[part.name] = path
            parts.append(part)
    numbers = databases.numbers_of(files[PLANNER_FILE])
    counts, named = _contents(files[PLANNER_FILE])
    left_out |= {one: left_out.get(one, "missing") for one in named if f"blobs/{one}" not in files}
    manifest = Manifest(
        made_at=now,
        version=circinus.__version__,
        host=socket.gethostname(),
        epoch=numbers.epoch,
        generation=numbers.generation,
        schemas=schemas,
        with_keys=with_keys,
        root_sha256=root_sha256,
        parts=tuple(parts),
        left_out=left_out,
        **counts,
    )
    return manifest, files


def _contents(path: Path) -> tuple[dict[str, int], set[str]]:
    """How much a planner's file has, and the blobs that its pipelines name."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as found:
        counts = {
            name: int(found.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
            for name in ("devices", "pipelines", "queries")
        }
        named = found.execute("SELECT bundle_digest FROM pipelines UNION SELECT digest FROM contents").fetchall()
    return counts, {str(row[0]).removeprefix("sha256:") for row in named}


def _blobs(state_dir: Path) -> list[Path]:
    folder = state_dir / "blobs"
    return sorted(path for path in folder.iterdir() if len(path.name) == 64) if folder.is_dir() else []


def _part(name: str, path: Path) -> Part:
    return Part(name=name, size_bytes=path.stat().st_size, sha256=file_digest(path))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def root_digest(path: Path) -> str:
    """The SHA-256 of a certificate, by which it is known; empty: there is none that can be read."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()
    except (OSError, ValueError):
        return ""


def _write(file: io.BufferedWriter, manifest: Manifest, files: dict[str, Path]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_EFFORT, format=tarfile.PAX_FORMAT) as archive:
        head = dump(manifest)
        archive.addfile(_member(NAME, len(head), manifest), io.BytesIO(head))
        for part in manifest.parts:
            with files[part.name].open("rb") as source:
                try:
                    archive.addfile(_member(part.name, part.size_bytes, manifest), source)
                except OSError as error:
                    # Tar's word for a file that has become shorter.
                    if "unexpected end of data" not in str(error):
                        raise
                    raise CircinusError(f"{files[part.name]} changed meanwhile; take the backup again") from error


def _member(name: str, size_bytes: int, manifest: Manifest) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size_bytes, 0o600, int(manifest.made_at.timestamp())
    return member


@contextmanager
def _folder_beside(to: Path) -> Iterator[Path]:
    """A folder on the disk where the file is to be, gone in the end."""
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=to.absolute().parent, prefix=f".{to.name}."))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Makes what was renamed in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
