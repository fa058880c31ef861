"""A support bundle: what somebody elsewhere needs to find a fault, in one archive of bounded size, without secrets.

It holds what was asked of the planner, and of this machine what a daemon says of itself: versions, the tails of logs,
configuration files. Keys, tokens, databases, payloads, models and samples are never read into it. Each text goes
through ``circinus.redaction``. `manifest.json` says what is in it, and what was left out and why.
"""

from __future__ import annotations

import io
import json
import os
import platform
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import circinus
from circinus.errors import AlreadyExists, CircinusError
from circinus.redaction import Redactor

MAX_PART_BYTES = 2 * 1024 * 1024
MAX_TOTAL_BYTES = 24 * 1024 * 1024
TAIL_BYTES = 512 * 1024
_MAX_CONFIG_BYTES = 256 * 1024
_MAX_LISTED = 2_000
_JOURNAL_LINES = 4_000
_JOURNAL_TIMEOUT_S = 15.0
_UNITS = ("edge-agent", "cloud-planner")
_PACKAGES = ("grpcio", "protobuf", "cryptography", "aiosqlite", "psutil", "nvidia-ml-py", "mip", "numpy", "scipy")
#: Folders of a state folder that are never looked into; their files are not even listed one by one.
_CLOSED = {"identity": "it has keys", "blobs": "bundles and samples", "environments": "operators' own software"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A part of the bundle."""

    name: str
    size_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is not in it, and why."""

    what: str
    why: str


@dataclass(slots=True)
class Bundle:
    """The parts so far. ``redactor`` sees all that is put in."""

    redactor: Redactor
    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    _parts: list[tuple[str, bytes]] = field(default_factory=list)
    _total_bytes: int = 0

    def leave_out(self, what: str, why: str) -> None:
        """Says that something is not in it."""
        self.left_out.append(LeftOut(what=what, why=self.redactor.text(why)))

    def put_document(self, name: str, document: Any) -> None:
        """Puts in a document; of a list that is too long only the first entries."""
        note = ""
        if isinstance(document, list) and (size_bytes := len(_json(document))) > MAX_PART_BYTES:
            keep = len(document) * MAX_PART_BYTES // (2 * size_bytes)
            note = f"the first {keep} of {len(document)}"
            document = document[:keep]
        if self._fits(name, len(_json(document))):
            self._put(name, _json(self.redactor.document(document)), note)

    def put_text(self, name: str, text: str, note: str = "") -> None:
        """Puts in a text."""
        if self._fits(name, len(text.encode(errors="replace"))):
            self._put(name, self.redactor.text(text).encode(errors="replace"), note)

    def _fits(self, name: str, size_bytes: int) -> bool:
        if size_bytes > MAX_PART_BYTES:
            self.leave_out(name, f"it has {size_bytes:,} bytes; a part has at most {MAX_PART_BYTES:,}")
        elif self._total_bytes + size_bytes > MAX_TOTAL_BYTES:
            self.leave_out(name, f"the bundle would have more than {MAX_TOTAL_BYTES:,} bytes")
        else:
            return True
        return False

    def _put(self, name: str, data: bytes, note: str) -> None:
        # What stands in the place of a secret may be longer than it.
        if self._fits(name, len(data)):
            self._total_bytes += len(data)
            self._parts.append((name, data))
            self.entries.append(Entry(name=name, size_bytes=len(data), note=note))

    def manifest(self, now: datetime) -> dict[str, Any]:
        """What is in it, what is not, and how much was taken out of texts."""
        return {
            "made_at": now.isoformat(timespec="seconds"),
            "made_by": f"circinus {circinus.__version__}",
            "secrets_taken_out": self.redactor.count,
            "what_it_tells": "names of devices, queries and people, addresses, plans, figures, lines of logs",
            "entries": [asdict(entry) for entry in self.entries],
            "left_out": [asdict(one) for one in self.left_out],
        }

    def write(self, path: Path, now: datetime) -> None:
        """Writes the archive, a new file that only its owner may read.

        Raises:
            AlreadyExists: there is a file of this name.
            CircinusError: it can't be written.
        """
        folder = path.name.removesuffix(".tar.gz")
        parts = [("manifest.json", _json(self.manifest(now))), *self._parts]
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise AlreadyExists(f"{path} is there already; name another file with -o") from None
        except OSError as error:
            raise CircinusError(f"can't write {path}: {error.strerror or error}") from error
        try:
            with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name, data in parts:
                    member = tarfile.TarInfo(f"{folder}/{name}")
                    member.size, member.mtime, member.mode = len(data), int(now.timestamp()), 0o600
                    archive.addfile(member, io.BytesIO(data))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise CircinusError(f"can't write {path}: {error.strerror or error}; free some space") from error


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n").encode(errors="replace")


def versions() -> dict[str, Any]:
    """What runs here."""
    return {
        "circinus": circinus.__version__,
        "python": sys.version,
        "system": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "uptime_s": round(time.monotonic()),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def put_state_folder(bundle: Bundle, folder: Path) -> None:
    """Of a daemon's state folder: the names and sizes of its files, the tails of its logs, its configuration."""
    label = folder.name or "state"
    if not folder.is_dir():
        bundle.leave_out(str(folder), "there is no such folder")
        return
    bundle.put_document(f"{label}/files.json", _listing(bundle, folder))
    for path in sorted(folder.glob("*.log")):
        put_tail(bundle, path, f"{label}/logs/{path.name}")
    for path in sorted(folder.glob("*.toml")):
        put_config(bundle, path, f"{label}/{path.name}")
    for pattern in ("*.db", "*.sqlite3"):
        for path in sorted(folder.glob(pattern)):
            bundle.leave_out(str(path), "databases hold more than is needed")


def _listing(bundle: Bundle, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path, folders, files in os.walk(folder):
        for closed in [name for name in folders if name in _CLOSED]:
            folders.remove(closed)
            bundle.leave_out(str(Path(path) / closed), _CLOSED[closed])
        folders.sort()
        for name in sorted(files):
            if len(found) >= _MAX_LISTED:
                bundle.leave_out(f"more files of {folder}", f"{_MAX_LISTED} are listed")
                return found
            try:
                about = os.lstat(os.path.join(path, name))
            except OSError:
                continue
            found.append(
                {
                    "path": os.path.relpath(os.path.join(path, name), folder),
                    "size_bytes": about.st_size,
                    "mode": stat.filemode(about.st_mode),
                    "changed_at": datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds"),
                }
            )
    return found


def put_tail(bundle: Bundle, path: Path, name: str) -> None:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError as error:
        bundle.leave_out(str(path), f"can't be read: {error.strerror or error}")
        return
    text = data.decode(errors="replace")
    if size > TAIL_BYTES:
        # The first line is cut.
        text = text.partition("\n")[2]
    bundle.put_text(name, text, f"the last {TAIL_BYTES // 1024} KiB of {size:,} bytes" if size > TAIL_BYTES else "")


def put_config(bundle: Bundle, path: Path, name: str) -> None:
    """A configuration file, whole."""
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            bundle.leave_out(str(path), f"more than {_MAX_CONFIG_BYTES:,} bytes")
            return
        bundle.put_text(name, path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        bundle.leave_out(str(path), f"can't be read: {error.strerror or error}")


def put_journal(bundle: Bundle, units: Sequence[str] = _UNITS) -> None:
    """The end of what systemd keeps of the daemons, where there is any."""
    for unit in units:
        argv = ["journalctl", "--unit", unit, "--lines", str(_JOURNAL_LINES), "--no-pager", "--output", "short-iso"]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=_JOURNAL_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            bundle.leave_out(f"journal of {unit}", f"journalctl: {error}")
            continue
        text = done.stdout[-TAIL_BYTES:].decode(errors="replace")
        if done.returncode != 0 or not text.strip() or "-- No entries --" in text:
            bundle.leave_out(f"journal of {unit}", "there is none on this machine, or not for this user")
            continue
        bundle.put_text(f"journal/{unit}.log", text.partition("\n")[2] if len(done.stdout) > TAIL_BYTES else text)
