"""Puts a backup in the place of a planner's state: all of it verified first, what was there kept aside.

Only one step changes what a planner would start with: the new file is renamed over the old one. Blobs are only ever
added. An identity that is there and of the same root stays: it knows who was taken back, who enrolled, and what was
done since the backup.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from circinus.errors import BadDigest, CircinusError, InvalidInput
from cloud_planner import migrations
from cloud_planner.backup import databases
from cloud_planner.backup.databases import PACKAGES, Numbers
from cloud_planner.backup.manifest import (
    IDENTITY_FILE,
    KEY_FILES,
    MAX_BYTES,
    NAME,
    PLANNER_FILE,
    ROOT_FILE,
    Manifest,
    Part,
    parse,
)
from cloud_planner.backup.taking import file_digest, root_digest, sync_folder
from cloud_planner.identity.authority import fits
from cloud_planner.state_lock import state_lock

_STAGING = "restoring"
_ASIDE = "before-restore"
_CHUNK_BYTES = 1024 * 1024
#: Beside the parts: their logs, and a file system's own.
_SPARE_BYTES = 16 * 1024 * 1024
_ANOTHER = "take another backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did, or would do.

    ``numbers``: what the planner goes on from. ``aside``: where the old state is; None: there was none. ``identity``:
    "kept", "from the backup", or empty: there is none.
    """

    manifest: Manifest
    state_dir: Path
    numbers: Numbers
    aside: Path | None
    identity: str


def restore(file: Path, state_dir: Path, *, now: datetime, epoch: int = 0, dry_run: bool = False) -> Restored:
    """Restores a backup into a state folder, which may be empty or not be there yet.

    Raises:
        AlreadyExists: a planner runs on it.
        BadDigest: the backup is damaged.
        InvalidInput: there is no such file, or the keys that its identity needs are not there.
        CircinusError: it is of a newer Circinus.
    """
    if not file.is_file():
        raise InvalidInput(f"{file}: no such file")
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with state_lock(state_dir), _staging(state_dir) as folder:
        manifest = _unpack(file, folder)
        old = state_dir / PLANNER_FILE
        known, sure = _known(state_dir, old)
        backed_up = databases.numbers_of(folder / PLANNER_FILE)
        numbers = databases.ahead_of([backed_up, *known], now_s=now.timestamp(), sure=sure, epoch=epoch)
        identity = _identity(manifest, state_dir)
        databases.set_ahead(folder / PLANNER_FILE, numbers)
        moved = old.exists() or any((state_dir / name).exists() for name in identity.names)
        aside = _free(state_dir / f"{_ASIDE}-{now:%Y%m%dT%H%M%SZ}") if moved else None
        if not dry_run:
            _replace(folder, state_dir, aside, manifest, identity)
        return Restored(manifest=manifest, state_dir=state_dir, numbers=numbers, aside=aside, identity=identity.told)


def _free(path: Path) -> Path:
    """This name, or one beside it that nothing has: what a restore put aside is never put anything into again."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


@contextmanager
def _staging(state_dir: Path) -> Iterator[Path]:
    folder = state_dir / _STAGING
    # Of a restore that was cut off.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(file: Path, folder: Path) -> Manifest:
    """All parts as files, each checked; nothing else comes out of the archive."""
    try:
        with gzip.open(file) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
            first = archive.next()
            if first is None or first.name != NAME or not first.isreg() or first.size > MAX_BYTES:
                raise InvalidInput(f"{file} is no backup of a planner: it does not begin with {NAME}")
            manifest = parse(_stream(archive, first).read())
            _check_schemas(manifest)
            _check_room(folder, manifest)
            left = {part.name: part for part in manifest.parts}
            while (member := archive.next()) is not None:
                part = left.pop(member.name, None)
                if part is None or not member.isreg() or member.size != part.size_bytes:
                    raise BadDigest(f"{file}: {member.name[:80]} is not what the manifest says; {_ANOTHER}")
                _take_out(_stream(archive, member), folder / part.name, part)
            _check_end(unpacked, file)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadDigest(f"{file} is damaged, or no backup of a planner: {error}; {_ANOTHER}") from error
    if left:
        raise BadDigest(f"{file} is cut off: {len(left)} parts are missing, such as {min(left)}; {_ANOTHER}")
    databases.check(folder / PLANNER_FILE)
    if manifest.has(IDENTITY_FILE):
        databases.check(folder / IDENTITY_FILE)
    return manifest


def _check_end(unpacked: gzip.GzipFile, file: Path) -> None:
    """Reads to the end, where the checksum of all stands: it covers the manifest, too, which no digest does."""
    if len(unpacked.read(tarfile.RECORDSIZE + 1)) > tarfile.RECORDSIZE:
        raise BadDigest(f"{file} goes on after its end; {_ANOTHER}")


def _stream(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    if stream is None:
        raise BadDigest(f"{member.name[:80]} in the backup is no file; {_ANOTHER}")
    return stream


def _take_out(stream: IO[bytes], path: Path, part: Part) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    found = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            found.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != part.sha256:
        raise BadDigest(
            f"{part.name} of the backup is damaged: it has another digest than the manifest says; {_ANOTHER}"
        )


def _check_schemas(manifest: Manifest) -> None:
    for name, package in PACKAGES.items():
        number, known = manifest.schemas.get(name, 0), migrations.newest(package)
        if number > known:
            raise CircinusError(
                f"the backup is of circinus {manifest.version}: its {name} file is of version {number}, this planner "
                f"knows {known}; install {manifest.version} or newer, then restore"
            )


def _check_room(folder: Path, manifest: Manifest) -> None:
    free, wanted = shutil.disk_usage(folder).free, manifest.size_bytes + _SPARE_BYTES
    if free < wanted:
        raise CircinusError(f"{folder.parent} has {free:,} bytes free, the backup needs {wanted:,}: free some space")


def _known(state_dir: Path, old: Path) -> tuple[list[Numbers], bool]:
    """What the state that is there has numbered, and what earlier restores put aside; and whether that is all."""
    found: list[Numbers] = []
    sure = False
    if old.exists():
        try:
            if not databases.let_go(old):
                raise CircinusError(f"somebody has {old} open: stop the planner that runs on it, then restore")
            found.append(databases.numbers_of(old))
            sure = True
        except sqlite3.Error:
            # Damaged; that may be why somebody restores.
            pass
    for earlier in state_dir.glob(f"{_ASIDE}-*/{PLANNER_FILE}"):
        try:
            found.append(databases.numbers_of(earlier))
        except sqlite3.Error:
            continue
    return found, sure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """Which files of the identity come from the backup."""

    told: str = ""
    names: tuple[str, ...] = ()


def _identity(manifest: Manifest, state_dir: Path) -> _Identity:
    here = state_dir / "identity"
    told = "kept" if here.exists() else ""
    if not manifest.root_sha256:
        return _Identity(told=told)
    same = root_digest(state_dir / ROOT_FILE) == manifest.root_sha256
    if same and fits(here):
        if databases.is_whole(state_dir / IDENTITY_FILE):
            return _Identity(told="kept")
        return _Identity(told="from the backup, with the keys that are here", names=(IDENTITY_FILE,))
    if not manifest.with_keys:
        why = "another planner's identity" if here.exists() else "no identity"
        raise InvalidInput(
            f"{state_dir} has {why}, and the backup has no keys: boxes would not know this planner. Put root.key, "
            f"root.pem and signer.key of the old one into {here}, or restore a backup that was taken --with-keys"
        )
    names = tuple(name for name in (IDENTITY_FILE, ROOT_FILE, *KEY_FILES) if manifest.has(name))
    return _Identity(told="from the backup", names=names)


def _replace(folder: Path, state_dir: Path, aside: Path | None, manifest: Manifest, identity: _Identity) -> None:
    _own(folder, state_dir)
    blobs = state_dir / "blobs"
    blobs.mkdir(mode=0o700, exist_ok=True)
    if aside is not None:
        aside.mkdir(mode=0o700)
        _own(aside, state_dir)
        _keep_blobs(blobs, aside / "blobs")
    for part in manifest.blobs:
        there = state_dir / part.name
        if not there.exists() or there.stat().st_size != part.size_bytes or file_digest(there) != part.sha256:
            os.replace(folder / part.name, there)
    _replace_identity(state_dir, folder, aside, identity)
    old = state_dir / PLANNER_FILE
    if aside is not None and old.exists():
        os.link(old, aside / PLANNER_FILE)
        # Only of a file that can't be read; left here they would be taken for the new one's.
        for suffix in ("-wal", "-shm"):
            if (left := state_dir / f"{PLANNER_FILE}{suffix}").exists():
                os.replace(left, aside / left.name)
    os.replace(folder / PLANNER_FILE, old)
    for name in ("address", "enrol-address", "dashboard-address"):
        (state_dir / name).unlink(missing_ok=True)
    _own(blobs, state_dir)
    sync_folder(state_dir)


def _keep_blobs(blobs: Path, aside: Path) -> None:
    """So that what is put aside is a state folder by itself; it takes no room."""
    aside.mkdir(mode=0o700)
    for path in blobs.iterdir():
        os.link(path, aside / path.name)


def _replace_identity(state_dir: Path, folder: Path, aside: Path | None, identity: _Identity) -> None:
    if not identity.names:
        return
    here = state_dir / "identity"
    here.mkdir(mode=0o700, exist_ok=True)
    for name in identity.names:
        logs = [f"{name}{suffix}" for suffix in ("-wal", "-shm")] if name == IDENTITY_FILE else []
        for moved in (name, *logs):
            if aside is not None and (state_dir / moved).exists():
                (aside / "identity").mkdir(mode=0o700, exist_ok=True)
                os.replace(state_dir / moved, aside / moved)
        os.replace(folder / name, state_dir / name)
    _own(here, state_dir)


def _own(folder: Path, state_dir: Path) -> None:
    """Gives what root restored to whom the state folder belongs: the planner's own user."""
    if os.geteuid() != 0:
        return
    owner = state_dir.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
