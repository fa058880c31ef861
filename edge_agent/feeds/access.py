"""What an agent's owner lets queries open: folders with all that is in them, and cameras. Nothing else, ever.

The check is made on the path as it really is, each time something is opened, so that no link leads outside. Whoever
may write into an allowed folder is trusted not to swap a file for a link between the check and the opening.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class NotOpened(Exception):
    """Something can't be opened, or may not; the message says what, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What may be opened: files below ``folders``, ``cameras`` by number, path or address as the owner wrote them.

    Results may be written below ``sink_folders``.
    """

    folders: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    sink_folders: tuple[str, ...] = ()

    def file(self, path: str) -> Path:
        """The regular file that a path leads to.

        Raises:
            NotOpened: it is none, or is outside.
        """
        found = self._inside(path)
        if not stat.S_ISREG(_stat(path, found).st_mode):
            raise NotOpened(f"{path}: is no file")
        return found

    def folder(self, path: str) -> Path:
        """The folder that a path leads to.

        Raises:
            NotOpened: it is none, or is outside.
        """
        found = self._inside(path)
        if not stat.S_ISDIR(_stat(path, found).st_mode):
            raise NotOpened(f"{path}: is no folder")
        return found

    def camera(self, name: str) -> str:
        """The camera of this name.

        Raises:
            NotOpened: the owner didn't name it.
        """
        if name not in self.cameras:
            raise NotOpened(
                f"camera {name}: this device lets no query have it; its owner can add it to [feeds] cameras of the "
                "agent's configuration"
            )
        return name

    def sink(self, path: str) -> Path:
        """Where results of a query may be written: a plain file, or none yet, in a folder that is there.

        Raises:
            NotOpened: it may not be.
        """
        written = Path(os.path.normpath(path))
        if not _is_below(written, self.sink_folders):
            raise NotOpened(_outside(path, "[sinks] folders"))
        try:
            found = written.parent.resolve(strict=True) / written.name
        except (OSError, RuntimeError) as error:
            raise NotOpened(f"{path}: {_reason(error)}") from error
        if not _is_below(found, self.sink_folders):
            raise NotOpened(_outside(path, "[sinks] folders"))
        if found.is_symlink() or (found.exists() and not found.is_file()):
            raise NotOpened(f"{path}: is there already, and is no plain file")
        return found

    def _inside(self, path: str) -> Path:
        # Looked at as it is written first: whether something exists outside is nobody's business.
        if not _is_below(Path(os.path.normpath(path)), self.folders):
            raise NotOpened(_outside(path, "[feeds] folders"))
        try:
            found = Path(path).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise NotOpened(f"{path}: {_reason(error)}") from error
        if not _is_below(found, self.folders):
            raise NotOpened(_outside(path, "[feeds] folders"))
        return found


#: Where an owner says nothing.
NOTHING = Access()


def _outside(path: str, key: str) -> str:
    """What is said of a path that may not be used."""
    return f"{path}: not below a folder that this device allows; its owner can add one to {key} of agent.toml"


def _is_below(path: Path, folders: Sequence[str]) -> bool:
    """Whether an absolute path is in one of the folders, as they are written or as they are."""
    known = {Path(folder) for folder in folders} | {Path(folder).resolve() for folder in folders}
    return path.is_absolute() and any(path.is_relative_to(folder) for folder in known)


def _stat(path: str, found: Path) -> os.stat_result:
    try:
        return found.stat()
    except OSError as error:
        raise NotOpened(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
