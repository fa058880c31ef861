"""Bundles and sample sets as files by digest.

A blob is written beside its place, checked, synced and renamed: a file under its digest's name is always whole.
Methods block on the disk; whoever serves them on an event loop does so in a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType

from circinus.channel import MAX_BLOB_BYTES
from circinus.errors import BadDigest, InvalidInput, NotFound, TooLarge
from circinus.model.device import Digest

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class BlobStore:
    """A folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("incoming-*"):
            left_over.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be.

        Raises:
            InvalidInput: that is no digest.
        """
        found = _DIGEST.fullmatch(digest)
        if found is None:
            raise InvalidInput(f"{digest[:80]!r} is no digest: it must be sha256: and 64 hex digits")
        return self._folder / found.group(1)

    def has(self, digest: Digest) -> bool:
        """Whether a blob is there."""
        return self.path(digest).is_file()

    def size_bytes(self, digest: Digest) -> int:
        """A blob's size.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"there is no blob {digest}: upload it first") from None

    def read(self, digest: Digest, offset: int, length: int) -> bytes:
        """Part of a blob.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            with self.path(digest).open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            raise NotFound(f"there is no blob {digest}: upload it first") from None

    def receive(self, digest: Digest, total_bytes: int) -> IncomingBlob:
        """Begins to take in a blob; a context manager.

        Raises:
            InvalidInput: that is no digest, or the size is 0.
            TooLarge: it is larger than a blob may be.
        """
        path = self.path(digest)
        if total_bytes <= 0:
            raise InvalidInput(f"blob {digest}: total_bytes is {total_bytes}; it must be the blob's size")
        if total_bytes > MAX_BLOB_BYTES:
            raise TooLarge(f"blob {digest}: {total_bytes} bytes are more than {MAX_BLOB_BYTES}")
        return IncomingBlob(path, digest, total_bytes)


class IncomingBlob:
    """A blob on its way in. Left without ``commit``, it leaves nothing behind."""

    def __init__(self, path: Path, digest: Digest, total_bytes: int) -> None:
        self._path = path
        self._digest = digest
        self._total_bytes = total_bytes
        self._received_bytes = 0
        self._hash = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(prefix="incoming-", dir=path.parent)
        self._file = os.fdopen(descriptor, "wb")
        self._temporary = Path(name)

    def __enter__(self) -> IncomingBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def append(self, chunk: bytes) -> None:
        """The next part.

        Raises:
            TooLarge: more came than was announced.
        """
        self._received_bytes += len(chunk)
        if self._received_bytes > self._total_bytes:
            raise TooLarge(f"blob {self._digest}: more than the announced {self._total_bytes} bytes came")
        self._hash.update(chunk)
        self._file.write(chunk)

    def commit(self) -> None:
        """Puts the blob in its place.

        Raises:
            BadDigest: its content or size is not what was announced.
        """
        if self._received_bytes != self._total_bytes:
            raise BadDigest(f"blob {self._digest}: {self._received_bytes} of {self._total_bytes} bytes came")
        actual = f"sha256:{self._hash.hexdigest()}"
        if actual != self._digest:
            raise BadDigest(f"blob {self._digest}: what came has digest {actual}; pack and upload it again")
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._temporary, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
