"""One agent for each state folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from circinus.errors import AlreadyExists


def hold(path: Path) -> int:
    """Holds a state folder for this process alone; the kernel lets go of it however the process ends.

    Raises:
        AlreadyExists: another process holds it.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # On a read-only or full disk, the one that is there does.
        descriptor = os.open(path if path.exists() else path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyExists(
            f"another agent runs on {path.parent}: stop it, or give this one its own state_dir"
        ) from None
    return descriptor


__all__ = ["hold"]
