"""The disk under the agent's state: what is wrong with it, a reserve for when it is full, and damaged files.

A box in a shop fills its disk with somebody else's logs, and its memory card turns read-only when it wears out. Neither
is a reason to stop serving. So every fault of the disk has a name here, is told apart from a damaged file (which is set
aside, never deleted: a full disk must not look like one), and a small reserve is given up when the disk is full, so
that a directive can still be written down.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from circinus.events import event, warning

#: Enough for every write of an agent that only wants to stay what it is: directives, marks, a process's configuration.
RESERVE_BYTES = 1024 * 1024
#: Below this share of the disk, and below so many bytes, nothing of ours grows any more.
_LOW_RATIO = 0.05
_LOW_BYTES = 32 * 1024 * 1024
#: Damaged files that are kept to be looked at, of each name.
_KEPT_ASIDE = 2
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_FAULTS = {
    sqlite3.SQLITE_FULL: "no space left on the disk",
    sqlite3.SQLITE_READONLY: "the file system is read-only",
    sqlite3.SQLITE_IOERR: "the disk can't be read or written",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_BUSY: "the file is in use by another process",
    sqlite3.SQLITE_NOMEM: "no memory left",
}
_OS_FAULTS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk can't be read or written",
    errno.EMFILE: "too many open files in this process",
    errno.ENFILE: "too many open files on this machine",
}


def fault_of(error: BaseException) -> str:
    """What the disk's fault is, in words; empty: the error is none of the disk's, such as a damaged file."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if is_damage(error) or code is None:
            return ""
        return _SQLITE_FAULTS.get(code & 0xFF, "")
    if isinstance(error, OSError):
        return _OS_FAULTS.get(error.errno or 0, "")
    return ""


def is_damage(error: BaseException) -> bool:
    """Whether a file is no database any more, rather than out of reach for now."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in _CORRUPT


def set_aside(path: Path) -> Path:
    """Moves a damaged database out of the way, with its log; the newest few are kept. Gives its new name.

    Raises:
        OSError: it can't be moved, as on a read-only file system.
    """
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    aside = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        log = Path(f"{path}{suffix}")
        with suppress(FileNotFoundError):
            log.rename(f"{aside}{suffix}")
    for old in range(1, number + 1 - _KEPT_ASIDE):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path.with_name(f'{path.name}.damaged-{old}')}{suffix}").unlink(missing_ok=True)
    return aside


class DiskGuard:
    """Looks after the disk that a folder is on. Every call is quick and never raises."""

    def __init__(self, folder: Path, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._folder = folder
        self._reserve = folder / "reserve"
        self._reserve_bytes = reserve_bytes

    def look(self) -> str:
        """What is wrong with the disk now; empty: nothing. Fills the reserve again when there is room."""
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            return f"{self._folder} can't be looked at: {error.strerror}"
        if disk.f_flag & os.ST_RDONLY:
            return f"the file system of {self._folder} is read-only"
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes >= 4 * self._reserve_bytes:
            self._fill()
        elif free_bytes < self._reserve_bytes:
            return f"no space left on the disk of {self._folder}: {free_bytes} bytes"
        # Some file systems have no count of files.
        if disk.f_files and not disk.f_favail:
            return f"no more files can be made on the disk of {self._folder}"
        return ""

    def low(self) -> bool:
        """Whether what is on this disk should grow no more."""
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < min(_LOW_BYTES, _LOW_RATIO * disk.f_blocks * disk.f_frsize)

    def release(self) -> bool:
        """Gives the reserve up, for what must be written now. False: there was none."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        event("disk_reserve_released", folder=self._folder, bytes=self._reserve_bytes)
        return True

    def _fill(self) -> None:
        with suppress(OSError):
            if self._reserve.exists():
                return
            descriptor = os.open(self._reserve, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._reserve_bytes)
            except OSError:
                self._reserve.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def scratch_folder(wanted: Path) -> Path:
    """A folder that can be written to: the wanted one, or in memory if its disk can't be written to now."""
    probe = wanted / "probe"
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(bytes(65_536))
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        try:
            instead = Path(tempfile.mkdtemp(prefix="circinus-", dir=memory))
        except OSError:
            return wanted
        warning("scratch_elsewhere", wanted=wanted, used=instead, reason=fault_of(error) or error)
        return instead
    return wanted


def leave_scratch(wanted: Path, used: Path) -> None:
    """Takes a folder in memory away that stood in for the wanted one."""
    if used != wanted:
        shutil.rmtree(used, ignore_errors=True)
