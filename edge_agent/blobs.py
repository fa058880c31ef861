"""Bundles and sample sets by digest: fetched from the planner once, checked, kept on disk.

    STATE/bundles/HEX/    a bundle, extracted
    STATE/samples/HEX     a sample set, as it came

Nothing gets its name before it is whole and checked (temporary name, then rename), so what has the name is good.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from circinus.bundle import extract
from circinus.channel import MAX_BLOB_BYTES
from circinus.errors import BadDigest, InvalidInput, NotFound, TooLarge
from circinus.events import event
from circinus.model.device import Digest
from circinus.wire import check

#: Sample sets are only needed while they are profiled; the latest ones stay for the next time.
_KEPT_SAMPLE_SETS = 16


class BlobSource(Protocol):
    """Where blobs come from."""

    def fetch(self, digest: Digest) -> AsyncIterator[bytes]:
        """The blob's bytes in chunks.

        Raises:
            NotFound: there is no such blob.
            Unreachable, TimedOut: it can't be had now.
        """


class Blobs:
    """The blobs that this device holds."""

    def __init__(self, state_dir: Path, source: BlobSource) -> None:
        self._bundles = state_dir / "bundles"
        self._samples = state_dir / "samples"
        self._source = source
        # One fetch at a time: two of the same blob would be waste, two of different ones share one uplink anyway.
        self._lock = asyncio.Lock()

    def prepare(self) -> None:
        """Makes the folders and removes what a crash left unfinished."""
        for folder in (self._bundles, self._samples):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in folder.glob("tmp-*"):
                _remove(leftover)

    def bundle_path(self, digest: Digest) -> Path:
        """The folder of a bundle that is here.

        Raises:
            NotFound: it is not here.
        """
        path = self._bundles / _hex(digest)
        if not path.is_dir():
            raise NotFound(f"bundle {digest} is not on this device")
        return path

    async def bundle(self, digest: Digest) -> Path:
        """The folder of a bundle, fetched if it isn't here.

        Raises:
            NotFound, Unreachable, TimedOut: it can't be had.
            BadDigest, TooLarge, InvalidInput: what came is not what was asked for.
        """
        path = self._bundles / _hex(digest)
        async with self._lock:
            if not path.is_dir():
                archive = self._bundles / f"tmp-{_hex(digest)}.tar"
                folder = self._bundles / f"tmp-{_hex(digest)}"
                try:
                    await self._fetch(digest, archive)
                    await asyncio.to_thread(_unpack, archive, folder, path)
                finally:
                    _remove(archive)
                    _remove(folder)
        return path

    async def sample_set(self, digest: Digest) -> Path:
        """The file of a sample set, fetched if it isn't here.

        Raises:
            NotFound, Unreachable, TimedOut: it can't be had.
            BadDigest, TooLarge, InvalidInput: what came is not what was asked for.
        """
        path = self._samples / _hex(digest)
        async with self._lock:
            if not path.is_file():
                temporary = self._samples / f"tmp-{_hex(digest)}"
                try:
                    await self._fetch(digest, temporary)
                    temporary.rename(path)
                finally:
                    _remove(temporary)
            path.touch()
            for old in sorted(self._samples.iterdir(), key=lambda file: file.stat().st_mtime)[:-_KEPT_SAMPLE_SETS]:
                old.unlink(missing_ok=True)
        return path

    async def _fetch(self, digest: Digest, into: Path) -> None:
        seen = hashlib.sha256()
        size_bytes = 0
        with into.open("wb") as file:
            async for chunk in self._source.fetch(digest):
                size_bytes += len(chunk)
                if size_bytes > MAX_BLOB_BYTES:
                    raise TooLarge(f"blob {digest} is over the limit of {MAX_BLOB_BYTES} bytes")
                seen.update(chunk)
                file.write(chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        found = f"sha256:{seen.hexdigest()}"
        if found != digest:
            raise BadDigest(f"{size_bytes} bytes came for blob {digest}, but their digest is {found}: send it again")
        event("blob_fetched", digest=digest, size_bytes=size_bytes)


def _hex(digest: Digest) -> str:
    # The digest becomes a file's name, so it is checked here, whatever the caller did.
    return check.digest("digest", digest).removeprefix("sha256:")


def _unpack(archive: Path, folder: Path, path: Path) -> None:
    extract(archive.read_bytes(), folder)
    if not (folder / "environment.json").is_file() or not (folder / "pipeline.json").is_file():
        raise InvalidInput("the bundle has no environment.json or pipeline.json: pack it with `circinus pipeline add`")
    folder.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
