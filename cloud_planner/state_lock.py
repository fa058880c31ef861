"""Who has a state folder: one planner at a time, or a restore.

A POSIX record lock: it goes with the process that took it, however that ends, and no child inherits it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circinus.errors import AlreadyExists

_FILE = "lock"


@contextmanager
def state_lock(state_dir: Path) -> Iterator[None]:
    """Holds a state folder.

    Raises:
        AlreadyExists: another process has it.
    """
    descriptor = os.open(state_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.geteuid() == 0:
            # Of a restore by root; it must not be in the way of the planner's own user.
            owner = state_dir.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyExists(
                f"a planner runs on {state_dir}: stop it first (systemctl stop cloud-planner, or circinus down), or "
                "name another folder with --state-dir"
            ) from error
        yield
    finally:
        os.close(descriptor)
